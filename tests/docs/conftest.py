"""Reading the pages: their code blocks, and the output that they claim."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|:{3,}|~{3,})(?P<info>[^\n`]*)$")


class Block(NamedTuple):
    """A fenced block of a page: what its opening fence says, its text, and the line it starts at."""

    info: str
    text: str
    line: int


def _blocks(text):
    found, opening, lines = [], None, []
    for number, line in enumerate(text.splitlines(), start=1):
        if opening is None:
            match = FENCE.match(line)
            if match:
                opening, lines, start = match, [], number + 1
        elif line.strip() == opening["fence"]:
            found.append(Block(opening["info"].strip(), "\n".join(lines) + "\n", start))
            opening = None
        else:
            lines.append(line.removeprefix(opening["indent"]))
    assert opening is None, f"a code block that starts in line {start} is never closed"
    return found


@pytest.fixture(scope="session")
def blocks_of():
    """Give the fenced blocks of a page's text."""
    return _blocks


@pytest.fixture(scope="session")
def script_of():
    """Give the Python blocks of a page as one script whose line numbers are the page's."""

    def script(text):
        lines = []
        for block in _blocks(text):
            if block.info == "python":
                lines += [""] * (block.line - 1 - len(lines))
                lines += block.text.splitlines()
        return "\n".join(lines) + "\n"

    return script
