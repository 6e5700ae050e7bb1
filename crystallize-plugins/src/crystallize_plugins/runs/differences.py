"""What differs between two runs: one record each, as text for people and as data for programs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crystallize.hooks import Verdict
from crystallize.hooks.tools import printable, shown_probability, to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PARTS", "Difference", "RunDiff", "by_part", "shown"]

PARTS = ("parameters", "code", "data", "plugins", "packages", "environment", "git", "results")
"""The parts of a comparison, in the order in which they are shown."""

_LONGEST = 100
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in two runs.

    Attributes
    ----------
    part : str
        One of `PARTS`.
    name : str
        What it is: ``"replicates"``, ``"step 2 FitStep: rate"``, ``"numpy"``, ``"fast / loss"``.
    kind : {"changed", "added", "removed", "unknown"}
        ``"added"`` is only in the second, ``"removed"`` only in the first, ``"unknown"`` was not recorded by both.
    first, second : object
        What the two runs have, as plain data.
    detail : str
        More: a unified diff of code, where metrics begin to differ.
    """

    part: str
    name: str
    kind: Literal["changed", "added", "removed", "unknown"] = "changed"
    first: Any = None
    second: Any = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "part": self.part,
            "name": self.name,
            "kind": self.kind,
            "first": to_plain(self.first),
            "second": to_plain(self.second),
            "detail": self.detail,
        }

    def lines(self) -> Iterator[str]:
        """Return it as text, the detail indented below."""
        several = "\n" in self.detail
        name = printable(self.name)
        note = f"  ({printable(self.detail)})" if self.detail and not several else ""
        if self.kind == "added":
            yield f"+ {name}{_stated(self.second)}{note}"
        elif self.kind == "removed":
            yield f"- {name}{_stated(self.first)}{note}"
        elif self.kind == "unknown":
            yield f"? {name}{note}"
        elif self.first is None and self.second is None:
            yield f"~ {name}{note}"
        else:
            yield f"~ {name}: {shown(self.first)} → {shown(self.second)}{note}"
        if several:
            lines = self.detail.splitlines()
            yield from (f"    {printable(line, lines=True)}" for line in lines[:_MOST_LINES])
            if len(lines) > _MOST_LINES:
                yield f"    … {len(lines) - _MOST_LINES} more lines"

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Everything that is not the same in two runs.

    Attributes
    ----------
    first, second : str
        The runs, as people call them.
    differences : tuple of Difference
        In the order of `PARTS`.

    Examples
    --------
    >>> found = RunDiff("a@v0", "a@v1", (Difference("parameters", "replicates", first=2, second=3),))
    >>> print(found)
    a@v0 → a@v1
    parameters
      ~ replicates: 2 → 3
    """

    first: str
    second: str
    differences: tuple[Difference, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def of(self, *parts: str) -> tuple[Difference, ...]:
        """Return the differences in some parts: ``diff.of("code", "packages")``."""
        return tuple(found for found in self.differences if found.part in parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "first": self.first,
            "second": self.second,
            "identical": self.identical,
            "differences": [found.to_dict() for found in self.differences],
        }

    def text(self) -> str:
        """Return it as text, by part."""
        head = f"{printable(self.first)} → {printable(self.second)}"
        return f"{head}\nno differences" if self.identical else "\n".join([head, *by_part(self.differences)])

    def __str__(self) -> str:
        return self.text()


def by_part(differences: Sequence[Difference]) -> Iterator[str]:
    """Return differences as lines, those of each part below its name."""
    for part in PARTS:
        found = [each for each in differences if each.part == part]
        if found:
            yield part
            for each in found:
                yield from (f"  {line}" for line in each.lines())


def _stated(value: Any) -> str:
    return "" if value is None else f": {shown(value)}"


def shown(value: Any) -> str:
    """Return a value on one line, a number of NumPy as a number, of a verdict what it comes to."""
    if isinstance(value, Verdict):
        return _verdict(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    text = value if isinstance(value, str) else repr(value)
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _verdict(verdict: Verdict) -> str:
    parts = [{True: "holds", False: "not shown", None: "no telling"}[verdict.holds]]
    if not math.isnan(verdict.estimate):
        parts.append(f"{verdict.estimand or 'estimate'} {verdict.estimate:.4g}")
    if not math.isnan(verdict.p_adjusted):
        parts.append(f"p {shown_probability(verdict.p_adjusted)}")
    return ", ".join(parts)
