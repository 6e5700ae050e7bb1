"""`OpenTelemetryPlugin`: a run as a trace, its cells and steps as spans."""

from __future__ import annotations

import random
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from crystallize.errors import ArgumentTypeError, DeliveryError, MissingExtraError
from crystallize.hooks import BasePlugin, Setting
from crystallize.hooks.tools import check_choice, check_seconds, mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer, TracerProvider

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, Event, ExperimentView

__all__ = ["OpenTelemetryPlugin"]

_KINDS = ("cells", "steps", "run")
_FLUSH_EVERY = 500
"""Spans between two flushes: the SDK's queue has 2,048 places, and drops what finds none."""
_TO_FLUSH = 0.5


class OpenTelemetryPlugin(BasePlugin):
    """Make a trace of every run.

    There is a span ``crystallize.run``, below the one that is current where the run is called, in it a span
    ``crystallize.cell`` for each cell, and in that, if wanted, ``crystallize.step``; with the times of the worker that
    ran them. Attributes are ``crystallize.experiment``, ``crystallize.condition``, ``crystallize.replicate``,
    ``crystallize.seed`` and ``crystallize.worker``. A cell that failed has the status ERROR and an ``exception`` event.

    Spans are made when the run ends: whoever makes and exports them draws from the global ``random``, which cells may
    use. So a trace appears at the end of a run, which waits for `timeout` until all is exported, and a run that is
    killed leaves none.

    Parameters
    ----------
    tracer_provider : TracerProvider, optional
        By default the global one, as ``opentelemetry.trace.set_tracer_provider`` has set it.
    spans : {"cells", "steps", "run"}, default "cells"
        What gets a span of its own. ``"run"`` is for runs of millions of cells, of which nothing is then kept.
    timeout : float, default 10.0
        Seconds that the end of a run waits until the spans are exported.

    Raises
    ------
    MissingExtraError
        OpenTelemetry is not installed: ``pip install 'crystallize-plugins[otel]'``.
    ArgumentTypeError, ValidationError
        A setting is of the wrong type, or out of its limits.

    Examples
    --------
    >>> from crystallize_plugins.tracking import OpenTelemetryPlugin
    >>> OpenTelemetryPlugin(spans="steps").spans
    'steps'
    """

    neutral = True
    on_error = "record"
    wanted_events = ("step_started",)

    def __init__(
        self,
        tracer_provider: Any = None,
        *,
        spans: Literal["cells", "steps", "run"] = "cells",
        timeout: Annotated[float, Setting("Seconds that the end of a run waits until the spans are exported")] = 10.0,
    ) -> None:
        if find_spec("opentelemetry") is None:
            raise MissingExtraError("OpenTelemetryPlugin needs OpenTelemetry: pip install 'crystallize-plugins[otel]'")
        if tracer_provider is not None and not callable(getattr(tracer_provider, "get_tracer", None)):
            raise ArgumentTypeError(
                f"tracer_provider must be a TracerProvider of OpenTelemetry, not {type(tracer_provider).__name__}"
            )
        self.tracer_provider = tracer_provider
        self.spans = check_choice(spans, _KINDS, what="spans")
        self.timeout = check_seconds(timeout, what="timeout")
        self.silent_hooks = {"run": ("collect", "on_event"), "cells": ("on_event",), "steps": ()}[spans]
        self._runs: dict[str, _TracedRun] = {}

    def before_run(self, experiment: ExperimentView) -> None:
        """Remember the span below which the run is called."""
        from opentelemetry import context

        self._runs[experiment.run.id] = _TracedRun(context.get_current())

    def on_event(self, experiment: ExperimentView, event: Event) -> None:
        """Remember when a step began, of the last attempt at its cell."""
        run = self._runs.get(experiment.run.id)
        if run is not None and event.cell is not None:
            if event.fields["position"] == 1:
                run.begun[event.cell] = []
            run.begun.setdefault(event.cell, []).append((event.fields["step"], event.time))

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Remember what a cell's spans need."""
        run = self._runs.get(experiment.run.id)
        if run is not None:
            run.cells.append(_remembered(outcome, run.begun.pop(outcome.cell, ())))

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Make the spans, and wait until they are exported.

        Raises
        ------
        DeliveryError
            They were not exported in time, or an exporter failed.
        """
        run = self._runs.pop(experiment.run.id, None)
        if run is None:
            return
        facts = result.facts.get("run", {})
        run.attributes = {
            "crystallize.experiment": experiment.name or experiment.id,
            **({} if experiment.run.seed is None else {"crystallize.seed": _integer(experiment.run.seed)}),
        }
        run.began, run.ended = experiment.run.started, time.time()
        run.stopped_by = facts.get("stopped_by") or ""
        run.export(self._provider(), self.timeout)

    def _provider(self) -> TracerProvider:
        from opentelemetry import trace

        found: TracerProvider = self.tracer_provider or trace.get_tracer_provider()
        return found

    def __getstate__(self) -> dict[str, Any]:
        # An exporter does not travel, and in a worker there is nothing for it to do.
        return {**self.__dict__, "_runs": {}, "tracer_provider": None}


class _Step(NamedTuple):
    name: str
    began: float
    ended: float
    cached: bool


class _CellSpan(NamedTuple):
    cell: Cell
    seed: int | None
    worker: str
    began: float
    ended: float
    error: tuple[str, str, str] | None
    """Type, text and traceback."""
    steps: tuple[_Step, ...]


def _remembered(outcome: CellOutcome, begun: Sequence[tuple[str, float]]) -> _CellSpan:
    began = outcome.started or time.time() - outcome.duration
    ended = began + outcome.duration
    error = outcome.error
    found = None if error is None else (error.error_type, mask_text(str(error)), mask_text(error.traceback_text))
    steps = tuple(_steps(outcome, begun, ended))
    return _CellSpan(outcome.cell, outcome.seed, outcome.worker, began, ended, found, steps)


def _steps(outcome: CellOutcome, begun: Sequence[tuple[str, float]], ended: float) -> Iterator[_Step]:
    """Yield the steps that began; one that failed was at work until the cell ended."""
    trace = outcome.provenance
    shapes, durations = ((), ()) if trace is None else (trace.shape.steps, trace.durations)
    for number, (name, began) in enumerate(begun):
        done = began + durations[number] if number < len(durations) else ended
        yield _Step(name, began, done, number < len(shapes) and shapes[number].cache_hit)


class _TracedRun:
    """A run whose trace is made at its end."""

    def __init__(self, parent: Context) -> None:
        self._parent = parent
        self.cells: list[_CellSpan] = []
        self.begun: dict[Cell, list[tuple[str, float]]] = {}
        self.attributes: dict[str, Any] = {}
        self.began = self.ended = 0.0
        self.stopped_by = ""
        self._made = 0
        self._failure: BaseException | None = None
        self._given_up = False

    def export(self, provider: TracerProvider, timeout: float) -> None:
        """Make the spans in a thread, which is waited for, with a random state that is nobody's."""
        limit = time.monotonic() + timeout
        # Ids are drawn from the global state. Cells leave it seeded, so that each run would get the ids of the last.
        state = random.getstate()
        random.seed()
        try:
            thread = threading.Thread(target=self._try, args=(provider, limit), name="crystallize-spans", daemon=True)
            thread.start()
            thread.join(timeout)
        finally:
            self._given_up = True
            random.setstate(state)
        total = len(self.cells) + 1
        if self._failure is not None:
            raise DeliveryError(f"the trace of the run is not complete: {mask_text(str(self._failure))}")
        if thread.is_alive() or self._made < total:
            raise DeliveryError(
                f"the trace of the run is not complete: {self._made} of {total} spans were exported within {timeout:g} "
                "seconds. Give OpenTelemetryPlugin a longer timeout, or spans='run'"
            )

    def _try(self, provider: TracerProvider, limit: float) -> None:
        try:
            self._make(provider, limit)
        except Exception as error:  # noqa: BLE001 - of whatever exporter: raised where the run can tell of it
            self._failure = error

    def _make(self, provider: TracerProvider, limit: float) -> None:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        tracer = provider.get_tracer("crystallize")
        run = tracer.start_span("crystallize.run", self._parent, attributes=self.attributes, start_time=_ns(self.began))
        if self.stopped_by:
            run.set_status(Status(StatusCode.ERROR, f"stopped by {self.stopped_by}"))
        inside = set_span_in_context(run, self._parent)
        try:
            for number, cell in enumerate(self.cells, start=1):
                self._make_cell(tracer, inside, cell)
                if number % _FLUSH_EVERY == 0:
                    _flush(provider, limit)
                if self._given_up:
                    return
                self._made += 1
        finally:
            run.end(_ns(self.ended))
        _flush(provider, limit)
        self._made += 1

    def _make_cell(self, tracer: Tracer, inside: Context, cell: _CellSpan) -> None:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        attributes: dict[str, Any] = {
            "crystallize.experiment": self.attributes["crystallize.experiment"],
            "crystallize.condition": cell.cell.condition,
            "crystallize.replicate": cell.cell.replicate,
            "crystallize.worker": cell.worker,
        }
        if cell.seed is not None:
            attributes["crystallize.seed"] = _integer(cell.seed)
        span = tracer.start_span("crystallize.cell", inside, attributes=attributes, start_time=_ns(cell.began))
        if cell.error is not None:
            kind, text, trace = cell.error
            about = {"exception.type": kind, "exception.message": text, "exception.stacktrace": trace}
            span.add_event("exception", about, _ns(cell.ended))
            span.set_status(Status(StatusCode.ERROR, text))
        within = set_span_in_context(span, inside)
        for step in cell.steps:
            named = {**attributes, "crystallize.step": step.name, "crystallize.cache_hit": step.cached}
            part = tracer.start_span("crystallize.step", within, attributes=named, start_time=_ns(step.began))
            part.end(_ns(step.ended))
        span.end(_ns(cell.ended))


def _flush(provider: TracerProvider, limit: float) -> None:
    """Have the spans exported, where the provider can be told to: that of the SDK can, the API has no such call."""
    flush = getattr(provider, "force_flush", None)
    if flush is not None:
        left = max(_TO_FLUSH, limit - time.monotonic())
        if flush(int(left * 1000)) is False:
            raise DeliveryError("its exporter did not take the spans in time")


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _integer(value: int) -> int | str:
    """Return an integer as it is, or as text where OpenTelemetry's 64 bits are too few."""
    return value if -(1 << 63) <= value < 1 << 63 else str(value)
