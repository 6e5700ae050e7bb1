"""The account of what plugins cost: how often each hook was called, and how long that took."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crystallize.discovery.loading import import_time
from crystallize.hooks.roles import WorkerReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.plugins.info import PluginInfo
    from crystallize.plugins.manager import HookCall
    from crystallize.results.outcome import CellOutcome

__all__ = ["Account"]

_LOGGER = logging.getLogger("crystallize")
_MOST = 0.2
"""The share of a run that plugins which only look may take without a word."""
_OUTSIDE_CELLS = frozenset({"worker_start", "worker_stop", "after_replicate"})


class Account:
    """What the hooks of each plugin took in one process; what other processes took is added at their end.

    The loop of an executor is not in it: the cells run there.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], list[Any]] = {}
        self._lock = threading.Lock()
        self._in_cells = 0.0

    def timed(self, call: HookCall) -> HookCall:
        """Return a call that is counted and timed."""
        if call.hook == "run_experiment_loop":
            return call
        entry = self._spent.setdefault((call.info.name, call.hook), [0, 0.0])
        return replace(call, fn=self._timing(call.fn, entry), method=self._timing(call.method, entry))

    def _timing(self, fn: Callable[..., Any], entry: list[Any]) -> Callable[..., Any]:
        clock, lock = time.perf_counter, self._lock

        def timing(*arguments: Any) -> Any:
            begun = clock()
            try:
                return fn(*arguments)
            finally:
                seconds = clock() - begun
                with lock:
                    entry[0] += 1
                    entry[1] += seconds

        return timing

    def note(self, outcome: CellOutcome) -> None:
        """Take note of how long a cell took."""
        self._in_cells += outcome.duration

    def taken(self) -> dict[tuple[str, str], tuple[int, float]]:
        """Return calls and seconds by plugin and hook, and begin anew."""
        with self._lock:
            found = {key: (calls, seconds) for key, (calls, seconds) in self._spent.items() if calls}
            for entry in self._spent.values():
                entry[:] = 0, 0.0
        return found

    def record(self, infos: Iterable[PluginInfo], report: WorkerReport) -> dict[str, Any]:
        """Return the account of a run as its provenance has it, and warn where what only looks takes long.

        Parameters
        ----------
        infos : iterable of PluginInfo
            The run's plugins.
        report : WorkerReport
            What the workers reported.

        Returns
        -------
        dict
            By plugin ``import_ms`` (None where it was imported before anybody asked for it by name), ``seconds``,
            ``share`` of the time that cells and hooks took together, and ``hooks``: by name ``calls`` and ``seconds``.
        """
        here = WorkerReport(spent=self.taken())
        whole = self._in_cells + sum(seconds for _, seconds in here.spent.values())
        whole += sum(seconds for (_, hook), (_, seconds) in report.spent.items() if hook in _OUTSIDE_CELLS)
        here.absorb(report)
        found: dict[str, Any] = {}
        looking: dict[str, float] = {}
        for info in infos:
            hooks = {
                hook: {"calls": calls, "seconds": seconds}
                for (name, hook), (calls, seconds) in here.spent.items()
                if name == info.name
            }
            seconds = sum(each["seconds"] for each in hooks.values())
            share = seconds / whole if whole else 0.0
            found[info.name] = {
                "import_ms": import_time(info.plugin),
                "seconds": seconds,
                "share": share,
                "hooks": hooks,
            }
            if info.neutral:
                looking[info.name] = share
        if sum(looking.values()) > _MOST:
            dearest = max(looking, key=lambda name: looking[name])
            _LOGGER.warning(
                "plugins that only look took %.0f %% of the time of this run, %r the most: provenance['plugin_cost'] "
                "says in which hooks",
                100 * sum(looking.values()),
                dearest,
            )
        return found
