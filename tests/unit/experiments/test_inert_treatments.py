"""A treatment that does nothing: refused where that is known before the first cell, told where the cells show it."""

from __future__ import annotations

import logging
import pickle

import pytest

from crystallize import (
    BasePlugin,
    DataSource,
    Experiment,
    ExperimentInput,
    ParallelExecution,
    PipelineStep,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    resource_factory,
)
from crystallize.errors import MissingParameterError, UnreadKeyError
from crystallize_plugins.artifacts import open_run


@data_source
def numbers(ctx, size=3):
    return [1.0] * size


@data_source
def by_level(ctx):
    return [float(ctx.get("level", 1))]


@pipeline_step()
def loss(data, *, x=0.0):
    return data, {"loss": (x - 1) ** 2, "n": len(data)}


@pipeline_step()
def told(data, ctx, *, x=0.0):
    return data, {"loss": (x - 1) ** 2}


@pipeline_step()
def reads(data, ctx):
    return data, {"depth": ctx.get("depth", 1)}


@pipeline_step()
def dotted(data, ctx):
    ctx.record("depth", ctx.get("model.x", 1))
    return data


def helper(ctx):
    return ctx.get("depth", 1)


@pipeline_step()
def hands_on(data, ctx):
    return data, {"depth": helper(ctx)}


class Settled(PipelineStep):
    def __init__(self, x):
        self.x = x

    @property
    def params(self):
        return {"x": self.x}

    @property
    def name(self):
        return "SettledStep"

    def __call__(self, data, ctx):
        ctx.record("x", self.x)
        return data


class Scale(PipelineStep):
    def __init__(self, factor=1):
        self.factor = factor

    @property
    def params(self):
        return {"factor": self.factor}

    def __call__(self, data, ctx):
        return data, {"scaled": ctx.get("factor", self.factor)}


class Levels(DataSource):
    def fetch(self, ctx):
        return [ctx.get("level", 1)]


def made(source, *steps, **settings):
    settings.setdefault("default_plugins", False)
    return Experiment(source, list(steps), **settings)


REFUSED = {
    "a misspelt parameter": (numbers(), [loss()], {"xx": 1}, "x", ()),
    "a misspelt parameter of a data source": (numbers(), [loss()], {"sise": 1}, "size", ()),
    "a key that is like none": (numbers(), [loss()], {"temperature": 1}, None, ()),
    "one good key and one bad": (numbers(), [loss()], {"x": 1, "sizes": 2}, "size", ()),
    "a parameter that a step was given": (numbers(), [loss(x=5)], {"x": 1}, None, ("loss",)),
    "one that two steps were given": (numbers(), [loss(x=5), loss(x=6)], {"x": 1}, None, ("LossStep", "LossStep_2")),
    "one that a data source was given": (numbers(size=2), [loss()], {"size": 1}, None, ("numbers",)),
    "one of an input that was given": (
        ExperimentInput(left=numbers(size=1), right=by_level()),
        [loss()],
        {"size": 2},
        None,
        ("numbers",),
    ),
    "an address whose parameter was given": (numbers(), [loss(x=5)], {"loss.x": 1}, None, ("loss",)),
    "a misspelt parameter behind an address": (numbers(), [told()], {"told.xx": 1}, "told.x", ()),
    "a misspelt address of a step": (numbers(), [told()], {"tolld.x": 1}, "told.x", ()),
    "a misspelt address of a data source": (numbers(), [told()], {"numbesr.size": 1}, "numbers.size", ()),
    "parameters inside the name of a step": (numbers(), [told()], {"told": {"x": 1}}, "told.x", ()),
    "an address of nobody": (numbers(), [loss()], {"elsewhere.x": 1}, None, ()),
    "a name that two steps have": (numbers(), [loss(), loss()], {"loss.x": 1}, "LossStep.x", ()),
    "a name that two inputs have": (
        ExperimentInput(left=numbers(), right=numbers()),
        [loss()],
        {"numbers.size": 1},
        None,
        (),
    ),
    "a step that takes nothing": (numbers(), [len], {"x": 1}, None, ()),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("way", ["run", "validate", "plan", "apply", "debug", "stream", "baseline"])
def test_a_key_that_nothing_can_read_is_refused_before_the_first_cell(kind, way):
    source, steps, values, near, by = REFUSED[kind]
    experiment = made(source, *steps, treatments=[Treatment("baseline" if way == "baseline" else "t", values)])
    call = {
        "apply": lambda: experiment.apply(experiment.treatments[0]),
        "debug": lambda: experiment.debug(experiment.treatments[0]),
        "baseline": experiment.run,
        "stream": lambda: list(experiment.stream()),
    }.get(way) or getattr(experiment, way)
    with pytest.raises(UnreadKeyError) as caught:
        call()
    error = caught.value
    assert error.key in values
    assert repr(error.key) in str(error)
    assert error.nearest == near
    assert near is None or f"Did you mean {near!r}?" in str(error)
    assert error.overruled_by == by
    assert isinstance(error, ValueError)
    assert not hasattr(error, "result")


def test_the_refusal_names_the_way_out():
    with pytest.raises(UnreadKeyError, match=r"made with x=\.\.\..*[Ll]eave x=\.\.\. out.*Treatment\('baseline'"):
        made(numbers(), loss(x=5), treatments=[Treatment("t", {"x": 1})]).run()
    with pytest.raises(UnreadKeyError, match=r"stands for 2 of them.*LossStep, LossStep_2"):
        made(numbers(), loss(), loss(), treatments=[Treatment("t", {"loss.x": 1})]).run()


def test_the_error_travels_with_its_data():
    with pytest.raises(UnreadKeyError) as caught:
        made(numbers(), loss(), treatments=[Treatment("t", {"xx": 1})]).run()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.treatment, again.key, again.nearest, str(again)) == ("t", "xx", "x", str(caught.value))


