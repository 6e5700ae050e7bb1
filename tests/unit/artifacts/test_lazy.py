"""Outcomes that are read when somebody looks make the very result that outcomes make."""

from __future__ import annotations

import pickle
import random
import sqlite3
from array import array
from contextlib import closing
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import PipelineExecutionError, StoreError
from crystallize.hooks import (
    ArtifactRecord,
    Cell,
    CellOutcome,
    CellTrace,
    ConditionRecord,
    PluginFailure,
    StepShape,
    TraceShape,
    build_result,
)
from crystallize.results.collected import CollectedOutcomes
from crystallize.results.columns import CorrectedOutcomes
from crystallize.results.metrics import collect_metrics
from crystallize.results.trace import intern_shape
from crystallize_plugins.artifacts.database import connection as database

TREE = "treatment > replicate > step > action"
CONDITIONS = ["baseline", "a", "b"]
RECORDS = [ConditionRecord(name, {"alpha": 0.5}) for name in CONDITIONS]


def trace(metrics, written=None):
    names = tuple((name, len(values)) for name, values in metrics.items())
    shape = TraceShape(StepShape("", (), (), ()), (StepShape("FitStep", ("alpha",), tuple(written or ()), names),))
    return CellTrace(intern_shape(shape), array("d", [0.25]), written)


def plain(cell, number):
    metrics = {"loss": [number / 7], "steps": [number]}
    return CellOutcome(cell, metrics, number, provenance=trace(metrics), duration=number / 3)


def _failed(outcome, number):
    condition, replicate = outcome.cell
    outcome.metrics = {}
    outcome.error = PipelineExecutionError(
        f"{outcome.cell.key} failed", step_name="FitStep", condition=condition, replicate=replicate
    )


def _changed(**changes):
    def change(outcome, number):
        for name, make in changes.items():
            setattr(outcome, name, make(number))

    return change


KINDS = {
    "plain": _changed(),
    "several values": _changed(metrics=lambda n: {"loss": [n / 7, n / 5], "odd": []}),
    "other names": _changed(metrics=lambda n: {"other": [True], "loss": [np.float64(n)]}),
    "no simple values": _changed(metrics=lambda n: {"loss": ["text", {"a": n}]}),
    "nothing": _changed(metrics=lambda _: {}, provenance=lambda _: None, seed=lambda _: None),
    "large seed": _changed(seed=lambda n: 2**70 + n),
    "written": _changed(provenance=lambda n: trace({"loss": [1]}, {"k": n})),
    "tags": _changed(tags=lambda n: {"loss": {0: {"epoch": n}}}),
    "plugin": _changed(plugin_failures=lambda n: [PluginFailure("p", None, None, "collect", None, f"ValueError: {n}")]),
    "worker": _changed(worker=lambda n: f"process-{n % 3}"),
    "failed": _failed,
}
"""Everything that a cell may be, by name."""


def kinds(cell, number, kind):
    outcome = plain(cell, number)
    KINDS[kind](outcome, number)
    return outcome


@pytest.fixture(scope="module")
def stored(stored_outcomes):
    return stored_outcomes


def result_of(outcomes, kept=None, replicates=50):
    kept = {} if kept is None else kept
    together = chain(kept.values(), outcomes) if outcomes else kept
    return build_result(conditions=RECORDS, outcomes=together or [], replicates=replicates, facts={"a": 1})


def spelt(result):
    """Everything of a result, as text."""
    by_condition = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    values = {
        (name, metric): (list(map(type, found)), found.replicates, found.tags)
        for name, condition in by_condition.items()
        for metric, found in condition.metrics.items()
    }
    return repr((result.to_dict(), values, result.plugin_errors, repr(result), result.tree_text(TREE)))


cells = st.builds(Cell, st.sampled_from(CONDITIONS), st.integers(0, 30))


@given(
    st.lists(st.tuples(cells, st.sampled_from([*KINDS])), max_size=40, unique_by=lambda pair: pair[0]),
    st.randoms(use_true_random=False),
)
def test_a_result_of_kept_outcomes_is_that_of_the_outcomes(stored, several, chance):
    outcomes = [kinds(cell, number, kind) for number, (cell, kind) in enumerate(several)]
    expected = spelt(result_of(outcomes))
    lazy = stored(outcomes)
    assert spelt(result_of([], lazy)) == expected
    # Some of them kept, the others run again.
    again = {outcome.cell for outcome in outcomes if chance.random() < 0.5}
    assert spelt(result_of([each for each in outcomes if each.cell in again], lazy.without(again))) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_many_cells_of_one_kind_in_any_order(stored, kind):
    outcomes = [kinds(Cell(name, r), 100 * r + len(name), kind) for r in range(300) for name in CONDITIONS]
    expected = spelt(result_of(outcomes, replicates=300))
    assert spelt(result_of([], stored(outcomes), replicates=300)) == expected
    random.Random(5).shuffle(outcomes)
    assert spelt(result_of([], stored(outcomes), replicates=300)) == expected


