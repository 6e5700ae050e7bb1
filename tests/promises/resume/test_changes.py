"""Every kind of change: which cells it makes run again, and what is named as the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystallize import ParallelExecution, Treatment

LAB = '''
"""An experiment."""

from crystallize import (
    ArtifactPlugin, BasePlugin, Experiment, Pipeline, PipelineStep, SeedPlugin, Treatment, data_source, pipeline_step,
)

RATE = 2
LIMITS = {"most": [1, 2, 3]}


def helper(x):
    """Scale."""
    return x * RATE


def shifted(offset):
    def shift(x):
        return x + offset

    return shift


shift = shifted(1)


@data_source(depends_on=["data.txt"])
def numbers(ctx, *, upto=3):
    with open("data.txt") as file:
        return [int(word) for word in file.read().split()][:upto]


@pipeline_step()
def scale(data, ctx, *, factor=1, delta=0.0):
    """Scale and shift."""
    # each value
    return [shift(helper(value)) * factor + delta for value in data if value < max(LIMITS["most"]) + 9]


class Record(PipelineStep):
    def __init__(self, name):
        self.metric = name

    @property
    def params(self):
        return {"metric": self.metric}

    def __call__(self, data, ctx):
        ctx.metrics.add(self.metric, sum(data) + ctx.get("bias", 0))
        return data


class Plain(PipelineStep):
    def __init__(self, power):
        self.power = power

    def __call__(self, data, ctx):
        return [value**self.power for value in data]


def push(ctx):
    ctx.add("delta", 5.0)


class Noise(BasePlugin):
    def __init__(self, level=1):
        self.level = level

    def before_replicate(self, ctx):
        ctx.add("noise", self.level)


class Watch(BasePlugin):
    neutral = True

    def __init__(self, every=1):
        self.every = every

    def after_replicate(self, ctx):
        ctx.get("noise")


def build(**more):
    return Experiment(
        numbers(upto=3),
        Pipeline([scale(factor=1), Plain(2), Record("sum")]),
        plugins=[SeedPlugin(seed=7), Noise(level=1), Watch(every=1), ArtifactPlugin()],
        default_plugins=False,
        name="exp",
        initial_ctx={"bias": 0, "table": {"a": [1]}},
        treatments=[Treatment("fast", {"delta": 1.0}), Treatment("push", push)],
        replicates=2,
        **more,
    )
'''

ALL = ("baseline", "fast", "push")

# Of each change: what is replaced by what, the conditions that run again, and what is named.
CHANGES = {
    "the code of a step": ("* factor + delta", "* factor - delta", ALL, "step 1 ScaleStep code"),
    "the default of a parameter": ("factor=1, delta=0.0", "factor=1, delta=0.5", ALL, "step 1 ScaleStep code"),
    "a project function that it calls": ("return x * RATE", "return x + RATE", ALL, "step 1 ScaleStep code"),
    "a global that this one refers to": ("RATE = 2", "RATE = 3", ALL, "step 1 ScaleStep code"),
    "a value deep in a global": ("[1, 2, 3]}", "[1, 2, 4]}", ALL, "step 1 ScaleStep code"),
    "a closure value": ("shifted(1)", "shifted(2)", ALL, "step 1 ScaleStep code"),
    "the code of a closure": ("return x + offset", "return x - offset", ALL, "step 1 ScaleStep code"),
    "a step's parameter": ("scale(factor=1)", "scale(factor=2)", ALL, "step 1 ScaleStep params"),
    "a parameter of a step class": ('Record("sum")', 'Record("total")', ALL, "step 3 Record params"),
    "the code of a step class": ('ctx.get("bias", 0)', 'ctx.get("bias", 1)', ALL, "step 3 Record code"),
    "an attribute of a step without parameters": ("Plain(2)", "Plain(3)", ALL, "step 2 Plain params"),
    "a step's name": ("Plain", "Power", ALL, "step 2 Power code"),
    "the order of steps": (
        "scale(factor=1), Plain(2)", "Plain(2), scale(factor=1)", ALL, "step 1 Plain code",
    ),
    "one step more": ("Plain(2), ", "Plain(2), Plain(1), ", ALL, "step 3 Plain_2 code"),
    "one step less": ("Plain(2), ", "", ALL, "step 2 Record code"),
    "a step's version": ("@pipeline_step()", '@pipeline_step(version="2")', ALL, "step 1 ScaleStep code"),
    "a treatment's value": ('{"delta": 1.0}', '{"delta": 2.0}', ("fast",), "treatment"),
    "a treatment's type of value": ('{"delta": 1.0}', '{"delta": 1}', ("fast",), "treatment"),
    "a treatment's function": ('ctx.add("delta", 5.0)', 'ctx.add("delta", 6.0)', ("push",), "treatment"),
    "the initial context": ('"bias": 0', '"bias": 1', ALL, "initial context 'bias'"),
    "a value deep in the initial context": ('{"a": [1]}', '{"a": [2]}', ALL, "initial context 'table'"),
    "a key more in the initial context": ('"bias": 0,', '"bias": 0, "new": 1,', ALL, "initial context 'new'"),
    "the code of the data source": ("[:upto]", "[-upto:]", ALL, "datasource"),
    "a parameter of the data source": ("numbers(upto=3)", "numbers(upto=2)", ALL, "datasource params"),
    "the seed": ("SeedPlugin(seed=7)", "SeedPlugin(seed=8)", ALL, "seed"),
    "how replicates are seeded": ("SeedPlugin(seed=7)", "SeedPlugin(seed=7, auto_seed=False)", ALL, "plugin seed"),
    "a setting of a plugin that is not neutral": ("Noise(level=1)", "Noise(level=2)", ALL, "plugin Noise"),
    "the code of a plugin that is not neutral": ('"noise", self', '"noise", -self', ALL, "plugin Noise"),
    "a plugin less that is not neutral": ("Noise(level=1), ", "", ALL, "plugin Noise"),
}  # fmt: skip

NO_CHANGES = {
    "a comment": ("# each value", "# of all values"),
    "a moved line": ("def helper(x):", "# here\n\n\ndef helper(x):"),
    "a docstring": ('"""Scale and shift."""', '"""Scale, then shift."""'),
    "a helper's docstring": ('"""Scale."""', ""),
    "layout": ("return [shift(helper(value))", "return [ shift( helper( value ) )"),
    "an annotation": ("def helper(x):", "def helper(x: float) -> float:"),
    "a value that nothing refers to": ("RATE = 2", "RATE = 2\nOTHER = 3"),
    "a setting of a neutral plugin": ("Watch(every=1)", "Watch(every=2)"),
    "the code of a neutral plugin": ('ctx.get("noise")', 'ctx.get("noise", 3)'),
    "a neutral plugin less": ("Watch(every=1), ", ""),
    "whether a step may be cached": ("@pipeline_step()", "@pipeline_step(cacheable=True)"),
    "how often a step is tried": ("@pipeline_step()", "@pipeline_step(retries=2)"),
    "the description": ('name="exp",', 'name="exp", description="as before",'),
    "the order of treatments": (
        '[Treatment("fast", {"delta": 1.0}), Treatment("push", push)]',
        '[Treatment("push", push), Treatment("fast", {"delta": 1.0})]',
    ),
    "the order of the initial context": (
        '{"bias": 0, "table": {"a": [1]}}', '{"table": {"a": [1]}, "bias": 0}',
    ),
    "a treatment that is not asked for any more": (', Treatment("push", push)', ""),
    "a baseline that is adjusted by nothing": ("treatments=[", 'treatments=[Treatment("baseline", {}), '),
}  # fmt: skip


@pytest.fixture
def data():
    Path("data.txt").write_text("1 2 3 4")


def reasons(plan):
    found = {}
    for planned in plan.cells:
        found.setdefault(planned.cell.condition, set()).add(planned.reason)
    return found


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_runs_again_and_is_named(module, change):
    old, new, conditions, name = CHANGES[change]
    assert old in LAB
    module(LAB).build().run()
    plan = module(LAB.replace(old, new)).build().plan()
    for condition, (reason, *others) in ((each, tuple(found)) for each, found in reasons(plan).items()):
        assert not others
        if condition in conditions:
            assert reason.startswith("changed: ")
            assert name in reason.removeprefix("changed: ").split(" and ")[0].split(", ")
        else:
            assert reason == "complete"


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_changes_no_result_runs_nothing_again(module, change):
    old, new = NO_CHANGES[change]
    assert old in LAB
    module(LAB).build().run()
    plan = module(LAB.replace(old, new)).build().plan()
    assert plan.cells
    assert not plan.to_run, plan.summary()


@pytest.mark.usefixtures("data")
def test_a_changed_file_of_the_data_source_is_named(module):
    module(LAB).build().run()
    Path("data.txt").write_text("1 2 5 4")
    assert set.union(*reasons(module(LAB).build().plan()).values()) == {"changed: datasource file 'data.txt'"}


@pytest.mark.usefixtures("data")
def test_a_file_of_the_data_source_that_was_only_written_again_is_the_same(module):
    module(LAB).build().run()
    Path("data.txt").unlink()
    Path("data.txt").write_text("1 2 3 4")
    assert not module(LAB).build().plan().to_run


@pytest.mark.usefixtures("data")
def test_several_changes_are_all_named(module):
    module(LAB).build().run()
    changed = LAB.replace("scale(factor=1)", "scale(factor=2)").replace('"bias": 0', '"bias": 1')
    plan = module(changed).build().plan()
    assert reasons(plan)["baseline"] == {"changed: step 1 ScaleStep params, initial context 'bias'"}


@pytest.mark.usefixtures("data")
def test_the_executor_is_no_part_of_a_cell(module):
    module(LAB).build().run()
    experiment = module(LAB).build()
    experiment.plugins.append(ParallelExecution(max_workers=2))
    assert not experiment.plan().to_run


@pytest.mark.usefixtures("data")
def test_the_number_of_replicates_is_no_part_of_a_cell(module):
    module(LAB).build().run()
    plan = module(LAB).build().plan(replicates=3)
    assert {planned.cell.replicate for planned in plan.to_run} == {2}
    assert {planned.reason for planned in plan.to_run} == {"missing"}


@pytest.mark.usefixtures("data")
def test_a_changed_global_of_the_running_process_is_seen(module):
    lab = module(LAB)
    experiment = lab.build()
    experiment.run()
    assert not experiment.plan().to_run
    lab.RATE = 5
    assert set.union(*reasons(experiment.plan()).values()) == {"changed: step 1 ScaleStep code"}
    lab.RATE = 2
    assert not experiment.plan().to_run
    lab.LIMITS["most"].append(4)
    assert set.union(*reasons(experiment.plan()).values()) == {"changed: step 1 ScaleStep code"}


def test_a_list_that_steps_only_fill_changes_nothing(build, ran):
    calls = []

    def noted(data, ctx):
        calls.append(ctx["replicate"])
        ctx.metrics.add("sum", sum(data))
        return data

    build(noted).run(replicates=2)
    ran()
    build(noted).run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert len(calls) == 6


def test_a_list_that_steps_read_is_a_value_like_others(build, ran):
    calls = []

    def noted(data, ctx):
        calls.append(ctx["replicate"])
        ctx.metrics.add("calls", len(calls))
        return data

    build(noted, treatments=[]).run(replicates=2)
    ran()
    result = build(noted, treatments=[]).run(replicates=2, strategy="resume")
    assert ran() == ["baseline_rep_0", "baseline_rep_1"]
    assert list(result.provenance["resume"]["ran"]) == ["changed: step 1 NotedStep code"]


def test_another_name_of_the_experiment_is_another_folder(build, ran):
    build().run(replicates=1)
    ran()
    build(name="other").run(replicates=1, strategy="resume")
    assert len(ran()) == 2


def test_a_renamed_treatment_is_a_new_condition(build, ran):
    build().run(replicates=1)
    ran()
    build().run(replicates=1, treatments=[Treatment("renamed", {"delta": 1.0})], strategy="resume")
    assert ran() == ["renamed_rep_0"]
