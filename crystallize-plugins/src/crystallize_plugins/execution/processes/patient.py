"""`PatientBench`: a worker's bench where cells may be tried again or have time-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.engine.policies import attempt_of
from crystallize_plugins.execution.processes.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.engine.runner import CellRunner
    from crystallize.results.outcome import Attempt
    from crystallize_plugins.execution.processes.outbox import Outbox
    from crystallize_plugins.execution.processes.relay import Relay
    from crystallize_plugins.execution.processes.segment import PrivateMap
    from crystallize_plugins.execution.processes.slots import WorkerSlots

__all__ = ["PatientBench", "bench_for"]


def bench_for(
    runner: CellRunner,
    cells: list[tuple[str, int]],
    mapped: PrivateMap | None,
    slots: WorkerSlots,
    relay: Relay,
    outbox: Outbox,
    had: int,
) -> Bench:
    """Give what a worker needs at hand for its cells; see `Bench`."""
    kind = Bench if runner.policies is None else PatientBench
    return kind(runner, cells, mapped, slots, relay, outbox, had)


class PatientBench(Bench):
    """Runs one attempt; the coordinator sees to the next one, so that no worker waits for it."""

    def __init__(
        self,
        runner: CellRunner,
        cells: list[tuple[str, int]],
        mapped: PrivateMap | None,
        slots: WorkerSlots,
        relay: Relay,
        outbox: Outbox,
        had: int,
    ) -> None:
        super().__init__(runner, cells, mapped, slots, relay, outbox, had)
        self._limits_time = runner.policies is not None and runner.policies.limits_time
        if self._limits_time:
            runner.watch(slots.limit)

    def run(self, index: int, earlier: Mapping[int, Sequence[Attempt]]) -> None:
        """Run one attempt at a cell and hand in what it gave."""
        if self._limits_time:
            self.outbox.flush()  # nothing may be left behind in a process that is ended
        attempts = earlier.get(index, ())
        tried = self.unless_interrupted(self.runner.attempt, self.begin(index), self.emit, attempts)
        if tried is None:
            return
        outcome, delay = tried
        self.end(outcome)
        if delay is None:
            self.outbox.add(index, outcome)
        else:
            self.outbox.tell("retry", index, attempt_of(outcome, attempts), delay, outcome.plugin_failures)
            self.outbox.flush()
