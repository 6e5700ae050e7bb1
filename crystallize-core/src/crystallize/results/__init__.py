"""What cells leave behind, and the result of a run: metrics, errors, artifacts, provenance."""

from __future__ import annotations

from crystallize.results.collected import CollectedOutcomes, collected
from crystallize.results.columns import (
    CellColumns,
    CorrectedOutcomes,
    LazyOutcomes,
    MetricColumn,
    MetricColumns,
    MetricValues,
)
from crystallize.results.description import describe, looks_secret, mask_secrets
from crystallize.results.export import dump_json, to_plain
from crystallize.results.metrics import (
    BASELINE,
    ExperimentMetrics,
    HypothesisResult,
    TreatmentMetrics,
    collect_metrics,
)
from crystallize.results.outcome import ArtifactRecord, Attempt, Cell, CellOutcome, Event, PluginFailure
from crystallize.results.provenance import ConditionRecord, StepRecord
from crystallize.results.result import Result, build_result
from crystallize.results.trace import CellTrace, StepShape, TraceShape

__all__ = [
    "BASELINE",
    "ArtifactRecord",
    "Attempt",
    "Cell",
    "CellColumns",
    "CellOutcome",
    "CellTrace",
    "CollectedOutcomes",
    "ConditionRecord",
    "CorrectedOutcomes",
    "Event",
    "ExperimentMetrics",
    "HypothesisResult",
    "LazyOutcomes",
    "MetricColumn",
    "MetricColumns",
    "MetricValues",
    "PluginFailure",
    "Result",
    "StepRecord",
    "StepShape",
    "TraceShape",
    "TreatmentMetrics",
    "build_result",
    "collect_metrics",
    "collected",
    "describe",
    "dump_json",
    "looks_secret",
    "mask_secrets",
    "to_plain",
]
