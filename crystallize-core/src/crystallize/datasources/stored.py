"""Reading what another experiment stored: the store's side of the contract, and which run is read.

Whatever plugin stores runs can serve data sources, if it offers what `ArtifactStore` asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from crystallize.errors import ArtifactMissingError, RunStateError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["BASELINE", "ArtifactStore", "Producer", "StoredRun", "existing", "producer_of", "step_of", "steps_given"]

BASELINE = "baseline"


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
        """Give the path of one stored file.

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
        """Give the newest stored run of an experiment, or None where there is none.

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


def step_of(experiment: Any, artifact: object) -> str | None:
    """Name the step of an experiment that writes an artifact, where its pipeline tells.

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
    given = steps_given(experiment.pipeline, artifact)
    if not given:
        keys = {key for key, output in experiment.outputs.items() if output is artifact}
        names = keys | {key.partition(".")[0] for key in keys}
        given = [
            label
            for label, step in _labelled(experiment.pipeline)
            if (spec := getattr(step, "spec", None)) is not None
            and any(p.is_artifact and p.name in names and p.name not in step.params for p in spec.parameters)
        ]
    return given[0] if len(given) == 1 else None


def steps_given(pipeline: Any, artifact: object) -> list[str]:
    """Name the folders of the steps that were given an artifact as a parameter."""
    return [label for label, step in _labelled(pipeline) if any(value is artifact for value in step.params.values())]


def _labelled(pipeline: Any) -> list[tuple[str, Any]]:
    steps = list(getattr(pipeline, "steps", ()))
    return list(zip(getattr(pipeline, "labels", None) or [step.name for step in steps], steps, strict=True))


def existing(path: Path) -> Path:
    """Give a stored file's path back, and refuse one that is gone."""
    if not path.exists():
        raise ArtifactMissingError(f"the stored file {path} is gone; run the experiment that wrote it again")
    return path
