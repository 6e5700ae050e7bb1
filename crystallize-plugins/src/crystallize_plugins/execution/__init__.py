"""Execution plugins: the same numbers one cell at a time, in threads, in processes, on an event loop, on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.execution.asynchronous import AsyncExecution
from crystallize_plugins.execution.parallel import ParallelExecution
from crystallize_plugins.execution.serial import SerialExecution
from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.execution.slurm import SlurmExecution

__all__ = ["AsyncExecution", "ParallelExecution", "SerialExecution", "SlurmExecution"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, {"SlurmExecution": "slurm"})
