"""`inject_from_ctx`: a plain function that takes its parameters from the context by name."""

from __future__ import annotations

import inspect

import pytest

from crystallize import inject_from_ctx, pipeline_step, standalone_context
from crystallize.errors import ArgumentTypeError, MissingParameterError


@inject_from_ctx
def act(data, ctx, gain=1, *, bias=0):
    """Scale and shift."""
    return data * gain + bias


def test_explicit_wins_over_context_wins_over_default():
    assert act(2, standalone_context()) == 2
    assert act(2, standalone_context({"gain": 10, "bias": 1})) == 21
    assert act(2, standalone_context({"gain": 10}), gain=3) == 6


def test_arguments_may_come_by_position_and_by_name():
    ctx = standalone_context({"gain": 10})
    assert act(2, ctx, 3) == 6
    assert act(data=2, ctx=ctx) == 20
    assert act(2, ctx=ctx, bias=5) == 25


def test_the_data_may_have_any_name():
    @inject_from_ctx
    def total(values, ctx, start=0):
        return sum(values, start)

    assert total([1, 2], standalone_context({"start": 10})) == 13
    assert total(values=[1, 2], ctx=standalone_context()) == 3


@pytest.mark.parametrize(
    "source", ["def fn(data, gain=1): return data * gain", "def fn(data, *, ctx, gain=1): return data * gain"]
)
def test_the_context_is_the_second_argument_wherever_the_function_has_it(source):
    namespace = {}
    exec(source, namespace)
    fn = inject_from_ctx(namespace["fn"])
    ctx = standalone_context({"gain": 10})
    assert fn(2, ctx) == 20
    assert fn(2, ctx=ctx) == 20
    assert fn(2, ctx, gain=3) == 6


def test_a_missing_parameter_is_named():
    @inject_from_ctx
    def fit(data, ctx, rate):
        return rate

    with pytest.raises(MissingParameterError, match="fit needs the parameter 'rate'"):
        fit(1, standalone_context())
    assert fit(1, standalone_context({"rate": 0.1})) == 0.1


@pytest.mark.parametrize(
    "arguments, named, message",
    [
        ((1,), {}, r"act is called as act\(data, ctx, ...\)"),
        ((), {}, r"act is called as act\(data, ctx, ...\)"),
        ((1, 2, 3, 4), {}, "at most 3 arguments by position"),
        ((1, 2, 3), {"gain": 3}, "act got 'gain' twice"),
    ],
)
def test_a_wrong_call_is_told_how_it_is_called(arguments, named, message):
    with pytest.raises(ArgumentTypeError, match=message):
        act(*arguments, **named)


def test_an_unknown_argument_is_refused():
    with pytest.raises(ArgumentTypeError, match="act has no parameter 'gian'.*Did you mean 'gain'"):
        act(1, standalone_context(), gian=2)


def test_name_documentation_and_signature_stay():
    assert act.__name__ == "act"
    assert act.__doc__ == "Scale and shift."
    assert list(inspect.signature(act).parameters) == ["data", "ctx", "gain", "bias"]


def test_it_may_become_a_step(make):
    @pipeline_step()
    @inject_from_ctx
    def shift(data, gain=1):
        return data * gain

    assert make(shift(), initial_ctx={"gain": 10}).apply(data=2) == 20
    assert make(act, initial_ctx={"bias": 3}).apply(data=2) == 5


def test_an_async_function_stays_one(make):
    @inject_from_ctx
    async def later(data, ctx, gain=1):
        return data * gain

    coroutine = later(2, standalone_context({"gain": 3}))
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value == 6
    assert make(later, initial_ctx={"gain": 5}).apply(data=2) == 10
