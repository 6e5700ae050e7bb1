"""Whatever a hook does to what it is handed, the run, the user's objects and the next run are as without it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    BasePlugin,
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import PluginHookError, ReadOnlyError
from crystallize.hooks import Cell, CellOutcome


@data_source
def numbers(ctx):
    return [1, 2, 3]


class Scale(PipelineStep):
    """A step with attributes, as users write them."""

    def __init__(self, factor):
        self.factor = factor
        self.done = 0

    @property
    def params(self):
        return {"factor": self.factor}

    def __call__(self, data, ctx):
        self.done += 1
        return [self.factor * value for value in data]


@pipeline_step()
def total(data, ctx, *, delta=0, grid=()):
    ctx.artifacts.add("total.txt", str(sum(data)))
    return data, {"total": sum(data) + delta + len(grid) + ctx["replicate"]}


def gain(baseline, treatment):
    return {"gain": sum(treatment["total"]) - sum(baseline["total"])}


OTHER = Cell("baseline", 7)


def fake(outcome):
    return CellOutcome(OTHER, {"total": [99]})


# By hook, each way a function of what the hook is handed; a statement is written as a call that does the same.
ON_THE_VIEW = {
    "view.name": lambda experiment, **_: setattr(experiment, "name", "other"),
    "view.replicates": lambda experiment, **_: setattr(experiment, "replicates", 1),
    "view.strict": lambda experiment, **_: setattr(experiment, "strict", True),
    "view.treatments": lambda experiment, **_: setattr(experiment, "treatments", []),
    "view.pipeline": lambda experiment, **_: setattr(experiment, "pipeline", Pipeline([total()])),
    "view.datasource": lambda experiment, **_: setattr(experiment, "datasource", None),
    "view.run": lambda experiment, **_: setattr(experiment, "run", None),
    "a new attribute": lambda experiment, **_: setattr(experiment, "mine", 1),
    "run.id": lambda experiment, **_: setattr(experiment.run, "id", "0"),
    "run.kind": lambda experiment, **_: setattr(experiment.run, "kind", "apply"),
    "run.strategy": lambda experiment, **_: setattr(experiment.run, "strategy", "resume"),
    "run.started": lambda experiment, **_: setattr(experiment.run, "started", 0.0),
    "run.version": lambda experiment, **_: setattr(experiment.run, "version", 99),
    "run.folder": lambda experiment, **_: setattr(experiment.run, "folder", "/elsewhere"),
    "run.seed_override": lambda experiment, **_: setattr(experiment.run, "seed_override", 1),
    "treatments.clear": lambda experiment, **_: experiment.treatments.clear(),
    "treatments.append": lambda experiment, **_: experiment.treatments.append(Treatment("new", {"delta": 5})),
    "treatments[0]": lambda experiment, **_: experiment.treatments.__setitem__(0, Treatment("new", {})),
    "a treatment's values": lambda experiment, **_: experiment.treatments[0].applied.update(delta=50),
    "a treatment's nested value": lambda experiment, **_: experiment.treatments[0].applied["grid"].append(1),
    "a treatment's map": lambda experiment, **_: experiment.treatments[0].apply_map["grid"].append(1),
    "a treatment's own": lambda experiment, **_: setattr(experiment.treatments[0], "applied", {"delta": 50}),
    "hypotheses.clear": lambda experiment, **_: experiment.hypotheses.clear(),
    "a hypothesis' verifier": lambda experiment, **_: setattr(
        experiment.hypotheses[0], "verifier", lambda *_: {"gain": 0}
    ),
    "a hypothesis' name": lambda experiment, **_: setattr(experiment.hypotheses[0], "name", "other"),
    "a hypothesis' ranker": lambda experiment, **_: setattr(experiment.hypotheses[0], "ranker", None),
    "pipeline.steps": lambda experiment, **_: setattr(experiment.pipeline, "steps", ()),
    "a step in the pipeline": lambda experiment, **_: experiment.pipeline.steps.__setitem__(0, total()),
    "a step's attribute": lambda experiment, **_: setattr(experiment.pipeline.steps[0], "factor", 100),
    "a step's parameters": lambda experiment, **_: experiment.pipeline.steps[1].params.update(delta=100),
    "a step's declaration": lambda experiment, **_: setattr(experiment.pipeline.steps[1], "cacheable", True),
    "a data source's attribute": lambda experiment, **_: setattr(experiment.datasource, "fetch", lambda ctx: [0]),
    "initial_ctx": lambda experiment, **_: experiment.initial_ctx.__setitem__("grid", [0, 0]),
    "a nested value of initial_ctx": lambda experiment, **_: experiment.initial_ctx["grid_of_all"].append(1),
    "outputs": lambda experiment, **_: experiment.outputs.clear(),
    "plugins": lambda experiment, **_: experiment.plugins.clear(),
}
ON_THE_STEP = {
    "the step's attribute": lambda step, **_: setattr(step, "factor", 100),
    "the step's call": lambda step, **_: setattr(step, "__call__", None),
    "a new attribute of the step": lambda step, **_: setattr(step, "mine", 1),
}
ON_THE_OUTCOME = {
    "outcome.metrics": lambda outcome, **_: setattr(outcome, "metrics", {"total": [99]}),
    "outcome.metrics[...]": lambda outcome, **_: outcome.metrics.__setitem__("total", [99]),
    "a metric's values": lambda outcome, **_: outcome.metrics["total"].append(99),
    "outcome.error": lambda outcome, **_: setattr(outcome, "error", RuntimeError("made up")),
    "outcome.seed": lambda outcome, **_: setattr(outcome, "seed", 99),
    "outcome.cell": lambda outcome, **_: setattr(outcome, "cell", OTHER),
    "outcome.artifacts": lambda outcome, **_: setattr(outcome, "artifacts", ()),
    "an artifact's content": lambda outcome, **_: setattr(outcome.artifacts[0], "data", b"99"),
    "an artifact's name": lambda outcome, **_: setattr(outcome.artifacts[0], "name", "other.txt"),
    "outcome.provenance": lambda outcome, **_: setattr(outcome, "provenance", None),
    "outcome.tags": lambda outcome, **_: setattr(outcome, "tags", None),
    "outcome.plugin_failures": lambda outcome, **_: setattr(outcome, "plugin_failures", [1]),
    "outcome.events": lambda outcome, **_: setattr(outcome, "events", [1]),
}
ON_THE_CELLS = {
    "cells.pop": lambda cells, **_: cells.pop(),
    "cells.clear": lambda cells, **_: cells.clear(),
    "cells[0]": lambda cells, **_: cells.__setitem__(0, OTHER),
    "cells.append": lambda cells, **_: cells.append(OTHER),
}
ON_THE_RESULT = {
    "result.metrics": lambda result, **_: setattr(result, "metrics", None),
    "the result's values": lambda result, **_: result.metrics.baseline.metrics["total"].append(99),
    "the result's treatments": lambda result, **_: result.metrics.treatments.clear(),
    "the result's hypotheses": lambda result, **_: result.metrics.hypotheses.clear(),
    "a verdict": lambda result, **_: result.metrics.hypotheses[0].results["more"].update(gain=99),
    "a ranking": lambda result, **_: result.metrics.hypotheses[0].ranking.update(best=None),
    "result.errors": lambda result, **_: result.errors.update(made=RuntimeError("up")),
    "result.plugin_errors": lambda result, **_: result.plugin_errors.append(1),
    "result.provenance": lambda result, **_: result.provenance.clear(),
    "nested provenance": lambda result, **_: result.provenance["plugins"][0].update(name="other"),
    "counts": lambda result, **_: result.provenance["cells"]["baseline"].update(completed=0),
    "result.logs": lambda result, **_: result.logs.clear(),
}
WAYS = {
    **dict.fromkeys(("before_run", "collect_provenance", "worker_start", "before_replicate"), ON_THE_VIEW),
    "before_step": {**ON_THE_VIEW, **ON_THE_STEP},
    "after_step": ON_THE_STEP,
    "after_replicate": {**ON_THE_VIEW, **ON_THE_OUTCOME},
    "collect": {**ON_THE_VIEW, **ON_THE_OUTCOME},
    "completed_cells": ON_THE_CELLS,
    "run_experiment_loop": {**ON_THE_VIEW, **ON_THE_CELLS},
    "on_event": ON_THE_VIEW,
    "after_run": {**ON_THE_VIEW, **ON_THE_RESULT},
}


class Meddler(BasePlugin):
    """Tries ways of changing what a hook is handed: those of one name, or all of them, one after the other."""

    def __init__(self, *, neutral, only=None, hook=None):
        self.neutral = neutral
        self.only = only
        self.silent_hooks = [] if hook is None else [other for other in WAYS if other != hook]

    def try_them(self, hook, **handed):
        for name, way in WAYS[hook].items():
            if self.only is None:
                with suppress(AttributeError, TypeError, IndexError, KeyError):
                    way(**handed)
            elif name == self.only:
                way(**handed)

    def before_run(self, experiment):
        self.try_them("before_run", experiment=experiment)

    def completed_cells(self, experiment, cells):
        self.try_them("completed_cells", experiment=experiment, cells=cells)

    def run_experiment_loop(self, experiment, cells):
        self.try_them("run_experiment_loop", experiment=experiment, cells=cells)

    def worker_start(self, experiment):
        self.try_them("worker_start", experiment=experiment)

    def before_replicate(self, experiment, ctx):
        self.try_them("before_replicate", experiment=experiment)

    def before_step(self, experiment, step):
        self.try_them("before_step", experiment=experiment, step=step)

    def after_step(self, experiment, step):
        self.try_them("after_step", step=step)

    def after_replicate(self, experiment, outcome):
        self.try_them("after_replicate", experiment=experiment, outcome=outcome)

    def on_event(self, experiment, event):
        self.try_them("on_event", experiment=experiment)

    def collect(self, experiment, outcome):
        self.try_them("collect", experiment=experiment, outcome=outcome)

    def collect_provenance(self, experiment):
        self.try_them("collect_provenance", experiment=experiment)

    def after_run(self, experiment, result):
        self.try_them("after_run", experiment=experiment, result=result)


def made(*plugins):
    return Experiment(
        numbers(),
        Pipeline([Scale(2), total()]),
        plugins=plugins,
        default_plugins=False,
        name="handed",
        initial_ctx={"grid_of_all": [1]},
        treatments=[Treatment("more", {"delta": 10, "grid": [1, 2]})],
        hypotheses=[Hypothesis(gain, "total", lambda output: -output["gain"], name="gains")],
    )


def looked_at(experiment, result):
    """Return what a run gave, what it stored, and what the user's objects are like."""
    folder = result.provenance["run"]["folder"]
    files = []
    if folder is not None:
        files = sorted((str(p.relative_to(folder)), p.read_bytes()) for p in Path(folder).rglob("*.txt"))
        files += [json.loads(p.read_text())["metrics"] for p in sorted(Path(folder).rglob("results.json"))]
    parts = {name: part.metrics for name, part in result.metrics.treatments.items()}
    tested = [(each.name, each.results, each.ranking) for each in result.metrics.hypotheses]
    scale = experiment.pipeline.steps[0]
    return {
        "metrics": (result.metrics.baseline.metrics, parts, tested),
        "errors": sorted(result.errors),
        "seeds": dict(result.provenance["seeds"]),
        "cells": result.provenance["cells"],
        "files": files,
        "kind": result.provenance["run"]["kind"],
        "experiment": (
            experiment.name,
            [(t.name, t.applied) for t in experiment.treatments],
            [(h.name, h.verifier, h.ranker is None) for h in experiment.hypotheses],
            (scale.factor, sorted(vars(scale)), sorted(vars(experiment.pipeline.steps[1]))),
            experiment.initial_ctx,
            sorted(vars(experiment.datasource)),
        ),
    }