READ = {
    "a parameter": (numbers(), [loss()], {"x": 1}),
    "a parameter of a data source": (numbers(), [loss()], {"size": 1}),
    "an address": (numbers(), [loss()], {"loss.x": 1}),
    "the label of a step": (numbers(), [loss(), loss()], {"LossStep_2.x": 1}),
    "the address of a data source": (numbers(), [loss()], {"numbers.size": 1}),
    "an input": (ExperimentInput(left=numbers(), right=numbers()), [loss()], {"left.size": 1}),
    "a parameter that one step of two was given": (numbers(), [loss(x=5), told()], {"x": 1}),
    "a key that a step reads": (numbers(), [reads()], {"depth": 2}),
    "a key that a function reads to which the context is handed": (numbers(), [hands_on()], {"depth": 2}),
    "a key that a step of a class reads": (numbers(), [Scale(2)], {"factor": 3}),
    "a key that a data source reads": (by_level(), [len], {"level": 2}),
    "a key that a data source of a class reads": (Levels(), [len], {"level": 2}),
    "a key with a dot that a step reads": (numbers(), [dotted(), loss()], {"model.x": 2}),
    "nothing": (numbers(), [loss()], {}),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_a_key_that_is_read_is_neither_refused_nor_told_of(kind, executor, caplog):
    source, steps, values = READ[kind]
    more = [] if executor == "serial" else [ParallelExecution(max_workers=2, executor_type=executor)]
    experiment = made(source, *steps, treatments=[Treatment("t", values)], replicates=2, plugins=more)
    with caplog.at_level(logging.WARNING):
        result = experiment.run()
    assert all(condition.unread == () for condition in result.conditions)
    assert "unread" not in result.provenance
    assert not [record for record in caplog.records if "sets" in record.getMessage()]


def unread(experiment, caplog, **arguments):
    with caplog.at_level(logging.WARNING):
        result = experiment.run(**arguments)
    told_of = [record.getMessage() for record in caplog.records if "it changes nothing" in record.getMessage()]
    return result, told_of


@pytest.mark.parametrize("values", [{"xx": 1}, {"deph": 2, "depth": 3}], ids=["one", "one of two"])
@pytest.mark.parametrize("function", [False, True], ids=["mapping", "function"])
@pytest.mark.parametrize("plugins", [[], [SeedPlugin(seed=1)]], ids=["unseeded", "seeded"])
def test_a_key_that_no_cell_has_read_is_told_of_once_and_kept(values, function, plugins, caplog):
    bad = next(iter(values))

    def add(ctx):
        for key, value in values.items():
            ctx.add(key, value)

    treatment = Treatment("t", add if function else values)
    experiment = made(numbers(), told(), reads(), treatments=[treatment], replicates=5, plugins=plugins)
    result, told_of = unread(experiment, caplog)
    assert len(told_of) == 1
    assert repr(bad) in told_of[0]
    assert "treatment 't'" in told_of[0]
    assert result.conditions["t"].unread == (bad,)
    assert result.conditions["baseline"].unread == ()
    assert result.provenance["unread"] == {"t": [bad]}
    assert repr(bad) in result.summary()


def test_the_nearest_key_is_named(caplog):
    _, told_of = unread(made(numbers(), told(), treatments=[Treatment("t", {"sizes": 1})]), caplog)
    assert told_of[0].endswith("Did you mean 'size'?")
    caplog.clear()
    _, told_of = unread(made(numbers(), reads(), treatments=[Treatment("t", {"deph": 1})]), caplog)
    assert told_of[0].endswith("Did you mean 'depth'?")


def test_it_is_told_while_the_other_cells_still_run(caplog):
    experiment = made(numbers(), told(), treatments=[Treatment("t", {"xx": 1})], replicates=9)
    with caplog.at_level(logging.WARNING):
        for outcome in experiment.stream():
            if outcome.cell.condition == "t" and outcome.cell.replicate == 4:
                assert "'xx'" in caplog.text
                break
        else:
            pytest.fail("the cell was not there")


@pipeline_step()
def sometimes(data, ctx):
    if ctx["replicate"] == 1:
        return data, {"depth": ctx.get("depth", 1)}
    return data


def test_a_key_that_some_replicates_read_is_not_told_of(caplog):
    experiment = made(numbers(), sometimes(), treatments=[Treatment("t", {"depth": 2})], replicates=2)
    result, told_of = unread(experiment, caplog)
    assert (told_of, result.conditions["t"].unread) == ([], ())


def test_failed_cells_say_nothing_of_what_is_read(caplog):
    @pipeline_step()
    def broken(data, ctx):
        if ctx["condition"] == "t":
            raise ValueError("broken")
        return data, {"depth": ctx.get("depth", 1)}

    result, told_of = unread(made(numbers(), broken(), treatments=[Treatment("t", {"depth": 2})]), caplog)
    assert result.errors
    assert (told_of, result.conditions["t"].unread) == ([], ())


def test_what_a_data_source_writes_is_no_key_of_a_treatment(caplog):
    @data_source
    def writing(ctx):
        ctx.add("classes", 3)
        return [1]

    treatment = Treatment("t", lambda ctx: ctx.add("depth", 2))
    for plugins in ([], [SeedPlugin(seed=1)]):
        result, told_of = unread(made(writing(), reads(), treatments=[treatment], plugins=plugins), caplog)
        assert (told_of, result.conditions["t"].unread) == ([], ())


def test_reads_of_a_resource_count(caplog):
    database = resource_factory(lambda ctx: ctx["url"])

    @pipeline_step()
    def uses(data, *, database=""):
        return data, {"url": database}

    treatment = Treatment("t", {"url": "somewhere", "database": database})
    result, told_of = unread(made(numbers(), uses(), treatments=[treatment]), caplog)
    assert result.metrics.treatments["t"].metrics == {"url": ["somewhere"]}
    assert (told_of, result.conditions["t"].unread) == ([], ())


def test_reads_of_a_plugin_that_may_change_results_count(caplog):
    class Budget(BasePlugin):
        def before_replicate(self, experiment, ctx):
            ctx.record("budget", ctx.get("budget", 1))

    experiment = made(numbers(), loss(), treatments=[Treatment("t", {"budget": 2})], plugins=[Budget()])
    result, told_of = unread(experiment, caplog)
    assert result.metrics.treatments["t"].metrics["budget"] == [2]
    assert told_of == []


def test_reads_of_a_neutral_plugin_change_nothing_and_do_not_count(caplog):
    class Watching(BasePlugin):
        neutral = True

        def before_replicate(self, experiment, ctx):
            ctx.get("budget")

    experiment = made(numbers(), told(), treatments=[Treatment("t", {"budget": 2})], plugins=[Watching()])
    result, _ = unread(experiment, caplog)
    assert result.conditions["t"].unread == ("budget",)


def test_a_hit_of_the_step_cache_repeats_what_the_step_read(caplog, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "cache"))

    @pipeline_step(cacheable=True)
    def cached(data, ctx, *, x=0):
        return data, {"depth": ctx.get("depth", 1) + x}

    experiment = made(numbers(), cached(), treatments=[Treatment("t", {"depth": 2, "x": 1, "size": 4})])
    for hit in (False, True):
        result, told_of = unread(experiment, caplog)
        assert result.provenance["ctx_changes"]["t"][0][0]["cache_hit"] is hit
        assert (told_of, result.conditions["t"].unread) == ([], ())


