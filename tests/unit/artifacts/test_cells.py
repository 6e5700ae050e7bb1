"""Cells as packed records: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import PipelineExecutionError, StoreError
from crystallize.hooks import Cell, CellOutcome, CellTrace, PluginFailure, StepShape, TraceShape
from crystallize.results.trace import intern_shape
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.schema import COLUMNS, seal, unsealed

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
numbers = st.one_of(st.floats(), st.integers(), st.booleans(), st.integers(-(2**70), 2**70))
steps = st.builds(
    StepShape,
    names,
    st.lists(names, max_size=3).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    st.lists(st.tuples(names, st.integers(1, 9)), max_size=3).map(tuple),
    st.booleans(),
)
traces = st.builds(
    lambda before, several, durations, written: CellTrace(
        intern_shape(TraceShape(before, tuple(several))), array("d", durations), written
    ),
    steps,
    st.lists(steps, max_size=4),
    st.lists(st.integers(0, 10**15).map(lambda nanoseconds: nanoseconds / 1e9), max_size=5),
    st.none() | st.dictionaries(names, st.text() | st.integers(), min_size=1, max_size=3),
)
errors = st.builds(
    lambda text, step: PipelineExecutionError(
        text, step_name=step, condition="fast", replicate=3, error_type="ValueError", traceback_text=f"…\n{text}"
    ),
    names,
    names,
)
outcomes = st.builds(
    CellOutcome,
    cell=st.just(Cell("fast", 3)),
    metrics=st.dictionaries(names, st.lists(numbers, max_size=5), max_size=4),
    seed=st.none() | st.integers(-(2**70), 2**70),
    error=st.none() | errors,
    provenance=st.none() | traces,
    duration=st.floats(0, 1e9),
    worker=st.sampled_from(["main", "thread-1", "process-12"]),
    tags=st.just({}) | st.just({"loss": {0: {"epoch": 1}}}),
    plugin_failures=st.just([])
    | st.just([PluginFailure("p", "dist", "1.0", "after_step", Cell("fast", 3), "ValueError: x", "…")]),
)


def spelt(outcome):
    """Everything of an outcome, as text that is equal for equal outcomes."""
    trace, error = outcome.provenance, outcome.error
    return [
        outcome.cell,
        {name: list(values) for name, values in outcome.metrics.items()},
        outcome.seed,
        error and (str(error), error.step_name, error.condition, error.replicate, error.traceback_text),
        error and error.error_type,
        trace and (trace.shape, list(trace.durations), trace.written),
        outcome.duration,
        outcome.worker,
        outcome.tags,
        list(outcome.plugin_failures),
    ]


@given(st.lists(outcomes, max_size=6))
def test_cells_come_back_as_they_were(stored_outcomes, several):
    for number, each in enumerate(several):
        each.cell = Cell("fast", number)
        if each.error is not None:
            each.error.replicate = number
    loaded = stored_outcomes(several)
    assert repr([spelt(each) for each in loaded.values()]) == repr([spelt(each) for each in several])
    assert list(loaded) == [each.cell for each in several]
    assert loaded.failed == {each.cell for each in several if not each.ok}


@given(st.lists(outcomes, min_size=1, max_size=9))
def test_of_a_cell_that_came_twice_the_later_one_counts(stored_outcomes, several):
    loaded = stored_outcomes(several)
    assert [repr(spelt(each)) for each in loaded.values()] == [repr(spelt(several[-1]))]


@given(st.lists(outcomes, min_size=1, max_size=3), st.data())
def test_records_that_were_cut_off_are_refused(stored_outcomes, several, data):
    for number, each in enumerate(several):
        each.cell = Cell("fast", number)
        if each.error is not None:
            each.error.replicate = number
    loaded = stored_outcomes(several)
    number = data.draw(st.integers(0, len(several) - 1))
    column = data.draw(st.sampled_from(["record", "worker"]))
    with closing(sqlite3.connect(loaded._folder / "run.db")) as other, other:
        cut = f"substr({column}, 1, length({column}) - 1)"
        other.execute(f"UPDATE cell SET {column} = {cut} WHERE replicate = ?", (number,))
    with pytest.raises(StoreError, match="damaged"):
        list(loaded.values())


@pytest.mark.parametrize(
    "value",
    [np.float64(0.1), np.float32(0.1), np.int64(-5), np.int32(7), np.True_, 0.1, 5, True, 2**64],
    ids=repr,
)
def test_the_types_of_numbers_come_back(stored_outcomes, value):
    outcomes = stored_outcomes([CellOutcome(Cell("fast", 0), {"a": [value, value], "b": [1.5]})])
    (loaded,) = outcomes.values()
    assert loaded.metrics == {"a": [value, value], "b": [1.5]}
    assert type(loaded.metrics["a"][0]) is type(value)


def traces_of(loaded):
    with database.reading(loaded._folder) as source:
        return list(source.rows("trace"))


def test_what_cells_share_is_stored_once(stored_outcomes):
    shape = intern_shape(TraceShape(StepShape("", (), (), ()), (StepShape("FitStep", (), (), (("loss", 1),)),)))
    several = [
        CellOutcome(Cell("fast", n), {"loss": [n / 7]}, n, provenance=CellTrace(shape, array("d", [n / 3]), None))
        for n in range(1000)
    ]
    loaded = stored_outcomes(several)
    assert len(traces_of(loaded)) == 1
    with database.reading(loaded._folder) as source:
        (size,) = source.execute("SELECT sum(length(record)) FROM cell").fetchone()
    # A number, a duration, a value: of texts with up to 17 digits.
    assert size < 1000 * 80


def test_equal_shapes_that_are_not_the_same_object_are_one(stored_outcomes):
    def outcome(number):
        shape = TraceShape(StepShape("", (), (), ()), (StepShape("FitStep", ("x",), (), ()),))
        return CellOutcome(Cell("fast", number), {}, provenance=CellTrace(shape, array("d"), None))

    assert len(traces_of(stored_outcomes([outcome(0), outcome(1)]))) == 1


def test_cells_that_never_look_alike_are_stored_all_the_same(stored_outcomes):
    several = [CellOutcome(Cell("fast", n), {f"m{n}": [float(n)] * (n % 3)}) for n in range(3000)]
    loaded = stored_outcomes(several)
    assert [each.metrics for each in loaded.values()] == [each.metrics for each in several]


@pytest.mark.parametrize("column", [column.split()[0] for column in COLUMNS["cell"]])
def test_the_seal_of_a_cell_covers_every_column(stored_outcomes, column):
    failed = PipelineExecutionError("x", step_name="s", condition="fast", replicate=3, error_type="E")
    loaded = stored_outcomes([CellOutcome(Cell("fast", 3), {"loss": [0.5]}, 7, failed)])
    with closing(sqlite3.connect(loaded._folder / "run.db")) as other, other:
        (value,) = other.execute(f"SELECT {column} FROM cell").fetchone()
        changed = value + 1 if isinstance(value, (int, float)) else f"{value} "
        other.execute(f"UPDATE cell SET {column} = ?", (changed,))
    with pytest.raises(StoreError), database.reading(loaded._folder) as source:
        list(type(loaded)(source, loaded._folder, dict).values())


def test_a_checksum_covers_every_column_of_a_row():
    row = (3, "name", None, 0.5)
    assert unsealed((*row, seal(*row)), what="it") == row
    for columns in ((2, "name", None, 0.5), (3, "nane", None, 0.5), (3, "name", 0, 0.5), (3, "name", None, 0.25), ()):
        with pytest.raises(StoreError, match="it is damaged"):
            unsealed((*columns, seal(*row)), what="it")
