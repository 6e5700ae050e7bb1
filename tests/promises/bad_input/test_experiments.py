"""Bad input: found before the first cell runs, named, and told what to do instead."""

from __future__ import annotations

import numpy as np
import pytest

from crystallize import (
    Artifact,
    BasePlugin,
    DataSource,
    Experiment,
    Hypothesis,
    Pipeline,
    PipelineStep,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)
from crystallize.errors import (
    ArgumentTypeError,
    ContextMutationError,
    CrystallizeError,
    DuplicateNameError,
    ValidationError,
)

BAD_NAMES = ["", "..", ".", "...", "a/b", "a\\b", "/etc", "../up", "nul\0byte", "line\nbreak", "x" * 300, " a", "a."]
BAD_COUNTS = [
    (0, ValidationError), (-1, ValidationError), (True, ArgumentTypeError), (2.5, ArgumentTypeError),
    ("3", ArgumentTypeError), (float("nan"), ArgumentTypeError), ([2], ArgumentTypeError),
]  # fmt: skip


@verifier
def differs(baseline, treatment):
    return {"p_value": 0.5}


def never(data):
    raise AssertionError("a cell ran")


@pytest.fixture
def refused(make):
    """Say that a run with these settings is refused, whatever face it has, before a cell runs."""

    def check(error, match, *, settings=None, **arguments):
        for face in ("run", "stream"):
            with pytest.raises(error, match=match) as caught:
                getattr(make(never, **(settings or {})), face)(**arguments)
            assert isinstance(caught.value, CrystallizeError)
            assert isinstance(caught.value, (TypeError, ValueError))

    return check


@pytest.mark.parametrize("missing", ["datasource", "pipeline"])
def test_a_missing_part_is_named(make, missing):
    experiment = make(**{missing: None})
    for check in (experiment.validate, experiment.run, experiment.apply, experiment.debug):
        with pytest.raises(ValidationError, match=f"the experiment has no {missing}: give {missing}="):
            check()


class Source(DataSource):
    def fetch(self, ctx):
        return 1


@pytest.mark.parametrize("junk", ["junk", 5, [1], lambda ctx: 1, Source, object()])
def test_something_that_is_no_data_source_is_refused(make, junk):
    with pytest.raises(ArgumentTypeError, match="datasource"):
        make(datasource=junk).validate()


@pytest.mark.parametrize("junk", ["junk", 5, object(), lambda data: data])
def test_something_that_is_no_pipeline_is_refused(make, junk):
    with pytest.raises(ArgumentTypeError, match="pipeline must be a Pipeline"):
        make(pipeline=junk).validate()


def test_a_factory_of_sources_that_was_not_called_is_called(make, source):
    assert make(datasource=source).run().metrics.baseline.metrics["total"] == [6]


def test_a_factory_of_sources_that_needs_arguments_is_refused(make):
    @data_source
    def needs(ctx, *, path):
        return path

    with pytest.raises(TypeError, match="path"):
        make(datasource=needs).validate()


@pytest.mark.parametrize("value, error", BAD_COUNTS)
def test_replicates_are_a_positive_integer_wherever_they_are_given(make, refused, source, value, error):
    refused(error, "replicates", replicates=value)
    with pytest.raises(error, match="replicates"):
        make(replicates=value)
    with pytest.raises(error, match="replicates"):
        make().replicates = value
    offering = source()
    offering.replicates = value
    refused(error, "replicates of the data source", settings={"datasource": offering})


def test_a_numpy_integer_is_a_number_of_replicates(make):
    assert make().run(replicates=np.int64(2)).metrics.baseline.metrics["replicate"] == [0, 1]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_cannot_be_a_folder_is_refused_for_all_that_has_one(make, name):
    for make_one in (make_experiment_named, lambda name: Treatment(name, {}), Artifact):
        with pytest.raises(ValidationError, match="name of the"):
            make_one(name)
    experiment = make()
    experiment.name = name
    with pytest.raises(ValidationError, match="name of the experiment"):
        experiment.validate()


def make_experiment_named(name):
    return Experiment(Source(), Pipeline([never]), name=name, default_plugins=False)


