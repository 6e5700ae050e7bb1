"""Plans that are fixed before a run, and how far the verdicts of runs that carry them out may be believed."""

from __future__ import annotations

import asyncio
import json
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Hypothesis,
    Pipeline,
    Preregistration,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import PreregistrationError
from crystallize.hooks import SeederPlugin
from crystallize_plugins.artifacts import open_run


@data_source
def draw(ctx):
    return float(ctx.rng.normal())


def measuring(scale=0.5):
    @pipeline_step()
    def measure(data, ctx, *, shift=0.0):
        if ctx["condition"] == "t" and ctx["replicate"] in (1, 2, 3) and Path("broken").exists():
            raise ValueError("no luck")
        return data, {"m": data + shift + scale * float(ctx.rng.normal()) * (ctx["condition"] != "baseline")}

    return measure()


def experiment(step=None, *, plugins=None, **settings):
    settings.setdefault("treatments", [Treatment("t", {"shift": 1.0})])
    plugins = [SeedPlugin(seed=5), ArtifactPlugin()] if plugins is None else plugins
    return Experiment(draw(), Pipeline([step or measuring()]), plugins, name="e", default_plugins=False, **settings)


def claim(name="h", **settings):
    return Hypothesis(("paired_t", settings), metrics="m", name=name)


def state(result, name="h"):
    tested = result.get_hypothesis(name)
    assert {verdict.state for verdict in tested.verdicts} == {tested.state}
    return tested.state


# -- the plan ------------------------------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written_and_cannot_be_changed():
    plan = experiment().preregister("plan.json", hypotheses=[claim()], replicates=12)
    read = Preregistration.read("plan.json")
    assert read == plan == pickle.loads(pickle.dumps(plan))
    assert hash(read) == hash(plan)
    assert (plan.replicates, plan.until, plan.hypotheses[0].verifier) == (12, None, "paired_t")
    assert json.loads(Path("plan.json").read_text(encoding="utf-8"))["digest"] == plan.digest
    with pytest.raises(FrozenInstanceError):
        plan.replicates = 3
    with pytest.raises(TypeError):
        plan.identities["baseline"]["datasource"] = ""
    other = experiment().preregister("other.json", hypotheses=[claim()], replicates=12)
    assert (other.seed, other.digest) != (plan.seed, plan.digest)


def test_a_file_is_never_overwritten_and_nothing_is_left_beside_it():
    Path("plan.json").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"plan\.json exists"):
        experiment().preregister("plan.json", hypotheses=[claim()])
    assert [(path.name, path.read_text(encoding="utf-8")) for path in Path().iterdir()] == [("plan.json", "mine")]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"replicates": 12', '"replicates": 6'),
        lambda text: text.replace('"alpha": 0.05', '"alpha": 0.5'),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: '{"format": 1, "digest": ""}',
        lambda text: text.replace('"format": 1', '"format": 9'),
    ],
)
def test_a_plan_that_is_not_as_it_was_written_is_refused(change):
    experiment().preregister("plan.json", hypotheses=[claim()], replicates=12)
    text = Path("plan.json").read_text(encoding="utf-8")
    assert change(text) != text
    Path("plan.json").write_text(change(text), encoding="utf-8")
    with pytest.raises(PreregistrationError, match=r"plan\.json"):
        experiment().run(preregistration="plan.json")
    with pytest.raises(FileNotFoundError, match=r"there is no plan absent\.json"):
        experiment().run(preregistration="absent.json")


def test_what_a_plan_fixes_cannot_be_given_beside_it():
    plan = experiment().preregister("plan.json", hypotheses=[claim()], replicates=4)
    for more, match in (
        ({"replicates": 5}, "replicates cannot"),
        ({"until": "h"}, "until cannot"),
        ({"treatments": [Treatment("u", {})]}, "no treatment 'u'"),
    ):
        with pytest.raises(ValueError, match=match):
            experiment().run(preregistration=plan, **more)
    with pytest.raises(TypeError, match="Preregistration or the path"):
        experiment().run(preregistration=7)
    with pytest.raises(ValueError, match="no hypothesis"):
        experiment().preregister("none.json")
    another = experiment()
    another.name = "another"
    with pytest.raises(ValueError, match="is of experiment 'e'"):
        another.run(preregistration=plan)


def test_secrets_and_code_are_in_no_plan_and_have_to_be_given_again():
    def own(baseline, treatment):
        return {"p_value": 0.01}

    parts = {
        "hypotheses": [Hypothesis(own, "m", name="h")],
        "treatments": [Treatment("t", {"shift": 1.0, "api_key": "sk-secret"}), Treatment("f", lambda ctx: None)],
    }
    step = measuring()
    plan = experiment(step).preregister("plan.json", **parts, replicates=3)
    assert "sk-secret" not in Path("plan.json").read_text(encoding="utf-8")
    assert state(experiment(step).run(preregistration=plan)) == "valid"
    with pytest.raises(ValueError, match="the treatment 't' of the plan has code or values"):
        experiment(step, treatments=[]).run(preregistration="plan.json", hypotheses=parts["hypotheses"])
    with pytest.raises(ValueError, match="the hypothesis 'h' of the plan has code or values"):
        experiment(step).run(preregistration="plan.json", treatments=parts["treatments"])
    again = experiment(step).preregister("again.json", **parts, replicates=3)
    assert state(experiment(step).run(preregistration="again.json", **parts)) == "valid"
    assert again.seed != plan.seed


# -- how far to believe it -----------------------------------------------------------------------


