"""The conformance kit: tests that authors of plugins inherit, the rules behind them, and what else helps to test.

Nothing here needs pytest to be imported; the fixtures are in `crystallize.testing.fixtures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade

if TYPE_CHECKING:
    from crystallize.testing.commands import CommandConformance
    from crystallize.testing.conformance import PluginConformance
    from crystallize.testing.examination import Examination, examine_plugin
    from crystallize.testing.isolation import IsolatedPlugins, isolated
    from crystallize.testing.kinds import (
        ExecutorConformance,
        ObserverConformance,
        StoreConformance,
        TransformerConformance,
    )
    from crystallize.testing.optimizers import OptimizerConformance
    from crystallize.testing.overriding import deviates
    from crystallize.testing.rules import RULES, Finding
    from crystallize.testing.sample import run_sample
    from crystallize.testing.verifiers import VerifierConformance

__all__ = [
    "RULES",
    "CommandConformance",
    "Examination",
    "ExecutorConformance",
    "Finding",
    "IsolatedPlugins",
    "ObserverConformance",
    "OptimizerConformance",
    "PluginConformance",
    "StoreConformance",
    "TransformerConformance",
    "VerifierConformance",
    "deviates",
    "examine_plugin",
    "isolated",
    "run_sample",
]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    __getattr__, __dir__ = facade(
        globals(),
        {
            "testing.commands": "CommandConformance",
            "testing.conformance": "PluginConformance",
            "testing.examination": "Examination examine_plugin",
            "testing.isolation": "IsolatedPlugins isolated",
            "testing.kinds": "ExecutorConformance ObserverConformance StoreConformance TransformerConformance",
            "testing.optimizers": "OptimizerConformance",
            "testing.overriding": "deviates",
            "testing.rules": "Finding RULES",
            "testing.sample": "run_sample",
            "testing.verifiers": "VerifierConformance",
        },
    )
