"""Optimisers: grid search, random search, and whatever Optuna offers.

Installed under the entry-point group ``crystallize.optimizers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize_plugins.optimizers._constraints import RelativeConstraint
from crystallize_plugins.optimizers._grid import GridSearch
from crystallize_plugins.optimizers._random import RandomSearch
from crystallize_plugins.optimizers._space import choice, floating, integer

if TYPE_CHECKING:
    from crystallize_plugins.optimizers._optuna import OptunaOptimizer

__all__ = [
    "GridSearch",
    "OptunaOptimizer",
    "RandomSearch",
    "RelativeConstraint",
    "choice",
    "floating",
    "integer",
]


def __getattr__(name: str) -> Any:
    if name == "OptunaOptimizer":
        # Optuna is an extra, and takes its time to import.
        from crystallize_plugins.optimizers._optuna import OptunaOptimizer

        return OptunaOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
