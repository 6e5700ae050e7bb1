"""`RandomSearch`: independent draws, the same for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize import Treatment
from crystallize.hooks.tools import check_integer
from crystallize_plugins.optimizers.remembering import RememberingOptimizer
from crystallize_plugins.optimizers.spaces import check_space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize import Objective

__all__ = ["RandomSearch"]

_MODULUS = 2**128


class RandomSearch(RememberingOptimizer):
    """Draws every parameter independently (Bergstra & Bengio, 2012).

    Parameters
    ----------
    space : mapping of str to `floating`, `integer`, `choice` or a list
    objective : Objective or sequence of Objective
    seed : int, default 0
        Any integer. The sequence depends on it and on nothing else: neither on the batch size, nor on
        what the trials give, nor on global random state.
    batch_size : int, default 1
        How many treatments run together.

    Examples
    --------
    >>> from crystallize import Objective
    >>> from crystallize_plugins.optimizers import RandomSearch, floating
    >>> search = RandomSearch({"rate": floating(1e-3, 1.0, log=True)}, Objective("loss"), seed=3)
    >>> again = RandomSearch({"rate": floating(1e-3, 1.0, log=True)}, Objective("loss"), seed=3)
    >>> search.ask()[0].apply_map == again.ask()[0].apply_map
    True
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        objective: Objective | Sequence[Objective],
        *,
        seed: int = 0,
        batch_size: int = 1,
    ) -> None:
        super().__init__(objective, batch_size=batch_size)
        from numpy.random import default_rng

        self.space = check_space(space)
        self.seed = check_integer(seed, what="seed")
        self._rng = default_rng(self.seed % _MODULUS)

    def ask(self) -> list[Treatment]:
        """Draw the next treatments."""
        treatments = [
            Treatment(
                f"random_{len(self._asked) + offset}",
                {name: parameter.draw(self._rng) for name, parameter in self.space.items()},
            )
            for offset in range(self.batch_size)
        ]
        self._asked.extend(treatments)
        return treatments