@pytest.mark.parametrize("neutral", [True, False], ids=["neutral", "not neutral"])
@pytest.mark.parametrize(
    "executor",
    [
        SerialExecution,
        AsyncExecution,
        lambda: ParallelExecution(max_workers=2),
        lambda: ParallelExecution(max_workers=2, executor_type="process"),
    ],
    ids=["serial", "async", "thread", "process"],
)
def test_all_ways_together_have_no_effect_under_any_executor(tmp_path, executor, neutral):
    plain = made(executor(), ArtifactPlugin(root_dir=tmp_path / "plain"))
    expected = looked_at(plain, plain.run(replicates=2))
    # Last in the list: it is asked first for the loop, and declines.
    experiment = made(executor(), ArtifactPlugin(root_dir=tmp_path / "meddled"), Meddler(neutral=neutral))
    for strategy in ("rerun", "rerun", "resume"):
        result = experiment.run(replicates=2, strategy=strategy)
        assert looked_at(experiment, result) == expected
        assert result.provenance["run"]["strategy"] == strategy


ONE_BY_ONE = [(hook, name) for hook, ways in WAYS.items() for name in ways if hook != "completed_cells"]


@pytest.mark.parametrize("hook, name", ONE_BY_ONE, ids=[f"{hook}: {name}" for hook, name in ONE_BY_ONE])
def test_each_way_is_refused_by_name_or_has_no_effect(hook, name):
    plain = made()
    expected = looked_at(plain, plain.run(replicates=1))
    experiment = made(Meddler(neutral=True, only=name, hook=hook))
    try:
        result = experiment.run(replicates=1)
    except (ReadOnlyError, AttributeError, TypeError) as exc:
        told = str(exc)
        result = None
    else:
        told = " ".join(
            [str(error) for error in result.errors.values()] + [f"{e.plugin} {e.hook}" for e in result.plugin_errors]
        )
    if told:
        assert isinstance(told, str)
        assert "Meddler" in told or "object" in told
    else:
        assert looked_at(experiment, result) == expected
    # Whatever became of this run: the next one, without the plugin, is as if there had been none.
    experiment.plugins.clear()
    assert looked_at(experiment, experiment.run(replicates=1)) == expected


