"""Execution plugins: the same numbers one cell at a time, in threads, in processes or on an event loop."""

from __future__ import annotations

from crystallize_plugins.execution.asynchronous import AsyncExecution
from crystallize_plugins.execution.parallel import ParallelExecution
from crystallize_plugins.execution.serial import SerialExecution

__all__ = ["AsyncExecution", "ParallelExecution", "SerialExecution"]
