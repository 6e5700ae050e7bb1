"""Finding the object that cannot travel, and the way to it."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from crystallize import ParallelExecution, Treatment, data_source, pipeline_step
from crystallize.errors import SerializationError
from crystallize_plugins.execution.processes.diagnostics import find_culprit


class Holder:
    def __init__(self, **fields):
        vars(self).update(fields)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


def closing_over(value):
    return lambda: value


LOCK = threading.Lock()


@pytest.mark.parametrize(
    "value, path",
    [
        ({"a": [0, LOCK]}, "x['a'][1]"),
        ((1, {2: LOCK}), "x[1][2]"),
        (Holder(deep=Holder(lock=LOCK)), "x.deep.lock"),
        (Slotted(LOCK), "x.inner"),
        (closing_over(LOCK), "x (its closure variable 'value')"),
        (partial(print, 1, end=LOCK), "x.keywords['end']"),
        (LOCK, "x"),
    ],
    ids=["containers", "tuple", "attributes", "slots", "closure", "partial", "itself"],
)
def test_the_path_leads_to_the_innermost_object(value, path):
    found = find_culprit(value, "x")
    assert found.path == path
    assert found.kind == "_thread.lock"
    assert "lock" in found.reason


def test_a_global_that_a_function_uses_is_found():
    def uses(data):
        return REGISTRY, data  # noqa: F821 - its globals are given below

    namespace = {"REGISTRY": {"db": LOCK}, "__name__": "__main__"}
    function = type(uses)(uses.__code__, namespace, "uses")
    assert find_culprit(function, "x").path == "x (the global 'REGISTRY' that it uses)['db']"


def test_steps_and_data_sources_are_known_by_their_functions():
    lock = threading.Lock()

    def locking(data):
        return lock

    for made in (pipeline_step()(locking)(), data_source(locking)()):
        assert find_culprit(made, "x").path == "x (its closure variable 'lock')"


def test_what_can_travel_has_no_culprit():
    assert find_culprit({"a": [1, lambda: 2]}, "x") is None


def test_a_cycle_ends():
    holder = Holder(lock=LOCK)
    holder.me = [holder]
    assert find_culprit(holder, "x").path == "x.lock"


class Grenade:
    def __reduce__(self):
        return _explode, ()


def _explode():
    raise RuntimeError("boom")


def test_what_can_be_pickled_and_not_rebuilt_is_found_when_asked_for():
    assert find_culprit({"a": Grenade()}, "x") is None
    found = find_culprit({"a": Grenade()}, "x", rebuild=True)
    assert found.path == "x['a']"
    assert "boom" in found.reason


@pipeline_step()
def step(data, ctx, *, tool=None):
    return data


@data_source
def connected(ctx, *, connection=None):
    return connection


@pytest.mark.parametrize(
    "parts, path",
    [
        ({"initial_ctx": {"db": LOCK}}, "experiment.initial_ctx['db']"),
        ({"steps": (step(), step(tool={"inner": LOCK}))}, "experiment.pipeline.steps[1].params['tool']['inner']"),
        ({"treatments": [Treatment("t", {"tool": LOCK})]}, "experiment.treatments[0]"),
        ({"source": connected(connection=LOCK)}, "experiment.datasource"),
    ],
    ids=["context", "parameter", "treatment", "source"],
)
def test_a_run_that_cannot_travel_names_the_place_and_the_way_out(build, parts, path):
    parts = dict(parts)
    steps = parts.pop("steps", (step(),))
    experiment = build(*steps, plugins=[ParallelExecution(2, "process")], **parts)
    with pytest.raises(SerializationError) as caught:
        experiment.run(replicates=2)
    assert caught.value.path.startswith(path)
    assert path in str(caught.value)
    assert "resource_factory" in str(caught.value)
    assert "lock" in str(caught.value)
