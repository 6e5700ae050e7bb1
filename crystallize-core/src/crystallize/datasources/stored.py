"""Reading what another experiment stored: the store's side of the contract, and which run is read.

Whatever plugin stores runs can serve data sources, if it offers what `ArtifactStore` asks for.
"""

from __future__ import annotations

from abc import abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from crystallize.datasources.base import DataSource
from crystallize.errors import ArtifactMissingError, RunStateError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from crystallize.datasources.base import ContextReader, Identify
    from crystallize.fingerprint import Identity

__all__ = [
    "BASELINE",
    "ArtifactStore",
    "Producer",
    "StoredContents",
    "StoredFileSource",
    "StoredRun",
    "producer_of",
    "step_of",
    "steps_that_take",
]

BASELINE = "baseline"
_CHUNK = 1 << 20


@runtime_checkable
class StoredRun(Protocol):
    """One stored run, opened for reading."""

    @property
    def path(self) -> Path:
        """The run's folder."""

    @property
    def version(self) -> int:
        """The number of the run's folder."""

    @property
    def replicates(self) -> int:
        """How many replicates the run was asked for."""

    @property
    def conditions(self) -> Collection[str]:
        """The names of the conditions that ran, those that failed included."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the run recorded about itself; empty where it recorded nothing."""

    def artifact_path(self, *, step: str | None, name: str, condition: str, replicate: int) -> Path:
        """Return the path of one stored file.

        Parameters
        ----------
        step : str or None
            The name of the step's folder; None for the only step that wrote such a file.
        name : str
            The file's name.
        condition : str
        replicate : int

        Raises
        ------
        ArtifactMissingError
            The cell failed, wrote no such file, or the file is gone.
        """


@runtime_checkable
class ArtifactStore(Protocol):
    """A plugin that stores runs and can open them again.

    It travels to worker processes as part of the data sources that read from it, so it has to pickle, and to stay
    small.
    """

    def newest_run(self, experiment_name: str) -> StoredRun | None:
        """Return the newest stored run of an experiment, or None where there is none.

        It is asked for every fetch, so it should cost little where nothing changed.
        """


class Producer(NamedTuple):
    """A reference to an experiment whose runs are read: all that travels to a worker."""

    name: str
    """The experiment's name, or its identity where it has none: what its folder is called after."""
    store: ArtifactStore | None

    def newest_run(self, what: str) -> StoredRun:
        """Open the experiment's newest run.

        Parameters
        ----------
        what : str
            What is wanted of it, for messages.

        Raises
        ------
        RunStateError
            The experiment has no plugin that stores runs.
        ArtifactMissingError
            Nothing is stored; it is a `FileNotFoundError`.
        """
        if self.store is None:
            raise RunStateError(
                f"{what} cannot be read: experiment {self.name!r} has no plugin that stores its runs. "
                "Add ArtifactPlugin to its plugins (pip install crystallize-plugins) and run it"
            )
        run = self.store.newest_run(self.name)
        if run is None:
            raise ArtifactMissingError(
                f"{what} is not there: no run of experiment {self.name!r} is stored. Run that experiment first"
            )
        return run


def producer_of(experiment: Any) -> Producer:
    """Refer to an experiment by its name and its store.

    Parameters
    ----------
    experiment : Experiment or Producer
        The first `ArtifactStore` among its plugins counts, as it is now.
    """
    if isinstance(experiment, Producer):
        return experiment
    store = next((plugin for plugin in experiment.plugins if isinstance(plugin, ArtifactStore)), None)
    return Producer(experiment.name or experiment.id, store)


