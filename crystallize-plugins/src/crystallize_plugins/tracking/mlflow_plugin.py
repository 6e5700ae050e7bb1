"""`MLflowPlugin`: runs in MLflow, while they go on or afterwards."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from crystallize.errors import ArgumentTypeError, DeliveryError, MissingExtraError, StoreError
from crystallize.hooks import BASELINE, BasePlugin, Setting
from crystallize.hooks.tools import check_flag, check_mapping, check_name, check_seconds, mask_text
from crystallize_plugins.tracking.helper import Helper
from crystallize_plugins.tracking.mlflow_sender import follow_run, send_stored
from crystallize_plugins.tracking.records import ConditionParams, RunRecord, Spool, cell_record, treatment_params

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from crystallize import Result
    from crystallize.hooks import CellOutcome, ExperimentView

__all__ = ["MLflowPlugin"]

_TRACKED = ("run", "trial")


class MLflowPlugin(BasePlugin):
    """Send every run to MLflow while it goes on.

    A run is a parent run with a child run for each condition. A child has the metrics, with the replicate as the step;
    as parameters the seed, the number of replicates and what the treatment sets; and the files that steps wrote, at
    ``replicate_<r>/<Step>/``. The tags ``crystallize.run_id`` and ``crystallize.condition`` find them. Names that
    MLflow refuses are changed, two never to one. What it cannot hold, infinities and all that is no number, is named in
    the tag ``crystallize.not_logged``, and cells that failed in ``crystallize.failed``.

    A process beside the run does the sending: the run never waits for MLflow, and nothing of MLflow's state in this
    process is touched. What was sent is read back at the end of the run, which waits for `timeout`; where something
    did not arrive, one warning and ``result.plugin_errors`` say so, and `sync` sends the rest.

    Parameters
    ----------
    tracking_uri : str, optional
        Of the tracking server, such as ``"http://mlflow.lab:5000"`` or ``"sqlite:///mlflow.db"``. By default what
        MLflow itself uses: ``mlflow.set_tracking_uri``, ``MLFLOW_TRACKING_URI``, or its own default.
    experiment : str, optional
        The name of the experiment in MLflow; by default that of the experiment here.
    artifacts : bool, default True
        Whether the files that steps wrote are sent.
    tags : mapping of str to str, optional
        For the parent run.
    timeout : float, default 10.0
        Seconds that the end of a run waits until everything has arrived.

    Raises
    ------
    MissingExtraError
        MLflow is not installed: ``pip install 'crystallize-plugins[mlflow]'``.
    ArgumentTypeError, ValidationError
        A setting is of the wrong type, or out of its limits.

    Examples
    --------
    >>> from crystallize_plugins.tracking import MLflowPlugin
    >>> MLflowPlugin("http://mlflow.lab:5000", tags={"team": "vision"}).timeout
    10.0
    """

    neutral = True
    on_error = "record"
    after = ("artifacts",)

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        *,
        artifacts: bool = True,
        tags: dict[str, str] | None = None,
        timeout: Annotated[float, Setting("Seconds that the end of a run waits until all has arrived")] = 10.0,
    ) -> None:
        if find_spec("mlflow") is None:
            raise MissingExtraError("MLflowPlugin needs MLflow: pip install 'crystallize-plugins[mlflow]'")
        if not isinstance(tracking_uri, (str, type(None))):
            raise ArgumentTypeError(f"tracking_uri must be text, not {type(tracking_uri).__name__}")
        self.tracking_uri = tracking_uri
        self.experiment = None if experiment is None else check_name(experiment, what="experiment")
        self.artifacts = check_flag(artifacts, what="artifacts")
        self.tags = {str(key): str(value) for key, value in check_mapping(tags or {}, what="tags").items()}
        self.timeout = check_seconds(timeout, what="timeout")
        self._runs: dict[str, _FollowedRun] = {}

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Hand an outcome to the process that sends it."""
        if experiment.run.kind not in _TRACKED:
            return
        run = self._runs.get(experiment.run.id)
        if run is None:
            run = self._runs[experiment.run.id] = self._follow(experiment)
        if run.live:
            run.add(experiment, outcome, files=self.artifacts)

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Send what is left, and wait until it has arrived.

        Raises
        ------
        DeliveryError
            Not everything has arrived.
        """
        stopped_by = result.facts.get("run", {}).get("stopped_by")
        run = self._runs.pop(experiment.run.id, None)
        resumed = experiment.run.strategy == "resume" and experiment.run.kind in _TRACKED and not stopped_by
        if run is None and resumed and experiment.run.folder is not None:
            run = self._follow(experiment)  # nothing was left to run, and something may be left to send
        if run is None:
            return
        status = "FINISHED" if not stopped_by else "KILLED" if stopped_by == "KeyboardInterrupt" else "FAILED"
        try:
            run.finish(status, experiment.run.folder if experiment.run.strategy == "resume" else None, self.timeout)
        except (DeliveryError, OSError) as error:
            raise DeliveryError(
                f"not all of the run has arrived in MLflow: {error}. {self._advice(experiment)}"
            ) from None

    def sync(self, folder: str | os.PathLike[str]) -> int:
        """Send what MLflow has not got of a stored run; called again, it sends nothing.

        Parameters
        ----------
        folder : path
            The run's folder, ``<root>/<experiment>/v<N>``.

        Returns
        -------
        int
            How many values and files were sent.

        Raises
        ------
        StoreError
            There is no run.
        DeliveryError
            Not everything has arrived.

        Examples
        --------
        >>> MLflowPlugin("http://mlflow.lab:5000").sync("data/tuning/v3")  # doctest: +SKIP
        840
        """
        from crystallize_plugins.artifacts.reading.stored import StoredRun

        stored = StoredRun(folder)
        if not stored.id:
            raise StoreError(f"{folder} was cut short before anything was stored: there is nothing to send")
        name = self.experiment or stored.experiment
        run = RunRecord(stored.id, name, stored.path.name, stored.seed, stored.replicates, stored.started)
        helper = Helper(send_stored, str(stored.path), self._uri(), run, self.tags, self.artifacts)
        try:
            return int(helper.finish(None))
        except DeliveryError as error:
            raise DeliveryError(f"not all of {folder} has arrived in MLflow: {error}") from None

    def _follow(self, experiment: ExperimentView) -> _FollowedRun:
        folder = _stored_in(experiment)
        run = experiment.run
        identity = run.id
        if folder is not None:
            from crystallize_plugins.artifacts.database.facts import facts_from_file

            begun = facts_from_file(Path(folder))
            identity = begun[0].id if begun else run.id
        record = RunRecord(
            identity,
            self.experiment or experiment.name or experiment.id,
            run.id[:8] if run.version is None else f"v{run.version}",
            run.seed,
            experiment.replicates,
            run.started,
        )
        # A single run that is kept has its place, and its id where it goes on, at the end only.
        live = folder is not None or run.folder is None or run.strategy != "resume"
        return _FollowedRun(self._uri(), record, self.tags, folder, live=live, files=self.artifacts)

    def _uri(self) -> str | None:
        mlflow = sys.modules.get("mlflow")
        if self.tracking_uri is None and mlflow is not None:
            return str(mlflow.get_tracking_uri())  # what the user has set in this process
        return self.tracking_uri

    def _advice(self, experiment: ExperimentView) -> str:
        if experiment.run.folder is None:
            return "The run is not stored, so the rest is lost: with ArtifactPlugin it could be sent later"
        uri = "" if self.tracking_uri is None else repr(mask_text(self.tracking_uri))
        return f"Send the rest with crystallize_plugins.tracking.MLflowPlugin({uri}).sync({experiment.run.folder!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": {}}


class _FollowedRun:
    """A run that goes on, and the process that sends it."""

    def __init__(
        self, uri: str | None, record: RunRecord, tags: dict[str, str], folder: str | None, *, live: bool, files: bool
    ) -> None:
        self.live = live
        self._folder = folder
        self._conditions: set[str] = set()
        self._spool = Spool()
        try:
            self._helper = Helper(follow_run, self._spool.path, uri, record, tags, files)
        except BaseException:
            self._spool.close()
            raise

    def add(self, experiment: ExperimentView, outcome: CellOutcome, *, files: bool) -> None:
        """Write an outcome to where the process reads it."""
        condition = outcome.cell.condition
        if condition not in self._conditions:
            self._conditions.add(condition)
            self._spool.add(_condition(experiment, condition))
        self._spool.add(cell_record(outcome, self._files(outcome) if files else ()))

    def finish(self, status: str, folder: str | None, timeout: float) -> None:
        """Say how the run ended, and wait for the process."""
        try:
            self._spool.add((status, folder))
            self._helper.finish(timeout)
        finally:
            self._helper.close()
            self._spool.close()

    def _files(self, outcome: CellOutcome) -> Iterable[tuple[str, str, str | bytes]]:
        from crystallize_plugins.artifacts.files.layout import artifact_location

        for record in outcome.artifacts:
            if self._folder is not None:
                place = artifact_location(outcome.cell, record.step, record.name)
                yield record.step, record.name, f"{self._folder}/{place}"
            elif record.data is not None:
                yield record.step, record.name, record.data


def _stored_in(experiment: ExperimentView) -> str | None:
    """Return the folder in which the run's files lie, where that is known before its end."""
    from crystallize_plugins.artifacts.plugin import ArtifactPlugin

    store = experiment.get_plugin(ArtifactPlugin)
    return experiment.run.folder if store is not None and store.versioned else None


def _condition(experiment: ExperimentView, name: str) -> ConditionParams:
    treatment = next((each for each in experiment.treatments if each.name == name), None)
    keys = () if treatment is None else None if treatment.is_callable else tuple(treatment.applied)
    record, baseline = experiment.describe([name, BASELINE])
    return ConditionParams(name, treatment_params(record, baseline, keys))
