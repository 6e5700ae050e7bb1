"""The plugin."""

from __future__ import annotations

from crystallize import BasePlugin


class Tally(BasePlugin):
    """Records how many items each step hands on."""

    on_error = "record"
    after = ("seed",)
    before = ("artifacts",)
    contract = ">=1,<2"

    def __init__(self, prefix="items", *, limit=None):
        self.prefix = prefix
        self.limit = limit
        self.cells = 0

    def after_step(self, step, data, ctx):
        if hasattr(data, "__len__"):
            ctx.record(f"{self.prefix} after {type(step).__name__}", len(data))

    def collect(self, outcome):
        self.cells += 1

    def collect_provenance(self):
        return {"cells": self.cells}


def busy(limit=5):
    """Build a tally with other defaults."""
    return Tally("busy", limit=limit)