@pytest.mark.parametrize("name", [5, b"a", True, ["a"]])
def test_a_name_that_is_no_text_is_refused(name):
    for make_one in (make_experiment_named, lambda name: Treatment(name, {}), Artifact):
        with pytest.raises(ArgumentTypeError, match="must be text"):
            make_one(name)


@pytest.mark.parametrize("names", [["a", "a"], ["fast", "Fast"], ["baseline", "baseline"], ["Baseline", "baseline"]])
def test_two_treatments_of_one_folder_are_refused(make, refused, names):
    treatments = [Treatment(name, {}) for name in names]
    refused(DuplicateNameError, "two treatments are named", treatments=treatments)
    with pytest.raises(DuplicateNameError, match="two treatments are named"):
        make(treatments=treatments)


def test_a_treatment_that_shares_the_baselines_folder_on_some_systems_is_refused(refused):
    refused(DuplicateNameError, "treatment 'Baseline' and the baseline", treatments=[Treatment("Baseline", {})])


def test_two_hypotheses_of_one_name_are_refused(refused):
    hypotheses = [Hypothesis(differs(), "total", name="h") for _ in range(2)]
    refused(DuplicateNameError, "two hypotheses are named", hypotheses=hypotheses, treatments=[Treatment("t", {})])


@pytest.mark.parametrize("treatments", [[], [Treatment("baseline", {})]])
def test_hypotheses_without_a_treatment_are_refused(refused, treatments):
    refused(ValidationError, "there is no treatment", hypotheses=[Hypothesis(differs(), "m")], treatments=treatments)


@pytest.mark.parametrize("what", ["treatments", "hypotheses"])
@pytest.mark.parametrize("junk", [5, "text", [5], ["name"], [None], {"a": 1}])
def test_lists_of_something_else_are_refused_with_the_place(make, refused, what, junk):
    refused(ArgumentTypeError, what, **{what: junk})
    experiment = make(never)
    setattr(experiment, what, junk)
    with pytest.raises(ArgumentTypeError, match=what):
        experiment.validate()


def test_a_single_treatment_is_to_be_put_into_a_list(refused):
    refused(ArgumentTypeError, r"treatments must be a list of Treatment", treatments=Treatment("t", {}))


@pytest.mark.parametrize("strategy, error", [("again", ValidationError), ("", ValidationError), (5, ArgumentTypeError)])
def test_an_unknown_strategy_is_refused(make, refused, strategy, error):
    refused(error, "strategy must be one of 'rerun', 'resume'", strategy=strategy)
    experiment = make(never)
    experiment.strategy = strategy
    with pytest.raises(error, match="strategy"):
        experiment.run()


@pytest.mark.parametrize("key", ["replicate", "condition", "seed_used", "step_name"])
def test_reserved_context_keys_are_refused(refused, key):
    refused(ValidationError, f"reserved key '{key}'", settings={"initial_ctx": {key: 1}})
    with pytest.raises(ValidationError, match=key):
        Treatment("t", {key: 1})


def test_a_treatment_that_writes_a_key_again_is_refused_with_a_way_out(refused):
    refused(
        ContextMutationError,
        r"treatment 't' sets the context key 'rate', which initial_ctx has already",
        settings={"initial_ctx": {"rate": 1}},
        treatments=[Treatment("t", {"rate": 2})],
    )


@pytest.mark.parametrize("initial", [5, "text", [("a", 1)], {5: 1}])
def test_an_initial_context_of_another_type_is_refused(make, initial):
    with pytest.raises(ArgumentTypeError, match="initial context"):
        make(initial_ctx=initial)


@pytest.mark.parametrize("outputs", [5, "model.json", [5], Artifact("a")])
def test_outputs_of_another_type_are_refused(make, outputs):
    with pytest.raises(ArgumentTypeError, match=r"outputs(\[0\] must be an| must be a list of) Artifact, not"):
        make(outputs=outputs)


def test_two_outputs_of_one_file_are_refused(make):
    with pytest.raises(DuplicateNameError, match="two outputs"):
        make(outputs=[Artifact("a.json"), Artifact("A.json")])

    @pipeline_step()
    def write(data, one: Artifact, other: Artifact):
        raise AssertionError("a cell ran")

    same = Artifact("a.json"), Artifact("a.json")
    with pytest.raises(DuplicateNameError, match="two outputs are named 'WriteStep/a.json'"):
        make(write(one=same[0], other=same[1]), outputs=same)


