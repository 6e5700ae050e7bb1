"""A run as a trace: its cells, and their steps, with the times of their workers; and no number changed by it."""

from __future__ import annotations

import random
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from crystallize import ParallelExecution
from crystallize.errors import ArgumentTypeError, MissingExtraError, ValidationError
from crystallize.hooks import load_plugin
from crystallize.testing import ObserverConformance
from crystallize_plugins.tracking import OpenTelemetryPlugin


class TestOpenTelemetryPlugin(ObserverConformance):
    @pytest.fixture
    def plugin(self):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
        return OpenTelemetryPlugin(provider, spans="steps")


@pytest.fixture
def traced():
    """A provider, and what it exported."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


def named(exporter, name):
    return [span for span in exporter.get_finished_spans() if span.name == name]


@pytest.mark.parametrize("workers", [None, 2], ids=["serial", "processes"])
def test_cells_and_steps_are_spans_below_the_run_below_the_caller(experiment, traced, workers):
    provider, exporter = traced
    executor = [] if workers is None else [ParallelExecution(workers, "process")]
    began = time.time_ns()
    with provider.get_tracer("test").start_as_current_span("caller") as caller:
        result = experiment(*executor, OpenTelemetryPlugin(provider, spans="steps")).run(replicates=3)
    assert result.plugin_errors == []
    (run,) = named(exporter, "crystallize.run")
    assert run.parent.span_id == caller.get_span_context().span_id
    assert dict(run.attributes) == {"crystallize.experiment": "tracked", "crystallize.seed": 7}
    cells = {
        (span.attributes["crystallize.condition"], span.attributes["crystallize.replicate"]): span
        for span in named(exporter, "crystallize.cell")
    }
    assert len(cells) == 6
    assert len({span.context.span_id for span in exporter.get_finished_spans()}) == 1 + 6 + 6
    for (condition, replicate), span in cells.items():
        assert span.parent.span_id == run.context.span_id
        assert began <= run.start_time <= span.start_time <= span.end_time <= run.end_time <= time.time_ns()
        assert span.attributes["crystallize.seed"] == result.provenance["seeds"][condition][replicate]
        assert span.attributes["crystallize.worker"].startswith("main" if workers is None else "process-")
    failed = cells.pop(("raised", 2))
    assert failed.status.status_code is StatusCode.ERROR
    (event,) = failed.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "ArithmeticError")
    assert "as it was told" in event.attributes["exception.stacktrace"]
    assert {span.status.status_code for span in cells.values()} == {StatusCode.UNSET}
    by_id = {span.context.span_id: span for span in [failed, *cells.values()]}
    for step in named(exporter, "crystallize.step"):
        cell = by_id.pop(step.parent.span_id)
        assert step.attributes["crystallize.step"] == "MeasureStep"
        assert cell.start_time <= step.start_time <= step.end_time <= cell.end_time + 1_000_000
    assert by_id == {}


def test_of_millions_of_cells_only_the_run_is_a_span(experiment, traced):
    provider, exporter = traced
    plugin = OpenTelemetryPlugin(provider, spans="run")
    experiment(plugin).run(replicates=2)
    assert [span.name for span in exporter.get_finished_spans()] == ["crystallize.run"]
    assert "collect" in plugin.silent_hooks


def test_more_spans_than_the_queue_of_the_sdk_holds_are_all_exported(experiment, traced):
    provider, exporter = traced
    result = experiment(OpenTelemetryPlugin(provider, timeout=60), root=None).run(replicates=1500)
    assert result.plugin_errors == []
    assert len(named(exporter, "crystallize.cell")) == 3000


class Draws(SpanExporter):
    """Draws random numbers, as those do that try again, and takes its time."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def export(self, spans):
        random.random()
        time.sleep(self.seconds)
        return SpanExportResult.FAILURE

    def shutdown(self):
        pass


@pytest.mark.parametrize("processor", [SimpleSpanProcessor, BatchSpanProcessor])
def test_an_exporter_that_draws_random_numbers_changes_none(experiment, processor):
    alone = experiment().run(replicates=3)
    after = random.random()
    provider = TracerProvider()
    provider.add_span_processor(processor(Draws()))
    traced = experiment(OpenTelemetryPlugin(provider)).run(replicates=3)
    assert random.random() == after
    assert traced.metrics.baseline.metrics["total"] == alone.metrics.baseline.metrics["total"]
    provider.shutdown()


def test_runs_of_one_seed_have_traces_of_their_own(experiment, traced):
    provider, exporter = traced
    for _ in range(2):
        experiment(OpenTelemetryPlugin(provider)).run(replicates=1)
    assert len({span.context.trace_id for span in named(exporter, "crystallize.run")}) == 2


def test_an_exporter_that_is_slow_keeps_no_run(experiment, log):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Draws(seconds=0.2)))
    result = experiment(OpenTelemetryPlugin(provider, timeout=0.1)).run(replicates=1)
    assert set(result.errors) == set()
    (failure,) = result.plugin_errors
    assert "of 3 spans were exported within 0.1 seconds" in failure.error
    assert "a longer timeout, or spans='run'" in failure.error
    assert len([record for record in log.records if "otel" in record.getMessage()]) == 1


def test_without_a_provider_nothing_is_traced_and_nothing_fails(experiment):
    assert experiment(OpenTelemetryPlugin()).run(replicates=1).plugin_errors == []


def test_settings_are_checked_when_they_are_given(monkeypatch):
    assert load_plugin("otel") is OpenTelemetryPlugin
    with pytest.raises(ValidationError, match="'cells', 'steps'"):
        OpenTelemetryPlugin(spans="all")
    with pytest.raises(ArgumentTypeError, match="TracerProvider"):
        OpenTelemetryPlugin("http://collector")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crystallize-plugins\[otel\]'"):
        OpenTelemetryPlugin()
