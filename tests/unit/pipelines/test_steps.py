"""Steps: what a decorated function, a class and a plain function become."""

from __future__ import annotations

import functools
import inspect
import pickle
from unittest.mock import Mock

import cloudpickle
import pytest

from crystallize import Pipeline, PipelineStep, inject_from_ctx, pipeline_step, standalone_context
from crystallize.errors import ArgumentTypeError, CrystallizeError, MissingParameterError, ValidationError
from crystallize.pipelines.step import as_step


@pipeline_step()
def add_delta(data, ctx, *, delta=0.0):
    """Shift every value."""
    return [value + delta for value in data]


class Scale(PipelineStep):
    def __init__(self, factor=2):
        self.factor = factor

    @property
    def params(self):
        return {"factor": self.factor}

    def __call__(self, data, ctx):
        return [value * self.factor for value in data]


@pytest.mark.parametrize(
    "name, expected", [("publish", "PublishStep"), ("add_delta", "AddDeltaStep"), ("_fit2_model", "Fit2ModelStep")]
)
def test_a_steps_class_is_the_functions_name_in_camel_case(name, expected):
    namespace = {}
    exec(f"def {name}(data): return data", namespace)
    step = pipeline_step()(namespace[name])()
    assert type(step).__name__ == step.name == expected
    assert isinstance(step, PipelineStep)


@pytest.mark.parametrize(
    "decorate", [pipeline_step, pipeline_step(), pipeline_step(cacheable=False), pipeline_step(*[False])]
)
def test_every_spelling_of_the_decorator_gives_a_factory(decorate):
    factory = decorate(lambda data: data + 1)
    assert factory()(1, standalone_context()) == 2
    assert factory().cacheable is False


@pytest.mark.parametrize("decorate", [pipeline_step(cacheable=True), pipeline_step(*[True])])
def test_a_step_may_be_declared_cacheable(decorate):
    assert decorate(lambda data: data)().cacheable is True


@pytest.mark.parametrize("cacheable", [1, "yes", None])
def test_cacheable_is_a_flag(cacheable):
    with pytest.raises(ArgumentTypeError, match="cacheable"):
        pipeline_step(cacheable=cacheable)


def test_the_factory_keeps_name_and_documentation_and_makes_new_steps():
    assert add_delta.__name__ == "add_delta"
    assert add_delta.__doc__ == "Shift every value."
    assert "data" not in inspect.signature(add_delta).parameters
    assert add_delta() is not add_delta()
    assert add_delta(delta=2)([1], standalone_context()) == [3]


def test_params_are_those_that_were_given():
    assert dict(add_delta(delta=2).params) == {"delta": 2}
    assert dict(add_delta().params) == {}
    assert repr(add_delta(delta=2)) == "add_delta(delta=2)"


def test_a_function_that_takes_no_data_is_refused_when_it_is_decorated():
    for function in (lambda: 1, lambda ctx: 1, lambda *, data: 1):
        with pytest.raises(ArgumentTypeError, match="no parameter for the data"):
            pipeline_step()(function)


@pytest.mark.parametrize("thing", [5, "name", None, [1]])
def test_something_that_is_no_function_is_refused(thing):
    if thing is not None:
        with pytest.raises(ArgumentTypeError, match="must be a function"):
            pipeline_step()(thing)
    with pytest.raises(CrystallizeError, match="position 1 is"):
        Pipeline([add_delta(), thing])


class Callable:
    def __call__(self, data, ctx):
        return data, ctx.get("tag")


@pytest.mark.parametrize(
    "candidate, expected",
    [
        (lambda data: data, [3, 1]),
        (lambda data, ctx: (data, ctx["tag"]), ([3, 1], "t")),
        (lambda data, *, ctx: (data, ctx["tag"]), ([3, 1], "t")),
        (lambda data, tag: (data, tag), ([3, 1], "t")),
        (sorted, [1, 3]),
        (len, 2),
        (max, 3),
        (Callable(), ([3, 1], "t")),
        (Callable().__call__, ([3, 1], "t")),
        (functools.partial(sorted, reverse=True), [3, 1]),
        (add_delta, [3.0, 1.0]),
        (add_delta(delta=1), [4.0, 2.0]),
        (Scale(3), [9, 3]),
        (Scale, [6, 2]),
        (inject_from_ctx(lambda data, tag="none": tag), "t"),
    ],
)
def test_whatever_takes_data_can_be_a_step(make, candidate, expected):
    assert make(candidate, initial_ctx={"tag": "t"}).apply(data=[3, 1]) == expected


def test_a_mock_can_stand_for_a_step(make):
    mock = Mock(return_value=5)
    assert make(mock).apply(data=[1]) == 5
    mock.assert_called_once_with([1])


def test_a_function_made_by_exec_can_be_a_step(make):
    namespace = {}
    exec("def double(data): return data * 2", namespace)
    assert make(namespace["double"]).apply(data=2) == 4


def test_a_class_that_needs_arguments_is_to_be_called():
    class Needs(Scale):
        def __init__(self, factor):
            super().__init__(factor)

    with pytest.raises(ArgumentTypeError, match=r"is the class Needs, not an instance: write Needs\(...\)"):
        Pipeline([Needs])


def test_a_class_that_is_no_step_is_refused():
    with pytest.raises(ArgumentTypeError, match="the class Callable, which is no PipelineStep"):
        Pipeline([Callable])


def test_an_abstract_class_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        PipelineStep()


@pytest.mark.parametrize("method", ["setup", "teardown"])
def test_an_async_setup_or_teardown_is_refused_since_nobody_would_await_it(method):
    async def later(self, ctx):
        """Never awaited."""

    kind = type("Later", (Scale,), {method: later})
    with pytest.raises(ArgumentTypeError, match=f"{method} of the step Later is an async function"):
        Pipeline([kind()])


@pytest.mark.parametrize("name, error", [("a/b", ValidationError), ("..", ValidationError), (5, ArgumentTypeError)])
def test_a_step_whose_name_cannot_name_a_folder_is_refused(name, error):
    kind = type("Odd", (Scale,), {"name": property(lambda self: name)})
    with pytest.raises(error, match="name of the step"):
        Pipeline([kind()])


@pytest.mark.parametrize("step", [add_delta(delta=2.0), as_step(sorted), as_step(Callable())])
def test_a_step_can_travel_to_another_process(step):
    copied = pickle.loads(cloudpickle.dumps(step))
    assert copied.name == step.name
    assert copied.params == step.params
    assert copied([3, 1], standalone_context()) == step([3, 1], standalone_context())


def test_a_class_step_sees_the_context_it_is_given():
    class Note(PipelineStep):
        def __call__(self, data, ctx):
            ctx.record("n", len(data))
            return data

    ctx = standalone_context()
    assert Note()([1, 2], ctx) == [1, 2]
    assert ctx.metrics["n"] == (2,)


def test_a_step_that_takes_no_context_is_called_alone_with_its_data():
    @pipeline_step()
    def scale(data, factor=2):
        return [value * factor for value in data]

    assert scale()([1, 2]) == [2, 4]
    assert scale(factor=3)([1, 2]) == [3, 6]
    assert scale()([1], standalone_context({"factor": 5})) == [5]


def test_a_step_that_takes_a_context_says_so_where_it_is_called_without():
    with pytest.raises(MissingParameterError, match=r"step add_delta takes a context: .* standalone_context\(\)"):
        add_delta()([1])
