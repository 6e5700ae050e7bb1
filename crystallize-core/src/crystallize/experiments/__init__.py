"""What people hold in their hands: `Experiment`, its builder, and the short form."""

from __future__ import annotations

from crystallize.experiments.builder import ExperimentBuilder
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.quick import quick_experiment

__all__ = ["Experiment", "ExperimentBuilder", "quick_experiment"]
