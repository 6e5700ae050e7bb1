"""What an experiment keeps from one run for the next: conditions made ready to run."""

from __future__ import annotations

import operator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.design import Treatment
    from crystallize.experiments.experiment import Experiment

__all__ = ["compiled_conditions", "frozen_context"]


def frozen_context(experiment: Experiment) -> Mapping[str, Any]:
    """Give the initial context as nobody can change it; the same object as before, unless somebody changed ours."""
    known = experiment._context_before
    ours = experiment.initial_ctx
    if known is None or list(known) != list(ours) or not all(map(operator.is_, known.values(), ours.values())):
        known = experiment._context_before = MappingProxyType(dict(ours))
    return known


def compiled_conditions(
    experiment: Experiment, treatments: list[Treatment], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the conditions that the run before compiled, as far as this run has them too.

    They are forgotten once a part of the experiment is replaced; a treatment that a run no longer has is forgotten
    with all that it holds.
    """
    parts = (experiment.pipeline, *experiment.outputs.values(), context)
    known, programs = experiment._programs
    kept = {}
    if len(known) == len(parts) and all(map(operator.is_, known, parts)):
        current = {id(treatment) for treatment in treatments}
        kept = {name: entry for name, entry in list(programs.items()) if entry[0] is None or id(entry[0]) in current}
    experiment._programs = (parts, kept)
    return kept
