"""What a stored run came to: a word for each hypothesis, and the means of its metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Findings", "key_of", "read_findings"]


class Findings(NamedTuple):
    """What a run came to.

    Attributes
    ----------
    verdicts : tuple of str
        For lists: ``✓ deep is better``, ``○ wide is better: not shown``.
    words : tuple of str
        For one run: ``deep is better, deep: holds, p = 0.0030``.
    means : dict of str to dict of str to float
        By condition and metric.
    """

    verdicts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    means: Mapping[str, Mapping[str, float]] = {}


def key_of(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what changes when a run does: what was found of it holds as long."""
    return run["path"], run["started"], run["status"], run.get("cells"), run.get("failed")


def read_findings(path: str) -> Findings:
    """Read what a run came to; nothing where it cannot be read."""
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.tools import mean, shown_probability
    from crystallize_plugins.artifacts import open_run

    try:
        result = open_run(path)
        verdicts, words = [], []
        for tested in result.metrics.hypotheses:
            held = [verdict for verdict in tested.verdicts if verdict.holds]
            told = "not shown" if tested.verdicts else "not tested"
            verdicts.append(f"✓ {tested.name}" if held else f"○ {tested.name}: {told}")
            for verdict in tested.verdicts:
                word = {True: "holds", False: "not shown", None: "no telling"}[verdict.holds]
                chance = "" if math.isnan(verdict.p_adjusted) else f", p {shown_probability(verdict.p_adjusted)}"
                words.append(f"{tested.name}, {verdict.treatment}: {word}{chance}")
            words += [f"{tested.name}, {name}: not tested: {why}" for name, why in tested.errors.items()]
        conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
        means = {
            name: {
                metric: mean(values)
                for metric, values in condition.metrics.items()
                if values and all(isinstance(value, (int, float)) for value in values)
            }
            for name, condition in conditions.items()
        }
    except (CrystallizeError, OSError):
        return Findings()
    return Findings(tuple(verdicts), tuple(words), means)
