"""Where nothing has drifted, `reproduce` and `diff` say so, whatever the order, the process and the hypotheses."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from crystallize import (
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
from crystallize_plugins.artifacts.database.typed_json import encode
from crystallize_plugins.environment import machine
from crystallize_plugins.runs import diff, reproduce
from crystallize_plugins.runs.differences import PARTS
from crystallize_plugins.verifiers import paired_t

EXECUTORS = {
    "serial": SerialExecution,
    "threads": lambda: ParallelExecution(2),
    "processes": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@data_source
def numbers(ctx):
    return [ctx.rng.random() for _ in range(3)]


@pipeline_step()
def total(data, ctx, *, by=1.0):
    return data, {"total": by * sum(data)}


LEVEL = 0.05


def threshold():
    return LEVEL


@verifier
def lower(baseline, treatment):
    return {"p_value": threshold() if sum(treatment["total"]) < sum(baseline["total"]) else 1.0}


@verifier
def higher(baseline, treatment):
    return {"p_value": 0.5}


def ranked(outcome):
    return outcome["p_value"] * LEVEL


def experiment(*hypotheses, executor=SerialExecution, name="exp", **more):
    return Experiment(
        numbers(),
        Pipeline([total()]),
        plugins=[SeedPlugin(seed=1), executor()],
        treatments=[Treatment("t", {"by": 0.5})],
        hypotheses=list(hypotheses),
        replicates=2,
        name=name,
        **more,
    )


def nothing_of(found):
    """Whether nothing is said to have changed; in the repository that holds this file somebody may work meanwhile."""
    return found.changes.of(*(part for part in PARTS if part != "git")) == ()


# ------------------------------------------------------------------ hypotheses, which are not tested again

HYPOTHESES = {
    "none": [],
    "own": [Hypothesis(lower(), "total", name="h")],
    "another": [Hypothesis(higher(), "total", name="h")],
    "two": [Hypothesis(lower(), "total", name="h"), Hypothesis(higher(), "total", name="g")],
    "ranker": [Hypothesis(lower(), "total", ranker=ranked, name="h")],
    "lambda": [Hypothesis(lambda baseline, treatment: {"p_value": threshold()}, "total", name="h")],
    "installed": [Hypothesis(paired_t(), "total", name="h")],
}


@pytest.mark.parametrize("then, now", [*itertools.product(HYPOTHESES, ["none", "own", "two", "ranker"])])
def test_hypotheses_that_are_there_or_not_are_no_change(then, now):
    experiment(*HYPOTHESES[then]).run()
    found = reproduce("data/exp/v0", experiment(*HYPOTHESES[now]))
    assert found.identical
    assert nothing_of(found), found


def test_hypotheses_of_the_call_alone_are_no_change():
    made = experiment()
    made.run(hypotheses=HYPOTHESES["two"])
    assert nothing_of(reproduce("data/exp/v0", made))


def test_code_that_a_step_uses_too_is_compared(monkeypatch):
    @pipeline_step()
    def limited(data, ctx):
        return data, {"total": min(threshold(), sum(data))}

    def made():
        return Experiment(
            numbers(), Pipeline([limited()]), plugins=[SeedPlugin(seed=1)], name="exp",
            treatments=[Treatment("t", {})], hypotheses=HYPOTHESES["own"],
        )  # fmt: skip

    made().run()
    monkeypatch.setitem(globals(), "LEVEL", 0.01)
    found = reproduce("data/exp/v0", made())
    assert not found.identical
    assert any("LEVEL" in difference.name for difference in found.changes.of("code"))


def test_a_changed_verifier_is_a_difference_of_two_runs():
    experiment(*HYPOTHESES["own"]).run()
    experiment(*HYPOTHESES["another"]).run()
    assert {each.part for each in diff("data/exp/v0", "data/exp/v1").differences} >= {"code", "results"}


# ------------------------------------------------------------------ libraries

OPENBLAS = {"user_api": "blas", "internal_api": "openblas", "version": "0.3.29", "num_threads": 2}
SCIPY_S = {**OPENBLAS, "version": "0.3.30", "architecture": "SkylakeX"}
TWIN = {**OPENBLAS, "architecture": "Zen"}
OPENMP = {"user_api": "openmp", "internal_api": "openmp", "version": None, "num_threads": 2}
MKL = {"user_api": "blas", "internal_api": "mkl", "version": "2026", "num_threads": 2}


def differences(first, second):
    results = [experiment(name=name).run() for name in ("first", "first")]
    for result, listed in zip(results, (first, second), strict=True):
        result.facts["libraries"] = listed
    return [each for each in diff(*results).differences if each.part == "environment"]


@pytest.mark.parametrize(
    "first, second",
    [
        ([OPENBLAS, SCIPY_S], [SCIPY_S, OPENBLAS]),
        ([OPENBLAS, TWIN, OPENMP], [OPENMP, TWIN, OPENBLAS]),
        ([OPENBLAS, SCIPY_S, TWIN], [TWIN, OPENBLAS, SCIPY_S]),
        ([], [OPENBLAS]),
        ([OPENBLAS], [OPENBLAS, SCIPY_S]),
        ([OPENBLAS, SCIPY_S], [SCIPY_S]),
        ([OPENBLAS], [OPENBLAS, OPENMP]),
        ({"reason": "no answer"}, [OPENBLAS]),
    ],
)
def test_neither_the_order_nor_the_moment_of_loading_a_library_is_a_difference(first, second):
    assert differences(first, second) == []


@pytest.mark.parametrize(
    "first, second, named",
    [
        ([OPENBLAS], [{**OPENBLAS, "num_threads": 4}], {"blas openblas num_threads"}),
        ([OPENBLAS, SCIPY_S], [{**SCIPY_S, "num_threads": 4}, OPENBLAS], {"blas openblas num_threads"}),
        ([OPENBLAS], [{**OPENBLAS, "version": "0.4"}], {"blas openblas version"}),
        (
            [OPENBLAS, SCIPY_S],
            [{**each, "num_threads": 4} for each in (SCIPY_S, OPENBLAS)],
            {"blas openblas 0.3.29 num_threads", "blas openblas 0.3.30 num_threads"},
        ),
        ([OPENMP], [{**OPENMP, "num_threads": 8}], {"openmp openmp num_threads"}),
    ],
)
def test_another_version_or_number_of_threads_is_one(first, second, named):
    assert {each.name for each in differences(first, second)} == named


def test_another_library_is_one():
    assert {each.name.rpartition(" ")[0] for each in differences([OPENBLAS], [MKL])} == {"blas openblas", "blas mkl"}


@pytest.mark.parametrize("order", [*itertools.permutations([OPENBLAS, SCIPY_S, TWIN, OPENMP])])
def test_libraries_are_recorded_in_one_order(order, monkeypatch):
    monkeypatch.setattr(machine, "_loaded", lambda threadpoolctl: list(order))
    recorded = machine.library_threads()
    monkeypatch.setattr(machine, "_loaded", lambda threadpoolctl: [OPENMP, TWIN, SCIPY_S, OPENBLAS])
    assert recorded == machine.library_threads()


# ------------------------------------------------------------------ order, and what belongs to a process

PROCESS = """
import enum, functools, os, pathlib, sys
from crystallize import (
    AsyncExecution, BasePlugin, Experiment, Hypothesis, ParallelExecution, Pipeline, SeedPlugin, SerialExecution,
    Treatment, data_source, pipeline_step,
)

