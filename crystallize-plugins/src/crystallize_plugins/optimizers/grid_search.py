"""`GridSearch`: every combination, in order."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from crystallize import Treatment
from crystallize.errors import OptimizationError
from crystallize_plugins.optimizers.remembering import RememberingOptimizer
from crystallize_plugins.optimizers.spaces import check_space, shown, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize import Objective

__all__ = ["GridSearch"]


class GridSearch(RememberingOptimizer):
    """Tries every combination of values, the last parameter varying fastest.

    Parameters
    ----------
    space : mapping of str to list, `integer` or `choice`
        The values of each parameter.
    objective : Objective or sequence of Objective
    batch_size : int, default 1
        How many combinations run together.

    Attributes
    ----------
    size : int
        Number of combinations; ``num_trials = ceil(size / batch_size)`` tries them all.

    Examples
    --------
    >>> from crystallize import Objective
    >>> grid = GridSearch({"rate": [0.1, 1.0], "depth": [2, 3]}, Objective("loss"))
    >>> grid.size, grid.num_trials
    (4, 4)
    >>> grid.ask()[0].apply_map["depth"], grid.ask()[0].apply_map["depth"]
    (2, 3)
    """

    def __init__(
        self, space: Mapping[str, Any], objective: Objective | Sequence[Objective], *, batch_size: int = 1
    ) -> None:
        super().__init__(objective, batch_size=batch_size)
        self.space = check_space(space, discrete=True)
        values = [values_of(parameter) for parameter in self.space.values()]
        self.size = math.prod(map(len, values))
        self._combinations = itertools.product(*values)

    @property
    def num_trials(self) -> int:
        """How often to ask so that every combination is tried."""
        return math.ceil(self.size / self.batch_size)

    def ask(self) -> list[Treatment]:
        """Return the next combinations.

        Raises
        ------
        OptimizationError
            If all have been tried.
        """
        treatments = []
        for combination in itertools.islice(self._combinations, self.batch_size):
            number = len(self._asked)
            treatments.append(Treatment(f"grid_{number}", dict(zip(self.space, combination, strict=True))))
            self._asked.append(treatments[-1])
        if not treatments:
            last = shown(self._asked[-1].apply_map)
            raise OptimizationError(
                f"all {self.size} combinations of the grid have been tried, the last with {last}: "
                f"use num_trials={self.num_trials}"
            )
        return treatments
