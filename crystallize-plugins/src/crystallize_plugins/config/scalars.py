"""What a plain word of YAML means, by the core schema of YAML 1.2, and what people may have meant by it.

Versions 1.1 and 1.2 of YAML read some words differently. Where one of the two readings would be wrong in silence
(`no`, `010`, `1_000`), the word is text where text is expected, and refused everywhere else with what to write.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Doubt", "doubt_about", "resolve"]

_LONGEST_NUMBER = 1000
_CONSTANTS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((f"{sign}.{word}" for sign in ("", "+") for word in ("inf", "Inf", "INF")), float("inf")),
    **dict.fromkeys((f"-.{word}" for word in ("inf", "Inf", "INF")), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TRUTH = re.compile(r"(yes|on)|no|off", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)
# Numbers to YAML 1.1, some of which are none to YAML 1.2: with underscores, in binary, with a sign before 0x.
_OLDER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)", re.ASCII
)


class Doubt(NamedTuple):
    """Why a plain word could be taken for two things.

    Attributes
    ----------
    message : str
        The two readings.
    advice : str
        What to write for each.
    instead : str
        What to write if a number or a truth value was meant.
    """

    message: str
    advice: str
    instead: str


def resolve(text: str) -> bool | float | str | None:
    """Give the value of a plain word.

    Parameters
    ----------
    text : str
        As it stands in the file, without quotes.

    Returns
    -------
    None, bool, int, float or str

    Examples
    --------
    >>> resolve("1e3"), resolve("0o17"), resolve("no"), resolve("2026-01-31"), resolve("~")
    (1000.0, 15, 'no', '2026-01-31', None)
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-+.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def doubt_about(text: str) -> Doubt | None:
    """Say how a plain word could be misread, or give None.

    Parameters
    ----------
    text : str
        As it stands in the file, without quotes.

    Examples
    --------
    >>> doubt_about("no").advice
    "Write false, or 'no' in quotes for the text"
    >>> doubt_about("nothing")
    """
    if not text or text[0] not in "-+.0123456789yYnNoO":
        return None
    if truth := _TRUTH.fullmatch(text):
        meant = "true" if truth[1] else "false"
        readings = f"{text} is {meant} to some readers of YAML and a text to others"
    elif _LEADING_ZERO.fullmatch(text) and len(text) < _LONGEST_NUMBER:
        meant = str(int(text))
        readings = f"{text} is an octal number to some readers of YAML and a decimal one to others"
    elif len(text) < _LONGEST_NUMBER and _OLDER.fullmatch(text) and resolve(text) == text:
        meant = _without_groups(text)
        readings = f"{text} is a number to some readers of YAML and a text to others"
    elif _INTEGER.fullmatch(text) and len(text) > _LONGEST_NUMBER:
        return Doubt(
            f"a number of {len(text)} digits cannot be read", "Put it in quotes if it is a text", "a shorter number"
        )
    else:
        return None
    return Doubt(readings, f"Write {meant}, or {text!r} in quotes for the text", meant)


def _without_groups(text: str) -> str:
    digits = text.replace("_", "")
    if digits.lstrip("-+")[:2] in ("0b", "0x"):
        return str(int(digits, 0)) if len(digits.lstrip("-+")) > len("0b") else "a number"
    return digits
