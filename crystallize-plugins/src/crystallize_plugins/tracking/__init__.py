"""Telling others of runs: what goes to a tracker or over the network, beside the run and never in its way.

| module | its job |
| --- | --- |
| `mlflow_plugin`, `mlflow_sender` | runs in MLflow: what the run's process does, and what the helper's does |
| `opentelemetry_plugin` | a run as a trace, its cells and steps as spans |
| `records` | what a tracker is told of a run, and the file through which that reaches the helper |
| `helper` | a process beside the run that talks to the network for it |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.tracking.mlflow_plugin import MLflowPlugin
    from crystallize_plugins.tracking.opentelemetry_plugin import OpenTelemetryPlugin

__all__ = ["MLflowPlugin", "OpenTelemetryPlugin"]

__getattr__ = lazily(__name__, {"MLflowPlugin": "mlflow_plugin", "OpenTelemetryPlugin": "opentelemetry_plugin"})
