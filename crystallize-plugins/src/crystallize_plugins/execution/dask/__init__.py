"""`DaskExecution`: cells on the workers of a Dask cluster.

| module | its job |
| --- | --- |
| `executor` | the plugin: its settings, what it records |
| `loop` | the coordinator's part of one run: sites are opened, batches go out, outcomes come in |
| `worker` | what runs in a Dask worker |
| `cluster` | the scheduler: the user's, or one of our own with workers on this machine |
"""

from __future__ import annotations

from crystallize_plugins.execution.dask.executor import DaskExecution

__all__ = ["DaskExecution"]
