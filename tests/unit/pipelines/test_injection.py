"""Parameters by name: explicit, else from the context, else the default, else a clear error."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import Treatment, pipeline_step, resource_factory, standalone_context
from crystallize.errors import ArgumentTypeError, MissingParameterError, UnreadKeyError

NAMES = "abcd"


@st.composite
def functions(draw):
    """A function of any mixture of parameters, and where each one's value comes from."""
    plans = {
        name: {
            "keyword_only": draw(st.booleans()),
            "default": draw(st.booleans()),
            "explicit": draw(st.booleans()),
            "context": draw(st.booleans()),
            "mutable": draw(st.booleans()),
        }
        for name in draw(st.sets(st.sampled_from(NAMES)))
    }
    ordered = sorted(plans, key=lambda name: (plans[name]["keyword_only"], plans[name]["default"]))
    parts = ["data"]
    ctx_place = draw(st.sampled_from(["none", "second", "keyword"]))
    if ctx_place == "second":
        parts.append("ctx")
    positional = [name for name in ordered if not plans[name]["keyword_only"]]
    parts += [f"{name}=DEFAULTS[{name!r}]" if plans[name]["default"] else name for name in positional]
    keyword_only = [name for name in ordered if plans[name]["keyword_only"]]
    if keyword_only or ctx_place == "keyword":
        parts.append("*")
    if ctx_place == "keyword":
        parts.append("ctx")
    parts += [f"{name}=DEFAULTS[{name!r}]" if plans[name]["default"] else name for name in keyword_only]
    shown = ", ".join(f"{name!r}: {name}" for name in plans)
    source = f"def fn({', '.join(parts)}):\n    return data, [{{{shown}}}]\n"
    return source, plans


def value_of(name, origin, plan):
    return [name, origin] if plan["mutable"] else f"{name} {origin}"


@given(functions(), st.data())
def test_explicit_wins_over_context_wins_over_default(ways, function, data):
    source, plans = function
    namespace = {"DEFAULTS": {name: value_of(name, "default", plan) for name, plan in plans.items()}}
    exec(source, namespace)
    call = data.draw(st.sampled_from(ways))
    explicit = {name: value_of(name, "explicit", plan) for name, plan in plans.items() if plan["explicit"]}
    context = {name: value_of(name, "context", plan) for name, plan in plans.items() if plan["context"]}
    step = pipeline_step()(namespace["fn"])(**explicit)
    if call.__name__ == "from_treatment" and explicit.keys() & context.keys() and "ctx" not in source:
        with pytest.raises(UnreadKeyError, match="was made with"):
            call(step, "data", context)
        return
    missing = [name for name, p in plans.items() if not (p["explicit"] or p["context"] or p["default"])]
    if missing:
        with pytest.raises(MissingParameterError, match="|".join(map(repr, missing))):
            call(step, "data", context)
        return
    expected = {
        name: value_of(name, "explicit" if p["explicit"] else "context" if p["context"] else "default", p)
        for name, p in plans.items()
    }
    assert call(step, "data", context) == ("data", [expected])


@pipeline_step()
def scale(data, ctx, *, factor=1):
    return data * factor


@pipeline_step()
def needs_rate(data, ctx, rate):
    return rate


def test_a_required_parameter_may_come_from_the_context(call):
    assert call(needs_rate(), None, {"rate": 0.1}) == 0.1


def test_none_in_the_context_is_a_value(call):
    assert call(pipeline_step()(lambda data, ctx, *, a=1: (data, a))(), 0, {"a": None}) == (0, None)


def test_a_required_parameter_that_nobody_supplies_is_named_with_the_way_out(call):
    with pytest.raises(
        MissingParameterError, match=r"needs_rate needs the parameter 'rate'.*needs_rate\(rate="
    ) as caught:
        call(needs_rate(), None, {"rat": 1})
    assert isinstance(caught.value, TypeError)
    assert "Did you mean 'rat'" in str(caught.value)


def test_an_unknown_parameter_is_refused_when_the_step_is_made():
    with pytest.raises(ArgumentTypeError, match=r"scale has no parameter 'factr'.*Did you mean 'factor'"):
        scale(factr=2)


def test_parameters_are_given_by_name():
    with pytest.raises(ArgumentTypeError, match=r"scale\(...\) makes the step, and takes parameters by name only"):
        scale([1, 2])


def test_the_context_value_is_seen_by_every_condition_for_itself(make):
    step = pipeline_step()(lambda data, ctx, *, a="default": (data, {"a": a}))
    result = make(step()).run(treatments=[Treatment("x", {"a": "x"}), Treatment("y", {"a": "y"})], replicates=2)
    assert result.metrics.baseline.metrics["a"] == ["default"] * 2
    assert {name: found.metrics["a"] for name, found in result.metrics.treatments.items()} == {
        "x": ["x"] * 2,
        "y": ["y"] * 2,
    }


