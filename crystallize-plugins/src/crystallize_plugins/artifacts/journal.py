"""What is written of an optimisation: its settings, what was asked and what was told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import StoreError
from crystallize_plugins.artifacts.checksum import seal, unseal
from crystallize_plugins.artifacts.decoding import decode
from crystallize_plugins.artifacts.encoding import encode
from crystallize_plugins.artifacts.schema import ASKED

if TYPE_CHECKING:
    import sqlite3

    from crystallize.results.outcome import Event

__all__ = ["AskedTrial", "JournalEntry", "journal_row", "read_journal"]


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


class JournalEntry(NamedTuple):
    """An entry of the journal.

    Fields of ``optimization_started``: ``optimizer`` (module and class), ``settings``, ``seed``, ``num_trials``,
    ``replicates``, ``objectives`` (pairs of metric and direction), ``baseline``. Of ``trials_asked``: ``batch``,
    ``trials`` (a list of `AskedTrial`). Of ``trials_told``: ``batch``, ``states``, ``how`` (``"tell"``,
    ``"tell_trials"``, or None where the optimiser has no word for what became of them), ``values`` (what `tell` got),
    ``reports`` (of each trial its intermediate values as (replicate, name, value, step)).
    """

    name: str
    time: float
    """Seconds since the epoch."""
    fields: dict[str, Any]


def journal_row(event: Event) -> tuple[str, bytes]:
    """Give an event as a row: its name, and everything else as sealed bytes."""
    fields = event.fields
    if event.name == ASKED:
        fields = {**fields, "trials": [_packed(*trial) for trial in fields["trials"]]}
    return event.name, seal(encode((event.time, dict(fields))).data)


def read_journal(source: sqlite3.Connection) -> list[JournalEntry]:
    """Give all entries, in the order in which they were written.

    Raises
    ------
    StoreError
        One of them is damaged.
    """
    entries = []
    for number, name, body in source.execute("SELECT id, name, body FROM journal ORDER BY id"):
        try:
            time, fields = decode(unseal(body, what=f"entry {number} of the journal"))
            if name == ASKED:
                fields["trials"] = [_unpacked(*trial) for trial in fields["trials"]]
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(f"entry {number} of the journal is damaged: {error}") from error
        entries.append(JournalEntry(name, time, fields))
    return entries


def _packed(condition: str, name: str, value: Any) -> tuple[Any, ...]:
    data, lossy = encode(value)
    return condition, name, callable(value), not lossy, data


def _unpacked(condition: str, name: str, is_callable: bool, is_exact: bool, data: bytes) -> AskedTrial:
    return AskedTrial(condition, name, is_callable, is_exact, decode(data))
