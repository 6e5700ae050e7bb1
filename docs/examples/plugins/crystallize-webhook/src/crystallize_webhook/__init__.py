"""Posts the progress of Crystallize experiments to a webhook."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Annotated, Any

from crystallize.hooks import Setting, TypedPlugin

if TYPE_CHECKING:
    from crystallize import Result
    from crystallize.hooks import CellOutcome, ExperimentView

__all__ = ["Webhook"]

_SECONDS = 5.0


class Webhook(TypedPlugin):
    """Post how far a run is, as JSON: when it starts, while it goes on, and when it has ended.

    A message has ``experiment``, ``run``, ``state`` (``"started"``, ``"running"`` or ``"ended"``), ``done`` and
    ``failed``, the numbers of cells.

    Parameters
    ----------
    url : str
        Where messages go.
    every : float, default 5.0
        Seconds between two messages while the run goes on.
    token : str, optional
        Sent along as ``Authorization: Bearer``.
    """

    neutral = True
    on_error = "record"  # A server that cannot be reached is no reason to end an experiment.
    contract = ">=1.1,<2"

    def __init__(
        self,
        url: Annotated[str, Setting("Where messages go")],
        *,
        every: Annotated[float, Setting("Seconds between two messages", minimum=0)] = 5.0,
        token: Annotated[str | None, Setting("Sent along as Authorization: Bearer", secret=True)] = None,
    ) -> None:
        self.url = url
        self.every = every
        self.token = token
        self._posts = False
        self._done = self._failed = 0
        self._posted = 0.0

    def before_run(self, experiment: ExperimentView) -> None:
        """Say that a run starts; what `apply` and `debug` do is nobody's progress."""
        self._posts = experiment.run.kind == "run"
        self._done = self._failed = 0
        self._post(experiment, "started")

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Count a cell, and say how far the run is now and then."""
        self._done += 1
        self._failed += not outcome.ok
        if time.monotonic() - self._posted >= self.every:
            self._post(experiment, "running")

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Say that the run has ended."""
        self._post(experiment, "ended")

    def _post(self, experiment: ExperimentView, state: str) -> None:
        if not self._posts:
            return
        self._posted = time.monotonic()
        message: dict[str, Any] = {
            "experiment": experiment.name or experiment.id,
            "run": experiment.run.id,
            "state": state,
            "done": self._done,
            "failed": self._failed,
        }
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, json.dumps(message).encode(), headers)  # noqa: S310 - the user's own
        try:
            urllib.request.urlopen(request, timeout=_SECONDS).close()  # noqa: S310 - as above
        except OSError:
            self._posts = False  # One error is recorded, and the run does not wait for each cell's.
            raise
