"""`ArtifactSource`: the paths of files that another experiment stored."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_flag
from crystallize.datasources.base import DataSource
from crystallize.datasources.stored import BASELINE, StoredRun, existing, producer_of
from crystallize.errors import ArtifactMissingError
from crystallize.names import check_file_name, check_name, step_class_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize.context import FrozenContext

__all__ = ["ArtifactSource"]


class ArtifactSource(DataSource):
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
    def producer(self) -> Any:
        """The experiment whose files are read, or a reference to it in a worker."""
        return self._producer

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

    @property
    def is_declared(self) -> bool:
        """False: what a stored run holds is known once it is read."""
        return False

    @property
    def is_async(self) -> bool:
        """False: finding a file is quick."""
        return False

    def fetch(self, ctx: FrozenContext) -> Path:
        """Give the path of this replicate's file, counted round where the stored run has fewer replicates.

        Raises
        ------
        ArtifactMissingError
            No run is stored, or the file is not in it. It is a `FileNotFoundError`.
        """
        run = self._run()
        where = {"condition": self.condition, "replicate": ctx.get("replicate", 0) % max(run.replicates, 1)}
        failure: ArtifactMissingError | None = None
        for step in dict.fromkeys((self.step, step_class_name(self.step))):
            try:
                return existing(run.artifact_path(step=step, name=self.name, **where))
            except ArtifactMissingError as error:
                failure = failure or error
        raise failure or ArtifactMissingError(f"{self!r} found nothing in {run.path}")

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
        """Say which file is meant, not what any run has stored in it."""
        return dict(self.params)

    def __repr__(self) -> str:
        return f"artifact_datasource({self.step!r}, {self.name!r}, {self.condition!r})"


def _step_name(step: Any) -> Any:
    """Name the folder of a step, of its class or of its factory; leave anything else as it is."""
    if isinstance(step, str):
        return step
    if inspect.isclass(step):
        return step.__name__
    if inspect.isfunction(step):
        return step_class_name(step.__name__)
    return getattr(step, "name", step)
