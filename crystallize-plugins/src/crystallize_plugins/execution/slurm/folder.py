"""The folder that a coordinator and its jobs share: chunks of cells, who has claimed which, and what came of them.

| path | what it is |
| --- | --- |
| ``manifest.json`` | what the cells are, so that a later coordinator knows whether they are still the same |
| ``parcel`` | the experiment |
| ``job.sh`` | what SLURM runs |
| ``queue/<set>/<chunk>`` | cells that nobody has claimed, of one set of options |
| ``claimed/<set>/<chunk>.<life>`` | cells that a job has claimed, by renaming |
| ``records/<life>`` | what a job has to say; it alone appends to it |
| ``pruned/<cell>`` | cells that are to stop at their next report |
| ``taken.json`` | how far the coordinator has read |
| ``logs/`` | what the jobs print |

A job that is requeued begins another life: ``12_3.1.0`` is the second one of task 3 of array 12.

Renaming within a folder is one step on every file system, those of clusters among them: of two who claim a chunk one
gets it. A record has its length and checksum before it, so that one that was cut short by a kill is seen.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks import Cell
from crystallize.hooks.tools import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Claim", "JobFolder", "Record", "RecordReader", "RecordWriter", "cells_of"]

_HEAD = struct.Struct(">cQI")


class Claim(NamedTuple):
    """Cells that a job has claimed."""

    path: Path
    cells: list[Cell]


class JobFolder:
    """A folder of jobs, as both sides see it.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "manifest.json"
        self.parcel = path / "parcel"
        self.script = path / "job.sh"
        self.queue = path / "queue"
        self.claimed = path / "claimed"
        self.records = path / "records"
        self.pruned = path / "pruned"
        self.taken = path / "taken.json"
        self.logs = path / "logs"

    def create(self, sets: Iterable[str]) -> None:
        """Make the folder; what is in it is for nobody else to read, or to change."""
        self.path.mkdir(parents=True, mode=0o700)
        for each in (self.records, self.pruned, self.logs):
            each.mkdir()
        for name in sets:
            (self.queue / name).mkdir(parents=True)
            (self.claimed / name).mkdir(parents=True)

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the manifest, or None where there is none that can be read."""
        try:
            found = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest."""
        write_atomically(self.manifest, json.dumps(manifest, indent=1))

    # -- chunks -----------------------------------------------------------------------------------

    def add_chunk(self, name: str, order: int, cells: Sequence[Cell]) -> None:
        """Put cells into the queue of a set; those of a lower order are claimed first."""
        write_atomically(self.queue / name / f"{order:08d}{os.urandom(4).hex()}", _encoded(cells))

    def chunks(self, name: str) -> list[Path]:
        """Return the chunks that nobody has claimed, in order."""
        return sorted(each for each in (self.queue / name).iterdir() if each.name.isalnum())

    def claim(self, name: str, life: str, chunks: Iterable[Path] | None = None) -> Claim | None:
        """Claim the first chunk that can be had, of all or of some; return None where there is none."""
        for path in self.chunks(name) if chunks is None else chunks:
            mine = self.claimed / name / f"{path.name}.{life}"
            with contextlib.suppress(FileNotFoundError):  # another one has it
                path.rename(mine)
                return Claim(mine, cells_of(mine))
        return None

    def claims(self, name: str) -> Iterator[tuple[str, Claim]]:
        """Yield what is claimed and not finished, with the life that has claimed it."""
        for path in sorted((self.claimed / name).iterdir()):
            chunk, _, life = path.name.partition(".")
            if chunk:  # else it is being written
                with contextlib.suppress(FileNotFoundError):  # finished just now
                    yield life, Claim(path, cells_of(path))

    def give_back(self, claim: Claim, cells: Sequence[Cell]) -> None:
        """Put what is left of a claim back into the queue: at no moment is a cell in two places."""
        if not cells:
            claim.path.unlink(missing_ok=True)
            return
        if len(cells) != len(claim.cells):
            write_atomically(claim.path, _encoded(cells))
        claim.path.rename(self.queue / claim.path.parent.name / claim.path.name.partition(".")[0])

    # -- pruning ----------------------------------------------------------------------------------

    def prune(self, cell: Cell) -> None:
        """Ask a cell to stop at its next report."""
        (self.pruned / _file_name(cell)).touch()

    def prunes(self) -> bool:
        """Whether any cell has been asked to stop."""
        with os.scandir(self.pruned) as found:
            return any(found)

    def is_pruned(self, cell: Cell) -> bool:
        """Whether a cell has been asked to stop."""
        return (self.pruned / _file_name(cell)).exists()


def _encoded(cells: Sequence[Cell]) -> str:
    return json.dumps([[cell.condition, cell.replicate] for cell in cells])


def cells_of(path: Path) -> list[Cell]:
    """Return the cells of a chunk."""
    return [Cell(condition, replicate) for condition, replicate in json.loads(path.read_bytes())]


def _file_name(cell: Cell) -> str:
    return f"{zlib.crc32(cell.condition.encode()):08x}-{cell.replicate}"


# -- records ------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """What a job says: a letter for its kind, and the rest."""

    kind: bytes
    data: bytes


class RecordWriter:
    """Appends records to a new file.

    Parameters
    ----------
    folder : Path
    stem : str
        The file's name, without the number that makes it new.

    Attributes
    ----------
    name : str
        The file's name.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        for number in itertools.count():
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                self.name = f"{stem}.{number}"
                self._file = os.open(folder / self.name, flags, 0o600)
                self._one_writes = threading.Lock()
                return

    def add(self, kind: bytes, data: bytes) -> None:
        """Append a record, and have it on the disk; from any thread."""
        left = memoryview(_HEAD.pack(kind, len(data), zlib.crc32(data)) + data)
        with self._one_writes:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)


class RecordReader:
    """Reads the records of a file as they come.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    offset : int
        How far it has read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def read(self) -> Iterator[Record]:
        """Yield the records that have arrived, up to the first that is not complete."""
        # Opened anew each time: a network file system then looks how long the file is by now.
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                kind, size, checksum = _HEAD.unpack(head)
                data = file.read(size)
                if len(data) != size or zlib.crc32(data) != checksum:
                    return
                self.offset = file.tell()
                yield Record(kind, data)
