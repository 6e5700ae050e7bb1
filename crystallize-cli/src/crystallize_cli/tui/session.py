"""One experiment that is open: what is chosen for its next run, and the run that goes on."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize_cli.exits import Failure
from crystallize_cli.tui.asking import ask
from crystallize_cli.tui.choices import Choices, read_choices, write_choices
from crystallize_cli.tui.job import Job, stop_process
from crystallize_cli.tui.pictures import short
from crystallize_cli.tui.progress import newest_run, read_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize_cli.tui.catalog import Entry
    from crystallize_cli.tui.progress import Progress

__all__ = ["LogLine", "Part", "Session", "Step"]

_LINES = 10_000


class LogLine(NamedTuple):
    """A line that was logged or printed."""

    level: str
    text: str


@dataclass(slots=True)
class Step:
    """A step; whether it is cached now, None where nothing asks for that."""

    name: str
    declared: bool
    state: bool | None
    line: int | None = None


@dataclass(slots=True)
class Part:
    """An experiment that runs: the one that is open, or one that it reads from."""

    entry: Entry
    choices: Choices = field(default_factory=Choices)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.entry.name

    @property
    def cached(self) -> bool:
        """Whether stored cells are kept."""
        if self.choices.cached is not None:
            return self.choices.cached
        return self.entry.description is None or self.entry.description.strategy != "rerun"

    @property
    def steps(self) -> list[Step]:
        """The steps in order."""
        return [
            Step(
                step.name,
                step.cacheable,
                self.choices.steps.get(step.name, True if step.cacheable else None),
                step.line,
            )
            for step in (self.entry.description.steps if self.entry.description is not None else ())
        ]

    @property
    def treatments(self) -> Mapping[str, bool]:
        """The treatments, and whether each is to run."""
        found = self.entry.description
        return {} if found is None else {name: name not in self.choices.inactive for name in found.treatments}

    @property
    def off(self) -> list[str]:
        """What is not cached although it could be: the experiment, or steps."""
        own = [] if self.cached else [self.name]
        return own + [step.name for step in self.steps if step.state is False]


class Session:
    """An experiment that is open.

    Parameters
    ----------
    entry : Entry
    entries : sequence of Entry
        It, and those that it may read from.
    """

    def __init__(self, entry: Entry, entries: Sequence[Entry]) -> None:
        self.entry = entry
        self.parts: list[Part] = []
        self.problem = ""
        self._take(_needed(entry, entries))
        self.job: Job | None = None
        self.progress: Progress | None = None
        self.lines: deque[LogLine] = deque(maxlen=_LINES)
        self.plan = ""
        self.has_just_ended = False
        self.kept = 0
        self._labels: dict[tuple[str, str], str] = {}
        self._durations: dict[tuple[str, str], list[float]] = {}
        self._at: dict[tuple[str, str, int], tuple[str, float | None]] = {}

    def _take(self, needed: list[Entry]) -> None:
        self.entry = needed[0]
        self.parts = [Part(each) for each in needed]
        for part in self.parts:
            try:
                part.choices = read_choices(part.entry.folder)
            except Failure as error:
                self.problem = error.message

    def reread(self, entries: Sequence[Entry]) -> bool:
        """Take what the files say by now, unless a run goes on; say whether anything has changed."""
        entry = next((each for each in entries if each.folder == self.entry.folder), None)
        if entry is None or self.is_running:
            return False
        needed = _needed(entry, entries)
        if needed == [part.entry for part in self.parts]:
            return False
        self._take(needed)
        return True

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.entry.name

    @property
    def target(self) -> str:
        """What names it on the command line."""
        return str(self.entry.folder) if self.name != str(self.entry.folder) else self.name

    # -- what is chosen

    @property
    def replicates(self) -> int:
        """How many replicates there are to be."""
        if self.is_running and self.progress is not None:
            return self.progress.replicates
        declared = 1 if self.entry.description is None else self.entry.description.replicates
        return self.parts[0].choices.replicates or declared

    @property
    def conditions(self) -> list[str]:
        """The conditions that are to run, and those that have run."""
        chosen = ["baseline", *(name for name, on in self.parts[0].treatments.items() if on)]
        known = list(self.progress.conditions) if self.progress is not None else []
        return list(dict.fromkeys([*chosen, *known]))

    @property
    def cells(self) -> int:
        """How many cells there are to be."""
        return self.replicates * len(self.conditions)

    def arguments(self) -> list[str]:
        """Return what follows ``crystallize`` to run it as it is chosen."""
        mine = self.parts[0]
        options: list[str] = []
        if len(self.parts) == 1:
            options += ["--strategy", "rerun" if mine.off else "resume"]
        else:
            options += ["--strategy", "resume"]
            for part in self.parts:
                options += ["--rerun", part.name] if part.off else []
        for part in self.parts:
            place = "" if len(self.parts) == 1 else f"{part.name}."
            for step in part.steps:
                if step.state is not None and step.state != step.declared:
                    options += ["--cache", f"{place}{step.name}={'on' if step.state else 'off'}"]
        for name in sorted(mine.choices.inactive & set(mine.treatments)):
            options += ["--without", name]
        if mine.choices.replicates is not None:
            options += ["--replicates", str(mine.choices.replicates)]
        return ["run", self.target, *options]

    @property
    def strategy(self) -> str:
        """What becomes of stored cells, and why."""
        off = [name for part in self.parts for name in part.off]
        told = f"rerun: {', '.join(off)} {'is' if len(off) == 1 else 'are'} not cached" if off else "resume"
        treatments = self.parts[0].treatments
        return f"{told}; hypotheses are left out" if treatments and not any(treatments.values()) else told

    def toggle_cache(self, part: Part, step: Step | None = None) -> None:
        """Cache the experiment or a step of it, or do not any more."""
        if step is None:
            part.choices.cached = not part.cached
            return
        wanted = not step.state
        if wanted == step.declared or (not wanted and not step.declared):
            part.choices.steps.pop(step.name, None)
        else:
            part.choices.steps[step.name] = wanted

    def toggle_treatment(self, part: Part, name: str) -> None:
        """Leave a treatment out, or take it in again."""
        part.choices.inactive ^= {name}

    def change_replicates(self, by: int) -> None:
        """Run more replicates, or fewer."""
        self.parts[0].choices.replicates = max(1, self.replicates + by)

    def keep(self) -> str:
        """Keep what is chosen; return why that cannot be done."""
        self.plan = self.strategy
        try:
            for part in self.parts:
                write_choices(part.entry.folder, part.choices)
        except OSError as error:
            return f"what is chosen cannot be kept: {error}"
        return ""

    def plan_arguments(self) -> list[str]:
        """Return what follows ``crystallize plan``, which knows nothing of experiments that run anew."""
        _, *arguments = self.arguments()
        while "--rerun" in arguments:
            at = arguments.index("--rerun")
            del arguments[at : at + 2]
        return arguments

    async def ask_plan(self) -> None:
        """Find out what would run, in a process of its own."""
        self.plan = self.strategy
        strategy = self.strategy
        if not strategy.startswith("resume"):
            return
        answer = await ask("plan", "--json", *self.plan_arguments())
        if not isinstance(answer.data, list):
            return
        mine = [cell for cell in answer.data if cell["experiment"] == self.name]
        kept = sum(cell["action"] != "run" for cell in mine)
        reasons = Counter(cell["reason"] for cell in mine if cell["action"] == "run")
        why = f" ({', '.join(reason for reason, _ in reasons.most_common(2))})" if kept or len(reasons) == 1 else ""
        told = f": {kept} kept, {len(mine) - kept} to run{why if len(mine) > kept else ''}"
        self.plan = strategy.replace("resume", f"resume{told}", 1)

    # -- the run

    @property
    def is_running(self) -> bool:
        """Whether a run of it goes on, started here or elsewhere."""
        if self.job is not None and not self.job.is_over:
            return True
        return self.progress is not None and self.progress.status == "running"

    @property
    def state(self) -> str:
        """How the run stands, in a word."""
        if self.job is not None:
            return self.job.state
        return self.progress.status if self.progress is not None else "not run"

    @property
    def refusal(self) -> str:
        """Why the run could not begin: who runs it already, what is wrong."""
        lines = self.job.complaint().strip().splitlines() if self.job is not None else []
        return lines[-1].removeprefix("crystallize: ") if lines else ""

    def start(self) -> None:
        """Run it."""
        self.lines.clear()
        self.kept = 0
        self._at.clear()
        self._durations.clear()
        self.progress = None
        self.close()
        self.job = Job(self.name, self.arguments())

    def close(self) -> None:
        """Follow the run no more; it goes on as it is."""
        if self.job is not None:
            self.job.close()

    def stop(self) -> None:
        """Ask the run to stop, wherever it was started.

        Raises
        ------
        OSError
            It cannot be asked.
        """
        if self.job is not None and not self.job.is_over:
            self.job.stop()
        elif self.progress is not None:
            if self.progress.host != socket.gethostname():
                raise OSError(f"it runs on {self.progress.host}")
            stop_process(self.progress.pid)

    def read(self) -> list[LogLine] | None:
        """Return the lines that the run has logged and printed since the last time; None where nothing happened."""
        events = [] if self.job is None else self.job.events()
        if not events:
            return None
        found: list[LogLine] = []
        for event in events:
            kind = event.get("kind")
            if kind == "run":
                self._begun(event)
            elif kind == "outcome":
                self._done(event)
            elif kind == "event":
                self._moved(event)
            elif kind in ("log", "text"):
                found.append(LogLine(str(event.get("level") or "INFO"), str(event.get("text"))))
        self.lines.extend(found)
        return found

    def _begun(self, event: Mapping[str, Any]) -> None:
        name = event["experiment"]
        if name == self.name:
            self.kept = event["kept"]
        part = next((part for part in self.parts if part.name == name), None)
        for label, step in zip(event["steps"], part.steps if part is not None else (), strict=False):
            self._labels[name, label] = step.name

    def _moved(self, event: Mapping[str, Any]) -> None:
        cell = (event["experiment"], event.get("condition") or "", event.get("replicate") or 0)
        fields = event.get("fields") or {}
        if event["name"] == "step_started":
            self._at[cell] = (self._labels.get((cell[0], fields["step"]), fields["step"]), None)
        elif event["name"] == "progress" and cell in self._at and isinstance(fields.get("percent"), (int, float)):
            self._at[cell] = (self._at[cell][0], fields["percent"])

    def _done(self, event: Mapping[str, Any]) -> None:
        name = event["experiment"]
        self._at.pop((name, event["condition"], event["replicate"]), None)
        for step in event["steps"]:
            if not step["cached"]:
                key = (name, self._labels.get((name, step["step"]), step["step"]))
                count, total = self._durations.get(key, [0, 0.0])
                self._durations[key] = [count + 1, total + step["duration"]]

    async def follow(self) -> bool:
        """See how far it is; say whether anything may have changed."""
        if self.job is not None and not self.job.is_over:
            await self.job.look()
            self.progress = self.job.progress or self.progress
            self.has_just_ended = self.job.is_over
            return True
        if self.is_running:
            await self.look()
            self.has_just_ended = not self.is_running
            return True
        return False

    async def look(self) -> None:
        """Read the newest stored run."""
        run = await asyncio.to_thread(newest_run, self.name)
        if run is not None:
            self.progress = await asyncio.to_thread(read_progress, run)

    def left(self, took: float) -> str:
        """Say how long it will take, where that can be told."""
        if self.progress is None or self.job is None or self.job.is_over:
            return ""
        done = self.progress.done - self.kept
        missing = self.cells - self.progress.done
        if done < 1 or missing < 1 or took < 1:
            return ""
        seconds = int(took / done * missing)
        return f", {seconds // 60}:{seconds % 60:02} left"

    def duration(self, experiment: str, step: str) -> str:
        """Return how far a step is that says so, else how long it takes on the average, where that is known."""
        told = [
            percent
            for (name, *_), (at, percent) in self._at.items()
            if (name, at) == (experiment, step) and percent is not None
        ]
        if told:
            return f"{sum(told) / len(told):.0f} %"
        count, total = self._durations.get((experiment, step), [0, 0.0])
        return short(total / count) if count else ""


def _needed(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """Return an experiment and those that it reads from, itself first."""
    others = {each.folder.name: each for each in entries}
    found = [entry]
    for each in found:
        for _, folder, _ in each.description.references if each.description is not None else ():
            other = others.get(folder)
            if other is not None and other not in found:
                found.append(other)
    return found
