"""What is written of an optimisation: its settings, what was asked and what was told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import DamagedStoreError
from crystallize.hooks import AskedTrial, JournalEntry
from crystallize_plugins.artifacts.database.schema import ASKED
from crystallize_plugins.artifacts.database.typed_json import decode, encode

if TYPE_CHECKING:
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["journal_row", "read_journal"]


def journal_row(entry: JournalEntry) -> tuple[str, str]:
    """Return an entry as a row: its name, and everything else, encoded."""
    fields = entry.fields
    if entry.name == ASKED:
        fields = {**fields, "trials": [_packed(trial) for trial in fields["trials"]]}
    return entry.name, encode([entry.time, dict(fields), entry.fingerprint]).text


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
            time, fields, fingerprint = decode(body)
            if name == ASKED:
                fields["trials"] = [_unpacked(*trial) for trial in fields["trials"]]
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedStoreError(f"entry {number} of the journal is damaged: {error}") from error
        entries.append(JournalEntry(name, time, fields, fingerprint))
    return entries


def _packed(trial: AskedTrial) -> tuple[Any, ...]:
    encoded, lossy = encode(trial.value)
    return trial.condition, trial.name, trial.is_callable, not lossy, encoded, trial.fingerprint


def _unpacked(
    condition: str, name: str, is_callable: bool, is_exact: bool, encoded: str, fingerprint: str
) -> AskedTrial:
    return AskedTrial(condition, name, is_callable, is_exact, decode(encoded), fingerprint)
