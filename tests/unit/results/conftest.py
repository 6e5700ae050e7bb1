"""Outcomes of cells, made by hand: what a result is built of."""

from __future__ import annotations

from array import array

import pytest

from crystallize.errors import PipelineExecutionError
from crystallize.hooks import (
    ArtifactRecord,
    Cell,
    CellOutcome,
    CellTrace,
    ConditionRecord,
    StepRecord,
    StepShape,
    TraceShape,
    build_result,
)


@pytest.fixture
def outcome():
    """Make the outcome of one cell; a text as `error` makes it a failed one."""

    def make(condition="baseline", replicate=0, metrics=None, *, error=None, **fields):
        cell = Cell(condition, replicate)
        if error is not None:
            fields["error"] = PipelineExecutionError(
                f"step 'fit' failed in {condition}, replicate {replicate}: {error}",
                step_name="fit",
                condition=condition,
                replicate=replicate,
            )
        return CellOutcome(cell, metrics or {}, **{"seed": 100 + replicate, **fields})

    return make


@pytest.fixture
def build():
    """Make a result of outcomes; conditions are those that occur, or those that are named."""

    def make(outcomes, conditions=None, *, replicates=None, **given):
        outcomes = list(outcomes)
        if conditions is None:
            conditions = sorted(
                {each.cell.condition for each in outcomes} | {"baseline"}, key=lambda c: c != "baseline"
            )
        records = [each if isinstance(each, ConditionRecord) else ConditionRecord(each) for each in conditions]
        if replicates is None:
            replicates = max((each.cell.replicate for each in outcomes), default=-1) + 1
        return build_result(
            conditions=records, outcomes=outcomes, replicates=replicates, facts=given.pop("facts", {}), **given
        )

    return make


@pytest.fixture
def shape():
    """The trace of a cell with two steps: the first one writes a key that the second one reads."""
    return TraceShape(
        StepShape("", ("replicate",), ("seed_used",), (("rows", 1),)),
        (
            StepShape("ScaleStep", ("factor", "ghost"), ("scaled",), (("loss", 1),)),
            StepShape("FitStep", ("scaled",), (), (("loss", 2), ("score", 1)), cache_hit=True),
        ),
    )


@pytest.fixture
def traced(outcome, shape):
    """The outcome of a cell with a trace."""

    def make(condition="baseline", replicate=0, *, error=None, steps=2, **fields):
        seed = 100 + replicate
        metrics = {"rows": [9], "loss": [replicate, 10 + replicate, 20 + replicate], "score": [0.5]}
        trace = CellTrace(shape, array("d", [0.25, 0.5][:steps]), {"seed_used": seed, "scaled": "ndarray(shape=(3,))"})
        return outcome(
            condition, replicate, {} if error else metrics, error=error, seed=seed, provenance=trace, **fields
        )

    return make


@pytest.fixture
def conditions():
    """Records of the baseline and of one treatment, for outcomes of `traced`."""
    return [
        ConditionRecord("baseline", {"factor": 1}, [StepRecord("ScaleStep", {"factor": 1}), StepRecord("FitStep")]),
        ConditionRecord("large", {"factor": 9}, [StepRecord("ScaleStep", {"factor": 9}), StepRecord("FitStep")]),
    ]


@pytest.fixture
def stored():
    """Make the record of a file that was stored."""

    def make(name, *, step="PublishStep", folder="/runs/v0", path=None):
        return ArtifactRecord(step, name, None, "0" * 64, 3, path or f"{folder}/{step}/{name}")

    return make