class Color(enum.Enum):
    RED = 1

class Tool:
    def __init__(self):
        self.tags = {"a", "bb", "ccc", "dddd"}

def helper(value):
    return value

NAMES = {"alpha", "beta", "gamma", "delta", "epsilon"}
TABLE = {name: len(name) for name in NAMES}

class Looks(BasePlugin):
    def __init__(self, names=(), call=None):
        self.names, self.call = names, call

@data_source
def numbers(ctx, *, keep=None, where=None, call=None):
    return [ctx.rng.random() for _ in range(4)]

@pipeline_step()
def work(data, ctx, *, labels=None, call=None, tool=None, part=None, nested=None, rate=0.0):
    ctx.artifacts.add("names.txt", ",".join(sorted(NAMES)))
    return data, {
        "set": set(NAMES), "frozen": frozenset(TABLE), "nested": [{name: {name, name * 2} for name in NAMES}],
        "table": dict(TABLE), "nan": float("nan"), "sum": sum(data),
    }

def judge(baseline, treatment):
    return {"p_value": 0.5, "names": set(NAMES), "table": {name: 1 for name in NAMES}}

EXECUTORS = {
    "serial": SerialExecution,
    "threads": lambda: ParallelExecution(2),
    "processes": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}
experiment = Experiment(
    numbers(keep={"p", "q", "r", "s"}, where=pathlib.Path("here"), call=helper),
    Pipeline([
        work(labels={"one", "two", "three", "four"}, call=helper, tool=Tool(), part=functools.partial(helper, 3),
             nested={"a": {"k1", "k2", "k3"}, "b": [frozenset("abcd")], "c": Color.RED, "d": float("nan")}),
    ]),
    plugins=[SeedPlugin(seed=3), EXECUTORS[os.environ.get("EXECUTOR", "serial")](), Looks({"u", "v", "w"}, helper)],
    initial_ctx={"pool": {"s1", "s2", "s3"}, "callback": helper, "tool": Tool(), "kind": Tool, "nan": float("nan")},
    treatments=[
        Treatment("exact", {"rate": 2.0, "options": {"m1", "m2", "m3"}, "table": TABLE, "missing": float("nan")}),
        Treatment("object", {"thing": Tool(), "call": helper}),
        Treatment("function", lambda ctx: ctx.add("rate", 3.0)),
    ],
    hypotheses=[Hypothesis(judge, "sum", name="h")],
    replicates=2,
    name="exp",
)
if __name__ == "__main__":
    experiment.run()
