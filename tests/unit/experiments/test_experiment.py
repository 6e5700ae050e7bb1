"""`Experiment`: what it is made of, what holds for one run alone, and what a change between runs means."""

from __future__ import annotations

import pytest

from crystallize import BasePlugin, Experiment, Hypothesis, Pipeline, Treatment, pipeline_step, verifier
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.results import Result


@verifier
def compare(baseline, treatment):
    return {"p_value": 0.01, "gain": treatment["total"][0] - baseline["total"][0]}


@pipeline_step()
def show(data, ctx, *, rate="default"):
    return data, {"rate": rate}


def rates(result):
    return list(result.metrics.baseline.metrics["rate"])


def test_its_attributes_are_what_was_given(make, source):
    treatments, hypotheses = [Treatment("t", {})], [Hypothesis(compare(), "total", name="h")]
    experiment = make(
        name="e", description="about", treatments=iter(treatments), hypotheses=tuple(hypotheses), replicates=3
    )
    assert (experiment.name, experiment.description, experiment.replicates) == ("e", "about", 3)
    assert (experiment.treatments, experiment.hypotheses) == (treatments, hypotheses)
    assert (experiment.strategy, experiment.plugins, experiment.outputs) == ("rerun", [], {})
    assert isinstance(experiment.pipeline, Pipeline)
    assert len(experiment.pipeline) == 1


def test_a_list_of_steps_is_a_pipeline(make, step):
    assert make(pipeline=[step(), step()]).run().metrics.baseline.metrics["total"] == [6, 6]


def test_its_own_treatments_hypotheses_and_replicates_are_the_default(make):
    experiment = make(
        treatments=[Treatment("t", {"delta": 1})], hypotheses=[Hypothesis(compare(), name="h")], replicates=2
    )
    result = experiment.run()
    assert isinstance(result, Result)
    assert result.metrics.treatments["t"].metrics["total"] == [7, 7]
    assert result.get_hypothesis("h").results["t"]["gain"] == 1


def test_arguments_hold_for_one_run_alone(make):
    experiment = make(treatments=[Treatment("own", {})], replicates=2)
    result = experiment.run(
        treatments=[Treatment("given", {"delta": 1})], hypotheses=[Hypothesis(compare(), name="h")], replicates=3
    )
    assert list(result.metrics.treatments) == ["given"]
    assert result.metrics.baseline.metrics["replicate"] == [0, 1, 2]
    assert [tested.name for tested in result.metrics.hypotheses] == ["h"]
    again = experiment.run()
    assert list(again.metrics.treatments) == ["own"]
    assert again.metrics.baseline.metrics["replicate"] == [0, 1]
    assert again.metrics.hypotheses == []


def test_an_empty_list_means_none_of_them(make):
    experiment = make(treatments=[Treatment("t", {})], hypotheses=[Hypothesis(compare(), name="h")])
    result = experiment.run(treatments=[], hypotheses=[])
    assert not result.metrics.treatments
    assert result.metrics.hypotheses == []


def test_replicates_are_the_arguments_else_its_own_else_the_sources_else_one(make, source):
    offering = source()
    offering.replicates = 4
    count = lambda result: len(result.metrics.baseline.metrics["total"])  # noqa: E731 - shorter than its five uses
    assert count(make().run()) == 1
    assert count(make(datasource=offering).run()) == 4
    assert count(make(datasource=offering, replicates=3).run()) == 3
    assert count(make(datasource=offering, replicates=3).run(replicates=2)) == 2
    assert count(make(datasource=offering).run(replicates=2)) == 2
    assert make().replicates == 1


def test_replicates_may_be_changed_and_taken_back(make):
    experiment = make(replicates=3)
    experiment.replicates = 2
    assert len(experiment.run().metrics.baseline.metrics["total"]) == 2
    experiment.replicates = None
    assert len(experiment.run().metrics.baseline.metrics["total"]) == 1


def test_a_hypothesis_of_an_absent_metric_costs_nothing_else(make):
    hypotheses = [Hypothesis(compare(), "absent", name="h"), Hypothesis(compare(), "total", name="fine")]
    result = make().run(treatments=[Treatment("t", {"delta": 1})], hypotheses=hypotheses)
    assert "absent" in str(result.errors["hypothesis:h"])
    assert list(result.errors) == ["hypothesis:h"]
    assert result.get_hypothesis("fine").ranking["best"] == "t"
    assert result.metrics.treatments["t"].metrics["total"] == [7]


@pytest.mark.parametrize("exc", [ZeroDivisionError("verifier's own"), SystemExit(3)])
def test_an_error_of_a_verifier_or_a_ranker_costs_nothing_else(make, exc):
    @verifier
    def fails(baseline, treatment):
        raise exc

    def rank(output):
        raise exc

    hypotheses = [Hypothesis(fails(), name="v"), Hypothesis(compare(), ranker=rank, name="r")]
    result = make().run(treatments=[Treatment("t", {})], hypotheses=hypotheses)
    assert sorted(result.errors) == ["hypothesis:r", "hypothesis:v"]
    assert result.metrics.baseline.metrics["total"] == [6]


