"""Files that one experiment writes and another reads: `Artifact`, and `ArtifactSource` for their paths."""

from __future__ import annotations

import inspect
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_callable, check_count, check_flag
from crystallize.datasources.stored import (
    BASELINE,
    ArtifactStore,
    Producer,
    StoredFileSource,
    StoredRun,
    producer_of,
    step_of,
)
from crystallize.errors import ArgumentTypeError, ArtifactMissingError, RunStateError
from crystallize.names import check_file_name, check_name, step_class_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from crystallize.context import FrozenContext

__all__ = ["Artifact", "ArtifactSource", "ArtifactStore", "BoundArtifact", "StoredRun", "as_bytes", "read_bytes"]

_LOGGER = logging.getLogger("crystallize")


def read_bytes(path: Path) -> bytes:
    """Load an artifact as it was written; what an `Artifact` without a loader does."""
    return path.read_bytes()


def as_bytes(value: object) -> bytes:
    """Write bytes as they are and text as UTF-8; what an `Artifact` without a writer does."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise ArgumentTypeError(f"it is neither bytes nor text but {type(value).__name__}")


class Artifact(StoredFileSource):
    """A file that a step writes, and a data source for experiments downstream.

    Declare it with ``Experiment(outputs=[artifact])``. A step with a parameter annotated `Artifact` gets a handle of
    the running cell and calls ``write(value)``. As the data source of another experiment it reads the
    newest stored run of the experiment that produced it: the file of the same condition and of the same replicate,
    counted round where the producer had fewer replicates.

    Parameters
    ----------
    name : str
        The file's name.
    loader : callable, optional
        ``loader(path) -> value``; by default the file's bytes.
    writer : callable, optional
        ``writer(value) -> bytes``; by default bytes are written as they are and text as UTF-8.

    Attributes
    ----------
    replicates : int or None
        The number of replicates that an experiment reading it runs by default: what was assigned, else the number
        that the producer's newest run has, else None.

    Raises
    ------
    ArgumentTypeError
        `name` is no text, or `loader` or `writer` cannot be called.
    ValidationError
        `name` is no plain file name.

    Examples
    --------
    >>> import json
    >>> from crystallize import Artifact
    >>> model = Artifact(
    ...     "model.json",
    ...     loader=lambda path: json.loads(path.read_text()),
    ...     writer=lambda value: json.dumps(value).encode(),
    ... )
    >>> model.name
    'model.json'
    """

    def __init__(
        self,
        name: str,
        loader: Callable[[Path], Any] | None = None,
        writer: Callable[[Any], bytes] | None = None,
    ) -> None:
        self.name = check_file_name(name, what="artifact")
        self.loader: Callable[[Path], Any] = read_bytes if loader is None else check_callable(loader, what="loader")
        self.writer: Callable[[Any], bytes] = as_bytes if writer is None else check_callable(writer, what="writer")
        self._replicates: int | None = None
        # The experiment that lists this artifact among its outputs; it sets this when it is built.
        self._producer: Any = None
        self._step: str | None = None
        self._warned: set[tuple[str, str]] = set()

    @property
    def replicates(self) -> int | None:
        """How many replicates the data offers."""
        if self._replicates is not None or self._producer is None:
            return self._replicates
        try:
            return producer_of(self._producer).newest_run(f"artifact {self.name!r}").replicates
        except (ArtifactMissingError, RunStateError):
            return None

    @replicates.setter
    def replicates(self, value: int | None) -> None:
        self._replicates = None if value is None else check_count(value, what="replicates")

    @property
    def params(self) -> Mapping[str, Any]:
        """The file's name and its experiment's, for the provenance."""
        producer = self._producer
        return MappingProxyType({"name": self.name, "experiment": producer and (producer.name or producer.id)})

    def bind(self, ctx: FrozenContext) -> BoundArtifact:
        """Return the handle that a step writes through in one cell."""
        return BoundArtifact(self, ctx)

    def write(self, value: Any) -> None:
        """Refuse: only the handle that a step is given can write."""
        del value
        raise RunStateError(
            f"artifact {self.name!r} belongs to no cell here: give the step a parameter annotated Artifact, "
            "declare the artifact in the experiment's outputs=[...], and write through that parameter"
        )

    def fetch(self, ctx: FrozenContext) -> Any:
        """Load the file of the producer's newest run that belongs to this cell.

        Parameters
        ----------
        ctx : FrozenContext
            Its ``condition`` and ``replicate`` say which file. For a condition that the producer never had, the
            baseline's is read, and a warning logged.

        Raises
        ------
        RunStateError
            No experiment produces the artifact, or it stores nothing.
        ArtifactMissingError
            No run is stored, the producer's cell failed, or its file is gone.
        """
        if self._producer is None:
            raise RunStateError(
                f"artifact {self.name!r} has no producer: list it in the outputs=[...] of the experiment that writes it"
            )
        producer = producer_of(self._producer)
        run = producer.newest_run(f"artifact {self.name!r}")
        condition, replicate = ctx.get("condition", BASELINE), ctx.get("replicate", 0)
        if condition not in run.conditions:
            self._tell_of_baseline(run, producer.name, condition, replicate)
        return self.loader(self._path_in(run, condition, replicate))

    def _tell_of_baseline(self, run: StoredRun, producer: str, condition: str, replicate: int) -> None:
        """Warn that the baseline's file is read for a condition that the producer never had; refuse without one."""
        known = ", ".join(map(repr, run.conditions)) or "none"
        if BASELINE not in run.conditions:
            raise ArtifactMissingError(
                f"artifact {self.name!r} has no file for condition {condition!r}: the newest run of experiment "
                f"{producer!r} ({run.path}) has neither that condition nor a baseline; its conditions: {known}"
            )
        # Once a run as far as one process can tell: runs start with replicate 0.
        place = (str(run.path), condition)
        if replicate == 0 or place not in self._warned:
            self._warned.add(place)
            _LOGGER.warning(
                "artifact %r: experiment %r never had the condition %r, so its baseline is read instead (%s; conditions"
                " there: %s). Run it with that treatment to compare like with like",
                self.name, producer, condition, run.path, known,
            )  # fmt: skip

    def _files(self, run: StoredRun, condition: str) -> tuple[tuple[str | None, ...], str, str]:
        return (self._writing_step(),), self.name, condition if condition in run.conditions else BASELINE

    def _way_of_reading(self) -> tuple[Any, ...]:
        return type(self), self.loader

    def _declared_replicates(self) -> int | None:
        return self._replicates

    def _writing_step(self) -> str | None:
        if isinstance(self._producer, Producer):
            return self._step
        return step_of(self._producer, self)

    def __getstate__(self) -> dict[str, Any]:
        # What travels is a reference: the producer itself holds a whole pipeline.
        state = {**self.__dict__, "_warned": set()}
        if self._producer is not None:
            state["_step"] = self._writing_step()
            state["_producer"] = producer_of(self._producer)
        return state

    def __fingerprint__(self) -> object:
        """Return which file is meant and how it is read and written, not what any run has stored in it."""
        # Not its identity, where it has no name: that is made of its steps, which may hold this very artifact.
        return self.name, self._producer and (self._producer.name or ""), self.loader, self.writer

    def __repr__(self) -> str:
        return f"Artifact({self.name!r})"


