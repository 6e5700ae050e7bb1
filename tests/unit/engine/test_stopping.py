"""A run that stops once a hypothesis is decided: when it looks, what it has, how it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)
from crystallize.hooks import StorePlugin
from crystallize_plugins.artifacts import open_run


@data_source
def draw(ctx):
    return float(ctx.rng.normal())


@pipeline_step()
def measure(data, ctx, *, shift=0.0, fail_at=None):
    if ctx["replicate"] == fail_at and Path("broken").exists():
        raise ValueError("no luck")
    return data, {"m": data + shift + 0.5 * float(ctx.rng.normal()) * (ctx["condition"] != "baseline")}


def growing(shift=0.25, *, plugins=(), treatments=None, **parameters):
    return Experiment(
        draw(),
        Pipeline([measure(**parameters)]),
        [SeedPlugin(seed=5), *plugins],
        name="grow",
        treatments=treatments or [Treatment("t", {"shift": shift})],
        default_plugins=False,
    )


def claim(**settings):
    return Hypothesis(("sequential", settings), metrics="m", name="h")


def looks(result):
    return result.provenance["stopping"]["looks"]


@pytest.mark.parametrize(
    "executor",
    [SerialExecution(), ParallelExecution(2, "process"), AsyncExecution(2)],
    ids=["serial", "process", "async"],
)
def test_a_run_stops_when_decided_and_has_the_cells_of_a_plain_run_of_that_length(executor):
    h = claim()
    stopped = growing(plugins=[executor]).run(hypotheses=[h], until="h", batch=7, replicates=200)
    length = stopped.provenance["replicates_requested"]
    plain = growing().run(hypotheses=[h], replicates=length)
    assert stopped.provenance["stopping"]["reason"] == "decided"
    assert looks(stopped) == list(range(7, length + 1, 7))
    assert 7 < length < 100
    assert (stopped.metrics, stopped.errors) == (plain.metrics, plain.errors)
    assert stopped.provenance["seeds"] == plain.provenance["seeds"]
    assert stopped.provenance["cells"] == plain.provenance["cells"]
    assert stopped.get_hypothesis("h").results["t"].holds is True


def test_arun_and_stream_stop_as_run_does():
    length = growing().run(until=claim(), batch=7, replicates=200).provenance["replicates_requested"]
    result = asyncio.run(growing().arun(until=claim(), batch=7, replicates=200))
    assert result.provenance["replicates_requested"] == length
    assert len(list(growing().stream(until=claim(), batch=7, replicates=200))) == 2 * length


def test_the_budget_ends_a_run_that_nothing_decides():
    result = growing(0.0).run(until=claim(), batch=10, replicates=25)
    assert result.provenance["stopping"]["reason"] == "budget"
    assert looks(result) == [10, 20, 25]
    assert result.get_hypothesis("h").results["t"].holds is False


def test_each_verdict_has_to_be_decided_and_an_effect_within_the_margin_is():
    both = [Treatment("t", {"shift": 1.0}), Treatment("u", {"shift": 0.0})]
    undecided = growing(treatments=both).run(until=claim(), replicates=40)
    assert undecided.provenance["stopping"]["reason"] == "budget"
    decided = growing(treatments=both).run(until=claim(margin=0.4), replicates=200)
    verdicts = decided.get_hypothesis("h").results
    assert decided.provenance["stopping"]["reason"] == "decided"
    assert (verdicts["t"].holds, verdicts["u"].holds, verdicts["u"].details["equivalent"]) == (True, False, True)


def test_other_verifiers_are_refused_and_so_are_names_that_are_not_tested():
    def own(baseline, treatment):
        return {"p_value": 0.01}

    experiment = growing()
    for refused in (Hypothesis("paired_t", "m"), Hypothesis(own, "m")):
        with pytest.raises(ValueError, match="sooner or later"):
            experiment.run(until=refused, replicates=20)
    with pytest.raises(ValueError, match="Did you mean 'h'"):
        experiment.run(hypotheses=[claim()], until="hh", replicates=20)
    with pytest.raises(ValueError, match="another one of that name"):
        experiment.run(hypotheses=[claim()], until=claim(alpha=0.1), replicates=20)
    for wrong, error in (({"until": 3}, TypeError), ({"until": claim(), "batch": 0}, ValueError)):
        with pytest.raises(error):
            experiment.run(replicates=20, **wrong)
    assert experiment.hypotheses == []


def test_a_verifier_of_ones_own_may_say_that_it_is_always_valid():
    @verifier(always_valid=True)
    def betting(baseline, treatment):
        return {"p_value": 0.001 if len(treatment["m"]) >= 6 else 1.0}

    assert looks(growing().run(until=Hypothesis(betting(), "m"), batch=3, replicates=30)) == [3, 6]


def test_resuming_keeps_the_looks_and_goes_on_from_the_last_one():
    stored = [ArtifactPlugin()]
    first = growing(plugins=stored).run(until=claim(), batch=5, replicates=10)
    assert looks(first) == [5, 10]
    result = growing(plugins=stored).run(until=claim(), batch=20, replicates=200, strategy="resume")
    assert looks(result)[:3] == [5, 10, 30]
    length = looks(result)[-1]
    assert result.metrics.treatments == growing().run(replicates=length).metrics.treatments
    folder = Path(result.provenance["run"]["folder"])
    opened = open_run(folder)
    assert opened.provenance["stopping"] == result.provenance["stopping"]
    assert opened.provenance["cells"] == result.provenance["cells"]
    assert opened.metrics == result.metrics
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = growing(plugins=stored).run(until=claim(), batch=5, replicates=200, strategy="resume")
    assert again.provenance["stopping"] == result.provenance["stopping"]
    assert again.metrics == result.metrics
    assert written == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    stricter = growing(plugins=stored).run(until=claim(alpha=1e-6), batch=20, replicates=400, strategy="resume")
    assert looks(stricter)[: len(looks(result))] == looks(result)
    assert looks(stricter)[-1] > length
    assert stricter.provenance["resume"]["kept"] == 2 * length


def test_a_run_that_broke_down_between_two_looks_goes_on_to_the_next():
    Path("broken").touch()
    experiment = growing(plugins=[ArtifactPlugin()], fail_at=13)
    experiment.fail_fast = True
    with pytest.raises(Exception, match="no luck") as caught:
        experiment.run(until=claim(), batch=5, replicates=200)
    assert caught.value.result.provenance["stopping"]["looks"] == [5, 10]
    assert caught.value.result.provenance["stopping"]["reason"] == ""
    Path("broken").unlink()
    result = experiment.run(until=claim(), batch=5, replicates=200, strategy="resume")
    assert looks(result) == list(range(5, looks(result)[-1] + 1, 5))
    assert result.metrics.treatments == growing().run(replicates=looks(result)[-1]).metrics.treatments


def test_what_a_store_has_beyond_the_end_is_no_part_of_the_run():
    class Kept(StorePlugin):
        def __init__(self, outcomes):
            self.outcomes = outcomes

        def completed_cells(self, cells):
            return [outcome for outcome in self.outcomes if outcome.cell in cells]

    outcomes = list(growing().stream(replicates=60))
    fresh = growing().run(until=claim(), batch=7, replicates=60)
    length = fresh.provenance["replicates_requested"]
    assert length < 60
    result = growing(plugins=[Kept(outcomes)]).run(until=claim(), batch=7, replicates=60, strategy="resume")
    assert result.metrics == fresh.metrics
    assert result.provenance["cells"] == fresh.provenance["cells"]


def test_without_an_effect_a_run_that_looks_often_seldom_stops():
    """Of 100 runs about 5 may; with ``paired_t`` in its place 12 do."""
    stopped = 0
    for seed in range(100):
        experiment = growing(0.0)
        experiment.plugins[:] = [SeedPlugin(seed=1_000 * seed)]
        result = experiment.run(until=claim(), batch=3, replicates=24)
        stopped += result.provenance["stopping"]["reason"] == "decided"
    assert stopped <= 5 + 3 * (5 * 0.95) ** 0.5