"""

AGAIN = """
import json, sys
from crystallize_plugins.runs import diff, reproduce
found = reproduce("data/exp/v0", "script.py")
print(json.dumps([found.identical, found.changes.text(), diff("data/exp/v0", "data/exp/v1").text()]))
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_in_another_process_nothing_differs(write, python, executor):
    write(PROCESS)
    write(AGAIN, "again.py")
    for _ in range(2):  # each with the order of sets, and the addresses, of its own process
        python("script.py", EXECUTOR=executor)
    identical, changes, between = json.loads(python("again.py", EXECUTOR=executor).splitlines()[-1])
    assert identical
    assert changes.splitlines()[1:] == ["no differences"]
    assert between.splitlines()[1:] == ["no differences"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_in_this_process_nothing_differs(executor):
    made = experiment(*HYPOTHESES["own"], executor=EXECUTORS[executor])
    for _ in range(2):
        made.run()
    assert nothing_of(reproduce("data/exp/v0", made))
    assert diff("data/exp/v0", "data/exp/v1").of(*(part for part in PARTS if part != "git")) == ()


ORDERS = {
    "set": [set("abcdef"), set("fedcba")],
    "frozenset": [frozenset("abcdef"), frozenset("fedcba")],
    "numbers": [{3, 70_000, -5}, {-5, 3, 70_000}],
    "tuples": [{(1, "a"), (2, "b")}, {(2, "b"), (1, "a")}],
    "mixed": [{1, "a", None, 2.5}, {2.5, None, "a", 1}],
    "mapping": [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "nested": [[{"a": {1, 2}, "b": {}}], [{"b": {}, "a": {2, 1}}]],
    "nan": [math.nan, float("nan")],
    "list of nan": [[1.0, math.nan], [1.0, float("nan")]],
}


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("where", ["metric", "treatment", "parameter", "verifier"])
def test_equal_values_in_another_order_are_the_same(kind, where):
    @pipeline_step()
    def given(data, ctx, *, value=None):
        return data, {"m": ctx.get("own", 0)} if where == "metric" else {"m": 1}

    results = [
        Experiment(
            numbers(),
            Pipeline([given(value=value) if where == "parameter" else given()]),
            plugins=[SeedPlugin(seed=1)],
            initial_ctx={"own": value} if where == "metric" else {},
            treatments=[Treatment("t", {"value": value} if where == "treatment" else {})],
            hypotheses=[Hypothesis(Fixed(value), "m", name="h")] if where == "verifier" else [],
            name="exp",
        ).run()
        for value in ORDERS[kind]
    ]
    paths = [result.provenance["run"]["folder"] for result in results]
    for found in (diff(*paths), diff(*results)):
        assert found.of("parameters", "results") == ()


class Fixed:
    """A verifier that gives a value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, baseline, treatment):
        return {"p_value": 0.5, "value": self.value}


@pytest.mark.parametrize("kind", ["set", "frozenset", "numbers", "tuples", "mixed"])
def test_equal_sets_are_stored_as_equal_texts(kind):
    first, second = (encode(value).text for value in ORDERS[kind])
    assert first == second


def test_the_order_of_a_list_counts():
    @pipeline_step()
    def given(data, ctx, *, value=None):
        return data, {"m": value}

    for value in ([1, 2], [2, 1]):
        Experiment(numbers(), Pipeline([given(value=value)]), plugins=[SeedPlugin(seed=1)], name="exp").run()
    assert {each.part for each in diff("data/exp/v0", "data/exp/v1").differences} >= {"parameters", "results"}
