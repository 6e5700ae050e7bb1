"""Values that are hard to tell apart: a treatment whose value has changed runs again, and an equal one does not."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step


def power(x, k=1):
    return x**k


def partial_of(k):
    return functools.update_wrapper(functools.partial(power, k=k), power)


def scorer(sign):
    def score(x):
        return x

    score.sign = sign
    return score


def records(first):
    dtype = {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}
    return np.array([(first, 2)], dtype)


def ufunc(k):
    return np.frompyfunc(lambda x: k * x, 1, 1)


def frame(categories):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"size": pandas.Categorical(["low"], categories, ordered=True)})


def sparse_tensor(k):
    torch = pytest.importorskip("torch")
    return (k * torch.eye(2)).to_sparse()


def wrapped(k):
    wrapt = pytest.importorskip("wrapt")
    return wrapt.FunctionWrapper(power, lambda fn, instance, args, kwargs: k * fn(*args, **kwargs))


KINDS = {
    "a partial with the name of its function": (partial_of, 1, 2),
    "an attribute of a function": (scorer, 1, -1),
    "fields out of order": (records, 1, 3),
    "a universal function": (ufunc, 1, 2),
    "the order of categories": (frame, ["low", "high"], ["high", "low"]),
    "a sparse tensor": (sparse_tensor, 1, 2),
    "a wrapper of wrapt": (wrapped, 1, 2),
    "a view of memory": (lambda kind: memoryview(b"abcd").cast(kind), "i", "f"),
}


def experiment(value):
    @data_source
    def nothing(ctx):
        return 0

    @pipeline_step()
    def look(data, ctx):
        return data, {"kind": type(ctx["value"]).__name__}

    return Experiment(
        nothing(),
        Pipeline([look()]),
        treatments=[Treatment("baseline", {"value": value}), Treatment("same", {"value": 1})],
        plugins=[SeedPlugin(seed=1), ArtifactPlugin()],
        name="values",
        default_plugins=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_treatment_runs_again_exactly_if_its_value_is_another(kind):
    make, first, second = KINDS[kind]
    experiment(make(first)).run()
    assert experiment(make(first)).plan(strategy="resume").to_run == ()
    [again] = experiment(make(second)).plan(strategy="resume").to_run
    assert (again.cell.condition, again.reason) == ("baseline", "changed: treatment")
