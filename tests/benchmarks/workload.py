"""What is measured: the same code for bare Python, for this project and for its peer.

Runs in a process of its own, under the interpreter of the environment that is measured. Each line of
standard input is a case, `{"case": name, ...arguments}`; each answer is a line `{"value": ...}` or
`{"error": text}`. Nothing here is imported by the benchmarks: `common.Side` starts it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import json
import logging
import os
import random
import shutil
import sys
import time
import tracemalloc
from pathlib import Path

CASES = {}
_clock = time.perf_counter


def case(function):
    CASES[function.__name__] = function
    return function


# ---------------------------------------------------------------- bare Python


def bare_shift(data, delta):
    return data


def bare_score(data):
    return random.random()


def bare_run(steps, replicates, conditions, *, seeds):
    """What somebody would write without any framework, seeding what the default plugins seed."""
    if seeds:
        import numpy as np
    results = {}
    for replicate in range(replicates):
        for condition in range(conditions):
            if seeds:
                random.seed(replicate)
                np.random.seed(replicate)
            data = [1, 2, 3]
            for _ in range(steps - 1):
                data = bare_shift(data, condition)
            results.setdefault(condition, []).append(bare_score(data))
    return results


@case
def pace():
    """How fast the machine is just now: seconds for a bare call, and for a sync of the disk."""
    data, calls = [1], range(20_000)

    def call_often():
        for _ in calls:
            bare_shift(data, 0)

    def sync():
        with Path("pace").open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

    return {"call": _best(call_often, 3) / len(calls), "sync": _best(sync, 3)}


@case
def bare_loop(steps, replicates, conditions=4, *, seeds=True, repeat=3):
    """Seconds that the loop takes without any framework, on the clock and of the processor."""
    return _both(lambda: bare_run(steps, replicates, conditions, seeds=seeds), repeat)


@case
def bare_memory(steps, replicates, conditions=4):
    """Bytes that the metrics alone take."""
    return _kept(lambda: bare_run(steps, replicates, conditions, seeds=False))


@case
def bare_files(files, kilobytes, syncs, repeat=1):
    """Seconds for plain files, as safe: of the syncs of each, the first is its own, the others are its folders'."""
    payload = os.urandom(kilobytes * 1000)

    def write_all():
        for number in range(files):
            folder = Path("data", "plain", f"replicate_{number}", "baseline", "PublishStep")
            folder.mkdir(parents=True)
            with (folder / "blob.tmp").open("wb") as file:
                file.write(payload)
                if syncs:
                    file.flush()
                    os.fsync(file.fileno())
            (folder / "blob.tmp").rename(folder / "blob.bin")
            for above in [folder, *folder.parents][: max(syncs - 1, 0)]:
                descriptor = os.open(above, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)

    return _best(write_all, repeat)


# ---------------------------------------------------------------- experiments


def shift_step(data, ctx, *, delta=0.0):
    return data


def score_step(data, ctx):
    ctx.metrics.add("score", random.random())
    return data


def pass_step(data, ctx):
    return data


def look_step(data, ctx):
    ctx["weights"][0]
    return data


def publish_step(data, ctx):
    ctx.artifacts.add("blob.bin", data)
    return data


def make_experiment(functions, *, plugins="default", data=None, initial_ctx=None):
    """An experiment of plain functions; `plugins` is "default", with the store, or "none"."""
    from crystallize import Experiment, Pipeline, data_source, pipeline_step

    payload = [1, 2, 3] if data is None else data

    @data_source
    def held(ctx):
        return payload

    wrapped = {function: pipeline_step()(function) for function in set(functions)}
    experiment = Experiment(
        held(),
        Pipeline([wrapped[function]() for function in functions]),
        name="bench",
        initial_ctx=initial_ctx,
        **({"default_plugins": False} if plugins == "none" and not PEER else {}),
    )
    if PEER and plugins == "none":
        experiment.plugins.clear()
    experiment.validate()
    return experiment


def run_experiment(experiment, replicates=1, conditions=1):
    result = experiment.run(treatments=treatments(conditions), replicates=replicates)
    if result.errors:
        raise RuntimeError(f"a cell failed: {next(iter(result.errors.values()))}")
    return result


@functools.lru_cache
def treatments(conditions):
    """As many conditions, the baseline among them; the same objects for every run, as in a user's script."""
    from crystallize import Treatment

    return [Treatment(f"treatment_{number}", {"delta": float(number)}) for number in range(1, conditions)]


PEER = importlib.util.find_spec("crystallize.engine") is None
"""The peer has no package of this name."""