def test_a_stored_run_keeps_what_was_not_read(caplog):
    experiment = Experiment(
        numbers(), [told()], name="kept", treatments=[Treatment("t", {"xx": 1})], plugins=[SeedPlugin(seed=1)]
    )
    result, _ = unread(experiment, caplog, replicates=2)
    stored = open_run(result.provenance["run"]["folder"])
    assert stored.conditions["t"].unread == ("xx",)
    assert "'xx'" in stored.summary()
    again = experiment.run(replicates=4, strategy="resume")
    assert again.conditions["t"].unread == ("xx",)
    assert experiment.run(replicates=4, strategy="resume").conditions["t"].unread == ("xx",)


def test_what_kept_cells_read_counts(caplog):
    experiment = Experiment(
        numbers(), [sometimes()], name="kept", treatments=[Treatment("t", {"depth": 1})], plugins=[SeedPlugin(seed=1)]
    )
    experiment.run(replicates=2)
    caplog.clear()
    result, told_of = unread(experiment, caplog, replicates=4, strategy="resume")
    assert (told_of, result.conditions["t"].unread) == ([], ())


def test_conditions_are_found_by_name_and_a_wrong_one_is_named_with_the_nearest():
    result = made(numbers(), loss(), treatments=[Treatment("fast", {"x": 1})]).run()
    assert result.conditions["fast"] is result.conditions[1]
    with pytest.raises(KeyError, match=r"no condition 'fats'.*mean 'fast'\?"):
        result.conditions["fats"]


