"""A die that all of a program shares."""

from __future__ import annotations

import random

DIE = random.Random()


def roll() -> int:
    """Roll the die."""
    return DIE.randint(1, 10**9)