@pytest.mark.parametrize("plugins", ["seed", BasePlugin, BasePlugin(), 5])
def test_plugins_are_a_list(make, plugins):
    with pytest.raises(ArgumentTypeError, match="plugins"):
        make(plugins=plugins)


@pytest.mark.parametrize("description", [5, ["a"]])
def test_a_description_is_text(make, description):
    with pytest.raises(ArgumentTypeError, match="description must be text"):
        make(description=description)


class Step(PipelineStep):
    def __init__(self, params):
        self._params = params

    @property
    def params(self):
        if isinstance(self._params, Exception):
            raise self._params
        return self._params

    def __call__(self, data, ctx):
        raise AssertionError("a cell ran")


@pytest.mark.parametrize(
    "params, error", [([1], ArgumentTypeError), (None, ArgumentTypeError), (OSError("x"), ValidationError)]
)
def test_params_that_are_no_mapping_are_refused_by_name(make, params, error):
    with pytest.raises(error, match="params of the step Step"):
        make(Step(params)).run()


@pytest.mark.parametrize(
    "seed, error", [("abc", ArgumentTypeError), (1.5, ArgumentTypeError), (True, ArgumentTypeError)]
)
def test_a_seed_that_is_no_integer_is_refused(make, seed, error):
    with pytest.raises(error, match="seed must be an integer"):
        make(never).apply(seed=seed)


@pytest.mark.parametrize(
    "replicate, error", [(-1, ValidationError), ("0", ArgumentTypeError), (True, ArgumentTypeError)]
)
def test_debug_takes_the_number_of_a_replicate(make, replicate, error):
    with pytest.raises(error, match="replicate must be"):
        make(never).debug(replicate=replicate)


@pytest.mark.parametrize("face", ["apply", "debug"])
def test_apply_and_debug_take_a_treatment(make, face):
    with pytest.raises(ArgumentTypeError, match="must be a Treatment"):
        getattr(make(never), face)("fast")


@pytest.mark.parametrize("junk", [5, "x", None, [1]])
def test_a_treatment_of_something_else_is_refused(junk):
    with pytest.raises(ArgumentTypeError, match="treatment 't'"):
        Treatment("t", junk)


def test_arun_finds_mistakes_too(make):
    coroutine = make(never).arun(replicates=0)
    with pytest.raises(ValidationError, match="replicates"):
        coroutine.send(None)


@pytest.mark.parametrize(
    "part, junk, match",
    [
        ("datasource", 5, "datasource must be a data source"),
        ("pipeline", [never], "pipeline must be a Pipeline, not list"),
        ("plugins", None, "plugins must be a list, not NoneType"),
        ("plugins", "seed", r"write plugins=\['seed'\]"),
        ("outputs", [Artifact("a")], "outputs must be a mapping"),
        ("outputs", {"a": 5}, "outputs must hold artifacts, not int: 5"),
        ("initial_ctx", None, "initial_ctx must be a mapping"),
        ("initial_ctx", [1], "initial_ctx must be a mapping"),
        ("name", "../up", "cannot be the name of the experiment"),
        ("name", 5, "name of the experiment must be text"),
        ("treatments", [5], r"treatments\[0\] must be a Treatment"),
        ("hypotheses", "h", "hypotheses must be a list of Hypothesis"),
        ("strategy", "again", "strategy must be one of"),
    ],
)
def test_what_is_set_later_is_checked_by_every_run(make, part, junk, match):
    experiment = make(never)
    setattr(experiment, part, junk)
    for check in (experiment.validate, experiment.run):
        with pytest.raises((ArgumentTypeError, ValidationError), match=match):
            check()


def test_a_pipeline_whose_steps_were_replaced_by_something_else_is_refused(make):
    experiment = make(never)
    experiment.pipeline.steps = (5,)
    with pytest.raises(ArgumentTypeError, match="the pipeline holds 5, which is no step"):
        experiment.run()


def test_a_factory_of_sources_that_is_set_later_is_called(make, source):
    experiment = make()
    experiment.datasource = source
    assert experiment.run().metrics.baseline.metrics["total"] == [6]
