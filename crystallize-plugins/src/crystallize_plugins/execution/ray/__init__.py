"""`RayExecution`: cells on a Ray cluster.

| module | its job |
| --- | --- |
| `executor` | the plugin: its settings, what it records |
| `loop` | the coordinator's part of one run: actors are started, batches go out, outcomes come in |
| `worker` | what runs in a Ray worker |
| `cluster` | the connection: the user's, or to a Ray of our own on this machine |
"""

from __future__ import annotations

from crystallize_plugins.execution.ray.executor import RayExecution

__all__ = ["RayExecution"]
