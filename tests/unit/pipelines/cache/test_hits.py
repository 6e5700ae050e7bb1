"""What comes back with a hit: all that the step did, the same cold and warm."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict

import numpy as np
import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    BasePlugin,
    PipelineStep,
    Treatment,
    data_source,
    pipeline_step,
    resource_factory,
)
from crystallize.errors import PrunedError


def test_metrics_tags_artifacts_and_context_writes_come_back(make, note, ran, values):
    class Keep(BasePlugin):
        neutral = True

        def __init__(self):
            self.outcomes = []

        def collect(self, outcome):
            self.outcomes.append(outcome)

    @pipeline_step(cacheable=True)
    def train(data, ctx):
        note()
        for epoch in range(3):
            ctx.record("loss", 1 / (epoch + 1), tags={"epoch": epoch})
        ctx.metrics.add("array", np.arange(3))
        ctx.artifacts.add("model.bin", b"\x00weights")
        ctx.add("trained", {"on": data})
        return data, {"pair": 1}

    @pipeline_step()
    def after(data, ctx):
        return data, {"out": ctx["trained"]["on"] == [1, 2, 3]}

    seen = []
    for _ in range(2):
        keep = Keep()
        result = make(train(), after(), plugins=[keep]).run()
        outcome = keep.outcomes[0]
        assert values(result) == [True]
        files = [(record.step, record.name, record.data) for record in outcome.artifacts]
        metrics = {name: [str(value) for value in found] for name, found in outcome.metrics.items()}
        steps = result.provenance["ctx_changes"]["baseline"][0]
        told = [
            {key: value for key, value in step.items() if key not in ("cache_hit", "duration", "started")}
            for step in steps
        ]
        seen.append((files, metrics, outcome.tags, repr(told)))
    assert ran() == ["ran"]
    assert seen[0] == seen[1]
    assert seen[0][0] == [("TrainStep", "model.bin", b"\x00weights")]


def test_the_tree_and_the_provenance_say_what_came_from_the_cache(make, note, capsys):
    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        note()
        return data

    make(slow()).run().print_tree("treatment > replicate > step")
    make(slow()).run().print_tree("treatment > replicate > step")
    cold, warm = capsys.readouterr().out.split("run\n")[1:]
    assert "SlowStep  cached" not in cold
    assert "SlowStep  cached" in warm


@pytest.mark.parametrize(
    "output",
    [
        {"a": 1, "b": [2]},
        OrderedDict(b=1, a=2),
        ([1], {"m": 2}),
        (([1], {"inner": 1}), {"m": 2}),
        ([1], [2]),
        (1, 2, 3),
        None,
        (),
        np.arange(6.0).reshape(2, 3),
        [np.zeros(3), {"x": np.ones(2)}],
        frozenset({1}),
    ],
    ids=str,
)
def test_whatever_a_step_returns_is_the_same_cold_and_warm(make, note, ran, output):
    @pipeline_step(cacheable=True)
    def give(data, ctx):
        note()
        return output

    cold, warm = make(give()), make(give())
    first, second = cold.apply(), warm.apply()
    assert ran() == ["ran"]
    assert type(first) is type(second)
    assert repr(first) == repr(second)
    assert cold.run().metrics.baseline.metrics == warm.run().metrics.baseline.metrics


def test_loaded_arrays_are_the_cells_own(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def load(data, ctx):
        note()
        return np.zeros(100_000)

    @pipeline_step()
    def spoil(data, ctx):
        data += ctx["replicate"] + 1
        return data, {"out": float(data[0])}

    for _ in range(2):
        assert values(make(load(), spoil()).run(replicates=3)) == [1, 2, 3]
    assert ran() == ["ran"]


def test_an_array_that_nobody_may_write_to_comes_back_as_such(make, note, values):
    @pipeline_step(cacheable=True)
    def load(data, ctx):
        array = np.zeros(100_000)
        array.flags.writeable = False
        return array

    @pipeline_step()
    def look(data, ctx):
        return data, {"out": data.flags.writeable}

    assert [values(make(load(), look()).run()) for _ in range(2)] == [[False], [False]]


def test_a_step_that_changes_its_input_in_place_changes_no_entry(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def fill(data, ctx):
        note("fill")
        data.append(sum(data))
        return data

    @pipeline_step(cacheable=True)
    def empty(data, ctx):
        note("empty")
        total = sum(data)
        data.clear()
        return total, {"out": total}

    for _ in range(3):
        assert values(make(fill(), empty()).run(replicates=2)) == [12, 12]
    assert ran() == ["fill", "empty"]


def test_hooks_run_on_hits_too(make, note):
    seen = []

    class Look(BasePlugin):
        neutral = True

        def before_step(self, experiment, step, ctx):
            seen.append(("before", step.name))

        def after_step(self, experiment, step, data, ctx):
            seen.append(("after", step.name, data))

    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        return len(data)

    for _ in range(2):
        make(slow(), plugins=[Look()]).run()
    assert seen == [("before", "SlowStep"), ("after", "SlowStep", 3)] * 2


def test_async_steps_are_cached_and_overlap(make, note, ran, values, hits):
    @pipeline_step(cacheable=True)
    async def fetch(data, ctx, *, factor=1):
        note()
        await asyncio.sleep(0.001)
        return data, {"out": sum(data) * factor + ctx["replicate"]}

    for _ in range(2):
        result = make(fetch(), plugins=[AsyncExecution()]).run(replicates=4, treatments=[Treatment("t", {"factor": 2})])
        assert values(result) == [6, 7, 8, 9]
        assert values(result, treatment="t") == [12, 13, 14, 15]
    assert len(ran()) == 8
    assert hits(result) == [True]


def test_an_artifact_parameter_writes_the_cells_own_file_on_a_hit(make, note, ran, tmp_path):
    model = Artifact("model.json", writer=lambda value: json.dumps(value).encode())

    @pipeline_step(cacheable=True)
    def train(data, ctx, model: Artifact):
        note()
        model.write({"of": ctx["condition"], "sum": sum(data)})
        return data

    for version in range(2):
        make(train(), outputs=[model], name="trained", plugins=[ArtifactPlugin(tmp_path / "data")]).run(
            treatments=[Treatment("t", {})]
        )
        for condition in ("baseline", "t"):
            path = (
                tmp_path / "data" / "trained" / f"v{version}" / "replicate_0" / condition / "TrainStep" / "model.json"
            )
            assert json.loads(path.read_text()) == {"of": condition, "sum": 6}
    assert len(ran()) == 2


def test_resources_count_by_what_makes_them(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def ask(data, ctx, *, client=None):
        note()
        return data, {"out": (client or ctx["other"]).answer}

    class Client:
        def __init__(self, answer):
            self.answer = answer

    def first(ctx):
        return Client(1)

    def second(ctx):
        return Client(2)

    for made, expected in ((first, 1), (second, 2), (first, 1)):
        for key in ("client", "other"):
            context = {key: resource_factory(made)}
            assert values(make(ask(), initial_ctx=context).run()) == [expected]
    assert len(ran()) == 4


def test_events_are_sent_again(make, note, ran):
    heard = []

    class Listen(BasePlugin):
        neutral = True

        def on_event(self, experiment, event):
            heard.append((event.name, dict(event.fields)))

    @pipeline_step(cacheable=True)
    def train(data, ctx):
        note()
        ctx.emit("epoch", number=1, rest=[1])
        ctx.report("loss", 0.5, 1)
        return data

    found = []
    for _ in range(2):
        make(train(), plugins=[Listen()]).run()
        found.append([event for event in heard if event[0] in ("epoch", "report")])
        heard.clear()
    assert (
        found[0]
        == found[1]
        == [
            ("epoch", {"number": 1, "rest": [1]}),
            ("report", {"name": "loss", "value": 0.5, "step": 1}),
        ]
    )
    assert ran() == ["ran"]


def test_an_optimiser_that_wants_to_stop_stops_a_hit_as_well(make, note, ran):
    outcomes = []

    class Answer(BasePlugin):
        neutral = True

        def __init__(self, stop):
            self.stop = stop

        def run_experiment_loop(self, experiment, cells, run_cell):
            for cell in cells:
                outcomes.append(run_cell(cell, lambda event: self.stop))
                yield outcomes[-1]

    @pipeline_step(cacheable=True)
    def train(data, ctx):
        note()
        ctx.report("loss", 0.5, 1)
        return data

    for stop in (True, False, True, False):
        make(train(), plugins=[Answer(stop)]).run()
    errors = [outcome.error and outcome.error.original_exception for outcome in outcomes]
    assert [type(error) for error in errors] == [PrunedError, type(None), PrunedError, type(None)]
    assert str(errors[0]) == str(errors[2])
    assert ran() == ["ran", "ran"], "what was stopped is not kept"


def test_a_generator_from_a_declared_source_need_not_be_consumed(make, note, ran, values):
    @data_source(depends_on=[])
    def rows(ctx):
        yield from range(ctx.get("count", 3))

    @pipeline_step(cacheable=True)
    def total(data, ctx):
        note()
        return sum(data), {"out": 1}

    for count in (3, 4, 3):
        assert make(total(), source=rows(), initial_ctx={"count": count}).apply() == sum(range(count))
    assert len(ran()) == 2


class Early(PipelineStep):
    cacheable = True

    def __call__(self, data, ctx):
        return data


def test_a_debugged_cell_runs_its_steps(make, note, ran):
    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        note()
        return data

    experiment = make(slow(), Early())
    experiment.run()
    experiment.debug()
    assert len(ran()) == 2
