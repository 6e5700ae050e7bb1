"""What is written of an optimisation: its settings, what was asked and what was told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import DamagedStoreError
from crystallize.hooks.tools import value_of
from crystallize_plugins.artifacts.database.schema import ASKED
from crystallize_plugins.artifacts.database.typed_json import decode, encode

if TYPE_CHECKING:
    from crystallize.hooks import Event
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["AskedTrial", "JournalEntry", "asked_trial", "journal_row", "read_journal"]


class AskedTrial(NamedTuple):
    """A treatment that an optimiser proposed, as it is stored."""

    condition: str
    """The treatment's name, numbered where it came again."""
    name: str
    is_callable: bool
    """Whether it was a function, of which only the text is left."""
    is_exact: bool
    """Whether `value` equals what the treatment was given."""
    value: Any
    encoded: str = ""
    """`value` as it is stored."""
    fingerprint: str = ""
    """The identity of what the treatment was given, where that is not exactly `value`."""


class JournalEntry(NamedTuple):
    """An entry of the journal.

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


def journal_row(event: Event) -> tuple[str, str]:
    """Give an event as a row: its name, and everything else, encoded."""
    fields = event.fields
    if event.name == ASKED:
        fields = {**fields, "trials": [_packed(asked_trial(*trial)) for trial in fields["trials"]]}
    return event.name, encode([event.time, dict(fields)]).text


def read_journal(source: RunDatabase) -> list[JournalEntry]:
    """Give all entries, in the order in which they were written.

    Raises
    ------
    StoreError
        One of them is damaged.
    """
    entries = []
    for number, (name, body) in enumerate(source.rows("event"), 1):
        try:
            time, fields = decode(body)
            if name == ASKED:
                fields["trials"] = [_unpacked(*trial) for trial in fields["trials"]]
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedStoreError(f"entry {number} of the journal is damaged: {error}") from error
        entries.append(JournalEntry(name, time, fields))
    return entries


def asked_trial(condition: str, name: str, value: Any) -> AskedTrial:
    """Give a proposed treatment as it is stored."""
    encoded, lossy = encode(value)
    return AskedTrial(
        condition, name, callable(value), not lossy, value, encoded, value_of(value) if lossy else ""
    )  # fmt: skip


def _packed(trial: AskedTrial) -> tuple[Any, ...]:
    return trial.condition, trial.name, trial.is_callable, trial.is_exact, trial.encoded, trial.fingerprint


def _unpacked(
    condition: str, name: str, is_callable: bool, is_exact: bool, encoded: str, fingerprint: str = ""
) -> AskedTrial:
    return AskedTrial(condition, name, is_callable, is_exact, decode(encoded), encoded, fingerprint)
