"""What the entry points lead to."""

from __future__ import annotations

from acme_dice import DIE


def seed(seed: int) -> None:
    """Seed the die."""
    DIE.seed(seed)


def refuse(seed: int) -> None:
    """Fail, as a seeder may."""
    raise OverflowError(f"{seed} is too large")
