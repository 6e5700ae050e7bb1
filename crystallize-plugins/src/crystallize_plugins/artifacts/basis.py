"""What a writer builds on: a stored run that goes on, or cells of one that are carried over into the next version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.checksum import seal_group, sealed_row
from crystallize_plugins.artifacts.files import Content, _make_folders, sync_folder, write_synced
from crystallize_plugins.artifacts.schema import INSERT_ARTIFACT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import ArtifactRecord, Cell
    from crystallize_plugins.artifacts.conditions import StoredCondition

__all__ = ["Basis", "Carried"]


class Carried(NamedTuple):
    """Cells of a stored run as they lie there, with all that they refer to, on their way into another run."""

    source: Path
    """The folder of that run."""
    records: bytes
    """The cells, one after the other."""
    cells: int
    failed: int
    conditions: Sequence[tuple[Any, ...]]
    """Rows of the tables, as they are; their seals hold in another database, too."""
    shapes: Sequence[tuple[Any, ...]]
    identities: Sequence[tuple[Any, ...]]
    inputs: Sequence[tuple[Any, ...]]
    artifacts: Sequence[tuple[Any, ...]]
    """Without their seals; the path is the fifth column."""

    def store(self, connection: sqlite3.Connection, folder: Path) -> None:
        """Put everything into a run's folder and its database, within the transaction that is open.

        Parameters
        ----------
        connection : sqlite3.Connection
        folder : Path
            The other run's.
        """
        self._link(folder)
        for statement, rows in (
            ("INSERT INTO condition VALUES (?, ?, ?, ?, ?, ?)", self.conditions),
            ("INSERT INTO shape VALUES (?, ?, ?)", self.shapes),
            ("INSERT OR IGNORE INTO identity VALUES (?, ?)", self.identities),
            ("INSERT INTO input VALUES (?, ?, ?, ?)", self.inputs),
            (INSERT_ARTIFACT, [sealed_row(*row) for row in self.artifacts]),
        ):
            if rows:
                operations.execute_many(connection, statement, rows)
        if self.cells:
            row = (1, self.cells, self.failed)
            body = seal_group(self.records, *row)
            operations.execute(connection, "INSERT INTO cells VALUES (?, ?, ?, ?)", (*row, body))

    def _link(self, folder: Path) -> None:
        """Give the files a second name in another run's folder; copy them where the file system cannot."""
        made: set[Path] = set()
        for *_, location, _, _ in self.artifacts:
            source, target = self.source / location, folder / location
            made.update(_make_folders(target.parent, folder, made))
            try:
                operations.link(source, target)
            except OSError:
                write_synced([Content(target, source.read_bytes())], inside=folder)
        for parent in made:
            sync_folder(parent)


class Basis(NamedTuple):
    """What is in a run's database before its writer opens it, or will be by its first commit."""

    session: int
    """The number of the writer's session."""
    conditions: Mapping[str, StoredCondition]
    cells: Collection[Cell]
    shapes: int
    """How many numbers of shapes are taken."""
    groups: int
    """How many groups of cells there are."""
    files: Mapping[Cell, Sequence[ArtifactRecord]]
    """What cells wrote, those included that are not taken over."""
    carried: Carried | None = None
    """None where the run goes on in its own folder."""
