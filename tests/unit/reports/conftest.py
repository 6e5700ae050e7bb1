"""Results made by hand, to be shown."""

from __future__ import annotations

import pytest

from crystallize.engine.judge import judge
from crystallize.errors import PipelineExecutionError
from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result
from crystallize.results.metrics import collect_metrics


@pytest.fixture
def result_of():
    """Make a result of ``{condition: {metric: [value of each replicate, None where it failed]}}``."""

    def make(values, *, hypotheses=(), replicates=None, plugin_errors=(), **run):
        outcomes = []
        for condition, metrics in values.items():
            for replicate in range(max(map(len, metrics.values()), default=0)):
                cell = Cell(condition, replicate)
                recorded = {name: series[replicate] for name, series in metrics.items() if replicate < len(series)}
                if any(value is None for value in recorded.values()):
                    error = PipelineExecutionError(
                        f"FitStep failed in condition {condition!r}, replicate {replicate}: ValueError: boom",
                        step_name="FitStep",
                        condition=condition,
                        replicate=replicate,
                    )
                    outcomes.append(CellOutcome(cell, {}, error=error))
                else:
                    outcomes.append(CellOutcome(cell, {name: [value] for name, value in recorded.items()}))
        conditions = [ConditionRecord(name) for name in values]
        metrics = collect_metrics(outcomes, conditions)
        tested, errors = judge(
            hypotheses,
            metrics.baseline.metrics,
            {name: condition.metrics for name, condition in metrics.treatments.items()},
            absent=[name for name in values if name != "baseline" and name not in metrics.treatments],
        )
        if replicates is None:
            replicates = max((outcome.cell.replicate for outcome in outcomes), default=-1) + 1
        return build_result(
            conditions=conditions,
            outcomes=outcomes,
            replicates=replicates,
            facts={"run": {"experiment": "wines", "seed": 7, "folder": "/data/wines/v0", "started": 1.5, **run}},
            errors=errors,
            hypotheses=tested,
            metrics=metrics,
            plugin_errors=plugin_errors,
        )

    return make
