"""The cases of `bench_cache.py`, for `joblib.Memory`, for this project and for its peer; see `workload.py`."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import shutil
import time
from pathlib import Path

from workload import PEER, case, main

_clock = time.perf_counter

os.environ["CRYSTALLIZE_CACHE_KEY_FILE"] = str(Path("cache.key").absolute())


def best(call, repeat):
    taken = []
    for _ in range(repeat):
        started = _clock()
        call()
        taken.append(_clock() - started)
    return min(taken)


@functools.lru_cache(maxsize=1)
def array(megabytes):
    import numpy as np

    return np.random.default_rng(0).random(megabytes * 125_000)


@functools.lru_cache(maxsize=1)
def frame(megabytes):
    import pandas as pd

    return pd.DataFrame(array(megabytes).reshape(-1, 10), columns=[f"c{number}" for number in range(10)])


def first_item(data, ctx=None):
    return float(data.iloc[0, 0] if hasattr(data, "iloc") else data[0])


def itself(data, ctx=None):
    return data


INPUTS = {"array": array, "frame": frame}
OUTPUTS = {"item": first_item, "all": itself}


@case
def fast_hash(megabytes, repeat=5):
    """Seconds of one hash, with what the standard library has that is fastest here, of so many bytes."""
    data = array(megabytes).view("u1").data
    return best(lambda: hashlib.sha256(data, usedforsecurity=False).digest(), repeat)


@case
def joblib_memory(megabytes, kind="array", output="item", repeat=5):
    """Seconds of the first call and of a later one."""
    import joblib

    shutil.rmtree("joblib", ignore_errors=True)
    remembered = joblib.Memory("joblib", verbose=0).cache(OUTPUTS[output])
    data = INPUTS[kind](megabytes)
    cold = best(lambda: remembered(data), 1)
    return {"cold": cold, "warm": best(lambda: remembered(data), repeat)}


@case
def step(megabytes, kind="array", output="item", known="", repeat=5):
    """Seconds of the first run of a cacheable step and of a later one, over one whose step costs nothing.

    With `known`, the input comes from a source that says what its data depends on, or from a cached step.
    """
    from crystallize import Experiment, Pipeline, data_source, pipeline_step

    shutil.rmtree(".cache", ignore_errors=True)
    data = INPUTS[kind](megabytes)
    declared = (
        {"depends_on": []} if known == "source" and "depends_on" in inspect.signature(data_source).parameters else {}
    )
    source = data_source(**declared)(_Give(data)) if not PEER else data_source(_fetch(data))
    cached = pipeline_step(cacheable=True)(OUTPUTS[output])
    plain = pipeline_step()(_nothing)
    before = [pipeline_step(cacheable=True)(itself)] if known == "step" else []

    def make(last):
        settings = {} if PEER else {"default_plugins": False, "plugins": _hold() if before else []}
        made = Experiment(source(), Pipeline([*(each() for each in before), last()]), **settings)
        if PEER:
            made.plugins.clear()
        made.validate()
        return made

    with_step, without = make(cached), make(plain)
    # The peer hashes the input of every step, so nothing can be taken off there.
    floor = 0.0 if before or PEER else best(without.run, repeat + 1)
    cold = best(with_step.run, 1) - floor
    if before:
        # The first step loads its output for the second: only the second is what is asked for.
        without.run()
        return {"cold": cold, "warm": min(_second(with_step) for _ in range(repeat))}
    return {"cold": cold, "warm": best(with_step.run, repeat) - floor}


class _Give:
    """A function whose data is no part of its code."""

    __name__ = "give"

    def __init__(self, data):
        self._data = data

    def __call__(self, ctx):
        return self._data

    def __fingerprint__(self):
        return "the data of the benchmark"


def _hold():
    """Keep the data of a run until the next one: giving back its memory is no part of a step's time."""
    from crystallize import BasePlugin

    class Hold(BasePlugin):
        neutral = True

        def __init__(self):
            self.held = []

        def after_step(self, step, data):
            self.held = [data] if not isinstance(data, float) else [*self.held, data]

    return [Hold()]


def _fetch(data):
    def give(ctx):
        return data

    return give


def _nothing(data, ctx=None):
    return 0.0


def _second(experiment):
    result = experiment.run()
    told = result.provenance["ctx_changes"]["baseline"][0][1]
    if not told["cache_hit"]:
        raise RuntimeError("the second step was not served from the cache")
    return told["duration"]


@case
def small(repeat=5):
    """Seconds of a cell whose one step is served from the cache."""
    from crystallize import Experiment, Pipeline, data_source, pipeline_step

    experiment = Experiment(
        data_source(_fetch([1, 2, 3]))(),
        Pipeline([pipeline_step(cacheable=True)(_nothing)()]),
        **({} if PEER else {"default_plugins": False}),
    )
    if PEER:
        experiment.plugins.clear()
    experiment.validate()
    experiment.run(replicates=300)
    return best(lambda: experiment.run(replicates=300), repeat) / 300


if __name__ == "__main__":
    main()
