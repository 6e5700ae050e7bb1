"""What optimisers that learn nothing between trials share: they remember, and pick the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crystallize import BaseOptimizer
from crystallize.errors import OptimizationError
from crystallize.hooks.tools import check_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize import Objective, Treatment
    from crystallize.hooks import TrialResult

__all__ = ["RememberingOptimizer"]


class RememberingOptimizer(BaseOptimizer):
    """Remembers what every treatment gave; the best is that with the best value of the first objective.

    Failed and pruned trials are passed over. With several objectives the first decides.
    """

    def __init__(self, objective: Objective | Sequence[Objective], *, batch_size: int = 1) -> None:
        super().__init__(objective)
        self.batch_size = check_count(batch_size, what="batch_size")
        self._asked: list[Treatment] = []
        self._scores: list[tuple[float, Treatment]] = []

    @property
    def _first(self) -> Objective:
        first: Objective = self.objective[0] if isinstance(self.objective, (list, tuple)) else self.objective
        return first

    def tell(self, objective_values: Mapping[str, float]) -> None:
        """Learn what the last treatment gave."""
        self._note(self._asked[-1], objective_values[self._first.metric])

    def tell_trials(self, trials: Sequence[TrialResult]) -> None:
        """Learn what a batch gave."""
        for trial in trials:
            if trial.state == "complete":
                self._note(trial.treatment, trial.mean(self._first.metric))

    def _note(self, treatment: Treatment, value: float) -> None:
        if not math.isnan(value):
            self._scores.append((-value if self._first.direction == "maximize" else value, treatment))

    def get_best_treatment(self) -> Treatment:
        """Return the best treatment, the first of equals.

        Raises
        ------
        OptimizationError
            If no trial was complete.
        """
        if not self._scores:
            raise OptimizationError(
                "no trial is complete, so no treatment is best: see experiment.last_optimization.trials for the errors"
            )
        return min(self._scores, key=lambda scored: scored[0])[1]
