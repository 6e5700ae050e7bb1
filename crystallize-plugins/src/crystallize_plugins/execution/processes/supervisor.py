"""The coordinator's part: hand out cells, take in outcomes, and lose nothing when a worker dies."""

from __future__ import annotations

import contextlib
import logging
import pickle
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from crystallize.engine.bridge import STOPS
from crystallize.engine.interrupts import InterruptGuard, ctrl_c_interrupts
from crystallize.engine.printed import CellLog
from crystallize.errors import SerializationError, WorkerStartError
from crystallize.hooks import WorkerReport
from crystallize_plugins.execution.processes.briefing import cannot_travel, cannot_work
from crystallize_plugins.execution.processes.failures import Failures
from crystallize_plugins.execution.processes.family import end_all
from crystallize_plugins.execution.processes.obituary import crash_error, how_it_ended
from crystallize_plugins.execution.processes.payload import pack
from crystallize_plugins.execution.processes.replay import Replay
from crystallize_plugins.execution.processes.schedule import Schedule
from crystallize_plugins.execution.processes.segment import Segment
from crystallize_plugins.execution.processes.slots import Slots
from crystallize_plugins.execution.processes.surroundings import surroundings
from crystallize_plugins.execution.processes.watch import Watch
from crystallize_plugins.execution.processes.wire import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.hooks import ExperimentView
    from crystallize.results.outcome import Attempt, Cell, CellOutcome, PluginFailure
    from crystallize_plugins.execution.processes.family import Relative
    from crystallize_plugins.execution.processes.slots import Overdue
    from crystallize_plugins.execution.processes.starters import Hand, Starter

__all__ = ["ProcessLoop"]

_LOGGER = logging.getLogger("crystallize")
_LOOK_EVERY = 0.2
"""Seconds after which the workers' lives are checked though nothing was heard."""
_TO_FINISH = 0.25
"""Seconds that workers have for what they are at when a run is interrupted."""
_TO_DIE = 1.0
"""Seconds after its deadline for which a worker that was killed is waited for; then it is left behind."""
_MOST_SUCCESSORS = 3


class _Member:
    """What the coordinator knows of one worker."""

    __slots__ = (
        "assigned", "fresh", "gone", "hand", "link", "log", "overdue", "read_up_to", "ready", "refill_at", "relatives",
        "reported",
    )  # fmt: skip

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self.link = hand.link
        self.assigned: set[int] = set()
        self.ready = False
        self.fresh = True
        self.gone = False
        self.reported = False
        self.refill_at = 0
        self.read_up_to = 0
        self.overdue: Overdue | None = None
        self.relatives: Sequence[Relative] = ()
        self.log: CellLog | None = None

    @property
    def name(self) -> str:
        return f"process-{self.hand.number}"

    def hears(self, kind: str, rest: Sequence[Any]) -> None:
        """Keep what the worker prints and logs: if it dies, its cell can tell of it no more."""
        if kind == "warning":
            return
        if self.log is None:
            self.log = CellLog()
        said = rest[1] if kind == "text" else f"{rest[0]['levelname']} {rest[0]['name']}: {rest[0]['msg']}\n"
        self.log.add(said)

    def with_log(self, outcome: CellOutcome) -> CellOutcome:
        """Give the outcome of a cell that cost the worker its life, with what had arrived of what it printed."""
        if self.log is not None and outcome.error is not None:
            outcome.error.log = self.log.text()
        return outcome

    def outlives_its_end(self) -> bool:
        """Whether it was killed and lives: the system waits for a file server that does not answer."""
        if self.gone or self.overdue is None:
            return False
        return time.monotonic_ns() - self.overdue.end > _TO_DIE * 1e9


