"""Outcomes as they arrive: what is at hand, what may be forgotten, and how much there is."""

from __future__ import annotations

import numpy as np
import pytest

from crystallize.errors import PipelineExecutionError
from crystallize.hooks import Cell, CellOutcome
from crystallize.results.collected import CollectedOutcomes, collected


def outcome(replicate, *values, condition="a", **more):
    return CellOutcome(Cell(condition, replicate), {"x": list(values)}, seed=replicate, **more)


def test_a_collection_is_a_mapping_in_the_order_of_arrival():
    several = [outcome(2, 1.0), outcome(0, 2.0, condition="b"), outcome(1, 3.0)]
    gathered = collected(several)
    assert list(gathered) == [each.cell for each in several]
    assert list(gathered.values()) == several
    assert gathered.conditions == ["a", "b"]
    assert gathered.columns("a").replicates == [1, 2]
    assert Cell("a", 0) not in gathered
    with pytest.raises(KeyError):
        gathered[Cell("a", 0)]
    with pytest.raises(KeyError):
        gathered.columns("c")


def test_columns_have_what_has_arrived_by_then():
    gathered = CollectedOutcomes()
    for replicate in range(3):
        gathered.add(outcome(replicate, replicate / 2))
        assert gathered.columns("a").metrics["x"].values == [each / 2 for each in range(replicate + 1)]


def test_what_a_store_gives_back_exactly_is_let_go():
    error = PipelineExecutionError("no luck", step_name="S", condition="a", replicate=1)
    kept = [
        outcome(1, error=error),
        outcome(2, {1, 2}),
        outcome(3, np.array([object()])),
        outcome(9, 1.0),  # the last one: whoever was interrupted while handing it in does so again
    ]
    gathered = CollectedOutcomes()
    for each in [outcome(4, 1.0, "text", None), outcome(5, np.float32(1)), outcome(6, np.ones(3)), *kept]:
        gathered.add(each)
    gathered.release()
    assert list(gathered.values()) == kept
    assert gathered.size == 0


@pytest.mark.parametrize("value, least", [(1.5, 0), ("x" * 50_000, 50_000), (np.ones(10_000), 80_000)])
def test_the_size_tells_of_large_values(value, least):
    gathered = CollectedOutcomes()
    gathered.add(outcome(0, value))
    assert least < gathered.size < least + 5_000
