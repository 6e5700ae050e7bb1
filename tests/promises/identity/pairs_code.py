"""Pairs of projects: what code refers to, by whatever way, and what classes hold; they lie in ``pairs_code.txt``."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

DIFFERENT, SAME, UNTRACKED = "different", "same", "untracked"
HELPERS = """
RATE = @@
def scale(x):
    return x * @@
"""


class Row(NamedTuple):
    """Two projects that differ in one place, or two environments of one."""

    kind: str
    expected: str
    """Whether the identities of `step` differ, are the same, or cannot be compared, which is said so."""
    files: dict[str, str]
    """The source of each module, by dotted name; ``@@`` stands for what differs."""
    sides: tuple[object, object]
    variable: tuple[str, str | None, str | None] | None
    """An environment variable, and its value on each side."""

    @property
    def steps(self) -> str:
        """The source of the module that has the step."""
        return self.files["steps"]


def _row(text: str) -> Row:
    head, _, rest = text.partition("\n")
    kind, _, expected = head.partition(" | ")
    sides, variable = (2, 3), None
    if rest.startswith("@@ "):
        line, _, rest = rest.partition("\n")
        sides = ast.literal_eval(line.removeprefix("@@ "))
    if rest.startswith("$ "):
        line, _, rest = rest.partition("\n")
        variable = ast.literal_eval(line.removeprefix("$ "))
    files = {"helpers": HELPERS}
    for part in f"--- steps\n{rest}".split("--- ")[1:]:
        name, _, source = part.partition("\n")
        files[name] = source
    return Row(kind, expected, files, sides, variable)


ROWS = tuple(_row(text) for text in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").split("\n=== ")[1:])
