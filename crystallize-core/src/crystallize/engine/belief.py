"""How far what a run shows may be believed: whether it was planned, and went as it was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from crystallize.design import Hypothesis
    from crystallize.design.preregistration import Preregistration

__all__ = ["STATES", "Belief"]

STATES = ("changed hypothesis", "changed code", "reused data", "confounded", "exploratory", "valid")
"""How far a verdict may be believed, worst first."""

_MOST_NAMED = 4


class Belief:
    """What a run says for all verdicts of a hypothesis, before failures are looked at.

    Parameters
    ----------
    plan : Preregistration, optional
        What the run carries out.
    identities : mapping of str to mapping of str to str
        What the cells of each condition are made of; needed where there is a plan.
    until : Hypothesis, optional
        The one by which the run stopped.
    reused : mapping of int to str
        Of the run's seeds those that earlier stored runs had, with the run of each.
    doubt : str
        Why it cannot be said that the plan was carried out; empty where it can.
    """

    def __init__(
        self,
        plan: Preregistration | None = None,
        *,
        identities: Mapping[str, Mapping[str, str]] | None = None,
        until: Hypothesis | None = None,
        reused: Mapping[int, str] | None = None,
        doubt: str = "",
    ) -> None:
        self._plan = plan
        self._changed = {} if plan is None else _differences(plan.identities, identities or {})
        self._until = until
        self._reused = reused or {}
        self._doubt = doubt

    def of(self, hypothesis: Hypothesis) -> tuple[str, str]:
        """Return the state of a hypothesis' verdicts, and why it is that."""
        plan = self._plan
        if plan is None:
            return "exploratory", "it was not planned before the run" + self._ended_by(hypothesis)
        planned = next((each for each in plan.hypotheses if each.name == hypothesis.name), None)
        if planned is None:
            return "exploratory", f"the plan of {plan.created} does not have it"
        if planned.digest != hypothesis.digest:
            what = planned.differences(hypothesis)
            return "changed hypothesis", f"it is not as it was planned on {plan.created}: {what} changed"
        return self._of_run(plan) or self._carried_out(plan, hypothesis)

    def _of_run(self, plan: Preregistration) -> tuple[str, str] | None:
        """Return what is wrong with the run as a whole."""
        if self._changed:
            return "changed code", f"changed since the plan of {plan.created}: {_listed(self._changed)}"
        if self._reused:
            runs = _listed(dict.fromkeys(self._reused.values()))
            return "reused data", f"{len(self._reused)} of its seeds were used before, by {runs}"
        return None

    def _carried_out(self, plan: Preregistration, hypothesis: Hypothesis) -> tuple[str, str]:
        doubt = self._doubt or self._ended_by(hypothesis).removeprefix(", and ")
        if doubt:
            return "exploratory", doubt
        unseen = f"; what could not be compared: {_listed(plan.untracked)}" if plan.untracked else ""
        return "valid", f"as it was planned on {plan.created}{unseen}"

    def _ended_by(self, hypothesis: Hypothesis) -> str:
        """Say that the run was ended by what it showed, where a test does not allow for that."""
        if self._until is None or hypothesis.is_always_valid:
            return ""
        return f", and the run went on until {self._until.name} was decided, for which its test makes no allowance"


def _differences(planned: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> Collection[str]:
    """Return in what conditions differ from the plan; what all of them share is named once."""
    found: dict[str, None] = {}
    for condition in dict.fromkeys((*planned, *now)):
        before, after = planned.get(condition, {}), now.get(condition, {})
        for part in dict.fromkeys((*before, *after)):
            if before.get(part) != after.get(part):
                found[f"treatment {condition!r}" if part == "treatment" else part] = None
    return found


def _listed(names: Collection[str]) -> str:
    shown = [*names][:_MOST_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
