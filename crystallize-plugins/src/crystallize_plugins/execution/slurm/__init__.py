"""Cells in the jobs of a cluster that SLURM manages.

| module | its job |
| --- | --- |
| `plugin` | `SlurmExecution`: the settings, and what a run is told |
| `loop` | the coordinator: taking up what earlier runs have left, queueing jobs, being interrupted |
| `following` | one folder of jobs: what they say, what those that are gone have left, when there have to be more |
| `job` | what runs on a node |
| `folder` | what both sides write to and read from |
| `commands` | the commands of SLURM |
"""

from __future__ import annotations

from crystallize_plugins.execution.slurm.plugin import SlurmExecution

__all__ = ["SlurmExecution"]