def test_changes_to_the_initial_context_between_runs_are_seen(make):
    experiment = make(show(), initial_ctx={"other": 1})
    assert rates(experiment.run()) == ["default"]
    experiment.initial_ctx["rate"] = "added"
    assert rates(experiment.run()) == ["added"]
    experiment.initial_ctx["rate"] = "changed"
    assert rates(experiment.run()) == ["changed"]
    del experiment.initial_ctx["rate"]
    assert rates(experiment.run()) == ["default"]
    experiment.initial_ctx = {"rate": "replaced"}
    assert rates(experiment.run()) == ["replaced"]


def test_a_replaced_pipeline_is_the_one_that_runs(make):
    experiment = make(show())
    experiment.run()
    experiment.pipeline = Pipeline([show(rate="other")])
    assert rates(experiment.run()) == ["other"]


def test_treatments_of_one_name_and_other_values_are_not_confused(make):
    experiment = make(show())
    for value in ("a", "b", "a"):
        result = experiment.run(treatments=[Treatment("t", {"rate": value})])
        assert result.metrics.treatments["t"].metrics["rate"] == [value]
        assert rates(result) == ["default"]


def test_what_the_caller_does_to_its_values_afterwards_changes_nothing(make):
    context, values = {"grid": [1]}, {"rate": [1]}
    experiment, treatment = make(show(), initial_ctx=context), Treatment("t", values)
    context["grid"].append(2)
    values["rate"].append(2)
    result = experiment.run(treatments=[treatment])
    assert result.metrics.treatments["t"].metrics["rate"] == [[1]]
    assert experiment.initial_ctx == {"grid": [1]}


def test_a_plugin_may_be_appended_until_the_run(make):
    calls = []

    class Notes(BasePlugin):
        def before_run(self, experiment):
            calls.append(experiment.replicates)

    experiment = make()
    experiment.plugins.append(Notes())
    experiment.run(replicates=2)
    experiment.plugins.append(Notes)
    experiment.run(replicates=3)
    assert calls == [2, 3, 3]
    assert [type(plugin) for plugin in experiment.plugins] == [Notes, Notes]
    assert experiment.get_plugin(Notes) is experiment.plugins[0]
    assert experiment.get_plugin(Experiment) is None
    with pytest.raises(ArgumentTypeError, match="get_plugin takes the class of a plugin, .* not 'seed'"):
        experiment.get_plugin("seed")


def test_init_hook_comes_once_with_the_experiment_itself(make):
    seen = []

    class Adds(BasePlugin):
        def init_hook(self, experiment):
            seen.append(experiment)
            experiment.initial_ctx.setdefault("rate", "by plugin")

    experiment = make(show(), plugins=[Adds()])
    assert rates(experiment.run()) == rates(experiment.run()) == ["by plugin"]
    assert seen == [experiment]


def test_an_error_of_init_hook_propagates(make):
    class Refuses(BasePlugin):
        def init_hook(self):
            raise OSError("not here")

    with pytest.raises(OSError, match="not here"):
        make(plugins=[Refuses()])


def test_its_id_is_that_of_what_it_runs_whatever_it_is_called(make, step):
    same = make(step(delta=1), name="a").id
    assert same == make(step(delta=1), name="b", replicates=9, treatments=[Treatment("t", {})]).id
    assert same != make(step(delta=2)).id
    assert same != make(step(delta=1), step(delta=1)).id
    assert same.isalnum()


def test_validate_runs_nothing(make):
    def never(data):
        raise AssertionError

    assert make(never).validate() is None


def test_a_run_writes_no_file_and_changes_no_global_state(make, tmp_path):
    import random

    state = random.getstate()
    make().run(replicates=3)
    assert list(tmp_path.iterdir()) == []
    assert random.getstate() == state


def test_its_text_shows_the_name(make):
    assert repr(make(name="e")) == "Experiment('e')"
    assert make().id[:12] in repr(make())


@pytest.mark.parametrize("missing", ["datasource", "pipeline"])
def test_without_a_part_it_has_a_text_and_no_identity(make, missing):
    experiment = make(**{missing: None})
    assert repr(experiment) == "Experiment(None)"
    with pytest.raises(ValidationError, match=f"the experiment has no {missing}"):
        _ = experiment.id


def test_it_travels_before_and_after_a_run(run_script):
    done = run_script("""
        import pickle
        from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

        @data_source
        def numbers(ctx):
            return [1, 2, 3]

        @pipeline_step()
        def scale(data, ctx, *, factor=1):
            return data, {"total": sum(data) * factor}

        experiment = Experiment(
            numbers(), Pipeline([scale()]), [SeedPlugin(seed=1)], name="e", treatments=[Treatment("t", {"factor": 2})],
            default_plugins=False,
        )
        for _ in range(2):
            copied = pickle.loads(pickle.dumps(experiment))
            assert copied.run().to_dict()["metrics"] == experiment.run().to_dict()["metrics"]
            assert copied.id == experiment.id
        print("done")
    """)
    assert done.stdout.split() == ["done"], done.stderr
