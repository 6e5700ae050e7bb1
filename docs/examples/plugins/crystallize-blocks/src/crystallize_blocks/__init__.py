"""Puts the replicates of Crystallize experiments into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from crystallize.hooks import Setting, TypedPlugin

if TYPE_CHECKING:
    from crystallize import FrozenContext
    from crystallize.hooks import ExperimentView

__all__ = ["Blocks"]


class Blocks(TypedPlugin):
    """Give steps and data sources `block`, the number of the block of replicates that theirs belongs to.

    Replicates of one block share what cannot be repeated for each: a day, a machine, a batch of material.

    Parameters
    ----------
    size : int, default 4
        The number of replicates in a block.
    """

    # Not neutral: results may depend on it, so its code and settings are part of the experiment's identity.
    contract = ">=1.1,<2"

    def __init__(self, size: Annotated[int, Setting("The number of replicates in a block", minimum=1)] = 4) -> None:
        self.size = size

    def before_replicate(self, experiment: ExperimentView, ctx: FrozenContext) -> None:
        """Add the block; it depends on the replicate alone, so that it is the same whoever runs the cell."""
        ctx.add("block", ctx["replicate"] // self.size)
