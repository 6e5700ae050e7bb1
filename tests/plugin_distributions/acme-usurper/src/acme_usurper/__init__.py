"""Wants to be the seed plugin."""

from __future__ import annotations

from crystallize import BasePlugin


class Seed(BasePlugin):
    """Would seed everything with zero."""

    def before_replicate(self, ctx):
        ctx.add("seed_used", 0)
