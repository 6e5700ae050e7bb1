"""What happened in each cell, made into mappings when somebody looks."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
from array import array
from collections.abc import Mapping

import pytest

from crystallize.hooks import Cell, CellOutcome, CellTrace, ConditionRecord, build_result
from crystallize.results.trace import intern_shape


@pytest.fixture
def result(traced, build, conditions):
    return build([traced(name, replicate) for name in ("large", "baseline") for replicate in (2, 0, 1)], conditions)


def test_each_step_says_what_it_did(result):
    first, second = result.provenance["ctx_changes"]["large"][2]
    assert first == {
        "step": "ScaleStep",
        "params": {"factor": 9},
        "cache_hit": False,
        "reads": {"factor": 9, "ghost": "<absent>"},
        "writes": {"scaled": "ndarray(shape=(3,))"},
        "metrics": {"loss": [2]},
        "duration": 0.25,
    }
    assert second == {
        "step": "FitStep",
        "params": {},
        "cache_hit": True,
        "reads": {"scaled": "ndarray(shape=(3,))"},
        "writes": {},
        "metrics": {"loss": [12, 22], "score": [0.5]},
        "duration": 0.5,
    }


def test_what_came_before_the_first_step_is_there_too(result):
    assert result.provenance["before_steps"]["baseline"][1] == {
        "reads": {"replicate": 1},
        "writes": {"seed_used": 101},
        "metrics": {"rows": [9]},
    }


def test_provenance_goes_by_condition_and_replicate(result):
    changes = result.provenance["ctx_changes"]
    assert list(changes) == ["baseline", "large"]
    assert list(changes["large"]) == [0, 1, 2]
    assert (len(changes), len(changes["large"])) == (2, 3)
    assert isinstance(changes, Mapping)
    assert isinstance(changes["large"], Mapping)
    assert 2 in changes["large"]
    for absent in (3, -1, "2", None):
        assert absent not in changes["large"]
        with pytest.raises(KeyError):
            changes["large"][absent]
    with pytest.raises(KeyError):
        changes["huge"]


@pytest.mark.parametrize("column", ["seeds", "durations", "workers"])
def test_a_column_of_each_condition_is_an_ordinary_dictionary_to_whoever_reads_it(result, column):
    by_condition = result.provenance[column]
    expected = {name: list(by_condition[name]) for name in ("baseline", "large")}
    assert all(len(values) == 3 for values in expected.values())
    for read in (
        dict(by_condition),
        {**by_condition},
        by_condition | {},
        by_condition.copy(),
        copy.copy(by_condition),
        copy.deepcopy(by_condition),
        pickle.loads(pickle.dumps(by_condition)),
        json.loads(json.dumps(by_condition)),
        json.loads(json.dumps(by_condition, indent=1)),
        dict(by_condition.items()),
        dict(zip(by_condition, by_condition.values(), strict=True)),
        {name: by_condition.get(name) for name in by_condition},
        by_condition,
    ):
        assert read == expected
    assert isinstance(by_condition, dict)
    assert by_condition.get("huge", "none") == "none"
    with pytest.raises(KeyError):
        by_condition["huge"]


def test_a_failed_cell_keeps_what_its_steps_did_until_then(traced, build, conditions):
    result = build([traced("large", 0, error="boom", steps=1)], conditions)
    first, second = result.provenance["ctx_changes"]["large"][0]
    assert (first["duration"], second["duration"]) == (0.25, None)
    assert first["metrics"] == {"loss": []}


def test_a_cell_without_a_trace_has_no_steps(outcome, build):
    result = build([outcome("baseline", 0, {"m": [1]}), outcome("baseline", 1, error="worker died")])
    assert dict(result.provenance["ctx_changes"]["baseline"]) == {0: [], 1: []}
    assert result.provenance["before_steps"]["baseline"][1] == {"reads": {}, "writes": {}, "metrics": {}}


def test_secrets_are_masked_wherever_they_show(outcome, build, shape):
    shape = shape._replace(steps=(shape.steps[0]._replace(reads=("api_key",), writes=("token",)),))
    trace = CellTrace(shape, array("d", [0.1]), {"token": "t0p"})
    result = build(
        [outcome("baseline", 0, {}, provenance=trace)],
        [ConditionRecord("baseline", {"api_key": "sk-1"})],
        facts={"plugins": [{"name": "x", "settings": {"password": "hunter2"}}]},
    )
    text = result.to_json() + result.tree_text("treatment > replicate > step > action")
    for secret in ("t0p", "sk-1", "hunter2"):
        assert secret not in text
    assert result.provenance["ctx_changes"]["baseline"][0][0]["reads"] == {"api_key": "***"}


def test_provenance_is_computed_anew_and_cannot_be_spoilt(result):
    result.provenance["ctx_changes"]["large"][0][0]["reads"].clear()
    assert result.provenance["ctx_changes"]["large"][0][0]["reads"]


def test_a_result_travels_by_pickle(result):
    back = pickle.loads(pickle.dumps(result))
    assert back.to_dict() == result.to_dict()
    assert back.tree_text() == result.tree_text()


def test_a_run_keeps_less_than_a_hundred_bytes_per_step_beyond_its_metrics(shape):
    steps, replicates = 10, 200
    names = ("baseline", "a", "b", "c")
    shape = intern_shape(shape._replace(steps=tuple(shape.steps[0]._replace(name=f"S{n}") for n in range(steps))))

    def outcomes():
        for replicate in range(replicates):
            for name in names:
                trace = CellTrace(shape, array("d", [0.5] * steps), {"seed_used": replicate})
                yield CellOutcome(Cell(name, replicate), {"loss": [0.5]}, seed=replicate, provenance=trace)

    result = build_result(
        conditions=[ConditionRecord(name) for name in names], outcomes=outcomes(), replicates=replicates, facts={}
    )
    metrics = {id(part) for part in reachable(result.metrics)}
    kept = sum(sys.getsizeof(part) for part in reachable(result) if id(part) not in metrics and part is not shape)
    assert kept / (steps * replicates * len(names)) < 100


def reachable(root):
    """Every object that only data leads to: classes, modules and functions are not followed."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, type) or callable(part) or type(part).__name__ == "module":
            continue
        seen[id(part)] = part
        waiting.extend(gc.get_referents(part))
    return seen.values()