def test_it_is_a_mapping_of_cells_that_knows_which_failed(stored):
    outcomes = [kinds(Cell("a", n), n, "failed" if n % 3 else "no simple values") for n in range(9)]
    outcomes[3].metrics = {"loss": [object()]}
    lazy = stored(outcomes)
    assert (len(lazy), list(lazy)) == (9, [outcome.cell for outcome in outcomes])
    assert all(type(cell) is Cell for cell in lazy)
    assert Cell("a", 8) in lazy
    assert Cell("a", 9) not in lazy
    assert lazy.conditions == ("a",)
    assert lazy.failed == {outcome.cell for outcome in outcomes if outcome.error}
    assert lazy.inexact == {Cell("a", 3)}
    assert lazy[Cell("a", 0)].metrics == outcomes[0].metrics
    assert lazy[Cell("a", 0)] is lazy[Cell("a", 0)]
    with pytest.raises(KeyError):
        lazy[Cell("b", 0)]


def test_a_part_of_them_knows_nothing_of_the_others(stored):
    outcomes = [kinds(Cell(name, r), r, "failed" if r == 3 else "plain") for r in range(5) for name in CONDITIONS]
    lazy = stored(outcomes)
    part = lazy.restricted([Cell("b", 1), Cell("a", 3), Cell("none", 0)])
    assert list(part) == [Cell("b", 1), Cell("a", 3)]
    assert part.conditions == ("b", "a")
    assert part.failed == {Cell("a", 3)}
    assert part.columns("b").replicates == [1]
    assert lazy.restricted([outcome.cell for outcome in outcomes]) is lazy
    assert lazy.without([]) is lazy


def test_files_belong_to_the_cell_that_wrote_them(stored):
    record = ArtifactRecord("FitStep", "a.txt", None, "0" * 64, 1, "/data/a.txt")
    outcomes = [plain(Cell("a", n), n) for n in range(5)]
    lazy = stored(outcomes, {Cell("a", 3): [record]})
    outcomes[3].artifacts = [record]
    assert lazy[Cell("a", 3)].artifacts == [record]
    assert spelt(result_of([], lazy)) == spelt(result_of(outcomes))


def test_what_has_no_exact_encoding_is_given_back_as_it_is_in_memory(stored):
    outcomes = [kinds(Cell("a", n), n, [*KINDS][n % len(KINDS)]) for n in range(33)]
    value = object()
    outcomes[11].metrics = {"loss": [value, 1.0]}
    gathered = CollectedOutcomes()
    for outcome in outcomes:
        gathered.add(outcome)
    gathered.release()
    assert 0 < len(gathered) < len(outcomes)
    result = result_of([], CorrectedOutcomes(stored(outcomes), gathered))
    assert spelt(result) == spelt(result_of(outcomes))
    assert result.metrics.treatments["a"].metrics["loss"].by_replicate()[11] == [value, 1.0]
    errors = [outcome.error for outcome in outcomes if outcome.error]
    assert all(given is error for given, error in zip(result.errors.values(), errors, strict=True))


def test_a_result_of_kept_outcomes_travels(stored):
    outcomes = [kinds(Cell("a", n), n, [*KINDS][n % len(KINDS)]) for n in range(22)]
    kept = result_of([], stored(outcomes))
    assert spelt(pickle.loads(pickle.dumps(kept))) == spelt(result_of(outcomes))


def test_lists_of_a_result_are_its_own(stored):
    lazy = stored([plain(Cell("baseline", n), n) for n in range(3)])
    first = collect_metrics(lazy, RECORDS)
    first.baseline.metrics["loss"].append(5)
    assert collect_metrics(lazy, RECORDS).baseline.metrics["loss"] == [0.0, 1 / 7, 2 / 7]


@pytest.mark.parametrize("moment", ["FROM trace", "count(*) FROM cell"])
def test_cells_that_are_committed_while_others_are_read_are_none_of_them(stored, monkeypatch, moment):
    """Once between any two look-ups, the writer of a run that goes on commits a cell with a trace of its own."""
    before = [plain(Cell("a", n), n) for n in range(3)]
    more = [kinds(Cell("a", 3), 3, "other names")]
    lazy, after = stored(before), stored([*before, *more])
    with closing(sqlite3.connect(lazy._folder / "run.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE trace SET id = id")  # so that there is a log, which readers look into
        writer.execute("ATTACH ? AS later", (str(after._folder / "run.db"),))

        class Watched(database.RunDatabase):
            def execute(self, statement, *values):
                found = super().execute(statement, *values)
                if moment in statement:
                    for table in ("trace", "cell"):
                        writer.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM later.{table}")
                return found

        monkeypatch.setattr(database, "RunDatabase", Watched)
        if moment == "FROM trace":
            with database.reading(lazy._folder, whole=None) as source:
                lazy = type(lazy)(source, lazy._folder, dict)
        assert lazy.columns("a").metrics["loss"].values.tolist() == [0.0, 1 / 7, 2 / 7]
        assert writer.execute("SELECT count(*) FROM cell").fetchone() == (4,)


def test_nothing_is_kept_of_nothing(stored):
    lazy = stored([])
    assert (len(lazy), lazy.conditions, lazy.failed) == (0, (), frozenset())
    assert spelt(result_of([], lazy)) == spelt(result_of([]))


def test_a_record_that_names_what_is_not_there_is_damaged(stored):
    for table in ("trace", "condition"):
        lazy = stored([plain(Cell("a", 0), 1)])
        with closing(sqlite3.connect(lazy._folder / "run.db")) as other, other:
            other.execute(f"DELETE FROM {table}")
        says = "a cell is of a condition, or has a trace, that is not there"
        with pytest.raises(StoreError, match=says), database.reading(lazy._folder) as source:
            type(lazy)(source, lazy._folder, dict)
