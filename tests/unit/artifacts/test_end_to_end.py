"""Stored runs as people make them: through `Experiment`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    BaseOptimizer,
    BasePlugin,
    Experiment,
    Hypothesis,
    LoggingPlugin,
    Objective,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import StoreError
from crystallize_plugins.artifacts import list_runs, open_run

TREE = "treatment > replicate > step > action"


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def scale(data, ctx, *, factor=1):
    ctx.add("scaled", True)  # noqa: FBT003 - the value of a key
    return [item * factor for item in data]


@pipeline_step()
def summarise(data, ctx):
    ctx.record("sum", sum(data))
    ctx.record("noise", float(ctx.rng.normal()), tags={"draw": 1})
    ctx.artifacts.add("sum.txt", str(sum(data)))
    if ctx["replicate"] == 2 and ctx["condition"] == "double":
        raise ValueError("the third one fails")
    return data


@pipeline_step()
def publish(data, ctx):
    ctx.artifacts.add("sum.txt", f"published {sum(data)}")
    return data, {"last": data[-1]}


def lower(baseline, treatment):
    return {"p_value": 0.04 if treatment["sum"] > baseline["sum"] else 1.0}


def make(*more, plugins=(), **fields):
    return Experiment(
        numbers(),
        Pipeline([scale(), summarise(), publish(), *more]),
        [SeedPlugin(seed=7), LoggingPlugin(log_level="CRITICAL"), ArtifactPlugin(), *plugins],
        **{
            "name": "exp",
            "treatments": [Treatment("double", {"factor": 2}), Treatment("late", lambda ctx: ctx.add("factor", 3))],
            "hypotheses": [Hypothesis(lower, "sum", name="more"), Hypothesis(lambda b, t: 1 / 0, name="void")],
            "replicates": 4,
            **fields,
        },
    )


def test_a_run_opens_as_the_result_that_it_gave():
    given = make().run()
    opened = open_run("data/exp/v0")
    assert opened.to_dict() == given.to_dict()
    assert opened.tree_text(TREE) == given.tree_text(TREE)
    assert opened.artifacts == given.artifacts
    assert {key: error.traceback_text for key, error in opened.errors.items() if key == "double_rep_2"} == {
        "double_rep_2": given.errors["double_rep_2"].traceback_text
    }
    assert opened.get_hypothesis("more").ranking == given.get_hypothesis("more").ranking


@pytest.mark.parametrize(
    "executor",
    [
        SerialExecution(),
        ParallelExecution(max_workers=2, executor_type="thread"),
        ParallelExecution(max_workers=2, executor_type="process"),
        AsyncExecution(),
    ],
    ids=["serial", "thread", "process", "async"],
)
def test_every_executor_stores_the_same(executor):
    given = make(plugins=[executor]).run()
    opened = open_run("data/exp/v0")
    assert opened.to_dict() == given.to_dict()
    assert opened.metrics.baseline.metrics["sum"] == [6, 6, 6, 6]
    assert opened.metrics.treatments["double"].metrics["sum"].replicates == [0, 1, 3]
    assert len(opened.provenance["artifacts"]) == 2 * 11
    alone = make(name="alone").run()
    assert opened.metrics.baseline.metrics["noise"] == alone.metrics.baseline.metrics["noise"]


def test_arun_stores_as_run_does():
    given = asyncio.run(make().arun())
    assert open_run("data/exp/v0").to_dict() == given.to_dict()


def test_what_was_streamed_is_stored_already():
    for number, outcome in enumerate(make().stream()):
        stored = list_runs()[0].result()
        cells = {(name, r) for name, log in stored.provenance["ctx_changes"].items() for r in log}
        assert tuple(outcome.cell) in cells
        assert len(cells) == number + 1
        for record in outcome.artifacts:
            assert Path(record.path).stat().st_size == record.size
    assert list_runs()[0].status == "complete"


def test_a_stream_that_is_left_early_is_an_interrupted_run():
    stream = make().stream()
    next(stream)
    next(stream)
    stream.close()
    (run,) = list_runs()
    assert run.status == "interrupted"
    assert len(run.outcomes()) == 2


def test_two_steps_may_write_one_file_name(files_below):
    result = make().run()
    assert result.get_artifact("sum.txt", step="PublishStep")["baseline"].read_text() == "published 6"
    assert result.get_artifact("sum.txt", step="SummariseStep")["double"].read_text() == "12"
    assert "exp/v0/replicate_0/late/PublishStep/sum.txt" in files_below("data")


def test_two_steps_of_one_kind_write_to_folders_of_their_own():
    result = Experiment(numbers(), Pipeline([publish(), publish()]), name="twice").run()
    steps = [entry["step"] for entry in result.provenance["artifacts"]]
    assert len(set(steps)) == 2
    assert len({entry["path"] for entry in result.provenance["artifacts"]}) == 2


def test_apply_and_debug_leave_stored_runs_alone(files_below):
    experiment = make()
    experiment.run()
    before = {name: Path("data", name).stat().st_mtime_ns for name in files_below("data")}
    experiment.apply(experiment.treatments[0])
    experiment.debug()
    assert {name: Path("data", name).stat().st_mtime_ns for name in files_below("data")} == before


def test_an_interrupt_keeps_what_was_finished():
    @pipeline_step()
    def interrupt(data, ctx):
        if ctx["replicate"] == 2:
            raise KeyboardInterrupt
        return data

    with pytest.raises(KeyboardInterrupt) as caught:
        make(interrupt()).run()
    (run,) = list_runs()
    assert run.status == "interrupted"
    assert run.result().metrics.baseline.metrics["sum"] == [6, 6]
    assert run.result().to_dict() == caught.value.result.to_dict()
    assert run.metadata["run"]["stopped_by"] == "KeyboardInterrupt"


def test_a_plugin_that_stops_the_run_at_its_start_leaves_an_interrupted_run():
    class Refuse(BasePlugin):
        neutral = True
        after = (ArtifactPlugin,)

        def before_run(self):
            raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        make(plugins=[Refuse()]).run()
    assert [run.status for run in list_runs()] == ["interrupted"]


def test_a_disk_error_stops_the_run_and_gives_what_was_collected():
    @pipeline_step()
    def sabotage(data, ctx):
        if ctx["replicate"] == 1:
            Path("data/exp/v0/replicate_3").write_text("in the way")
        return data

    with pytest.raises(StoreError, match="replicate_3") as caught:
        make(sabotage()).run()
    assert caught.value.result.metrics.baseline.metrics["sum"][:2] == [6, 6]
    (run,) = list_runs()
    assert run.status == "interrupted"


def test_a_root_that_cannot_be_written_to_stops_before_the_first_cell():
    ran = []

    @pipeline_step()
    def note(data):
        ran.append(data)
        return data

    Path("data").write_text("a file")
    with pytest.raises(StoreError, match=str(Path("data").absolute())):
        make(note()).run()
    assert not ran


def test_runs_of_one_experiment_follow_each_other(strict_json, names_in):
    experiment = make()
    first, second = experiment.run(), experiment.run(replicates=2, treatments=[], hypotheses=[])
    assert first.provenance["run"]["version"] == 0
    assert second.provenance["run"]["folder"] == str(Path("data/exp/v1").absolute())
    assert strict_json("data/exp/v0/baseline/results.json")["metrics"]["sum"] == [6] * 4
    assert strict_json("data/exp/v1/baseline/results.json")["metrics"]["sum"] == [6] * 2
    assert names_in("data/exp/v1") == ["baseline", "replicate_0", "replicate_1", "run.db", "run.json"]


def test_one_store_serves_several_experiments():
    store = ArtifactPlugin("elsewhere")
    for name in ("a", "b", "a"):
        Experiment(numbers(), Pipeline([publish()]), [store], name=name).run()
    assert [(run.experiment, run.version) for run in list_runs("elsewhere")] == [("a", 0), ("a", 1), ("b", 0)]
    assert not Path("data").exists()


def test_a_name_that_two_systems_write_differently_is_one_run(names_in):
    make(name="Größe: 50%").run()
    assert names_in("data") == ["Größe%3A 50%25"]
    assert list_runs("data", "Größe: 50%")[0].experiment == "Größe: 50%"


def test_downstream_reads_what_upstream_stored():
    model = Artifact(
        "model.json",
        loader=lambda path: json.loads(path.read_text()),
        writer=lambda value: json.dumps(value).encode(),
    )

    @pipeline_step()
    def train(data, ctx, *, model: Artifact, factor=1):
        model.write({"replicate": ctx["replicate"], "factor": factor})
        return data

    @pipeline_step()
    def use(data, ctx):
        ctx.record("factor", data["factor"])
        ctx.record("from", data["replicate"])
        return data

    double = Treatment("double", {"factor": 2})
    Experiment(numbers(), Pipeline([train()]), name="up", outputs=[model], treatments=[double], replicates=2).run()
    result = Experiment(model, Pipeline([use()]), name="down", treatments=[Treatment("double", {})], replicates=3).run()
    assert not result.errors
    assert result.metrics.treatments["double"].metrics == {"factor": [2, 2, 2], "from": [0, 1, 0]}


def test_paths_of_a_stored_run_are_a_data_source():
    up = make(name="up")
    up.run()

    @pipeline_step()
    def look(data, ctx):
        ctx.record("text", Path(data).read_text())
        return data

    source = up.artifact_datasource("publish", "sum.txt")
    result = Experiment(source, Pipeline([look()]), name="down").run()
    assert result.metrics.baseline.metrics["text"] == ["published 6"] * 4


def test_an_optimisation_is_one_stored_run_with_its_trials_as_conditions():
    class Sweep(BaseOptimizer):
        def __init__(self):
            super().__init__(Objective("sum", "minimize"))
            self.told = []

        def ask(self):
            return [Treatment(f"factor_{len(self.told)}", {"factor": len(self.told)})]

        def tell(self, values):
            self.told.append(values)

        def get_best_treatment(self):
            return Treatment("best", {"factor": 0})

    make(hypotheses=[]).optimize(Sweep(), num_trials=3, replicates_per_trial=2)
    (run,) = list_runs()
    assert run.status == "complete"
    assert list(run.conditions) == ["factor_0", "factor_1", "factor_2"]
    assert run.result().metrics.treatments["factor_2"].metrics["sum"] == [12, 12]


def test_errors_of_plugins_are_stored_with_the_run(caplog):
    class Broken(BasePlugin):
        neutral = True
        on_error = "record"

        def after_step(self, step, ctx):
            raise LookupError("nothing there")

    caplog.set_level("CRITICAL", "crystallize")
    given = make(plugins=[Broken()]).run()
    opened = open_run("data/exp/v0")
    assert not opened.record_complete
    assert opened.plugin_errors == given.plugin_errors
    assert len(opened.plugin_errors) == len(given.plugin_errors) > 10


def test_odd_metrics_come_back_as_they_were():
    @pipeline_step()
    def odd(data, ctx):
        ctx.record("array", np.arange(6, dtype="f4").reshape(2, 3))
        ctx.record("nothing", None)
        ctx.record("mixed", {"a": {1, 2}, (1, "b"): [b"\0", 1 + 2j]})
        return data

    given = make(odd()).run()
    loaded = open_run("data/exp/v0").metrics.baseline.metrics
    assert np.array_equal(loaded["array"], given.metrics.baseline.metrics["array"])
    assert loaded["array"][0].dtype == "f4"
    assert loaded["mixed"] == given.metrics.baseline.metrics["mixed"]
    assert loaded["nothing"] == [None] * 4
