"""The journal of an optimisation, and a resumed one beside it: whether it goes the same way, and what of it is new."""

from __future__ import annotations

import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.engine.plan import BASELINE
from crystallize.errors import ReplayError
from crystallize.fingerprint import identify, value_of
from crystallize.hooks.roles import StorePlugin
from crystallize.hooks.view import OptimizationRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.hooks.view import ExperimentView

__all__ = ["ASKED", "STARTED", "TOLD", "AskedTrial", "Journal", "JournalEntry", "Replay"]

STARTED, ASKED, TOLD = "optimization_started", "trials_asked", "trials_told"

_WAY_OUT = (
    "An optimisation is continued by a new optimiser of the same settings that proposes the same again when it is told "
    'the same: give it the seed that it had, if it draws. strategy="rerun" starts over'
)
_MOST_SHOWN = 300


class AskedTrial(NamedTuple):
    """A treatment that an optimiser proposed."""

    condition: str
    """The treatment's name, numbered where it came again."""
    name: str
    is_callable: bool
    """Whether it was a function."""
    is_exact: bool
    """Whether `value` equals what the treatment was given: a store may keep text alone, and no functions."""
    value: Any
    fingerprint: str
    """The identity of what the treatment was given."""


class JournalEntry(NamedTuple):
    """An entry of the journal of an optimisation.

    Fields of ``optimization_started``: ``optimizer`` (module and class), ``settings``, ``seed``, ``num_trials``,
    ``replicates``, ``objectives`` (pairs of metric and direction), ``baseline``, ``optimizer_seed`` (which the
    optimiser drew, where it was given none); a second such entry tells of a resumption under other settings. Of
    ``trials_asked``: ``batch``, ``trials`` (a list of `AskedTrial`). Of ``trials_told``: ``batch``, ``states``, ``how``
    (``"tell"``, ``"tell_trials"``, or None where the optimiser has no word for what became of them), ``values`` (what
    `tell` got). What a cell reported meanwhile is stored with the cell.
    """

    name: str
    time: float
    """Seconds since the epoch."""
    fields: dict[str, Any]
    fingerprint: str = ""
    """The identity of what the entry says; empty where it cannot be compared. A store gives it back as it is."""


class Journal:
    """What is written of an optimisation: what is recorded and comes again is compared, what is new is stored.

    Parameters
    ----------
    view : ExperimentView
        Of the run; its stores with `StorePlugin.keeps_journal` are written to, the first of them is read.
    """

    def __init__(self, view: ExperimentView) -> None:
        self._view = view
        self._stores = [plugin for plugin in view.plugins if isinstance(plugin, StorePlugin) and plugin.keeps_journal]
        self._replay: Replay | None = None

    def open(self, fields: dict[str, Any]) -> None:
        """Read what is recorded, before the run begins, and say in the view what is wanted.

        Parameters
        ----------
        fields : dict
            Those of ``optimization_started``; the recorded ``optimizer_seed`` replaces a drawn one.
        """
        replay = None
        differs = ""
        if self._stores and self._view.run.strategy == "resume":
            replay = Replay(self._stores[0].journal(self._view))
            if replay.begun is not None:
                recorded_seed = replay.begun.get("optimizer_seed")
                if fields["optimizer_seed"] is not None and recorded_seed is not None:
                    fields["optimizer_seed"] = recorded_seed
                differs = _differences(replay.begun, fields)
        wanted = OptimizationRequest(
            fields["num_trials"],
            differs,
            told=0 if replay is None else replay.trials,
            settled=frozenset() if replay is None else replay.settled,
        )
        self._view.run._note(optimization=wanted)
        self._replay = None if differs else replay

    def confirm(self) -> bool:
        """Ask, once the run has begun, whether the store goes on with what it has recorded; False where it does not."""
        if self._replay is None:
            return True
        entries = self._stores[0].journal(self._view)
        self._replay = Replay(entries) if entries else None
        return bool(entries)

    def add(self, name: str, fields: Mapping[str, Any]) -> None:
        """Compare an entry with the record, or have it stored.

        Raises
        ------
        ReplayError
            Something else is recorded there.
        """
        if not self._stores:
            return
        entry = _entry(name, fields)
        for new in [entry] if self._replay is None else self._replay.news(entry):
            for store in self._stores:
                store.append_journal(self._view, new)


