"""What cells leave behind, and the result of a run: metrics, errors, artifacts, provenance.

What plugins are handed of it, such as outcomes and records, they import from `crystallize.hooks`.
"""

from __future__ import annotations

from crystallize.results.columns import MetricValues
from crystallize.results.metrics import ExperimentMetrics, TreatmentMetrics
from crystallize.results.result import Result
from crystallize.results.tabular import Tabular

__all__ = ["ExperimentMetrics", "MetricValues", "Result", "Tabular", "TreatmentMetrics"]
