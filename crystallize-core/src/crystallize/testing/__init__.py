"""The conformance kit: tests that authors of plugins inherit, the rules behind them, and what else helps to test.

Nothing here needs pytest to be imported; the fixtures are in `crystallize.testing.fixtures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade

if TYPE_CHECKING:
    from crystallize.testing.conformance import PluginConformance
    from crystallize.testing.examination import Examination, examine_plugin
    from crystallize.testing.optimizers import OptimizerConformance
    from crystallize.testing.overriding import deviates
    from crystallize.testing.rules import RULES, Finding

__all__ = [
    "RULES",
    "Examination",
    "Finding",
    "OptimizerConformance",
    "PluginConformance",
    "deviates",
    "examine_plugin",
]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    __getattr__, __dir__ = facade(
        globals(),
        {
            "testing.conformance": "PluginConformance",
            "testing.examination": "Examination examine_plugin",
            "testing.optimizers": "OptimizerConformance",
            "testing.overriding": "deviates",
            "testing.rules": "Finding RULES",
        },
    )
