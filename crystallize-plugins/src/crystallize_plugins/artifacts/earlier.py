"""A stored run beside what is wanted now: which of its cells still hold, and why the others do not."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks import Cell
from crystallize_plugins.artifacts import contents, database
from crystallize_plugins.artifacts.basis import Basis, Carried
from crystallize_plugins.artifacts.conditions import StoredCondition
from crystallize_plugins.artifacts.decoding import decode
from crystallize_plugins.artifacts.facts import facts_from_file, facts_from_row
from crystallize_plugins.artifacts.files import file_digest
from crystallize_plugins.artifacts.lazy import StoredOutcomes
from crystallize_plugins.artifacts.schema import FIRST_VERSION
from crystallize_plugins.artifacts.shapes import HEAD

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from crystallize.hooks import ArtifactRecord, CellIdentities
    from crystallize_plugins.artifacts.database import RunDatabase
    from crystallize_plugins.artifacts.facts import RunFacts, Session
    from crystallize_plugins.artifacts.table import CellTable

__all__ = ["COMPLETE", "EarlierRun"]

COMPLETE = "complete"
MISSING = "missing"
FAILED = "failed"
INEXACT = "not stored exactly"
UNKNOWN = "changed: what it was made of was not recorded"

UNTRACKED = "untracked: "
"""What the reason begins with where something cannot be compared."""

_MOST_NAMED = 4


class _Condition(NamedTuple):
    """A row of the table ``condition``, less the record."""

    number: int
    identity: str | None
    common: str | None
    parts: Mapping[str, str]


class EarlierRun:
    """What a stored run has, read at one moment.

    Parameters
    ----------
    path : Path
        The run's folder.
    source : RunDatabase, optional
        Its database, where it is open already.

    Attributes
    ----------
    facts : RunFacts
    session : Session
        The last one.
    outcomes : StoredOutcomes
        All its cells, those that failed included.
    state : tuple
        Differs once something has been added.
    trust_untracked : bool
        Whether cells hold although something that they refer to cannot be compared; False unless set.

    Raises
    ------
    StoreError
        It cannot be read, or is damaged.
    """

    facts: RunFacts
    session: Session

    def __init__(self, path: Path, source: RunDatabase | None = None) -> None:
        self.path = path
        self.trust_untracked = False
        self._parts: dict[str, Mapping[str, str]] = {}
        self._why: dict[str, str] = {}
        self._rare: tuple[frozenset[Cell], frozenset[Cell]] | None = None
        if source is None:
            with database.reading(path) as opened:
                self._read(opened)
        else:
            self._read(source)

    def _read(self, source: RunDatabase) -> None:
        facts = facts_from_row(source)
        if facts is None:
            raise LookupError(f"nothing was committed to {self.path}")
        self.facts, self.session = facts, contents.last_session(source)
        self._files = contents.artifacts(source, self.path)
        files = self._files
        self._table = contents.cell_table(source)
        self.outcomes = StoredOutcomes(self._table, lambda: files)
        self.state = tuple(
            source.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
            for table in ("session", "cells", "shape")
        )
        self.inputs: dict[Cell, str] = {}
        self._conditions: dict[str, _Condition] = {}
        if source.version == FIRST_VERSION:
            self._conditions = {
                name: _Condition(number, None, None, {}) for number, name in contents.condition_names(source).items()
            }
            return
        for digest, body in source.execute("SELECT digest, parts FROM identity"):
            self._parts[digest] = decode(source.unseal(body, digest, what="what the cells were made of"))
        for replicate, condition, digest in source.rows("input", ("replicate", "condition", "digest"), ""):
            self.inputs[Cell(condition, replicate)] = digest
        for number, name, identity, common, body in source.execute(
            "SELECT id, name, identity, common, parts FROM condition"
        ):
            parts: Mapping[str, str] = {}
            if identity is not None:
                what = f"what the cells of condition {name!r} were made of"
                parts = decode(source.unseal(body, number, name, identity, common, what=what))
            self._conditions[name] = _Condition(number, identity, common, parts)

    @property
    def is_finished(self) -> bool:
        """Whether it was run to its end and everything is written, the files for people included."""
        told = facts_from_file(self.path)
        ended = self.session.ended is not None and not self.session.stopped_by
        return ended and told is not None and told[1].ended is not None

    # -- what holds -------------------------------------------------------------------------------

    def decide(
        self,
        cells: Sequence[Cell],
        identities: CellIdentities,
    ) -> dict[Cell, str]:
        """Say of each cell ``"complete"``, or why it has to run.

        Parameters
        ----------
        cells : sequence of Cell
        identities : CellIdentities
            Of what is wanted now.

        Returns
        -------
        dict of Cell to str
            In the order of `cells`.
        """
        outcomes = self.outcomes
        # Gathered once: the cells of an optimisation are asked about batch by batch.
        if self._rare is None:
            self._rare = outcomes.failed, outcomes.inexact
        failed, inexact = self._rare
        changed = {name: self.why_changed(name, identities) for name in set(map(itemgetter(0), cells))}
        reads_files = identities.reads_files
        if not (failed or inexact or reads_files or self._files or any(changed.values())):
            # Of thousands of cells that are all there none is looked at.
            index = outcomes._index
            if all(map(index.__contains__, cells)):
                return dict.fromkeys(cells, COMPLETE)
            return {cell: COMPLETE if cell in index else MISSING for cell in cells}
        decided = {}
        for cell in cells:
            if cell not in outcomes:
                reason = MISSING
            elif changed[cell.condition]:
                reason = changed[cell.condition]
            elif cell in failed:
                reason = FAILED
            elif cell in inexact:
                reason = INEXACT
            elif reads_files and self.inputs.get(cell) != identities.stored_files(cell, look=True):
                reason = "changed: the stored files that it reads"
            else:
                reason = self._why_files(self._files.get(cell, ()))
            decided[cell] = reason or COMPLETE
        return decided

    def holds_all(self, conditions: Sequence[str], replicates: int, identities: CellIdentities) -> bool:
        """Say whether the run is exactly what is wanted, without looking at any of its cells.

        Parameters
        ----------
        conditions : sequence of str
        replicates : int
        identities : CellIdentities
            Of what is wanted now.
        """
        outcomes, table = self.outcomes, self._table
        return (
            len(outcomes) == len(conditions) * replicates > 0
            and set(outcomes.conditions) == set(conditions)
            and max(table.replicates) < replicates
            and not (self._files or identities.reads_files or outcomes.failed or outcomes.inexact)
            and not any(self.why_changed(name, identities) for name in conditions)
        )

    def why_changed(self, name: str, identities: CellIdentities) -> str:
        """Say what of a condition's identity differs, or cannot be compared.

        Nothing where it is the same, or the condition was not there.
        """
        known = self._why.get(name)
        if known is None:
            stored = self._conditions.get(name)
            if stored is None:
                known = ""
            elif stored.identity == identities.condition(name):
                known = self._why_untracked(identities.untracked_of(name))
            elif stored.identity is None:
                known = UNKNOWN
            else:
                then = {**self._parts.get(stored.common or "", {}), **stored.parts}
                known = _difference(then, identities.parts(name))
            self._why[name] = known
        return known

    def cells_beside(self, conditions: Collection[str]) -> dict[str, list[Cell]]:
        """Give the stored cells of all other conditions than these, by condition; of one that never ran, none."""
        others = [name for name in self._conditions if name not in conditions]
        found: dict[str, list[Cell]] = {name: [] for name in others}
        for cell in self.outcomes if others else ():
            if cell.condition in found:
                found[cell.condition].append(cell)
        return found

    def why_other(self, identities: CellIdentities) -> str:
        """Name what all conditions share, and is another now or cannot be compared; nothing where it is the same."""
        for name in self.outcomes.conditions:
            common = self._conditions[name].common
            if common is None:
                return UNKNOWN
            if common != identities.common:
                return _difference(self._parts.get(common, {}), identities.common_parts)
        return self._why_untracked(identities.untracked_of()) if self.outcomes.conditions else ""

    def _why_untracked(self, untracked: Sequence[str]) -> str:
        return UNTRACKED + _listed(untracked) if untracked and not self.trust_untracked else ""

    def can_go_on(self, wanted: Collection[str], identities: CellIdentities) -> bool:
        """Say whether new cells can join those that are stored, because none of these would change.

        Parameters
        ----------
        wanted : collection of str
            The conditions that are wanted.
        identities : CellIdentities
        """
        for name in self.outcomes.conditions:
            stored = self._conditions[name]
            if stored.common != identities.common or (name in wanted and self.why_changed(name, identities)):
                return False
        return True

    @staticmethod
    def _why_files(records: Sequence[ArtifactRecord]) -> str:
        for record in records:
            where = f"{record.step}/{record.name}"
            try:
                digest = _digest(Path(str(record.path)), record.size)
            except FileNotFoundError:
                return f"file gone: {where}"
            except OSError as error:
                return f"file cannot be read: {where} ({error.strerror})"
            if digest != record.sha256:
                return f"file damaged: {where}"
        return ""

    # -- what is built on it ----------------------------------------------------------------------

    def basis(self) -> Basis:
        """Give what the writer that goes on with this run has to know."""
        session, groups, shapes = self.state[0] + 1, self.state[1], self.state[2]
        return Basis(session, self._stored_conditions(), self.outcomes, shapes, groups, self._files)

    def carried(self, kept: Collection[Cell]) -> Basis:
        """Give what a run in another folder has to know that takes cells over.

        Parameters
        ----------
        kept : collection of Cell
            Those that still hold.
        """
        outcomes = self.outcomes.restricted(kept)
        names = set(outcomes.conditions)
        with database.reading(self.path) as source:
            rows = source.execute("SELECT id, name, record, identity, common, parts FROM condition").fetchall()
            shapes = source.execute("SELECT id, kind, body FROM shape").fetchall()
            identities = source.execute("SELECT digest, parts FROM identity").fetchall()
            inputs = source.execute("SELECT replicate, condition, digest, seal FROM input").fetchall()
            files = [*source.rows("artifact", contents.ARTIFACT)]
        conditions = [row for row in rows if row[1] in names]
        carried = Carried(
            self.path,
            b"".join(_record(self._table, position) for position in outcomes._index.values()),
            len(outcomes),
            sum(cell in self.outcomes.failed for cell in outcomes),
            conditions,
            shapes,
            [row for row in identities if row[0] in {condition[4] for condition in conditions}],
            [row for row in inputs if (row[1], row[0]) in outcomes],
            [row for row in _last(files) if (row[1], row[0]) in outcomes],
        )
        stored = {name: each for name, each in self._stored_conditions().items() if name in names}
        return Basis(1, stored, outcomes, self.state[2], int(bool(carried.cells)), self._files, carried)

    def _stored_conditions(self) -> dict[str, StoredCondition]:
        having = set(self.outcomes.conditions)
        return {
            name: StoredCondition(each.number, each.identity, name in having) for name, each in self._conditions.items()
        }


def _record(table: CellTable, position: int) -> bytes:
    place = table.places[position]
    *_, durations, packed, rest = HEAD.unpack_from(table.records, place)
    return table.records[place : place + HEAD.size + durations + packed + rest]


def _last(files: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Give the rows of artifacts that count: of two for one file, the later one."""
    return list({row[:4]: row for row in files}.values())


def _difference(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name the parts in which two identities differ."""
    names = [name for name in dict.fromkeys([*now, *then]) if then.get(name) != now.get(name)]
    if not names:
        # Digests by name are equal: only the order of some parts differs.
        return "changed: order"
    return "changed: " + _listed(names)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _digest(path: Path, size: int) -> str:
    """Give the hash of a stored file; nothing where its size says already that it is another."""
    return file_digest(path) if path.stat().st_size == size else ""