@case
def loop(steps, replicates, conditions=4, *, plugins="default", repeat=3):
    """Seconds of one `run()`, on the clock and of the processor."""
    experiment = make_experiment([shift_step] * (steps - 1) + [score_step], plugins=plugins)
    run_experiment(experiment, 1, conditions)
    return _both(lambda: run_experiment(experiment, replicates, conditions), repeat)


@case
def memory(steps, replicates, conditions=4, *, plugins="default"):
    """Bytes that a result keeps."""
    experiment = make_experiment([shift_step] * (steps - 1) + [score_step], plugins=plugins)
    run_experiment(experiment, replicates, conditions)
    return _kept(lambda: run_experiment(experiment, replicates, conditions))


@case
def whole_run(steps=10, repeat=100):
    """Median of the seconds of one `run()` of one cell, the core alone, from the second run on."""
    experiment = make_experiment([shift_step] * (steps - 1) + [score_step], plugins="none")
    run_experiment(experiment)
    times = []
    for _ in range(repeat):
        started = _clock()
        experiment.run()
        times.append(_clock() - started)
    return sorted(times)[len(times) // 2]


@case
def array_through(megabytes, steps, repeat=3):
    """Seconds per step that a large array costs over a small one, and the bytes at its peak."""
    import numpy as np

    arrays = [np.ones(megabytes * 125_000), np.ones(1)]
    experiments = [make_experiment([pass_step] * steps, data=array) for array in arrays]
    return _large_over_small(experiments, steps, repeat)


@case
def array_in_context(megabytes, steps, repeat=3):
    """Seconds per step that looks at a large array of the context, over one that does not; bytes at its peak."""
    import numpy as np

    context = {"weights": np.ones(megabytes * 125_000)}
    experiments = [make_experiment([step] * steps, initial_ctx=context) for step in (look_step, pass_step)]
    return _large_over_small(experiments, steps, repeat)


@case
def keys(count, steps, replicates, conditions=4, *, plugins="default", repeat=1):
    """Seconds per step with so many context keys, half of them holding a list."""
    context = {f"key_{n}": n if n % 2 else [n, n + 1] for n in range(count)}
    experiment = make_experiment([shift_step] * (steps - 1) + [score_step], initial_ctx=context, plugins=plugins)
    run_experiment(experiment, 1, conditions)
    total = _best(lambda: run_experiment(experiment, replicates, conditions), repeat)
    return total / (steps * replicates * conditions)


@case
def artifacts(files, kilobytes, repeat=1):
    """Seconds of a run whose every cell writes a file, and how many syncs each file cost."""
    experiment = make_experiment([publish_step], data=os.urandom(kilobytes * 1000))
    run_experiment(experiment)
    syncs = 0
    sync = os.fsync

    def counted(descriptor):
        nonlocal syncs
        syncs += 1
        sync(descriptor)

    os.fsync = counted
    try:
        seconds = _best(lambda: run_experiment(experiment, files), repeat)
    finally:
        os.fsync = sync
    return {"seconds": seconds, "syncs": round(syncs / files / repeat)}


# ---------------------------------------------------------------- measuring


def _best(function, repeat):
    """The shortest of a few: what the machine's other work adds is not what is asked about."""
    return _both(function, repeat)["seconds"]


def _both(function, repeat):
    """The shortest of a few on the clock, and the least that a processor worked, all threads together."""
    times, works = [], []
    gc.collect()
    for _ in range(repeat):
        worked, started = time.process_time(), _clock()
        function()
        times.append(_clock() - started)
        works.append(time.process_time() - worked)
        shutil.rmtree("data", ignore_errors=True)
    return {"seconds": min(times), "processor": min(works)}


def _kept(function):
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        kept = function()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del kept
    return after - before


def _large_over_small(experiments, steps, repeat):
    for experiment in experiments:
        run_experiment(experiment)
    # One after the other, many times: a difference of two noisy figures is noisier than either.
    times = [[], []]
    for _ in range(repeat):
        for experiment, taken in zip(experiments, times, strict=True):
            taken.append(_best(lambda experiment=experiment: run_experiment(experiment), 1))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run_experiment(experiments[0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return {"seconds": (min(times[0]) - min(times[1])) / steps, "bytes": peak - before}


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a measured library prints must not look like an answer.
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": CASES[request.pop("case")](**request)}
        except Exception as exc:  # noqa: BLE001 - a case that cannot run here is a finding
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        for left in ("data", ".cache"):
            with contextlib.suppress(OSError):
                shutil.rmtree(left)
        gc.collect()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
