"""Laws: with the cache and without it, whatever a step does and in whatever order runs come, results are the same."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import Experiment, Pipeline, PipelineStep, SeedPlugin, Treatment, data_source
from crystallize.fingerprint import value_of
from crystallize.pipelines import cache

KEYS = ["a", "b", "c"]
MANY = 1000 if os.environ.get("CRYSTALLIZE_SOAK") else 0

operations = st.one_of(
    st.tuples(st.just("get"), st.sampled_from(KEYS)),
    st.tuples(st.just("in"), st.sampled_from(KEYS)),
    st.tuples(st.just("follow"), st.sampled_from(KEYS)),
    st.tuples(st.just("keys"), st.just("")),
    st.tuples(st.just("rng"), st.just("")),
    st.tuples(st.just("seed"), st.just("")),
    st.tuples(st.just("replicate"), st.just("")),
    st.tuples(st.just("record"), st.sampled_from(KEYS)),
    st.tuples(st.just("recorded"), st.sampled_from(KEYS)),
    st.tuples(st.just("write"), st.sampled_from(["w0", "w1"])),
    st.tuples(st.just("artifact"), st.sampled_from(["f0", "f1"])),
    st.tuples(st.just("artifacts"), st.just("")),
    st.tuples(st.just("mutate"), st.just("")),
)


class Scripted(PipelineStep):
    """A step that does what a script says, and gives all that it saw."""

    def __init__(self, script, cacheable):
        self.script = script
        self.cacheable = cacheable

    @property
    def params(self):
        return {"script": self.script}

    def __call__(self, data, ctx):  # noqa: C901, PLR0912 - a language of its own
        seen = []
        for operation, name in self.script:
            if operation == "get":
                seen.append(ctx.get(name, "default"))
            elif operation == "in":
                seen.append(name in ctx)
            elif operation == "follow":
                seen.append(ctx.get(str(ctx.get(name))))
            elif operation == "keys":
                seen.append(sorted(ctx))
            elif operation == "rng":
                seen.append(float(ctx.rng.random()))
            elif operation == "seed":
                seen.append(ctx["seed_used"])
            elif operation == "replicate":
                seen.append((ctx["replicate"], ctx["condition"], ctx["step_name"]))
            elif operation == "record":
                ctx.record(f"m_{name}", len(seen), tags={"step": ctx["step_name"]})
            elif operation == "recorded":
                seen.append((ctx.metrics[f"m_{name}"], ctx.metrics.get_tags(f"m_{name}")))
            elif operation == "write" and name not in ctx:
                ctx.add(name, list(map(str, seen)))
            elif operation == "artifact":
                ctx.artifacts.add(name, repr(seen))
            elif operation == "artifacts":
                seen.append([(file.name, file.data) for file in ctx.artifacts.written()])
            elif operation == "mutate":
                data.append(len(data))
        return [*data, str(seen)]


@data_source
def texts(ctx):
    return ["start", str(ctx.get("a"))]


@data_source(depends_on=[])
def declared(ctx):
    return ["start", str(ctx.get("a"))]


@contextmanager
def own_cache():
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"CRYSTALLIZE_CACHE_DIR": folder}):
        yield


contexts = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([0, 1, "b", "c"]), max_size=3)
values = st.sampled_from([0, 1, "a", "b"])
runs = st.tuples(contexts, st.dictionaries(st.sampled_from(["t", *KEYS]), values, max_size=2), st.integers(0, 1))


def outcome(source, scripts, run, cacheable):
    context, treatment, seed = run
    experiment = Experiment(
        source,
        Pipeline([Scripted(script, cacheable[at]) for at, script in enumerate(scripts)]),
        plugins=[SeedPlugin(seed=seed)],
        default_plugins=False,
        initial_ctx={key: value for key, value in context.items() if key not in treatment},
        treatments=[Treatment("t", treatment)],
        replicates=2,
    )
    result = experiment.run()
    assert not result.errors, result.errors
    told = [
        {key: value for key, value in step.items() if key not in ("cache_hit", "duration")}
        for found in result.provenance["ctx_changes"].values()
        for cell in found.values()
        for step in cell
    ]
    applied = [experiment.apply(each) for each in (None, *experiment.treatments)]
    metrics = [found.metrics for found in (result.metrics.baseline, *result.metrics.treatments.values())]
    return repr(applied), repr(metrics), repr(told)


@settings(max_examples=MANY or 8, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([texts(), declared()]),
    st.lists(st.lists(operations, max_size=4), min_size=1, max_size=3),
    st.lists(runs, min_size=1, max_size=3),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_every_run_gives_what_it_gives_without_the_cache(source, scripts, sequence, which):
    with own_cache():
        for run in [*sequence, *sequence]:
            expected = outcome(source, scripts, run, (False, False, False))
            assert outcome(source, scripts, run, which) == expected


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -0.0, "", "a", b"a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


class Give(PipelineStep):
    cacheable = True

    def __init__(self, value):
        self.value = value

    def __call__(self, data, ctx):
        return [self.value, ctx.get("value"), data]


@settings(max_examples=MANY or 15)
@given(plain, plain, st.sampled_from(["parameter", "context", "input"]))
def test_two_calls_share_an_entry_where_what_they_see_is_the_same_and_nowhere_else(one, other, place):
    with own_cache():
        for value in (one, other):
            given_ = {key: value if key == place else None for key in ("parameter", "context", "input")}
            experiment = Experiment(
                data_source(lambda ctx, given_=given_: given_["input"])(),
                Pipeline([Give(given_["parameter"])]),
                default_plugins=False,
                initial_ctx={"value": given_["context"]},
            )
            found = experiment.apply()
            assert repr(found) == repr([given_["parameter"], given_["context"], given_["input"]])
        # Which tells types, zeros and the order of keys apart.
        assert cache.info().entries == (1 if repr(one) == repr(other) else 2)


@settings(max_examples=MANY or 15)
@given(
    st.lists(st.integers(0, 40), max_size=3),
    st.sampled_from(["u1", "i4", "f8", "c16", "?", "<U3", "M8[D]", "i4,f8"]),
    st.booleans(),
    st.sampled_from("CF"),
)
def test_arrays_come_back_as_they_were(shape, dtype, writable, order):
    array = np.asarray(np.arange(int(np.prod(shape))) % 100, order=order).astype("u1")
    array = (
        np.array(np.zeros(shape, dtype), order=order)
        if "," in dtype
        else array.astype(dtype).reshape(shape, order=order)
    )
    array.flags.writeable = writable

    def made():
        # For the cell alone: what a source keeps is handed out read-only.
        given = array.copy(order="K")
        given.flags.writeable = writable
        return given

    class Return(PipelineStep):
        cacheable = True

        def __call__(self, data, ctx):
            return {"given": data["given"], "again": [data["given"], 1]}

    with own_cache():
        experiment = Experiment(
            data_source(lambda ctx: {"given": made()})(), Pipeline([Return()]), default_plugins=False
        )
        cold, warm = experiment.apply(), experiment.apply()
    assert warm["given"] is not array
    assert warm["again"][0] is warm["given"], "one object stays one object"
    assert value_of(cold) == value_of(warm)
    assert warm["given"].dtype == array.dtype
    if array.nbytes and array.dtype.kind != "M":  # of dates, pickle does not tell
        assert warm["given"].flags.writeable == writable