class StoredFileSource(DataSource):
    """A data source that reads files which another experiment stored."""

    _producer: Any

    @property
    def producer(self) -> Any:
        """The experiment whose files are read, a reference to it in a worker, or None."""
        return self._producer

    @property
    def is_declared(self) -> bool:
        """False: what a stored run holds is known once it is read."""
        return False

    @property
    def is_async(self) -> bool:
        """False: files are found and read at once."""
        return False

    @abstractmethod
    def _files(self, run: StoredRun, condition: str) -> tuple[tuple[str | None, ...], str, str]:
        """Return the steps of which one wrote the file of a condition, the file's name, and the condition there."""

    @abstractmethod
    def _way_of_reading(self) -> tuple[Any, ...]:
        """Return how the file is read; neither the name of the experiment that wrote it nor of its folder."""

    def _path_in(self, run: StoredRun, condition: str, replicate: int) -> Path:
        """Return the path of the file of a cell; raise `ArtifactMissingError` where no step wrote it."""
        steps, name, condition = self._files(run, condition)
        missing: list[ArtifactMissingError] = []
        replicate %= max(run.replicates, 1)
        for step in steps:
            try:
                path = run.artifact_path(step=step, name=name, condition=condition, replicate=replicate)
            except ArtifactMissingError as error:
                missing.append(error)
                continue
            if path.exists():
                return path
            gone = f"the stored file {path} is gone; run the experiment that wrote it again"
            missing.append(ArtifactMissingError(gone))
        raise missing[0]

    def _declared_replicates(self) -> int | None:
        return None

    def _context_readers(self) -> tuple[ContextReader, ...]:
        return ()  # no key that a treatment may set

    def _identity_parts(self, label: str, look: Identify | None = None) -> Iterator[tuple[str, Identity]]:  # noqa: ARG002
        # Which content the files have differs from cell to cell.
        from crystallize.fingerprint import identify

        yield label, identify(self._way_of_reading())


class StoredContents:
    """The content of the stored files that a data source reads, as they are at one moment.

    Which run is the newest is found out when this is made. A cell that reads a later one is taken for one that reads
    other data, and runs again when the run is resumed.

    Parameters
    ----------
    source : DataSource
        Any source; an `ExperimentInput` is looked into.
    """

    def __init__(self, source: DataSource) -> None:
        found = [part for part in source.single_sources() if isinstance(part, StoredFileSource)]
        self._sources = [(part, _newest(part)) for part in found]
        self._known: dict[Path, str] = {}

    def __bool__(self) -> bool:
        """Return whether any stored files are read."""
        return bool(self._sources)

    def digest(self, condition: str, replicate: int, *, look: bool) -> str:
        """Return the identity of the files that a cell reads.

        Parameters
        ----------
        condition : str
        replicate : int
        look : bool
            Whether to read the files, and not to trust what the store recorded of them.
        """
        return "+".join(self._one(part, run, condition, replicate, look=look) for part, run in self._sources)

    def _one(self, part: StoredFileSource, run: StoredRun | None, condition: str, replicate: int, *, look: bool) -> str:
        if run is None:
            return "absent"
        steps, name, condition = part._files(run, condition)
        where: dict[str, Any] = {"condition": condition, "replicate": replicate % max(run.replicates, 1)}
        recorded = getattr(run, "artifact_digest", None)
        for step in steps:
            try:
                # The store may look itself whether the file is what was written, and raises where it is not.
                path = run.artifact_path(step=step, name=name, **where) if look or recorded is None else None
                if recorded is not None:
                    return str(recorded(step=step, name=name, **where))
                if path is not None:
                    return self._content(path)
            except (OSError, StoreError):
                continue  # the cell itself will say what is wrong
        return "absent"

    def _content(self, path: Path) -> str:
        known = self._known.get(path)
        if known is None:
            digest = sha256(usedforsecurity=False)
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            known = self._known[path] = digest.hexdigest()
        return known


def _newest(part: StoredFileSource) -> StoredRun | None:
    if part.producer is None:
        return None
    try:
        return producer_of(part.producer).newest_run(repr(part))
    except (ArtifactMissingError, RunStateError):
        return None


def step_of(experiment: Any, artifact: object) -> str | None:
    """Return the name of the step of an experiment that writes an artifact, where its pipeline tells.

    Parameters
    ----------
    experiment : Experiment
    artifact : Artifact
        One of its outputs.

    Returns
    -------
    str or None
        The folder of the step that was given the artifact as a parameter, or that has a parameter of the artifact's
        name; None where no step or several do.
    """
    labels = steps_that_take(experiment.pipeline, artifact)
    if not labels:
        keys = {key for key, output in experiment.outputs.items() if output is artifact}
        names = keys | {key.partition(".")[0] for key in keys}
        labels = [
            label
            for label, step in _labelled(experiment.pipeline)
            if any(parameter.is_artifact and parameter.name in names for parameter in step._open_parameters())
        ]
    return labels[0] if len(labels) == 1 else None


def steps_that_take(pipeline: Any, artifact: object) -> list[str]:
    """Return the names of the folders of the steps that were given an artifact as a parameter."""
    return [label for label, step in _labelled(pipeline) if any(value is artifact for value in step.params.values())]


def _labelled(pipeline: Any) -> list[tuple[str, Any]]:
    steps = list(getattr(pipeline, "steps", ()))
    return list(zip(getattr(pipeline, "labels", None) or [step.name for step in steps], steps, strict=True))
