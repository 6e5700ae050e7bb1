"""Wrapped callables in each place that looks at a signature: what is called decides, not what it wraps."""

from __future__ import annotations

from functools import partial, update_wrapper, wraps

import pytest

from crystallize import (
    Experiment,
    Hypothesis,
    Treatment,
    data_source,
    hypothesis,
    inject_from_ctx,
    pipeline_step,
    quick_experiment,
    verifier,
)


@data_source
def nothing(ctx):
    return None


@pipeline_step()
def count(data, ctx):
    return data, {"n": len(data)}


def load(ctx, n=1):
    return list(range(n))


def train(data, ctx, rate):
    return data, {"rate": rate}


def metrics_of(source, step, **settings):
    result = Experiment(source, [step], default_plugins=False, **settings).run()
    assert not result.errors
    return result.metrics.baseline.metrics


def settled(fn, **values):
    @wraps(fn)
    def inner(first, *rest):
        return fn(first, *rest, **values)

    return inner


def closed(fn, **values):
    @wraps(fn)
    def inner(data, ctx):
        return fn(data, ctx, **values)

    return inner


def passed_on(fn):
    @wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs)

    return inner


class Settling:
    def __init__(self, fn, **values):
        self.values = values
        update_wrapper(self, fn)

    def __call__(self, data, ctx):
        return self.__wrapped__(data, ctx, **self.values)


class Passing(Settling):
    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **{**kwargs, **self.values})


STEPS = {
    "a closed wrapper": (closed(train, rate=0.5), {}),
    "an object": (Settling(train, rate=0.5), {}),
    "a partial": (update_wrapper(partial(train, rate=0.5), train), {}),
    "an open wrapper": (Passing(train), {"rate": 0.5}),
    "an open wrapper of a closed one": (Passing(closed(train, rate=0.5)), {}),
    "a closed wrapper of inject_from_ctx": (closed(inject_from_ctx(train), rate=0.5), {}),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_has_the_parameters_of_what_is_called(kind):
    fn, given = STEPS[kind]
    step = pipeline_step()(fn)(**given)
    assert metrics_of(nothing(), step) == {"rate": [0.5]}


def test_a_step_whose_wrapper_settles_a_parameter_has_it_no_more():
    with pytest.raises(TypeError, match="no parameter 'rate'"):
        pipeline_step()(closed(train, rate=0.5))(rate=1)


def test_a_wrapper_around_an_injected_function_is_called():
    calls = []

    @inject_from_ctx
    def inner(data, ctx, rate=2):
        return data, {"rate": rate}

    @wraps(inner)
    def outer(*args, **kwargs):
        calls.append(args)
        return inner(*args, **kwargs)

    assert metrics_of(nothing(), pipeline_step()(outer)()) == {"rate": [2]}
    assert calls


@pytest.mark.parametrize(
    "fn, given, expected",
    [
        (update_wrapper(partial(load, n=5), load), {}, 5),
        (partial(load, n=5), {}, 5),
        (partial(load, n=5), {"n": 2}, 2),
        (settled(load, n=4), {}, 4),
        (wraps(load)(lambda ctx, n=7: load(ctx, n)), {}, 7),
        (passed_on(load), {"n": 3}, 3),
    ],
)
def test_a_data_source_has_the_parameters_and_defaults_of_what_is_called(fn, given, expected):
    assert metrics_of(data_source(fn)(**given), count()) == {"n": [expected]}


def set_k(ctx, k):
    ctx.add("k", k)


@pytest.mark.parametrize(
    "fn", [update_wrapper(partial(set_k, k=2), set_k), partial(set_k, k=2), wraps(set_k)(lambda ctx: set_k(ctx, 2))]
)
def test_a_treatment_is_a_function_that_can_be_called_with_the_context(fn):
    @pipeline_step()
    def look(data, ctx, k=1):
        return data, {"k": k}

    result = Experiment(nothing(), [look()], treatments=[Treatment("t", fn)], default_plugins=False).run()
    assert result.metrics.treatments["t"].metrics == {"k": [2]}


def test_a_treatment_whose_wrapper_takes_more_is_refused():
    with pytest.raises(TypeError, match="one argument"):
        Treatment("t", wraps(lambda ctx: None)(lambda ctx, k: None))


def compared(baseline, treatment, margin):
    return {"p_value": 0.5, "margin": margin}


def test_a_verifier_has_the_parameters_of_what_is_called():
    assert verifier(update_wrapper(partial(compared, margin=2), compared))()({}, {})["margin"] == 2
    assert verifier(wraps(compared)(lambda a, b: compared(a, b, 3)))()({}, {})["margin"] == 3
    with pytest.raises(TypeError, match="needs margin"):
        verifier(passed_on(compared))()


def test_a_verifier_and_a_ranker_are_checked_as_they_are_called():
    def scored(result, weight):
        return weight

    bound = update_wrapper(partial(scored, weight=1), scored)
    plain = wraps(compared)(lambda a, b: compared(a, b, 3))
    assert Hypothesis(plain, "n", ranker=bound).name
    assert hypothesis(verifier=plain, metrics="n")(bound).name == "scored"
    with pytest.raises(TypeError, match="one argument"):
        Hypothesis(plain, "n", ranker=scored)


@pytest.mark.parametrize(
    "fn, expected",
    [
        (update_wrapper(partial(lambda config, ctx, k: k, k=3), lambda config, ctx, k: k), [3]),
        (wraps(lambda config, ctx: 0)(lambda config: config), [5]),
        (wraps(lambda config: 0)(lambda: 8), [8]),
    ],
)
def test_quick_experiment_calls_with_as_many_arguments_as_what_is_called_takes(fn, expected):
    assert quick_experiment(fn, {"a": 5}) == {"a": expected}