class Replay:
    """What a recorded optimisation asked and was told, while it is gone through again.

    Parameters
    ----------
    entries : sequence of JournalEntry
        The journal of the recorded optimisation.

    Attributes
    ----------
    begun : Mapping or None
        The fields of the last ``optimization_started``.
    settled : frozenset of str
        The conditions whose outcomes count as they are, failed ones too: the optimiser was told of them, and what it
        asked afterwards rests on that.
    trials : int
        How many trials were told.
    """

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        self._asked = {entry.fields["batch"]: entry.fields for entry in entries if entry.name == ASKED}
        self._told = {entry.fields["batch"]: entry for entry in entries if entry.name == TOLD}
        counts = [len(fields["trials"]) for _, fields in sorted(self._asked.items())]
        self._first_trials: dict[int, int] = dict(zip(sorted(self._asked), accumulate([0, *counts]), strict=False))
        self._begun = next((entry for entry in reversed(entries) if entry.name == STARTED), None)
        self.begun: Mapping[str, Any] | None = None if self._begun is None else self._begun.fields
        told = [
            trial.condition
            for batch, entry in self._told.items()
            if entry.fields["how"] is not None
            for trial in self._asked[batch]["trials"]
        ]
        self.trials = len(told)
        # The first question is asked once the baseline was told.
        self.settled = frozenset([*told, BASELINE] if self._asked else told)
        self._now: Mapping[str, Any] = {}
        self._unwritten: JournalEntry | None = None

    def news(self, entry: JournalEntry) -> list[JournalEntry]:
        """Return the entries to be added to the journal: none for what is recorded already.

        Raises
        ------
        ReplayError
            Something else is recorded there.
        """
        if entry.name == STARTED:
            self._now = entry.fields
            if self._begun is None or entry.fingerprint != self._begun.fingerprint:
                # It is written before the first thing that is new: until then nothing has changed.
                self._unwritten = entry
            return []
        batch = entry.fields["batch"]
        if entry.name == ASKED and batch in self._asked:
            self._check_asked(self._asked[batch], entry.fields)
            return []
        if entry.name == TOLD and batch in self._told and not _stands_corrected(entry, self._told[batch]):
            self._check_told(self._told[batch], entry)
            return []
        unwritten, self._unwritten = self._unwritten, None
        return [entry] if unwritten is None else [unwritten, entry]

    def _check_asked(self, recorded: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        before = self._first_trials[fields["batch"]]
        then: list[AskedTrial] = recorded["trials"]
        now: list[AskedTrial] = fields["trials"]
        for offset, (was, proposed) in enumerate(zip(then, now, strict=False)):
            if _compared(was) != _compared(proposed):
                raise ReplayError(
                    f"the optimiser does not propose what was recorded: trial {before + offset} was {_named(was)}, and "
                    f"{self._name()} proposes {_named(proposed)} now.{self._changes()} {_WAY_OUT}",
                    trial=before + offset,
                    recorded=was.value,
                    proposed=proposed.value,
                )
        if len(then) != len(now):
            raise ReplayError(
                f"the optimiser does not propose what was recorded: of batch {fields['batch']}, which begins with "
                f"trial {before}, it proposed {len(then)}, and {self._name()} proposes {len(now)} now."
                f"{self._changes()} {_WAY_OUT}",
                trial=before,
                recorded=[trial.value for trial in then],
                proposed=[trial.value for trial in now],
            )

    def _check_told(self, was: JournalEntry, now: JournalEntry) -> None:
        recorded, fields = was.fields, now.fields
        before = self._first_trials[fields["batch"]]
        for offset, (then, state) in enumerate(zip(recorded["states"], fields["states"], strict=True)):
            if then != state:
                raise ReplayError(
                    f"trial {before + offset} was {then} when it was recorded, and is {state} now: its cells ran "
                    f'again, and did not give the same. strategy="rerun" starts over',
                    trial=before + offset,
                    recorded=then,
                    proposed=state,
                )
        if recorded["how"] != fields["how"] or was.fingerprint != now.fingerprint:
            raise ReplayError(
                f"the optimiser would not be told what was recorded: of trial {before} {recorded['how']} was given "
                f"{recorded['values']!r}, and {fields['how']} would be given {fields['values']!r} now. Either its "
                "cells ran again and did not give the same, or what is told of a result has changed. "
                'strategy="rerun" starts over',
                trial=before,
                recorded=recorded["values"],
                proposed=fields["values"],
            )

    def _name(self) -> str:
        return str(self._now.get("optimizer", "the optimiser")).rpartition(":")[2]

    def _changes(self) -> str:
        """Say what of the optimiser's settings is not as it was."""
        if self.begun is None or not self._now:
            return ""
        if self.begun["optimizer"] != self._now["optimizer"]:
            return f" What changed: its class was {self.begun['optimizer']} and is {self._now['optimizer']}."
        was: dict[str, Any] = self.begun["settings"]
        now: dict[str, Any] = self._now["settings"]
        changed = [
            f"{name} was {_shown(was.get(name))} and is {_shown(now.get(name))}"
            for name in {**was, **now}
            if value_of(was.get(name)) != value_of(now.get(name))
        ]
        return f" What changed: {'; '.join(changed)}." if changed else ""


def _differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say why a recorded optimisation cannot be the one that is wanted now; nothing where it can.

    What was told of the trials would have been something else, and with it all that was asked afterwards. A changed
    number of trials, or another optimiser, is no such reason: what the optimiser asks decides.
    """
    reasons = []
    then, now = _objectives(recorded), _objectives(wanted)
    if then != now:
        reasons.append(f"the objective was to {then} and is to {now}")
    if recorded["replicates"] != wanted["replicates"]:
        reasons.append(f"replicates_per_trial was {recorded['replicates']} and is {wanted['replicates']}")
    if recorded["baseline"] != wanted["baseline"]:
        reasons.append(f"the optimiser {'needs' if wanted['baseline'] else 'no longer needs'} the baseline")
    return "; ".join(reasons)


def _entry(name: str, fields: Mapping[str, Any]) -> JournalEntry:
    if name == ASKED:
        trials = [
            AskedTrial(condition, treatment, callable(value), not callable(value), value, value_of(value))
            for condition, treatment, value in fields["trials"]
        ]
        return JournalEntry(name, time.time(), {**fields, "trials": trials})
    said = identify(fields["values"] if name == TOLD else dict(fields))
    return JournalEntry(name, time.time(), dict(fields), "" if said.untracked else said.digest)


def _stands_corrected(entry: JournalEntry, recorded: JournalEntry) -> bool:
    """Whether a batch that could not be told the last time, since trials had failed, gives something else now."""
    if recorded.fields["how"] is not None:
        return False
    return bool(entry.fields["how"] is not None or entry.fields["states"] != recorded.fields["states"])


def _compared(trial: AskedTrial) -> tuple[Any, ...]:
    return trial.condition, trial.name, trial.is_callable, trial.fingerprint


def _named(trial: AskedTrial) -> str:
    return f"{trial.name!r}, a function" if trial.is_callable else f"{trial.name!r} with {_shown(trial.value)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _objectives(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{direction} {metric}" for metric, direction in fields["objectives"])
