"""Needs the extra."""

from __future__ import annotations

import acme_drawing_board

from crystallize import BasePlugin


class Charts(BasePlugin):
    """Draws a chart of every run."""

    neutral = True

    def after_run(self, result):
        acme_drawing_board.draw(result)
