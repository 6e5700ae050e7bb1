"""Another plugin called tally."""

from __future__ import annotations

from crystallize import BasePlugin


class Tally(BasePlugin):
    """Does nothing, under a name that is taken."""

    neutral = True
