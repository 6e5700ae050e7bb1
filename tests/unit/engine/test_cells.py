"""What a cell is: its place in the run, its context, and the way of its data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import BasePlugin, PipelineStep, Treatment, data_source, pipeline_step
from crystallize.engine.plan import condition_names, plan_cells
from crystallize.hooks import Cell


def keep(data):
    return data


@given(st.lists(st.text("abc", min_size=1, max_size=3), unique=True), st.integers(0, 5))
def test_cells_come_replicate_by_replicate_and_conditions_in_order(names, replicates):
    cells = plan_cells(names, replicates)
    assert cells == [Cell(name, replicate) for replicate in range(replicates) for name in names]


def test_the_baseline_comes_first_then_the_treatments_in_list_order():
    treatments = [Treatment(name, {}) for name in ("b", "a", "c")]
    assert condition_names(treatments) == ["baseline", "b", "a", "c"]
    assert condition_names(treatments, baseline=False) == ["b", "a", "c"]
    assert condition_names([Treatment("baseline", {}), *treatments]) == ["baseline", "b", "a", "c"]


def test_a_cells_key_names_condition_and_replicate():
    assert Cell("fast", 3).key == "fast_rep_3"


def test_serial_cells_run_in_the_planned_order(make):
    seen = []
    make(lambda data, ctx: seen.append((ctx["condition"], ctx["replicate"]))).run(
        treatments=[Treatment("b", {}), Treatment("a", {})], replicates=2
    )
    assert seen == [(condition, replicate) for replicate in (0, 1) for condition in ("baseline", "b", "a")]


def test_the_context_fills_in_the_documented_order(make):
    """Initial context, replicate and condition, the treatment, before_replicate, fetch, the steps."""
    seen = []

    class Seeding(BasePlugin):
        def before_replicate(self, ctx):
            seen.append(("before_replicate", {*ctx}))
            ctx.add("seed_used", 7)

    @data_source
    def source(ctx):
        seen.append(("fetch", {*ctx}))
        ctx.add("fetched", 1)
        return 0

    def treat(ctx):
        seen.append(("treatment", {*ctx}))
        ctx.add("rate", 0.1)

    def step(data, ctx):
        seen.append(("step", {*ctx}))
        return data

    experiment = make(step, source=source(), initial_ctx={"start": 0}, plugins=[Seeding()])
    experiment.apply(Treatment("t", treat))
    expected = {"start", "replicate", "condition"}
    assert seen == [
        ("treatment", expected),
        ("before_replicate", expected | {"rate"}),
        ("fetch", expected | {"rate", "seed_used"}),
        ("step", expected | {"rate", "seed_used", "fetched"}),
    ]


def test_a_treatment_named_baseline_adjusts_the_baseline(make):
    @pipeline_step()
    def show(data, ctx, *, rate="default"):
        return data, {"rate": rate}

    result = make(show()).run(treatments=[Treatment("baseline", {"rate": "b"}), Treatment("t", {"rate": "t"})])
    assert result.metrics.baseline.metrics["rate"] == ["b"]
    assert list(result.metrics.treatments) == ["t"]


def test_cells_share_nothing_that_a_step_wrote(make):
    def leak(data, ctx):
        ctx.record("had", ctx.get("mark", "none"))
        ctx.add("mark", ctx["condition"])
        ctx.get("grid").append(1)
        ctx.record("length", len(ctx["grid"]))
        return data

    result = make(leak, initial_ctx={"grid": []}).run(treatments=[Treatment("t", {})], replicates=3)
    for condition in (result.metrics.baseline, result.metrics.treatments["t"]):
        assert condition.metrics["had"] == ["none"] * 3
        assert condition.metrics["length"] == [0] * 3


def test_the_step_name_is_that_of_the_provenance(make):
    def look(data, ctx):
        ctx.record("name", ctx["step_name"])
        ctx.record("got", ctx.get("step_name"))
        ctx.record("there", "step_name" in ctx)
        return data

    result = make(look, look).run()
    names = [step["step"] for step in result.provenance["ctx_changes"]["baseline"][0]]
    assert result.metrics.baseline.metrics["name"] == result.metrics.baseline.metrics["got"] == names
    assert names == ["LookStep", "LookStep_2"]
    assert result.metrics.baseline.metrics["there"] == [True, True]


@pytest.mark.parametrize("key", ["replicate", "condition", "step_name", "seed_used"])
def test_a_step_cannot_write_what_the_framework_writes(make, key):
    result = make(lambda data, ctx: ctx.add(key, 5)).run()
    assert result.errors["baseline_rep_0"].error_type == "ContextMutationError"
    assert repr(key) in str(result.errors["baseline_rep_0"])


def test_a_pair_with_a_mapping_is_data_and_metrics(make):
    outcome = make(lambda data: (data, {"a": 1, "b": [2]}), lambda data: ([data], {"a": 3})).debug()
    assert outcome.payload == [[1, 2, 3]]
    assert outcome.metrics == {"a": [1, 3], "b": [[2]]}


@pytest.mark.parametrize(
    "data", [(1, 2), (1, "text"), (1, {"a": 1}, 2), [1, {"a": 1}], ({"a": 1},), {"a": 1}, ({"a": 1}, None), ()]
)
def test_anything_else_is_data(make, data):
    outcome = make(lambda _: data).debug()
    assert outcome.payload is data
    assert outcome.metrics == {}


def test_metrics_of_an_odd_name_fail_the_step_by_name(make):
    result = make(lambda data: (data, {5: 1})).run()
    assert "metric's name must be text" in str(result.errors["baseline_rep_0"])


@pytest.mark.parametrize("value", [None, 0, False, [], {}])
def test_falsy_data_is_data(make, value):
    assert make(lambda _: value, lambda data: [data]).apply() == [value]


class Twice(PipelineStep):
    def __call__(self, data, ctx):
        return data * 2


def test_class_steps_and_functions_take_turns(make):
    assert make(Twice(), sum, Twice).apply() == 24


def test_what_fetch_creates_belongs_to_its_cell(make):
    seen = []

    def grow(data):
        data.append(4)
        seen.append(list(data))

    make(grow).run(treatments=[Treatment("t", {})], replicates=2)
    assert seen == [[1, 2, 3, 4]] * 4
