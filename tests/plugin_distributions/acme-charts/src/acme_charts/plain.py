"""Does without the extra."""

from __future__ import annotations

from crystallize import BasePlugin


class PlainCharts(BasePlugin):
    """Prints a row of stars for every run."""

    neutral = True

    def after_run(self, result):
        print("*" * len(result.metrics.baseline.metrics))
