"""Optimisers: grid search, random search, and whatever Optuna offers.

Installed under the entry-point group ``crystallize.optimizers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily
from crystallize_plugins.optimizers.constraints import RelativeConstraint
from crystallize_plugins.optimizers.grid_search import GridSearch
from crystallize_plugins.optimizers.random_search import RandomSearch
from crystallize_plugins.optimizers.spaces import choice, floating, integer

if TYPE_CHECKING:
    from crystallize_plugins.optimizers.optuna_study import OptunaOptimizer

__all__ = [
    "GridSearch",
    "OptunaOptimizer",
    "RandomSearch",
    "RelativeConstraint",
    "choice",
    "floating",
    "integer",
]

# Optuna is an extra, and takes its time to import.
__getattr__ = lazily(__name__, {"OptunaOptimizer": "optuna_study"})
