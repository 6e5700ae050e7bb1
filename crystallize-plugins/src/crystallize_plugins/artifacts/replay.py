"""A resumed optimisation beside the recorded one: whether it goes the same way, and what of it is new."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from crystallize.errors import ReplayError
from crystallize.hooks import BASELINE
from crystallize.hooks.tools import value_of
from crystallize_plugins.artifacts.database.schema import ASKED, STARTED, TOLD
from crystallize_plugins.artifacts.database.typed_json import encode
from crystallize_plugins.artifacts.journal import asked_trial, journal_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.hooks import Event
    from crystallize_plugins.artifacts.journal import AskedTrial, JournalEntry

__all__ = ["Replay", "why_another"]

_WAY_OUT = (
    "An optimisation is continued by a new optimiser of the same settings that proposes the same again when it is told "
    'the same: give it the seed that it had, if it draws. strategy="rerun" starts over'
)


def why_another(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say why a recorded optimisation cannot be the one that is wanted now; nothing where it can.

    What was told of the trials would have been something else, and with it all that was asked afterwards, so that the
    next version is due; cells that are still valid serve it too. A changed number of trials, or another optimiser, is
    no such reason: what the optimiser asks decides (`Replay`).

    Parameters
    ----------
    recorded, wanted : mapping
        The fields of ``optimization_started``, then and now.
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
    seen : int
        How many of the recorded questions came again.
    """

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        self._asked = {entry.fields["batch"]: entry.fields for entry in entries if entry.name == ASKED}
        self._told = {entry.fields["batch"]: entry.fields for entry in entries if entry.name == TOLD}
        counts = [len(fields["trials"]) for _, fields in sorted(self._asked.items())]
        self._first_trials: dict[int, int] = dict(zip(sorted(self._asked), accumulate([0, *counts]), strict=False))
        started = [entry.fields for entry in entries if entry.name == STARTED]
        self.begun: Mapping[str, Any] | None = started[-1] if started else None
        told = [
            trial.condition
            for batch, fields in self._told.items()
            if fields["how"] is not None
            for trial in self._asked[batch]["trials"]
        ]
        self.trials = len(told)
        self.seen = 0
        # The first question is asked once the baseline was told.
        self.settled = frozenset([*told, BASELINE] if self._asked else told)
        self._now: Mapping[str, Any] = {}
        self._unwritten: Event | None = None

    @property
    def is_over(self) -> bool:
        """Whether all recorded questions came again."""
        return self.seen == len(self._asked)

    def news(self, event: Event) -> list[tuple[str, str]]:
        """Give the rows that an event adds to the journal: none for what is recorded already.

        Raises
        ------
        ReplayError
            Something else is recorded there.
        """
        if event.name == STARTED:
            self._now = event.fields
            if not _same(event.fields, self.begun):
                # It is written before the first thing that is new: until then nothing has changed.
                self._unwritten = event
            return []
        recorded = (self._asked if event.name == ASKED else self._told).get(event.fields["batch"])
        if recorded is not None and not self._stands_corrected(event, recorded):
            check = self._check_asked if event.name == ASKED else self._check_told
            check(recorded, event.fields)
            self.seen += event.name == ASKED
            return []
        rows = [journal_row(event)]
        if self._unwritten is not None:
            rows.insert(0, journal_row(self._unwritten))
            self._unwritten = None
        return rows

    @staticmethod
    def _stands_corrected(event: Event, recorded: Mapping[str, Any]) -> bool:
        """Whether a batch that could not be told the last time, since trials had failed, gives something else now."""
        if event.name != TOLD or recorded["how"] is not None:
            return False
        return bool(event.fields["how"] is not None or event.fields["states"] != recorded["states"])

    def _check_asked(self, recorded: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        before = self._trials_before(fields["batch"])
        then: list[AskedTrial] = recorded["trials"]
        now = [asked_trial(*trial) for trial in fields["trials"]]
        for offset, (was, proposed) in enumerate(zip(then, now, strict=False)):
            if not _same_trial(was, proposed):
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

    def _check_told(self, recorded: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        before = self._trials_before(fields["batch"])
        for offset, (was, state) in enumerate(zip(recorded["states"], fields["states"], strict=True)):
            if was != state:
                raise ReplayError(
                    f"trial {before + offset} was {was} when it was recorded, and is {state} now: its cells ran again, "
                    f'and did not give the same. strategy="rerun" starts over',
                    trial=before + offset,
                    recorded=was,
                    proposed=state,
                )
        if (recorded["how"], _content(recorded["values"])) != (fields["how"], _content(fields["values"])):
            raise ReplayError(
                f"the optimiser would not be told what was recorded: of trial {before} {recorded['how']} was given "
                f"{recorded['values']!r}, and {fields['how']} would be given {fields['values']!r} now. Either its "
                "cells ran again and did not give the same, or what is told of a result has changed. "
                'strategy="rerun" starts over',
                trial=before,
                recorded=recorded["values"],
                proposed=fields["values"],
            )

    def _trials_before(self, batch: int) -> int:
        return self._first_trials[batch]

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
            if not _same(was.get(name), now.get(name))
        ]
        return f" What changed: {'; '.join(changed)}." if changed else ""


def _same(was: Any, now: Any) -> bool:
    return _content(was) == _content(now)


def _content(value: Any) -> str:
    """Give what tells values apart, those that go through the store included."""
    encoded, lossy = encode(value)
    return "inexact" if lossy else encoded


def _same_trial(was: AskedTrial, now: AskedTrial) -> bool:
    if (was.condition, was.name, was.is_callable, was.is_exact) != (
        now.condition,
        now.name,
        now.is_callable,
        now.is_exact,
    ):
        return False
    if was.is_exact:
        # Sets come in another order in every process.
        return was.encoded == now.encoded or value_of(was.value) == value_of(now.value)
    return was.fingerprint == now.fingerprint


def _named(trial: AskedTrial) -> str:
    if trial.is_callable:
        return f"{trial.name!r}, a function"
    return f"{trial.name!r} with {_shown(trial.value)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004 - as much as fits into a message


def _objectives(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{direction} {metric}" for metric, direction in fields["objectives"])
