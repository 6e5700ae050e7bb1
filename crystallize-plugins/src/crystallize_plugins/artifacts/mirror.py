"""`MirrorPlugin`: a copy of the run elsewhere, brought up to date while the run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from crystallize.errors import DeliveryError
from crystallize.hooks import BasePlugin, Setting
from crystallize.hooks.tools import check_mapping, check_seconds, mask_text
from crystallize_plugins.artifacts.copies import check_url, keep_copying
from crystallize_plugins.artifacts.plugin import ArtifactPlugin
from crystallize_plugins.tracking.helper import Helper

if TYPE_CHECKING:
    from crystallize.hooks import ExperimentView

__all__ = ["MirrorPlugin"]


class MirrorPlugin(BasePlugin):
    """Copy every run to another place while it goes on, such as a bucket.

    The run itself stays local: `ArtifactPlugin` stores it as always, and a process beside the run copies what is new to
    ``<url>/<experiment>/v<N>-<first 8 letters of the run's id>/``, the files first and then the database, so that
    every copy opens. Should this machine be lost, so are the last `every` seconds, and as many as one copy takes. Where
    the other place is slow, or cannot be reached, the run goes on as without it; its end waits for `timeout`, and
    then one warning, and ``result.plugin_errors``, say what to call (`crystallize_plugins.runs.push`).

    A store that keeps a single run (``versioned=False``) is copied when the run ends.

    Parameters
    ----------
    url : str
        Where the copies lie: whatever fsspec takes, such as ``"s3://bucket/runs"``, ``"gs://…"``, ``"sftp://…"``,
        or a folder of a network drive. A copy of another run is never overwritten.
    every : float, default 30.0
        Seconds from one copy to the next.
    timeout : float, default 30.0
        Seconds that the end of the run waits for the last copy.
    storage_options : mapping, optional
        What fsspec's file system for the URL takes, such as ``{"profile": "lab"}``.

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for such a URL, is not installed: ``pip install 'crystallize-plugins[mirror]'``.
    ArgumentTypeError, ValidationError
        A setting is of the wrong type, or out of its limits.

    Examples
    --------
    >>> from crystallize_plugins.artifacts import MirrorPlugin
    >>> MirrorPlugin("s3://lab/runs", every=60)  # doctest: +SKIP
    MirrorPlugin(url='s3://lab/runs', every=60.0, timeout=30.0, storage_options=<***>)
    """

    neutral = True
    on_error = "record"
    requires = ("artifacts",)

    def __init__(
        self,
        url: str,
        *,
        every: Annotated[float, Setting("Seconds from one copy to the next")] = 30.0,
        timeout: Annotated[float, Setting("Seconds that the end of a run waits for the last copy")] = 30.0,
        storage_options: Annotated[
            dict[str, Any] | None, Setting("What fsspec's file system for the URL takes", secret=True)
        ] = None,
    ) -> None:
        self.url = check_url(url)
        self.every = check_seconds(every, what="every")
        self.timeout = check_seconds(timeout, what="timeout")
        self.storage_options = dict(check_mapping(storage_options or {}, what="storage_options"))
        self._helpers: dict[str, Helper] = {}

    def before_run(self, experiment: ExperimentView) -> None:
        """Begin to copy, once the run has a folder of its own."""
        store = experiment.get_plugin(ArtifactPlugin)
        if experiment.run.folder is not None and store is not None and store.versioned:
            self._begin(experiment)

    def after_run(self, experiment: ExperimentView) -> None:
        """Copy what is left, and wait for that.

        Raises
        ------
        DeliveryError
            The copy is not complete.
        """
        folder = experiment.run.folder
        if folder is None or not Path(folder).exists():
            return
        try:
            if experiment.run.id not in self._helpers:
                self._begin(experiment)
            self._helpers.pop(experiment.run.id).finish(self.timeout)
        except (DeliveryError, OSError) as error:
            url = mask_text(self.url)
            raise DeliveryError(
                f"the copy of {folder} at {url} is not complete: {error}. "
                f"Bring it up to date with crystallize_plugins.runs.push({folder!r}, {url!r})"
            ) from None

    def _begin(self, experiment: ExperimentView) -> None:
        self._helpers[experiment.run.id] = Helper(
            keep_copying, str(experiment.run.folder), self.url, self.every, self.storage_options
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_helpers": {}}
