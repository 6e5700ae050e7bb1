"""What cells leave behind, and the result of a run: metrics, errors, artifacts, provenance.

What plugins are handed of it, such as outcomes and records, they import from `crystallize.hooks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade
from crystallize.results.columns import MetricValues
from crystallize.results.metrics import ExperimentMetrics, TreatmentMetrics
from crystallize.results.result import Result
from crystallize.results.tabular import Tabular

if TYPE_CHECKING:
    from crystallize.engine.combining import combine

__all__ = ["ExperimentMetrics", "MetricValues", "Result", "Tabular", "TreatmentMetrics", "combine"]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    # What judges lies above the results, which it is made of.
    __getattr__, __dir__ = facade(globals(), {"engine.combining": "combine"})
