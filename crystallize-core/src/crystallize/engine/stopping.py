"""When a run stops: it looks at its results after each batch of replicates, and ends once a hypothesis is decided."""

from __future__ import annotations

import logging
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.design import Hypothesis
    from crystallize.engine.run import Run
    from crystallize.results.metrics import HypothesisResult
    from crystallize.results.outcome import Cell

__all__ = ["Stopping"]

_LOGGER = logging.getLogger("crystallize")


class Stopping:
    """The rule by which a run stops, and the looks that it has taken.

    Parameters
    ----------
    hypothesis : Hypothesis
        Of a verifier that may be looked at again and again.
    batch : int
        The number of replicates between two looks.
    budget : int
        The number of replicates after which the run ends in any case.

    Attributes
    ----------
    looks : list of int
        The number of replicates at each look.
    reason : str
        ``"decided"``, ``"budget"``, or empty as long as the run has not ended by the rule.
    """

    def __init__(self, hypothesis: Hypothesis, batch: int, budget: int) -> None:
        self.hypothesis = hypothesis
        self.batch = batch
        self.budget = budget
        self.looks: list[int] = []
        self.reason = ""

    def recall(self, recorded: Mapping[str, Any]) -> int:
        """Take over the looks of the run that is resumed.

        Parameters
        ----------
        recorded : mapping
            The record of its rule; empty where it has none.

        Returns
        -------
        int
            The number of replicates to begin with: that at which the same hypothesis was decided, else the budget.
        """
        if recorded.get("hypothesis") != self.hypothesis.name:
            return self.budget
        looks = recorded.get("looks", [])
        self.looks = [look for look in looks if look <= self.budget]
        same = recorded.get("digest") == self.hypothesis.digest and self.looks == looks
        if not (looks and same and recorded.get("reason") == "decided"):
            return self.budget
        self.reason = "decided"
        return self.looks[-1]

    def batches(self, run: Run, planned: Sequence[Cell]) -> Iterator[Sequence[Cell]]:
        """Yield the cells of one batch after the other, until the hypothesis is decided or the budget is spent.

        Parameters
        ----------
        run : Run
        planned : sequence of Cell
            Those that are left to run, replicate by replicate.
        """
        if not run.takes_over:
            self.looks.clear()  # what was looked at is not what this run has
        if planned:
            self.reason = ""
        start, look = 0, self.looks[-1] if self.looks else min(self.batch, self.budget)
        while not self.reason:
            first, last = (bisect_left(planned, each, key=attrgetter("replicate")) for each in (start, look))
            yield planned[first:last]
            if look not in self.looks:
                self.looks.append(look)
            if _is_decided(run.tested(self.hypothesis, look)):
                self.reason = "decided"
            elif look == self.budget:
                self.reason = "budget"
            else:
                start, look = look, min(look + self.batch, self.budget)
                if look > run.view.replicates:
                    planned = run.extend(self.budget, start)
            _LOGGER.info(
                "look at %d replicates: %s is %sdecided%s", self.looks[-1], self.hypothesis.name,
                "" if self.reason == "decided" else "not ", ", and the budget is spent" * (self.reason == "budget"),
            )  # fmt: skip
        run.end_at(self.looks[-1])

    def record(self) -> dict[str, Any]:
        """Return what is kept of it in the provenance."""
        return {
            "hypothesis": self.hypothesis.name,
            "looks": list(self.looks),
            "reason": self.reason,
            "digest": self.hypothesis.digest,
        }


def _is_decided(tested: HypothesisResult) -> bool:
    """Whether nothing is open: each claim holds, or its effect is within the margin that counts as none."""
    return (
        bool(tested.verdicts)
        and not tested.errors
        and all(verdict.holds or verdict.details.get("equivalent") for verdict in tested.verdicts)
    )