class BoundArtifact(Artifact):
    """The handle of an artifact in one cell."""

    def __init__(self, artifact: Artifact, ctx: FrozenContext) -> None:
        self.__dict__.update(artifact.__dict__)
        self._ctx = ctx

    def write(self, value: Any) -> None:
        """Write the file of this cell.

        Parameters
        ----------
        value : object
            What the artifact's writer turns into bytes. Writing again replaces what was written.

        Raises
        ------
        ArgumentTypeError
            There is no writer and `value` is neither bytes nor text, or the writer gave something else.
        """
        try:
            data = as_bytes(value if self.writer is as_bytes else self.writer(value))
        except ArgumentTypeError as error:
            made = "what its writer gave" if self.writer is not as_bytes else "the value"
            raise ArgumentTypeError(
                f"artifact {self.name!r} cannot write {made}: {error}. Give Artifact(..., writer=function) a function "
                "that returns bytes"
            ) from error
        self._ctx.artifacts.add(self.name, data)


class ArtifactSource(StoredFileSource):
    """A data source of the paths of stored files, one for each replicate.

    ``experiment.artifact_datasource(...)`` makes it. Which run is read is found out at use: the newest one.

    Parameters
    ----------
    producer : Experiment
        The experiment whose files are read.
    step : str, PipelineStep or factory of steps
        The step that wrote them; as text its class' name, or its function's.
    name : str, default "data.json"
        The file's name.
    condition : str, default "baseline"
        The condition whose files are read.
    require_metadata : bool, default False
        Whether a run that recorded nothing about itself is refused.

    Examples
    --------
    >>> source = first.artifact_datasource("publish", "model.json")  # doctest: +SKIP
    >>> source.fetch(standalone_context({"replicate": 1}))  # doctest: +SKIP
    PosixPath('data/first/v0/replicate_1/baseline/PublishStep/model.json')
    """

    def __init__(
        self,
        producer: Any,
        step: Any,
        name: str = "data.json",
        condition: str = BASELINE,
        *,
        require_metadata: bool = False,
    ) -> None:
        self._producer = producer
        self.step = check_name(_step_name(step), what="step")
        self.name = check_file_name(name, what="artifact")
        self.condition = check_name(condition, what="condition")
        self.require_metadata = check_flag(require_metadata, what="require_metadata")

    @property
    def replicates(self) -> int:  # type: ignore[override]
        """How many replicates the newest stored run has; `FileNotFoundError` where none is stored."""
        return self._run().replicates

    @property
    def params(self) -> Mapping[str, Any]:
        """Which files are meant, for the provenance."""
        experiment = self._producer.name or getattr(self._producer, "id", "")
        return MappingProxyType(
            {"experiment": experiment, "step": self.step, "name": self.name, "condition": self.condition}
        )

    def fetch(self, ctx: FrozenContext) -> Path:
        """Return the path of this replicate's file, counted round where the stored run has fewer replicates.

        Raises
        ------
        ArtifactMissingError
            No run is stored, or the file is not in it. It is a `FileNotFoundError`.
        """
        return self._path_in(self._run(), self.condition, ctx.get("replicate", 0))

    def _files(self, run: StoredRun, condition: str) -> tuple[tuple[str | None, ...], str, str]:  # noqa: ARG002
        return tuple(dict.fromkeys((self.step, step_class_name(self.step)))), self.name, self.condition

    def _way_of_reading(self) -> tuple[Any, ...]:
        return type(self), self.require_metadata

    def _run(self) -> StoredRun:
        run = producer_of(self._producer).newest_run(f"artifact {self.name!r} of step {self.step!r}")
        if self.require_metadata and not run.metadata:
            raise ArtifactMissingError(
                f"the run in {run.path} recorded nothing about itself, and require_metadata=True asks for that: "
                "run the experiment again, or leave require_metadata out"
            )
        return run

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_producer": producer_of(self._producer)}

    def __fingerprint__(self) -> object:
        """Return which file is meant, not what any run has stored in it."""
        return dict(self.params)

    def __repr__(self) -> str:
        return f"artifact_datasource({self.step!r}, {self.name!r}, {self.condition!r})"


def _step_name(step: Any) -> Any:
    """Return the name of the folder of a step, of its class or of its factory; anything else as it is."""
    if isinstance(step, str):
        return step
    if inspect.isclass(step):
        return step.__name__
    if inspect.isfunction(step):
        return step_class_name(step.__name__)
    return getattr(step, "name", step)