def test_a_strict_run_refuses_what_the_code_shows_and_raises_what_the_cells_show():
    experiment = made(numbers(), told(), treatments=[Treatment("t", {"xx": 1})], strict=True)
    with pytest.raises(UnreadKeyError, match="nothing in the code") as caught:
        experiment.run()
    assert not hasattr(caught.value, "result")
    experiment = made(numbers(), hands_on(), treatments=[Treatment("t", {"xx": 1})], strict=True)
    with pytest.raises(UnreadKeyError, match="no cell has read it") as caught:
        experiment.run()
    assert caught.value.result.metrics.baseline.metrics == {"depth": [1]}
    assert caught.value.result.conditions["t"].unread == ("xx",)


@pipeline_step()
def hands_on_too(data, ctx, *, depth=1):
    return data, {"depth": helper(ctx)}


def test_a_given_parameter_is_not_refused_where_another_function_may_read_the_key(caplog):
    experiment = made(numbers(), hands_on_too(depth=5), treatments=[Treatment("t", {"depth": 2})])
    result, told_of = unread(experiment, caplog)
    assert (result.metrics.treatments["t"].metrics, told_of) == ({"depth": [2]}, [])
    experiment = made(numbers(), hands_on(), loss(x=5), treatments=[Treatment("t", {"x": 2})])
    result, told_of = unread(experiment, caplog)
    assert result.conditions["t"].unread == ("x",)
    assert [text.endswith("The step LossStep was made with x=..., which counts more.") for text in told_of] == [True]


def without_source():
    namespace = {"pipeline_step": pipeline_step}
    exec("@pipeline_step()\ndef made_up(data, ctx, *, x=1):\n    return data, {'x': x}\n", namespace)
    return namespace["made_up"]


OVERRULED = {
    "of a step that takes the context": [told(x=5)],
    "of two steps, one of which takes the context": [loss(x=5), told(x=5)],
    "of a step of a class": [Settled(x=5)],
    "of a step whose source nobody has": [without_source()(x=5)],
}


@pytest.mark.parametrize("steps", OVERRULED.values(), ids=OVERRULED)
def test_a_key_that_a_step_could_read_and_its_own_value_overrules_is_told_of(steps, caplog):
    result, told_of = unread(made(numbers(), *steps, treatments=[Treatment("t", {"x": 1})]), caplog)
    assert result.metrics.treatments["t"].metrics == result.metrics.baseline.metrics
    assert result.conditions["t"].unread == ("x",)
    (message,) = told_of
    assert "made with x=..., which counts more" in message
    with pytest.raises(UnreadKeyError, match="made with x="):
        made(numbers(), *steps, treatments=[Treatment("t", {"x": 1})], strict=True).run()


def test_a_run_of_its_own_treatments_is_checked_as_those_of_the_experiment_are():
    with pytest.raises(UnreadKeyError):
        made(numbers(), loss()).run(treatments=[Treatment("t", {"xx": 1})])


@data_source
def needs(ctx, size):
    return [1.0] * size


def test_a_data_source_that_lacks_a_parameter_is_refused_before_the_first_cell():
    with pytest.raises(MissingParameterError, match=r"needs the parameter 'size'"):
        made(needs(), loss()).run()
    with pytest.raises(MissingParameterError, match=r"needs the parameter 'size'"):
        made(needs(), loss(), treatments=[Treatment("t", {"size": 2})]).run()
    assert made(needs(), loss()).apply(data=[1.0]) == [1.0]
    assert made(needs(), loss(), initial_ctx={"size": 2}).run().metrics.baseline.metrics["n"] == [2]
    both = [Treatment("baseline", {"size": 2}), Treatment("t", {"needs.size": 3})]
    result = made(needs(), loss(), treatments=both).run()
    assert result.metrics.treatments["t"].metrics["n"] == [3]
