"""Several results of one experiment as one."""

from __future__ import annotations

import pytest

from crystallize import Experiment, Hypothesis, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize.errors import CrystallizeError
from crystallize.hooks import build_result
from crystallize.results import combine
from crystallize_plugins.artifacts import open_run

CLAIM = Hypothesis(metrics="m", name="differs")


@data_source
def draw(ctx):
    return ctx.rng.normal()


@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    if (ctx["replicate"], shift) == (4, 1.0):
        raise ValueError("lost")
    for step in range(ctx["replicate"] % 3):
        ctx.record("curve", data + step, tags={"step": step})
    return data, {"m": data + ctx.rng.normal(shift, 0.5) if shift else data}


def experiment(seed=1, name="told", shift=1.0, step=measure, **given):
    return Experiment(
        draw(),
        Pipeline([step()]),
        [SeedPlugin(seed=seed)],
        treatments=[Treatment("t", {"shift": shift, "unread": 1})],
        name=name,
        **given,
    )


@pytest.fixture
def divided():
    """A run of six replicates, and parts of it: a cell goes to the part that `which` says."""

    def divide(which, **given):
        whole = experiment(default_plugins=False, **given).run(replicates=6, hypotheses=[CLAIM])
        cells = [*experiment(default_plugins=False, **given).stream(replicates=6)]
        parts = {}
        for outcome in cells:
            parts.setdefault(which(outcome.cell), []).append(outcome)
        return whole, [
            build_result(conditions=whole.conditions, outcomes=part, replicates=6, facts=whole.facts)
            for part in parts.values()
        ]

    return divide


@pytest.mark.parametrize(
    "which",
    [
        lambda cell: cell.replicate % 2,
        lambda cell: cell.condition,
        lambda cell: (cell.replicate * 7 % 5, cell.condition),
    ],
    ids=["by replicate", "by condition", "anyhow"],
)
def test_the_parts_of_a_run_make_the_whole(divided, which):
    whole, parts = divided(which)
    assert len(parts) > 1
    again = combine(*reversed(parts), hypotheses=[CLAIM])
    assert {*again.metrics.treatments} | {"baseline"} == {"baseline", "t"}
    for one, other in (
        (whole.metrics.baseline, again.metrics.baseline),
        (whole.metrics.treatments["t"], again.metrics.treatments["t"]),
    ):
        assert one == other
        assert {name: (each.replicates, each.tags) for name, each in one.metrics.items()} == {
            name: (each.replicates, each.tags) for name, each in other.metrics.items()
        }
    assert again.get_hypothesis("differs").verdicts == whole.get_hypothesis("differs").verdicts
    for fact in ("seeds", "cells", "replicates", "replicates_requested", "unread"):
        assert again.provenance[fact] == whole.provenance[fact]
    for condition in ("baseline", "t"):
        for replicate, steps in whole.provenance["ctx_changes"][condition].items():
            found = again.provenance["ctx_changes"][condition][replicate]
            assert [step | {"duration": 0} for step in found] == [step | {"duration": 0} for step in steps]
    assert [*again.errors] == [*whole.errors] == ["t_rep_4"]
    assert again.summary() == whole.summary()
    assert again.to_pandas().equals(whole.to_pandas())
    assert len(again.provenance["combined"]) == len(parts)


def test_runs_under_several_seeds_have_their_replicates_side_by_side():
    one, two = (experiment(seed=seed).run(replicates=6, hypotheses=[CLAIM]) for seed in (1, 7))
    both = combine(one, two, hypotheses=[CLAIM])
    assert both.provenance["replicates"] == 12
    seeds = [each.provenance["seeds"]["baseline"] for each in (one, two, both)]
    assert seeds[2] == seeds[0] + seeds[1]
    told = [*(one.metrics.baseline.metrics["m"]), *(two.metrics.baseline.metrics["m"])]
    assert both.metrics.baseline.metrics["m"] == told
    assert both.metrics.baseline.metrics["m"].replicates == [*range(12)]
    assert [*both.errors] == ["t_rep_4", "t_rep_10"]
    verdict = both.get_hypothesis("differs").results["t"]
    assert (verdict.n, verdict.pairs_lost) == ((10, 10), 2)
    again = combine(two, one, hypotheses=[CLAIM])
    assert again.get_hypothesis("differs").results["t"].estimate == pytest.approx(verdict.estimate)
    with pytest.raises(ValueError, match="a cell must be in one result alone"):
        combine(one, two, two)


def test_verdicts_of_the_parts_are_left_out(divided):
    _, parts = divided(lambda cell: cell.replicate % 2)
    assert combine(*parts).metrics.hypotheses == []


def test_stored_runs_are_combined_and_what_they_do_not_share_is_left_open():
    folders = []
    for shift, treatments in ((1.0, None), (2.0, [Treatment("late", {"shift": 2.0})])):
        made = experiment(shift=shift)
        result = made.run(replicates=3, treatments=treatments)
        folders.append(result.provenance["run"]["folder"])
    first, second = map(open_run, folders)
    with pytest.raises(ValueError, match="condition 'baseline' 3 replicates came twice: 0, 1, 2"):
        combine(first, second)
    second.logs.pop("baseline")  # as where only the treatment ran elsewhere
    again = combine(first, second)
    assert [*again.metrics.treatments] == ["t", "late"]
    assert again.provenance["run"]["experiment"] == "told"
    assert again.provenance["run"]["seed"] == 1
    assert again.provenance["run"]["folder"] is None
    assert [run["folder"] for run in again.provenance["combined"]] == folders


@pipeline_step()
def changed(data, ctx, *, shift=0.0):
    return data, {"m": shift}


def test_what_does_not_belong_together_is_refused(divided):
    _, (even, odd) = divided(lambda cell: cell.replicate % 2)

    def part(which, **given):
        return divided(lambda cell: cell.replicate % 2, **given)[1][which]

    for others, told in (
        ([], "at least one"),
        ([even, odd, even], "a cell must be in one result alone"),
        ([even, part(1, name="other")], "different experiments cannot be combined: 'told', 'other'"),
        ([even, part(1, shift=3.0)], "condition 't' had other parameters"),
        ([even, part(1, step=changed)], "other parameters or steps"),
    ):
        with pytest.raises(ValueError, match=told) as caught:
            combine(*others)
        assert isinstance(caught.value, CrystallizeError)
    by_condition, reseeded = divided(lambda c: c.condition)[1], divided(lambda c: c.condition, seed=2)[1]
    with pytest.raises(ValueError, match="replicate 0 had seeds"):
        combine(by_condition[0], reseeded[1])
    with pytest.raises(TypeError, match="takes results, not dict"):
        combine(even, odd.to_dict())
    with pytest.raises(TypeError, match="takes hypotheses, not str"):
        combine(even, odd, hypotheses=["differs"])


def test_code_that_changed_between_the_parts_is_named(divided):
    _, parts = divided(lambda cell: cell.replicate % 2)
    for part, digest in zip(parts, "ab", strict=True):
        part.facts["code"] = {"functions": {"steps.measure": {"digest": digest}}}
    with pytest.raises(ValueError, match=r"the code of steps\.measure was not the same"):
        combine(*parts)
