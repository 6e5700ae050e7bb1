"""Counts what happens in a run."""

from __future__ import annotations

from acme_tally.counting import Tally, busy

__all__ = ["Tally", "busy"]
