"""Search spaces: what values a parameter may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks.tools import check_count, check_flag, check_integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.random import Generator

__all__ = ["Choice", "Floating", "Integer", "check_space", "choice", "floating", "integer", "shown", "values_of"]


@dataclass(frozen=True, slots=True)
class Floating:
    """Numbers between two bounds; made by `floating`."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: Generator) -> float:
        """Return a value that is uniform, on the logarithmic scale with `log`."""
        if self.log:
            return float(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Integer:
    """Whole numbers between two bounds, both included; made by `integer`."""

    low: int
    high: int
    log: bool = False

    def draw(self, rng: Generator) -> int:
        """Return a value that is uniform, on the logarithmic scale with `log`."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
            return min(max(round(drawn), self.low), self.high)
        return int(rng.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values; made by `choice`."""

    values: tuple[Any, ...]

    def draw(self, rng: Generator) -> Any:
        """Return one of them, each as likely."""
        return self.values[int(rng.integers(len(self.values)))]


def floating(low: float, high: float, *, log: bool = False) -> Floating:
    """Let a parameter be a number between `low` and `high`.

    Parameters
    ----------
    low, high : float
        Finite, `low` smaller than `high`.
    log : bool, default False
        Whether orders of magnitude count alike; `low` is then greater than 0.

    Examples
    --------
    >>> floating(1e-4, 1.0, log=True)
    Floating(low=0.0001, high=1.0, log=True)
    """
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArgumentTypeError(f"{name} must be a number, not {value!r} ({type(value).__name__})")
        if not math.isfinite(value):
            raise ValidationError(f"{name} must be finite, not {value!r}")
    _check_bounds(low, high, log=check_flag(log, what="log"))
    return Floating(float(low), float(high), log)


def integer(low: int, high: int, *, log: bool = False) -> Integer:
    """Let a parameter be a whole number from `low` to `high`.

    Parameters
    ----------
    low, high : int
        Both are included; `low` is smaller than `high`.
    log : bool, default False
        Whether orders of magnitude count alike; `low` is then at least 1.

    Examples
    --------
    >>> integer(1, 8)
    Integer(low=1, high=8, log=False)
    """
    low, high = check_integer(low, what="low"), check_integer(high, what="high")
    _check_bounds(low, high, log=check_flag(log, what="log"))
    return Integer(low, high, log)


def choice(values: Iterable[Any]) -> Choice:
    """Let a parameter be one of `values`.

    Examples
    --------
    >>> choice(["adam", "sgd"])
    Choice(values=('adam', 'sgd'))
    """
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise ArgumentTypeError(f"choice needs a list of values, not {values!r}")
    listed = tuple(values)
    check_count(len(listed), what="the number of values to choose from")
    return Choice(listed)


def check_space(space: Any, *, discrete: bool = False) -> dict[str, Any]:
    """Check a search space; a plain list of values is a `choice`.

    Parameters
    ----------
    space : mapping of str to what `floating`, `integer` or `choice` gives, or a list
    discrete : bool, default False
        Whether every parameter must have finitely many values.

    Returns
    -------
    dict
    """
    if not hasattr(space, "items"):
        raise ArgumentTypeError(f"space must be a mapping of parameters to their values, not {type(space).__name__}")
    checked: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(name, str) or not name:
            raise ArgumentTypeError(f"a parameter of the space must be named by text, not {name!r}")
        checked[name] = values if isinstance(values, (Floating, Integer, Choice)) else _listed(name, values)
        if discrete and isinstance(checked[name], Floating):
            raise ValidationError(
                f"parameter {name!r} has infinitely many values: a grid needs a list, such as [0.01, 0.1, 1.0]"
            )
    if not checked:
        raise ValidationError('the space has no parameter: give {"rate": [0.01, 0.1]}')
    return checked


def values_of(parameter: Integer | Choice) -> Sequence[Any]:
    """Return every value of a parameter that has finitely many."""
    return parameter.values if isinstance(parameter, Choice) else range(parameter.low, parameter.high + 1)


def shown(parameters: Mapping[str, Any]) -> str:
    """Show parameters in a few characters."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def _listed(name: str, values: Any) -> Choice:
    try:
        return choice(values)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"parameter {name!r} of the space must be a list of values, floating(low, high) or integer(low, high), "
            f"not {values!r}"
        ) from None


def _check_bounds(low: float, high: float, *, log: bool) -> None:
    if not low < high:
        raise ValidationError(f"low must be smaller than high, not {low!r} and {high!r}")
    if log and low <= 0:
        raise ValidationError(f"low must be greater than 0 on a logarithmic scale, not {low!r}")
