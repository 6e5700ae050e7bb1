"""Cells as packed records: what goes in comes out, and damage is noticed."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import PipelineExecutionError, StoreError
from crystallize.results import Cell, CellOutcome, CellTrace, PluginFailure, StepShape, TraceShape
from crystallize.results.trace import intern_shape
from crystallize_plugins.artifacts.cells import CellReader, pack_cell
from crystallize_plugins.artifacts.checksum import seal, seal_group, unseal, unseal_groups
from crystallize_plugins.artifacts.decoding import decode
from crystallize_plugins.artifacts.lazy import StoredOutcomes
from crystallize_plugins.artifacts.shapes import ShapeTable
from crystallize_plugins.artifacts.table import CellTable

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
    st.lists(st.floats(0, 1e6), max_size=5),
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


def stored(several):
    """Pack outcomes as one group of records and read them again."""
    rows = []
    table = ShapeTable(rows.append)
    records = b"".join(pack_cell(outcome, 7, table) for outcome in several)
    shapes = {number: (kind, decode(unseal(body, number, kind, what=kind))) for number, kind, body in rows}
    return records, CellReader({7: "fast"}, shapes), rows


def loaded_again(several):
    """Outcomes as they are read, and what `stored` gave."""
    records, reader, rows = stored(several)
    return StoredOutcomes(CellTable(records, reader), dict), records, rows


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
def test_cells_come_back_as_they_were(several):
    for number, each in enumerate(several):
        each.cell = Cell("fast", number)
        if each.error is not None:
            each.error.replicate = number
    loaded, *_ = loaded_again(several)
    assert repr([spelt(each) for each in loaded.values()]) == repr([spelt(each) for each in several])
    assert list(loaded) == [each.cell for each in several]
    assert loaded.failed == {each.cell for each in several if not each.ok}


@given(st.lists(outcomes, min_size=1, max_size=9))
def test_of_a_cell_that_came_twice_the_later_one_counts(several):
    loaded, *_ = loaded_again(several)
    assert [repr(spelt(each)) for each in loaded.values()] == [repr(spelt(several[-1]))]


@given(st.lists(outcomes, min_size=1, max_size=3), st.data())
def test_records_that_were_cut_off_are_refused(several, data):
    records, reader, _ = stored(several)
    cut = data.draw(st.integers(1, len(records) - 1))
    ends = [0]
    for each in several:
        ends.append(ends[-1] + len(stored([each])[0]))
    if cut not in ends:
        with pytest.raises(StoreError, match="damaged"):
            CellTable(records[:cut], reader)


@pytest.mark.parametrize(
    "value",
    [np.float64(0.1), np.float32(0.1), np.int64(-5), np.int32(7), np.True_, 0.1, 5, True, 2**64],
    ids=repr,
)
def test_the_types_of_numbers_come_back(value):
    outcomes, *_ = loaded_again([CellOutcome(Cell("fast", 0), {"a": [value, value], "b": [1.5]})])
    (loaded,) = outcomes.values()
    assert loaded.metrics == {"a": [value, value], "b": [1.5]}
    assert type(loaded.metrics["a"][0]) is type(value)


def test_what_cells_share_is_stored_once():
    shape = intern_shape(TraceShape(StepShape("", (), (), ()), (StepShape("FitStep", (), (), (("loss", 1),)),)))
    several = [
        CellOutcome(Cell("fast", n), {"loss": [n / 7]}, n, provenance=CellTrace(shape, array("d", [n / 3]), None))
        for n in range(1000)
    ]
    records, _, rows = stored(several)
    assert [row.kind for row in rows] == ["trace", "metrics", "worker"]
    # A head, a duration, a value.
    assert len(records) == 1000 * (49 + 8 + 8)


def test_equal_shapes_that_are_not_the_same_object_are_one():
    def outcome():
        shape = TraceShape(StepShape("", (), (), ()), (StepShape("FitStep", ("x",), (), ()),))
        return CellOutcome(Cell("fast", 0), {}, provenance=CellTrace(shape, array("d"), None))

    _, _, rows = stored([outcome(), outcome()])
    assert [row.kind for row in rows].count("trace") == 1


def test_cells_that_never_look_alike_are_stored_all_the_same():
    several = [CellOutcome(Cell("fast", n), {f"m{n}": [float(n)] * (n % 3)}) for n in range(3000)]
    loaded, _, rows = loaded_again(several)
    assert len(rows) < 2000
    assert [each.metrics for each in loaded.values()] == [each.metrics for each in several]


def test_a_checksum_tells_damage():
    sealed = bytearray(seal(b"some content"))
    assert bytes(unseal(bytes(sealed), what="it")) == b"some content"
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises(StoreError, match="group 3 is damaged"):
            unseal(bytes(damaged), what="group 3")
    with pytest.raises(StoreError, match="damaged"):
        unseal(b"", what="it")


def test_a_checksum_covers_what_stands_beside_the_content():
    sealed = seal(b"content", 3, "name", None, 0.5)
    assert bytes(unseal(sealed, 3, "name", None, 0.5, what="it")) == b"content"
    for columns in ((2, "name", None, 0.5), (3, "nane", None, 0.5), (3, "name", 0, 0.5), (3, "name", None, 0.25), ()):
        with pytest.raises(StoreError, match="damaged"):
            unseal(sealed, *columns, what="it")


def test_a_group_is_covered_with_its_number_and_its_counts():
    sealed = seal_group(b"records", 3, 2, 1)
    assert unseal_groups([(3, 2, 1, sealed)]) == [b"records"]
    for columns in ((2, 2, 1), (3, 3, 1), (3, 2, 0)):
        with pytest.raises(StoreError, match=f"group {columns[0]} of the cells is damaged"):
            unseal_groups([(*columns, sealed)])
    for no_bytes in (None, "records", 7):
        with pytest.raises(StoreError, match="damaged"):
            unseal_groups([(3, 2, 1, no_bytes)])