class ProcessLoop:
    """Runs cells in worker processes; iterate over it for the outcomes that have arrived since the last look.

    Parameters
    ----------
    experiment : ExperimentView
    cells : sequence of Cell
    runner : CellRunner
    workers : int
        How many processes at most.
    starter : Starter
        Starts them.
    library_threads : int
        How many threads BLAS and OpenMP may use in each.
    give_back : callable of Starter
        Gets the starter when all ended well; otherwise it is closed.
    """

    def __init__(
        self,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        runner: CellRunner,
        *,
        workers: int,
        starter: Starter,
        library_threads: int,
        give_back: Callable[[Starter], None],
    ) -> None:
        self._experiment = experiment
        self._cells = list(cells)
        self._runner = runner
        self._count = min(workers, len(self._cells))
        self._starter = starter
        self._library_threads = library_threads
        self._give_back = give_back
        self._schedule = Schedule([cell.condition for cell in self._cells])
        self._members: dict[int, _Member] = {}
        self._tried: set[int] = set()
        self._barren = 0
        self._closing = False
        self._interrupted = ""
        self._successors = 0
        self._retired: list[Starter] = []
        self._ready: list[CellOutcome] = []
        self._replay = Replay(runner)
        self._failures = Failures(runner, self._schedule)
        self._watch: Watch | None = None

    # -- the loop ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        sound = False
        self._payload = self._slots_memory = None
        try:
            self._payload = self._packed()
            self._slots_memory = Segment.create(Slots.size_for(self._count))
            self._slots = Slots(self._slots_memory)
            for number in range(self._count):
                self._hire(number)
            if self._failures.limits_time:
                self._watch = Watch(self._slots, lambda: list(self._members.values()))
            try:
                yield from self._arriving()
            except STOPS:
                self._call_it_a_day()
                yield self._ready
                raise
            self._dismiss()
            self._check_interrupted()
            sound = True
        finally:
            self._end(sound)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        # Apart: Python may raise KeyboardInterrupt where a loop goes back to its beginning, and there no `try` of the
        # same function catches it.
        while self._schedule.unfinished:
            self._listen(self._schedule.patience(_LOOK_EVERY))
            yield self._ready
            # Not before: an interrupt in between must not lose them.
            self._ready = []
            self._check_interrupted()

    def _check_interrupted(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt(self._interrupted)

    def _listen(self, timeout: float) -> None:
        members = list(self._members.values())
        heard = wait([*(member.link for member in members), *self._starter.watched()], timeout)
        with InterruptGuard(hold=True):
            self._starter.heard()
            for member in members:
                if member.link in heard or member.hand.ended():
                    self._read(member)
                elif member.outlives_its_end():
                    self._bury(member)
                elif not heard:
                    self._read(member)
            for member in self._members.values():
                self._feed(member)

    def _read(self, member: _Member) -> None:
        for _ in range(64):  # others want to be heard too
            if member.gone:
                return
            try:
                if not member.link.poll():
                    if member.hand.ended() and not member.link.poll():
                        self._bury(member)
                    return
                message = member.link.recv_bytes()
            except (EOFError, OSError):
                self._bury(member)
                return
            for news in pickle.loads(message):
                self._take(member, *news)

    def _take(self, member: _Member, kind: str, *rest: Any) -> None:
        if kind == "outcomes":
            self._take_outcomes(member, *rest)
        elif kind == "outcome":
            self._take_outcome(member, *rest)
        elif kind == "retry":
            self._take_retry(member, *rest)
        elif kind == "event":
            self._take_event(member, *rest)
        elif self._replay.take(kind, *rest):
            member.hears(kind, rest)
        elif kind == "ready":
            member.ready = True
        elif kind == "interrupted":
            self._interrupted = rest[0]
        elif kind == "report":
            self._take_report(member, pickle.loads(rest[0]))
            self._starter.learn(rest[1])
        else:
            raise cannot_work(self._experiment, *rest)

    def _take_event(self, member: _Member, encoded: bytes) -> None:
        cell = self._replay.event(encoded)
        index = self._slots.cell(member.hand.number)
        if cell is not None and index >= 0 and self._cells[index] == cell:
            self._slots.ask_to_stop(member.hand.number)

    def _take_outcomes(self, member: _Member, batch: int, encoded: bytes) -> None:
        try:
            outcomes = decode(encoded, self._cells, member.name)
        except Exception:  # noqa: BLE001 - user objects inside: one by one tells whose
            self._send(member, "again", batch)
            return
        member.read_up_to = batch
        for index, outcome in outcomes:
            self._finished(member, index, outcome)

    def _take_outcome(self, member: _Member, index: int, encoded: bytes) -> None:
        try:
            outcome = pickle.loads(encoded)
        except Exception as exc:  # noqa: BLE001 - user code: that cell fails, by name, and no other
            reason = SerializationError(
                f"what the cell recorded cannot be rebuilt outside its worker process ({type(exc).__name__}: {exc}); "
                "record numbers, text or arrays instead"
            )
            outcome = self._runner.failed(self._cells[index], reason, worker=member.name)
        self._finished(member, index, outcome)

    def _take_retry(
        self, member: _Member, index: int, attempt: Attempt, delay: float, failures: Sequence[PluginFailure]
    ) -> None:
        member.assigned.discard(index)
        member.log = None
        if index in self._schedule.unfinished:
            self._failures.again(index, self._cells[index], attempt, delay, failures)

    def _finished(self, member: _Member | None, index: int, outcome: CellOutcome) -> None:
        if member is not None:
            member.assigned.discard(index)
            member.log = None
        if self._schedule.finished(index, outcome.duration):
            self._barren = 0
            self._ready.append(self._failures.completed(index, outcome))

    # -- workers ----------------------------------------------------------------------------------

    def _packed(self) -> Segment:
        known = self._starter.surroundings
        given = {name: value for name, value in surroundings(self._library_threads).items() if value != known.get(name)}
        settings = {
            "surroundings": given,
            "library_threads": self._library_threads,
            "hears_interrupts": ctrl_c_interrupts(),
        }
        try:
            return pack(settings, self._runner, self._cells, main=self._starter.main)
        except Exception as exc:
            raise cannot_travel(self._experiment, self._runner, exc, fresh=self._starter.main is None) from exc

    def _hire(self, number: int) -> None:
        try:
            hand = self._started(number)
        except WorkerStartError:
            self._successors += 1
            if self._successors > _MOST_SUCCESSORS:
                raise
            self._replace_starter()
            hand = self._started(number)
        self._members[number] = _Member(hand)

    def _started(self, number: int) -> Hand:
        assert self._payload is not None and self._slots_memory is not None  # noqa: PT018, S101
        return self._starter.start(number, self._payload, self._slots_memory, self._library_threads)

    def _replace_starter(self) -> None:
        """Go on with another starter: somebody killed ours, or it can start no more."""
        old, self._starter = self._starter, self._starter.successor()
        if old.worn:
            self._retired.append(old)  # workers that it started may still be at work
        else:
            old.close()
        if old.main is not self._starter.main:
            before, self._payload = self._payload, self._packed()
            if before is not None:
                before.close()

    def _send(self, member: _Member, *order: Any) -> None:
        # A worker that is gone is noticed when its line is read.
        with contextlib.suppress(OSError):
            member.link.send_bytes(pickle.dumps(order, 5))

    def _feed(self, member: _Member) -> None:
        if self._closing or not member.ready or len(member.assigned) > member.refill_at:
            return
        if member.fresh and self._schedule.has_suspects:
            indexes = [self._schedule.suspect()]
        elif (due := self._schedule.due()) is not None:
            indexes = [due]
        else:
            indexes = self._schedule.batch(self._count)
        if not indexes:
            return
        member.fresh = False
        member.assigned.update(indexes)
        member.refill_at = len(indexes) // 2
        self._send(member, "run", indexes, member.read_up_to, self._failures.earlier(indexes))

    def _bury(self, member: _Member) -> None:
        """Find out which cell killed a worker, save the others', and hire a new one where there is work."""
        number = member.hand.number
        member.gone = True
        del self._members[number]
        code = member.hand.exit_code(1.0)
        if code is None:
            member.hand.kill()
            code = member.hand.exit_code(1.0)
        member.link.close()
        end_all(member.relatives)
        if self._closing and member.overdue is not None:
            return  # its last cell was done in the moment in which it was ended
        if self._closing:
            how, _ = how_it_ended(code)
            text = f"worker {member.name} {how} before it could close what it had opened"
            self._runner.absorb(WorkerReport(errors=[(f"worker:{member.name}", text, "")]))
            return
        index = self._slots.cell(number)
        culprit = index if index in member.assigned and index in self._schedule.unfinished else None
        # The words are those of its last moment: it may have gone on before it was ended.
        was_at_it = member.overdue is not None and self._slots.overdue(number, member.overdue.end) == member.overdue
        self._slots.clear(number)
        if member.overdue is None:
            self._schedule.give_back(member.assigned - {culprit})
            self._mourn(member, culprit, code)
        elif culprit is None or not was_at_it:
            self._schedule.give_back(member.assigned)
        else:
            self._schedule.give_back(member.assigned - {culprit})
            self._took_too_long(member, culprit, member.overdue)
        if self._schedule.unfinished:
            self._hire(number)

    def _mourn(self, member: _Member, culprit: int | None, code: int | None) -> None:
        how, _ = how_it_ended(code)
        if culprit is None:
            self._barren += 1
            if self._barren > self._count + _MOST_SUCCESSORS:
                doing = "between two cells" if member.ready else "before they were ready"
                raise WorkerStartError(
                    f"{self._barren} worker processes in a row ended {doing}; the last one {how}"
                    f"{f' ({member.hand.problem})' if member.hand.problem else ''}. "
                    "SerialExecution() runs the same cells in this process and shows where it goes wrong"
                )
            when = "between two cells" if member.ready else "before it was ready"
            _LOGGER.warning("worker %s (pid %s) %s %s", member.name, member.hand.pid, how, when)
            return
        cell = self._cells[culprit]
        error = crash_error(cell, code, worker=member.name, again=culprit in self._tried)
        outcome = member.with_log(self._runner.failed(cell, error, worker=member.name))
        if culprit not in self._tried:
            self._tried.add(culprit)
            _LOGGER.warning(
                "worker %s (pid %s) %s while it ran condition %r, replicate %s; it is tried again on a new worker",
                member.name, member.hand.pid, how, cell.condition, cell.replicate,
            )  # fmt: skip
            self._failures.suspect_again(culprit, outcome)
        elif not self._failures.try_again(culprit, outcome):
            self._finished(None, culprit, outcome)

    def _took_too_long(self, member: _Member, index: int, overdue: Overdue) -> None:
        outcome = member.with_log(self._failures.overdue(self._cells[index], overdue, member.name))
        _LOGGER.info(
            "worker %s (pid %s) was ended while it ran condition %r, replicate %s: %s",
            member.name, member.hand.pid, *self._cells[index], outcome.error and outcome.error.original_exception,
        )  # fmt: skip
        if not self._failures.try_again(index, outcome):
            self._finished(None, index, outcome)

    # -- the end ----------------------------------------------------------------------------------

    def _dismiss(self) -> None:
        """Have every worker close what it opened, and take in its report."""
        self._closing = True
        for member in list(self._members.values()):
            if member.ready:
                self._send(member, "finish")
            else:
                self._let_go(member)
        while self._members:
            self._listen(_LOOK_EVERY)

    def _take_report(self, member: _Member, report: Any) -> None:
        member.reported = True
        if isinstance(report, str):
            _LOGGER.warning("%s: %s", member.name, report)
        else:
            self._runner.absorb(report)
        self._let_go(member)

    def _let_go(self, member: _Member) -> None:
        member.gone = True
        if self._members.pop(member.hand.number, None) is not None:
            if not member.reported:
                member.hand.kill()
            member.link.close()

    def _call_it_a_day(self) -> None:
        """Start nothing more; give workers a moment to end what they are at, and keep what is finished."""
        self._closing = True
        self._slots.interrupt()
        for member in list(self._members.values()):
            self._send(member, "finish")
        limit = time.monotonic() + _TO_FINISH
        while self._members and (left := limit - time.monotonic()) > 0:
            self._listen(left)

    def _end(self, sound: bool) -> None:
        for member in list(self._members.values()):
            self._let_go(member)
        if sound:
            self._give_back(self._starter)
        else:
            self._starter.close()
        while self._retired:
            self._retired.pop().close()
        if self._payload is not None:
            self._payload.close()
        if self._watch is not None:
            self._watch.stop()
        if self._slots_memory is not None:
            self._slots.close()
            self._slots_memory.close()
