"""The result of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import PipelineExecutionError, UnknownNameError
from crystallize.hooks import Cell, CellOutcome, ConditionRecord, HypothesisResult, PluginFailure, build_result
from crystallize.results.metrics import collect_metrics

FAILURE = PluginFailure("audit", "audit-plugin", "1.0", "after_step", Cell("baseline", 0), "ValueError: no", "trace")


# ------------------------------------------------------------------ errors


def test_failed_cells_are_errors_by_condition_and_replicate(outcome, build):
    result = build([outcome("baseline", 0, {"m": [1]}), outcome("t", 0, error="boom"), outcome("t", 1, {"m": [2]})])
    assert list(result.errors) == ["t_rep_0"]
    error = result.errors["t_rep_0"]
    assert isinstance(error, PipelineExecutionError)
    assert (error.condition, error.replicate) == ("t", 0)
    assert result.metrics.treatments["t"].metrics == {"m": [2]}


def test_errors_come_in_the_order_of_conditions_and_replicates_and_others_last(outcome, build):
    outcomes = [outcome(name, replicate, error="x") for replicate in (1, 0) for name in ("b", "baseline", "a")]
    result = build(outcomes, ["baseline", "a", "b"], errors={"hypothesis:h": ValueError("no")})
    assert list(result.errors) == [
        "baseline_rep_0",
        "baseline_rep_1",
        "a_rep_0",
        "a_rep_1",
        "b_rep_0",
        "b_rep_1",
        "hypothesis:h",
    ]


# ------------------------------------------------------------------ plugins


def test_a_record_is_complete_until_a_plugins_error_was_kept(outcome, build):
    assert build([outcome()]).record_complete
    result = build([outcome()], plugin_errors=[FAILURE])
    assert not result.record_complete
    assert result.plugin_errors == [FAILURE]
    assert result.provenance["plugin_failures"] == [
        {
            "plugin": "audit",
            "distribution": "audit-plugin",
            "version": "1.0",
            "hook": "after_step",
            "cell": "baseline_rep_0",
            "error": "ValueError: no",
        }
    ]


def test_errors_of_plugins_in_cells_are_kept_and_counted_once(outcome, build):
    result = build([outcome(plugin_failures=[FAILURE])], plugin_errors=[FAILURE])
    assert result.plugin_errors == [FAILURE]


# ------------------------------------------------------------------ provenance


def test_seeds_are_listed_by_condition_in_replicate_order(outcome, build):
    outcomes = [outcome(name, replicate) for replicate in (2, 0, 1) for name in ("t", "baseline")]
    assert build(outcomes).provenance["seeds"] == {"baseline": [100, 101, 102], "t": [100, 101, 102]}


def test_the_seed_of_a_failed_cell_is_listed_so_that_it_can_be_repeated(outcome, build):
    assert build([outcome("baseline", 0), outcome("baseline", 1, error="x")]).provenance["seeds"] == {
        "baseline": [100, 101]
    }


def test_replicates_tell_what_ran_and_what_was_asked_for(outcome, build):
    result = build([outcome("baseline", 0), outcome("baseline", 1, error="x"), outcome("t", 0)], replicates=6)
    assert result.provenance["replicates"] == 2
    assert result.provenance["replicates_requested"] == 6
    assert result.provenance["cells"] == {
        "baseline": {"requested": 6, "completed": 1, "failed": 1, "missing": 4},
        "t": {"requested": 6, "completed": 1, "failed": 0, "missing": 5},
    }


def test_durations_and_workers_are_listed_beside_the_seeds(outcome, build):
    provenance = build(
        [outcome("baseline", 1, worker="process-0", duration=0.5), outcome("baseline", 0, duration=0.25)]
    ).provenance
    assert provenance["durations"] == {"baseline": [0.25, 0.5]}
    assert provenance["workers"] == {"baseline": ["main", "process-0"]}


def test_facts_about_the_run_are_entries_of_the_provenance(outcome, build):
    facts = {"plugins": [{"name": "seed"}], "run": {"id": "1", "seed": 7}, "git": {"commit": "abc"}}
    provenance = build([outcome()], facts=facts).provenance
    assert {key: provenance[key] for key in facts} == facts


def test_conditions_that_never_ran_are_there_and_empty(outcome, build):
    result = build([outcome("baseline")], ["baseline", "t"], replicates=1)
    assert [condition.name for condition in result.conditions] == ["baseline", "t"]
    assert result.provenance["seeds"]["t"] == []
    assert result.provenance["cells"]["t"]["missing"] == 1


def test_a_run_of_nothing_is_a_result(build):
    result = build([], ["baseline"], replicates=3)
    assert result.metrics.baseline.metrics == {}
    assert result.provenance["replicates"] == 0
    assert result.errors == {}
    assert repr(result) == "<Result: baseline, 0 replicates, 0 cells, metrics: none>"


# ------------------------------------------------------------------ artifacts


def test_artifacts_give_the_path_of_the_first_replicate_by_condition(outcome, build, stored):
    outcomes = [
        outcome(name, replicate, {}, artifacts=[stored("out.txt", folder=f"/v0/replicate_{replicate}/{name}")])
        for name in ("t", "baseline")
        for replicate in (2, 1)
    ]
    result = build(outcomes)
    expected = {
        "baseline": Path("/v0/replicate_1/baseline/PublishStep/out.txt"),
        "t": Path("/v0/replicate_1/t/PublishStep/out.txt"),
    }
    assert result.get_artifact("out.txt") == expected
    assert result.artifacts == {"out.txt": expected}


def test_every_file_is_in_the_provenance(outcome, build, stored):
    result = build([outcome("baseline", replicate, {}, artifacts=[stored("out.txt")]) for replicate in (1, 0)])
    listed = result.provenance["artifacts"]
    assert [entry["replicate"] for entry in listed] == [0, 1]
    assert (len(listed), listed[-1]["replicate"], len(listed[:1])) == (2, 1, 1)
    assert listed[0] == {
        "condition": "baseline",
        "replicate": 0,
        "step": "PublishStep",
        "name": "out.txt",
        "path": "/runs/v0/PublishStep/out.txt",
        "sha256": "0" * 64,
        "size": 3,
    }


def test_two_steps_with_one_file_name_can_be_told_apart(outcome, build, stored):
    files = [stored("out.txt", step="AStep"), stored("out.txt", step="BStep")]
    result = build([outcome("baseline", 0, {}, artifacts=files)])
    assert result.get_artifact("out.txt")["baseline"].parent.name == "AStep"
    assert result.get_artifact("out.txt", step="BStep")["baseline"].parent.name == "BStep"
    assert result.get_artifact("out.txt", step="CStep") == {}


def test_a_file_that_nobody_wrote_is_nowhere(outcome, build):
    assert build([outcome()]).get_artifact("ghost.txt") == {}


def test_a_file_that_is_stored_late_is_found_then(outcome, build, stored):
    record = stored("out.txt")
    record.path = None
    result = build([outcome("baseline", 0, {}, artifacts=[record])])
    assert result.get_artifact("out.txt") == {}
    record.path = "/late/out.txt"
    assert result.get_artifact("out.txt") == {"baseline": Path("/late/out.txt")}


# ------------------------------------------------------------------ hypotheses


def test_hypotheses_are_found_by_name(outcome, build):
    tested = HypothesisResult("h", {"t": {"p_value": 0.5}}, {"best": "t", "ranked": [("t", 0.5)]})
    result = build([outcome()], hypotheses=[tested])
    assert result.get_hypothesis("h") is tested
    assert result.get_hypothesis("h").get_for_treatment("t") == {"p_value": 0.5}
    assert result.get_hypothesis("h").get_for_treatment("u") is None
    with pytest.raises(UnknownNameError, match="no hypothesis 'other'. its hypotheses: 'h'"):
        result.get_hypothesis("other")
    assert result.metrics.hypotheses == [tested]
    assert result.to_dict()["hypotheses"] == [
        {
            "name": "h",
            "metrics": None,
            "results": {"t": {"p_value": 0.5}},
            "ranking": {"best": "t", "ranked": [["t", 0.5]]},
            "verdicts": [],
            "comparisons": 0,
            "correction": "none",
            "state": "",
            "reason": "",
            "errors": {},
        }
    ]


def test_metrics_that_were_collected_already_are_not_collected_again(outcome):
    conditions = [ConditionRecord("baseline")]
    outcomes = [outcome("baseline", 0, {"m": [1]})]
    metrics = collect_metrics(outcomes, conditions)
    result = build_result(conditions=conditions, outcomes=outcomes, replicates=1, facts={}, metrics=metrics)
    assert result.metrics.baseline is metrics.baseline


# ------------------------------------------------------------------ the whole


@pytest.mark.parametrize(
    "outcomes, text",
    [
        ([("baseline", 0, None)], "<Result: baseline, 1 replicate, 1 cell, metrics: m>"),
        ([("t", 0, None), ("u", 0, None)], "<Result: baseline and 2 treatments, 1 replicate, 2 cells, metrics: m>"),
        (
            [("baseline", 0, None), ("t", 1, "boom")],
            "<Result: baseline and 1 treatment, 2 replicates, 2 cells (1 failed), metrics: m>",
        ),
    ],
)
def test_the_text_of_a_result_fits_a_line(outcome, build, outcomes, text):
    made = [outcome(name, replicate, {} if error else {"m": [1]}, error=error) for name, replicate, error in outcomes]
    assert repr(build(made)) == text


cells = st.dictionaries(
    st.tuples(st.sampled_from(["baseline", "a", "b"]), st.integers(0, 5)), st.lists(st.integers(), max_size=2)
)


@given(cells, st.randoms(use_true_random=False))
def test_nothing_depends_on_the_order_in_which_outcomes_arrive(recorded, shuffler):
    def make(outcomes):
        conditions = [ConditionRecord(name) for name in ("baseline", "a", "b")]
        return build_result(conditions=conditions, outcomes=outcomes, replicates=6, facts={})

    outcomes = [CellOutcome(Cell(*cell), {"m": values}, seed=cell[1]) for cell, values in sorted(recorded.items())]
    shuffled = list(outcomes)
    shuffler.shuffle(shuffled)
    assert make(outcomes).to_json() == make(shuffled).to_json()
    assert make(outcomes).tree_text() == make(shuffled).tree_text()


def test_the_outcomes_themselves_are_not_kept(outcome, build):
    import weakref

    class Seen:
        pass

    payload = Seen()
    watched = weakref.ref(payload)
    made = outcome("baseline", 0, {"m": [1]}, payload=payload)
    result = build([made])
    del made, payload
    assert watched() is None
    assert result.metrics.baseline.metrics == {"m": [1]}