def test_a_run_as_planned_is_valid_has_fresh_seeds_and_is_opened_equal():
    explored = experiment()
    first = explored.run(replicates=6)
    plan = explored.preregister("plan.json", hypotheses=[claim()], replicates=8)
    result = experiment().run(preregistration="plan.json")
    assert state(result) == "valid"
    assert result.provenance["replicates"] == 8
    assert result.provenance["preregistration"]["digest"] == plan.digest
    assert not set(result.provenance["seeds"]["t"]) & set(first.provenance["seeds"]["t"])
    opened = open_run(result.provenance["run"]["folder"])
    assert opened.metrics.hypotheses == result.metrics.hypotheses
    assert opened.provenance["preregistration"] == result.provenance["preregistration"]
    assert state(explored.run(hypotheses=[claim()])) == "exploratory"


def test_the_same_seeds_again_confirm_nothing():
    plan = experiment().preregister("plan.json", hypotheses=[claim()], replicates=4)
    assert state(experiment().run(preregistration=plan)) == "valid"
    again = experiment().run(preregistration=plan)
    assert state(again) == "reused data"
    assert "4 of its seeds were used before, by v0" in again.get_hypothesis("h").reason
    assert state(experiment().run(preregistration=plan, strategy="resume")) == "reused data"
    forged = replace(plan, seed=experiment().run(replicates=1).provenance["run"]["seed"])
    assert state(experiment().run(preregistration=forged)) == "reused data"


def test_a_seeder_that_takes_no_seed_from_the_plan_is_found_out():
    class Stubborn(SeederPlugin):
        def before_replicate(self, ctx):
            ctx.add("seed_used", ctx["replicate"])

    @pipeline_step()
    def count(data, ctx):
        return data, {"m": ctx["replicate"] + (ctx["condition"] == "t") * 0.1 * ctx["replicate"]}

    @data_source
    def nothing(ctx):
        return None

    def made():
        plugins = [Stubborn(), ArtifactPlugin()]
        return Experiment(
            nothing(), [count()], plugins, name="e", treatments=[Treatment("t", {})], default_plugins=False
        )

    made().run(replicates=3)
    plan = made().preregister("plan.json", hypotheses=[claim()], replicates=5)
    assert state(made().run(preregistration=plan)) == "reused data"


def test_a_hypothesis_that_is_not_the_planned_one_is_named_and_so_is_one_beside_the_plan():
    own = experiment(hypotheses=[claim()])
    plan = own.preregister("plan.json", replicates=4)
    own.hypotheses = [claim(alpha=0.1)]
    result = own.run(preregistration="plan.json")
    assert state(result) == "changed hypothesis"
    assert "settings changed" in result.get_hypothesis("h").reason
    given = experiment().run(preregistration=plan, hypotheses=[claim(alternative="greater"), claim("more")])
    assert (state(given), state(given, "more")) == ("changed hypothesis", "exploratory")


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda: experiment(measuring(0.25), hypotheses=[claim()]), "step 1 MeasureStep code"),
        (lambda: experiment(treatments=[Treatment("t", {"shift": 2.0})], hypotheses=[claim()]), "treatment 't'"),
        (lambda: experiment(initial_ctx={"k": 1}, hypotheses=[claim()]), "initial context 'k'"),
    ],
)
def test_changed_code_and_parameters_are_named(change, named):
    experiment(hypotheses=[claim()]).preregister("plan.json", replicates=4)
    result = change().run(preregistration="plan.json")
    assert state(result) == "changed code"
    assert named in result.get_hypothesis("h").reason


def test_the_worst_that_is_wrong_is_told():
    plan = experiment(hypotheses=[claim()]).preregister("plan.json", replicates=20)
    Path("broken").touch()
    assert state(experiment().run(preregistration=plan)) == "confounded"
    assert state(experiment().run(preregistration=plan)) == "reused data"
    assert state(experiment(measuring(0.1)).run(preregistration=plan)) == "changed code"
    changed = experiment(measuring(0.1)).run(preregistration=plan, hypotheses=[claim(alpha=0.01)])
    assert state(changed) == "changed hypothesis"


def test_a_run_that_broke_down_is_no_confirmation_until_it_is_resumed():
    plan = experiment().preregister("plan.json", hypotheses=[claim()], replicates=8)
    stream = experiment().stream(preregistration=plan)
    for _ in range(8):
        next(stream)
    stream.close()
    cut = open_run("data/e/v0")
    assert state(cut) == "exploratory"
    assert "ended the run before" in cut.get_hypothesis("h").reason
    resumed = experiment().run(preregistration=plan, strategy="resume")
    assert (state(resumed), resumed.provenance["run"]["version"]) == ("valid", 0)


def test_where_it_cannot_be_said_whether_data_are_new_nothing_is_confirmed():
    experiment().run(replicates=2)
    plan = experiment().preregister("plan.json", hypotheses=[claim()], replicates=4)
    Path("data/e/v0/run.db").write_bytes(b"no database")
    result = experiment().run(preregistration=plan)
    assert state(result) == "exploratory"
    assert "whether its data are new" in result.get_hypothesis("h").reason


def test_a_planned_rule_to_stop_is_kept_and_makes_no_other_test_valid():
    betting = Hypothesis(("sequential", {"bounds": (-9, 9)}), metrics="m", name="s")
    plan = experiment().preregister("plan.json", hypotheses=[claim(), betting], until="s", batch=4, replicates=200)
    assert (plan.until, plan.batch, plan.replicates) == ("s", 4, 200)
    result = asyncio.run(experiment().arun(preregistration="plan.json"))
    assert result.provenance["stopping"]["reason"] == "decided"
    assert result.provenance["stopping"]["looks"][:2] == [4, 8]
    assert (state(result, "s"), state(result)) == ("valid", "exploratory")
    assert "makes no allowance" in result.get_hypothesis("h").reason
