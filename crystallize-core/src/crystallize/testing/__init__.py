"""The conformance kits: tests that authors of plugins and of optimisers inherit."""

from __future__ import annotations

from crystallize.testing.conformance import PluginConformance
from crystallize.testing.optimizers import OptimizerConformance
from crystallize.testing.overriding import deviates

__all__ = ["OptimizerConformance", "PluginConformance", "deviates"]
