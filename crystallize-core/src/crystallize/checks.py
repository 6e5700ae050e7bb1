"""Checks of arguments: each gives the value back, or names the argument and says what is expected.

A wrong type is an `ArgumentTypeError`, a wrong value a `ValidationError`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = [
    "check_callable",
    "check_choice",
    "check_count",
    "check_flag",
    "check_integer",
    "check_mapping",
    "check_seconds",
]

CallableT = TypeVar("CallableT", bound="Callable[..., Any]")


def check_integer(value: object, *, what: str) -> int:
    """Return `value` as a plain `int`, of any size and sign.

    Parameters
    ----------
    value : object
        An `int` or anything that declares itself one, such as a NumPy integer. `bool`, `float` and text are not.
    what : str
        The argument, for the message.

    Raises
    ------
    ArgumentTypeError
        `value` is no integer.

    Examples
    --------
    >>> check_integer(-3, what="seed")
    -3
    """
    # NumPy's truth values have served as indices, too.
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ArgumentTypeError(f"{what} must be an integer, not {_shown(value)}")


def check_count(value: object, *, what: str, minimum: int = 1) -> int:
    """Return `value` as a plain `int` of at least `minimum`.

    Parameters
    ----------
    value : object
        As for `check_integer`.
    what : str
        The argument, for the message.
    minimum : int, default 1
        The smallest value that makes sense.

    Raises
    ------
    ArgumentTypeError
        `value` is no integer.
    ValidationError
        `value` is smaller than `minimum`.

    Examples
    --------
    >>> check_count(3, what="replicates")
    3
    """
    count = check_integer(value, what=what)
    if count < minimum:
        raise ValidationError(f"{what} must be at least {minimum}, not {count}")
    return count


def check_flag(value: object, *, what: str) -> bool:
    """Return `value` if it is True or False.

    Parameters
    ----------
    value : object
        A `bool`; no other truth value.
    what : str
        The argument, for the message.

    Raises
    ------
    ArgumentTypeError
        `value` is no `bool`.

    Examples
    --------
    >>> check_flag(False, what="verbose")
    False
    """
    if isinstance(value, bool):
        return value
    raise ArgumentTypeError(f"{what} must be True or False, not {_shown(value)}")


def check_choice(value: object, choices: Collection[str], *, what: str) -> str:
    """Return `value` if it is one of the texts in `choices`.

    Parameters
    ----------
    value : object
        What was chosen.
    choices : collection of str
        What can be chosen.
    what : str
        The argument, for the message.

    Raises
    ------
    ArgumentTypeError
        `value` is no text.
    ValidationError
        `value` is none of the choices; the message lists them.

    Examples
    --------
    >>> check_choice("resume", ["rerun", "resume"], what="strategy")
    'resume'
    """
    expected = ", ".join(map(repr, choices))
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{what} must be one of {expected}, not {_shown(value)}")
    if value not in choices:
        raise ValidationError(f"{what} must be one of {expected}, not {value!r:.80}.{did_you_mean(value, choices)}")
    return value


def check_callable(value: CallableT, *, what: str) -> CallableT:
    """Return `value` if it can be called.

    Parameters
    ----------
    value : callable
        Any callable.
    what : str
        The argument, for the message.

    Raises
    ------
    ArgumentTypeError
        `value` cannot be called.

    Examples
    --------
    >>> check_callable(len, what="verifier")
    <built-in function len>
    """
    if callable(value):
        return value
    raise ArgumentTypeError(f"{what} must be callable, not {_shown(value)}")


def check_mapping(value: object, *, what: str, text_keys: bool = True) -> Mapping[Any, Any]:
    """Return `value` if it is a mapping, by default one whose keys are text.

    Parameters
    ----------
    value : object
        Any mapping.
    what : str
        The argument, for the message.
    text_keys : bool, default True
        Whether keys that are no text are refused.

    Raises
    ------
    ArgumentTypeError
        `value` is no mapping, or has a key that is no text.

    Examples
    --------
    >>> check_mapping({"rate": 0.1}, what="initial_ctx")
    {'rate': 0.1}
    """
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{what} must be a mapping of names to values, not {_shown(value)}")
    if text_keys:
        for key in value:
            if not isinstance(key, str):
                raise ArgumentTypeError(f"the keys of {what} must be text, not {_shown(key)}")
    return value


def check_seconds(value: object, *, what: str, zero: bool = False) -> float:
    """Return `value` as a finite number of seconds greater than zero.

    Parameters
    ----------
    value : object
        A real number of any type; no `bool` and no text.
    what : str
        The argument, for the message.
    zero : bool, default False
        Whether 0 makes sense, too.

    Raises
    ------
    ArgumentTypeError
        `value` is no real number.
    ValidationError
        `value` is negative, infinite, not a number, or 0 where that makes no sense.

    Examples
    --------
    >>> check_seconds(30, what="timeout")
    30.0
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{what} must be a number of seconds, not {_shown(value)}")
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValidationError(f"{what} must be a finite number of seconds, {least}, not {value!r}")
    return seconds


def _shown(value: object) -> str:
    """Show a value by type and, where that is short, by its text."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return f"{value!r:.60} ({kind})" if value is not None else kind
    return f"an object of type {kind}"
