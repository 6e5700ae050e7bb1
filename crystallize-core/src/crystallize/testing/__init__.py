"""The conformance kit: tests that plugin authors inherit."""

from __future__ import annotations

from crystallize.testing.conformance import PluginConformance
from crystallize.testing.overriding import deviates

__all__ = ["PluginConformance", "deviates"]
