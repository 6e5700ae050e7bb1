"""Which content the cells of an experiment are given that reads what another one stored."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from crystallize.datasources.artifact import Artifact
from crystallize.datasources.inputs import ExperimentInput
from crystallize.datasources.paths import ArtifactSource
from crystallize.datasources.stored import BASELINE, producer_of
from crystallize.errors import ArtifactMissingError, RunStateError, StoreError
from crystallize.names import step_class_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crystallize.datasources.base import DataSource
    from crystallize.datasources.stored import StoredRun

__all__ = ["GivenFiles", "file_sources"]

_CHUNK = 1 << 20


class GivenFiles:
    """The stored files that a data source reads, as they are at one moment.

    Which run is the newest is found out when this is made. A cell that reads a later one is taken for one that reads
    other data, and runs again when the run is resumed.

    Parameters
    ----------
    source : DataSource
        Any source; an `ExperimentInput` is looked into.
    """

    def __init__(self, source: DataSource) -> None:
        self._sources = [(part, _newest(part)) for part in file_sources(source)]
        self._looked_at: dict[Path, str] = {}

    def __bool__(self) -> bool:
        """Whether any stored files are read."""
        return bool(self._sources)

    def digest(self, condition: str, replicate: int, *, look: bool) -> str:
        """Give the identity of what a cell is given.

        Parameters
        ----------
        condition : str
        replicate : int
        look : bool
            Whether to read the files, and not to trust what the store recorded of them.
        """
        return "+".join(self._one(part, run, condition, replicate, look=look) for part, run in self._sources)

    def _one(self, part: Any, run: StoredRun | None, condition: str, replicate: int, *, look: bool) -> str:
        if run is None:
            return "absent"
        if isinstance(part, ArtifactSource):
            steps: tuple[str | None, ...] = tuple(dict.fromkeys((part.step, step_class_name(part.step))))
            condition = part.condition
        else:
            steps = (part._writing_step(),)
            condition = condition if condition in run.conditions else BASELINE
        where: dict[str, Any] = {"condition": condition, "replicate": replicate % max(run.replicates, 1)}
        for step in steps:
            recorded = getattr(run, "artifact_digest", None)
            try:
                # The store may look itself whether the file is what was written, and raises where it is not.
                path = run.artifact_path(step=step, name=part.name, **where) if look or recorded is None else None
                if recorded is not None:
                    return str(recorded(step=step, name=part.name, **where))
                return self._read(path)
            except (OSError, StoreError):
                continue  # the cell itself will say what is wrong
        return "absent"

    def _read(self, path: Path | None) -> str:
        if path is None:
            return "absent"
        known = self._looked_at.get(path)
        if known is None:
            digest = sha256(usedforsecurity=False)
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            known = self._looked_at[path] = digest.hexdigest()
        return known


def file_sources(source: DataSource) -> Iterator[Any]:
    """Give the parts of a data source that read what an experiment stored: artifacts, and sources of paths."""
    if isinstance(source, ExperimentInput):
        for part in source.sources.values():
            yield from file_sources(part)
    elif isinstance(source, (Artifact, ArtifactSource)):
        yield source


def _newest(part: Any) -> StoredRun | None:
    if part.producer is None:
        return None
    try:
        return producer_of(part.producer).newest_run(repr(part))
    except (ArtifactMissingError, RunStateError):
        return None
