"""A stored run beside what is wanted now: which of its cells are kept, and why the others are not."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks import Cell
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import COMPLETE, FAILED
from crystallize_plugins.artifacts.database.conditions import StoredCondition
from crystallize_plugins.artifacts.database.facts import facts_from_file, facts_from_row
from crystallize_plugins.artifacts.database.schema import insert
from crystallize_plugins.artifacts.database.typed_json import decode
from crystallize_plugins.artifacts.database.writer import StoredBefore
from crystallize_plugins.artifacts.files.inside import check_path
from crystallize_plugins.artifacts.files.synced import file_digest, link_or_copy
from crystallize_plugins.artifacts.reading import rows
from crystallize_plugins.artifacts.reading.outcomes import StoredOutcomes
from crystallize_plugins.artifacts.recorded import newest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from crystallize.hooks import ArtifactRecord, CellIdentities
    from crystallize_plugins.artifacts.database.connection import RunDatabase
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session

__all__ = ["COMPLETE", "FAILED", "MISSING", "UNTRACKED", "PreviousRun"]

MISSING = "missing"
INEXACT = "not stored exactly"
UNKNOWN = "changed: what it was made of was not recorded"

UNTRACKED = "untracked: "
"""What the reason begins with where something cannot be compared."""

_MOST_NAMED = 4
_COPIED_AT_ONCE = 4096


class PreviousRun:
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
    plugins : list of dict
        The lock of those that it had.
    state : tuple
        Differs once something has been added.
    trust_untracked : bool
        Whether cells are kept although something that they refer to cannot be compared; False unless set.

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
        self._inputs: dict[Cell, str] | None = None
        if source is None:
            with database.reading(path) as opened:
                self._read(opened)
        else:
            self._read(source)

    def _read(self, source: RunDatabase) -> None:
        facts = facts_from_row(source)
        if facts is None:
            raise LookupError(f"nothing was committed to {self.path}")
        self.facts = facts
        number, self.session = rows.last_session(source)
        self._files = files = rows.artifacts(source, self.path)
        self.outcomes = StoredOutcomes(source, self.path, lambda: files)
        traces = source.execute("SELECT coalesce(max(id), 0) FROM trace").fetchone()[0]
        self.state = (number, len(self.outcomes), traces)
        self._parts = {digest: decode(parts) for digest, parts in source.rows("identity")}
        locks = source.rows("document", "WHERE name = 'plugins' OR name LIKE 'plugins@%'")
        self.plugins = newest_of({name: decode(body) for name, body in locks}, "plugins")
        self._conditions: dict[str, StoredCondition] = {}
        for place, name, _, identity, common, parts in source.rows("condition"):
            has_cells = bool(self.outcomes.replicates(name))
            own = {} if parts is None else decode(parts)
            self._conditions[name] = StoredCondition(place, identity, common, own, has_cells)

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
            return {cell: COMPLETE if cell in outcomes else MISSING for cell in cells}
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
            elif reads_files and self._read_files(cell) != identities.stored_files(cell, look=True):
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
        outcomes = self.outcomes
        return (
            len(outcomes) == len(conditions) * replicates > 0
            and set(outcomes.conditions) == set(conditions)
            and all(outcomes.replicates(name)[-1] < replicates for name in conditions)
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
        return {name: [Cell(name, each) for each in self.outcomes.replicates(name)] for name in others}

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

    def _why_files(self, records: Sequence[ArtifactRecord]) -> str:
        for record in records:
            where = f"{record.step}/{record.name}"
            try:
                digest = self._digest(Path(str(record.path)), record.size)
            except FileNotFoundError:
                return f"file gone: {where}"
            except OSError as error:
                return f"file cannot be read: {where} ({error.strerror or error})"
            if digest != record.sha256:
                return f"file damaged: {where}"
        return ""

    def _digest(self, path: Path, size: int) -> str:
        """Return the hash of a stored file; nothing where its size says already that it is another."""
        return file_digest(path) if check_path(self.path, path).st_size == size else ""

    def _read_files(self, cell: Cell) -> str:
        """Return the identity of the stored files that a cell was given."""
        if self._inputs is None:
            self._inputs = {}
            with database.reading(self.path) as source:
                for condition, replicate, identity in source.execute("SELECT condition, replicate, identity FROM cell"):
                    self._inputs[Cell(condition, replicate)] = str(identity).partition(":")[2]
        return self._inputs.get(cell, "")

    # -- what is built on it ----------------------------------------------------------------------

    def going_on(self) -> StoredBefore:
        """Return what the writer that goes on with this run has to know."""
        session, _, traces = self.state
        return StoredBefore(session + 1, self._conditions, self.outcomes, self._arrived(), traces, self._files)

    def taken_over(self, kept: Collection[Cell]) -> StoredBefore:
        """Return what a run in another folder has to know that takes cells over.

        Parameters
        ----------
        kept : collection of Cell
            Those that still hold.
        """
        outcomes = self.outcomes.restricted(kept)
        conditions = {name: each for name, each in self._conditions.items() if name in outcomes.conditions}

        def copy(target: RunDatabase, folder: Path) -> None:
            with database.reading(self.path) as source:
                _copy(source, target, outcomes, {each.common for each in conditions.values()})
            locations = [(self.path, self.path / row[4], folder / row[4]) for row in target.rows("artifact")]
            link_or_copy(locations, inside=folder)

        return StoredBefore(
            1, conditions, outcomes, self._arrived(), self.state[2], self._files, self.path, copy
        )  # fmt: skip

    def _arrived(self) -> int:
        """Return the number of the cell that arrived last."""
        with database.reading(self.path) as source:
            found = source.execute("SELECT max(number) FROM cell").fetchone()[0]
        return int(found or 0)


def _copy(source: RunDatabase, target: RunDatabase, outcomes: StoredOutcomes, common: Collection[str | None]) -> None:
    """Copy the rows of some cells, and of their conditions, as they are."""
    insert(target, "trace", source.execute("SELECT * FROM trace ORDER BY id").fetchall())
    identities = source.execute("SELECT * FROM identity").fetchall()
    insert(target, "identity", [row for row in identities if row[0] in common])
    insert(target, "artifact", [row for row in _last(source.execute("SELECT * FROM artifact")) if row[:2] in outcomes])
    for name in outcomes.conditions:
        insert(target, "condition", source.execute("SELECT * FROM condition WHERE name = ?", (name,)).fetchall())
        for table in ("parameter", "cell", "metric", "error"):
            found = source.execute(f"SELECT * FROM {table} WHERE condition = ?", (name,))  # noqa: S608 - our own names
            while several := found.fetchmany(_COPIED_AT_ONCE):
                insert(target, table, [row for row in several if table == "parameter" or row[:2] in outcomes])


def _last(files: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of artifacts that count: of two for one file, the later one."""
    return iter({row[:4]: row for row in files}.values())


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