def test_an_earlier_step_may_write_a_parameter_in_some_cells_only(make):
    @pipeline_step()
    def sometimes(data, ctx):
        if ctx["replicate"] % 2:
            ctx.add("a", ctx["replicate"])
        return data

    show = pipeline_step()(lambda data, ctx, *, a="default": (data, {"a": a}))
    result = make(sometimes(), show()).run(replicates=4)
    assert result.metrics.baseline.metrics["a"] == ["default", 1, "default", 3]


@pytest.mark.parametrize("name", ["replicate", "condition", "step_name"])
def test_what_the_framework_writes_can_be_a_parameter(make, name):
    namespace = {}
    exec(f"def fn(data, {name}):\n    return {name}\n", namespace)
    expected = {"replicate": 0, "condition": "baseline", "step_name": "FnStep"}
    assert make(pipeline_step()(namespace["fn"])()).apply() == expected[name]


@pytest.mark.parametrize("origin", ["explicit", "context", "default"])
def test_what_a_step_does_to_a_parameter_changes_nothing(ways, origin):
    def grow(data, ctx, *, grid=[1]):  # noqa: B006 - the mutable default is the point
        grid.append(2)
        return list(grid)

    for call in ways:
        step = pipeline_step()(grow)(**({"grid": [1]} if origin == "explicit" else {}))
        values = {"grid": [1]} if origin == "context" else {}
        assert call(step, None, values) == [1, 2]
        assert call(step, None, values) == [1, 2]


def test_what_the_caller_does_to_an_explicit_value_changes_nothing(call):
    mine = [1]
    step = pipeline_step()(lambda data, *, grid: grid)(grid=mine)
    mine.append(2)
    step.params["grid"].append(3)
    assert call(step, None, {}) == [1]


@pytest.mark.parametrize("explicit", [True, False])
def test_arrays_arrive_read_only_and_uncopied(call, explicit):
    weights = np.zeros(3)
    step = pipeline_step()(lambda data, *, w: [w])(**({"w": weights} if explicit else {}))
    (seen,) = call(step, None, {} if explicit else {"w": weights})
    assert not seen.flags.writeable
    assert np.shares_memory(seen, weights)


@pytest.mark.parametrize("value", [lambda x: x * 21, len, object, functools.partial(max, 2)])
def test_functions_and_classes_are_ordinary_values(call, value):
    step = pipeline_step()(lambda data, *, fn=None: [fn])
    assert call(step(fn=value), None, {}) == [value]
    assert call(step(), None, {"fn": value}) == [value]


@pytest.mark.parametrize("origin", ["explicit", "context", "default"])
def test_a_resource_arrives_itself_however_it_comes(make, origin):
    made = []
    factory = resource_factory(lambda _: made.append(1) or ["resource"])
    namespace = {"factory": factory}
    exec(
        f"def fn(data, *, db{'=factory' if origin == 'default' else ''}):\n    return data, {{'db': id(db)}}", namespace
    )
    step = pipeline_step()(namespace["fn"])(**({"db": factory} if origin == "explicit" else {}))
    result = make(step, step, initial_ctx={"db": factory} if origin == "context" else {}).run(replicates=3)
    assert not result.errors
    assert len(set(result.metrics.baseline.metrics["db"])) == 1
    assert made == [1]


def test_a_function_of_any_keywords_takes_any_parameter(call):
    step = pipeline_step()(lambda data, **options: [options])
    # A treatment that sets what nothing takes is refused.
    others = {} if call.__name__ == "from_treatment" else {"gamma": 3}
    assert call(step(alpha=1, beta=[2]), None, others) == [{"alpha": 1, "beta": [2]}]


def test_a_positional_only_parameter_that_is_required_is_refused():
    with pytest.raises(ArgumentTypeError, match="'rate' is positional-only"):
        pipeline_step()(lambda data, ctx, rate, /: data)


def test_reads_that_injection_makes_are_in_the_provenance(make):
    show = pipeline_step()(lambda data, ctx, *, a=0, b=0, c=0: data)
    put = pipeline_step()(lambda data, ctx: ctx.add("b", 2))
    result = make(put(), show(c=3), initial_ctx={"a": 1}).run()
    reads = result.provenance["ctx_changes"]["baseline"][0][1]["reads"]
    assert dict(reads) == {"a": 1, "b": 2}


def test_a_bound_step_still_works_alone():
    assert scale(factor=2)(3, standalone_context()) == 6
    assert scale()(3, standalone_context({"factor": 3})) == 9