def test_a_refusal_names_plugin_hook_attribute_and_what_to_do():
    with pytest.raises(
        ReadOnlyError, match=r"plugin 'Meddler'.* in before_run: experiment\.name .*declare it"
    ) as caught:
        made(Meddler(neutral=True, only="view.name", hook="before_run")).run()
    assert (caught.value.plugin, caught.value.hook) == ("Meddler", "before_run")
    result = made(Meddler(neutral=True, only="treatments.append", hook="before_step")).run()
    cause = result.errors["baseline_rep_0"].__cause__
    assert isinstance(cause, PluginHookError)
    assert (cause.plugin, cause.hook) == ("Meddler", "before_step")
    assert "cannot be changed" in str(cause)


def test_a_step_that_changes_is_shown_as_it_is_by_now():
    seen = []

    class Look(BasePlugin):
        neutral = True

        def after_step(self, experiment, step):
            if isinstance(step, Scale):
                seen.append((step.done, experiment.pipeline.steps.index(step)))

    made(Look()).run(replicates=2, treatments=[], hypotheses=[])
    assert seen == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    "given, said",
    [
        ({"cells": {}}, "'cells', whose name is the framework's"),
        ({"plugins": []}, "'plugins', whose name is the framework's"),
        ({"mine": float("nan")}, "'mine', which JSON cannot hold"),
        ({"mine": object()}, "'mine', which JSON cannot hold"),
        ({"mine": "x" * 1_000_001}, "'mine', which is 1000003 bytes long"),
        ({"others": 1}, "'others', which plugin 'Others'"),
    ],
)
def test_a_fact_that_cannot_be_kept_is_refused_by_name_and_costs_nothing_else(tmp_path, given, said):
    class Others(BasePlugin):
        neutral = True

        def collect_provenance(self):
            return {"others": "kept"}

    class Gives(BasePlugin):
        neutral = True

        def collect_provenance(self):
            return {**given, "fine": [1, {"a": None}]}

    result = made(Others(), Gives(), ArtifactPlugin(root_dir=tmp_path)).run(replicates=2)
    assert result.metrics.baseline.metrics["total"] == [12, 13]
    assert (result.provenance["others"], result.provenance["fine"]) == ("kept", [1, {"a": None}])
    assert result.provenance["cells"]["baseline"]["completed"] == 2
    assert [failure.plugin for failure in result.plugin_errors] == ["Gives"]
    assert said in result.plugin_errors[0].error


@pytest.mark.parametrize(
    "hook", ["before_run", "before_replicate", "after_step", "after_replicate", "on_event", "collect"]
)
def test_a_value_that_nothing_takes_is_warned_of_once(hook, caplog):
    gives = type("Gives", (BasePlugin,), {hook: lambda self: 5, "neutral": True})
    result = made(gives()).run(replicates=3)
    assert not result.errors
    assert caplog.text.count(f"plugin 'Gives' (from no distribution) returned a value from {hook}") == 1
