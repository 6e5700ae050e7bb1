"""How the tests of the kit fail: with an `AssertionError` that begins with the name of the rule."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import SkipTest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize.testing.rules import Finding

__all__ = ["chain_of", "no_findings", "promise", "raising_breaks", "rule_of"]


def promise(kept: bool, rule: str, text: str) -> None:
    """Raise where a promise is not kept.

    Raises
    ------
    AssertionError
    """
    if not kept:
        raise AssertionError(f"[{rule}] {text}")


def no_findings(findings: Iterable[Finding]) -> None:
    """Raise where something was found.

    Raises
    ------
    AssertionError
    """
    found = list(findings)
    if found:
        raise AssertionError("\n".join(map(str, found)))


@contextmanager
def raising_breaks(rule: str, what: str) -> Iterator[None]:
    """Raise `AssertionError` where the block raises anything else.

    Parameters
    ----------
    rule : str
        The rule that is broken then, unless the error says of itself which one it is.
    what : str
        What the block does, for the message.
    """
    try:
        yield
    except (AssertionError, SkipTest) as exc:
        if isinstance(exc, AssertionError) and not str(exc).startswith("["):
            raise AssertionError(f"[{rule}] {what}: AssertionError: {exc}") from exc
        raise
    except Exception as exc:
        raise AssertionError(f"[{rule_of(exc) or rule}] {what}: {type(exc).__name__}: {exc}") from exc


def rule_of(exc: BaseException | None) -> str | None:
    """Return the rule that an error, or what caused it, says is broken."""
    return next((rule for each in chain_of(exc) if (rule := getattr(each, "rule", None))), None)


def chain_of(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    while exc is not None:
        yield exc
        exc = exc.__cause__
