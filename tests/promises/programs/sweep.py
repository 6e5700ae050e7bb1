"""An experiment that notes what it does, for tests that kill it, stop it and run it again.

``python sweep.py JOB`` does one job, a JSON object (`Job` says what is in it). ``python sweep.py`` alone is a server:
each line that it reads is a JSON list of jobs, each of which is done by a fork of its own, so that a hundred
programs need not import the same modules a hundred times. It answers with the list of their process ids,
then, when all have ended, with the list of their exit codes.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import json
import os
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": lambda: AsyncExecution(4),
}


class Job(NamedTuple):
    """One run of the experiment."""

    folder: str
    """Where it runs: what it stores is in ``data``, what it notes in ``notes``."""
    name: str
    """Its files: ``<name>.out`` for what it shows and prints, ``<name>.answer`` for the digest of its result."""
    executor: str = "serial"
    strategy: str = "rerun"
    replicates: int = 16
    seed: int | None = None
    stream: bool = False
    """Whether to show every outcome as it comes, in a line of its own."""
    pause: float = 0.0
    """Seconds that every cell sleeps."""
    stuck_from: int = 1_000_000
    """The first replicate whose cells sleep for a minute."""
    waits: bool = False
    """Whether a step is ``async def``."""
    versioned: bool = True
    late: float = -2.5
    """What the treatment ``late`` sets."""
    gate: str = ""
    """A file to wait for before the run starts, so that several start at once."""


@data_source
def numbers(ctx):
    return np.arange(4.0) + ctx["replicate"]


def note(ctx, word):
    """Add a line to the notes, in one write: several processes may add theirs."""
    line = f"{word} {ctx['condition']} {ctx['replicate']} {os.getpid()} {time.monotonic()}\n"
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@pipeline_step()
def draw(data, ctx, *, shift=0.0):
    note(ctx, "begin")
    # A variable of the environment would be part of the step's identity.
    pause, stuck_from = json.loads(Path("pauses").read_text(encoding="utf-8"))
    time.sleep(60 if ctx["replicate"] >= stuck_from else pause)
    drawn = data + shift + ctx.rng.normal(size=4)
    ctx.record("mean", float(drawn.mean()))
    ctx.record("largest", drawn.max())
    ctx.record("drawn", drawn)
    return drawn


@pipeline_step()
async def wait(data, ctx):
    import asyncio

    await asyncio.sleep(0)
    return data


@pipeline_step()
def keep(data, ctx):
    replicate = ctx["replicate"]
    ctx.record("odd", [None, True, -0.0, float("inf"), 10**30, "é", b"\x00", (1, 2.5)][replicate % 8])
    if replicate % 3 == 0:
        ctx.artifacts.add("part.bin", ctx.rng.bytes(1000) * (1 + replicate % 5))
    if replicate % 7 == 6 and ctx["condition"] == "late":
        raise ValueError(f"replicate {replicate} fails whatever is done")
    note(ctx, "end")
    return data


@verifier
def difference(baseline, treatment):
    return {"p_value": float(np.mean(treatment["mean"]) - np.mean(baseline["mean"]))}


def run(job):
    """Do a job; give the digest of its result."""
    os.chdir(job.folder)
    # At once: several may start in one folder.
    written = Path(f"pauses.{os.getpid()}")
    written.write_text(json.dumps([job.pause, job.stuck_from]), encoding="utf-8")
    written.replace("pauses")
    steps = [draw(), wait(), keep()] if job.waits else [draw(), keep()]
    experiment = Experiment(
        numbers(),
        Pipeline(steps),
        plugins=[SeedPlugin(seed=job.seed), ArtifactPlugin(versioned=job.versioned), EXECUTORS[job.executor]()],
        default_plugins=False,
        name="sweep",
        treatments=[Treatment("early", {"shift": 1.5}), Treatment("late", {"shift": job.late})],
        hypotheses=[Hypothesis(difference(), metrics="mean")],
        replicates=job.replicates,
    )
    while job.gate and not Path(job.gate).exists():
        time.sleep(0.001)
    print("starts", time.monotonic(), flush=True)
    if not job.stream:
        return digest(experiment.run(strategy=job.strategy))
    stream = experiment.stream(strategy=job.strategy)
    for outcome in stream:
        print("shown", outcome.cell.condition, outcome.cell.replicate, outcome.ok, flush=True)
    return None


# -- what a result says ---------------------------------------------------------------------------


def digest(result):
    """Say all that a result holds, but for durations and who did the work, so that two can be compared bit for bit."""
    conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    return {
        "metrics": {
            name: {metric: [values.replicates, exact(list(values))] for metric, values in measured.metrics.items()}
            for name, measured in conditions.items()
        },
        "hypotheses": [[each.name, exact(each.results), exact(each.ranking)] for each in result.metrics.hypotheses],
        "errors": {key: [type(error).__name__, str(error)] for key, error in sorted(result.errors.items())},
        "seeds": result.provenance["seeds"],
        "replicates": result.provenance["replicates"],
        "artifacts": sorted(
            [entry["condition"], entry["replicate"], entry["step"], entry["name"], entry["size"], entry["sha256"],
             hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest()]
            for entry in result.provenance["artifacts"]
        ),
        "steps": {
            name: {str(replicate): [without_times(step) for step in cells[replicate]] for replicate in sorted(cells)}
            for name, cells in result.provenance["ctx_changes"].items()
        },
    }  # fmt: skip


def without_times(step):
    return exact({key: value for key, value in step.items() if key != "duration"})


def exact(value):
    """Write a value as text from which no bit is missing."""
    if isinstance(value, (bool, int, str, bytes, type(None))) and not isinstance(value, np.generic):
        return f"{type(value).__name__} {value!r}"
    if type(value) is float:
        return f"float {struct.pack('<d', value).hex()}"
    if isinstance(value, np.generic):
        return f"{type(value).__name__} {value.tobytes().hex()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str} {value.shape} {value.tobytes().hex()}"
    if hasattr(value, "items"):
        return {str(key): exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(exact, value)]
    raise TypeError(f"there is no exact text for {type(value).__name__}")


# -- how a job is done ----------------------------------------------------------------------------


def do(job):
    """Do a job as a program of its own does: its output is a file, its exit code says how it ended."""
    out = os.open(Path(job.folder, f"{job.name}.out"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        answer = run(job)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to know
        traceback.print_exc()
        details = {key: str(getattr(error, key, "")) for key in ("host", "pid", "started", "path")}
        print("failed", json.dumps([type(error).__name__, str(error), details]), flush=True)
        return 1
    Path(job.folder, f"{job.name}.answer").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def warm_up():
    """Import what a job imports on its way, as a fork that does one tells it, and start nothing."""
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            for waits in (False, True):
                for executor in EXECUTORS:
                    do(Job(folder, "warm", executor, "resume", 1, 1, waits=waits))
            Path(folder, "modules").write_text("\n".join(sys.modules), encoding="utf-8")
            os._exit(0)
        os.waitpid(child, 0)
        for module in Path(folder, "modules").read_text(encoding="utf-8").split():
            if module not in sys.modules and not module.startswith("__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module)


def serve():
    """Fork for every job that is asked for; give the job to be done in each fork, None at the end."""
    warm_up()
    gc.freeze()  # or every fork would copy all that is there, when it looks for what it can free
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            child = os.fork()
            if child == 0:
                os.setsid()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                return Job(*job)
            children.append(child)
        print(json.dumps(children), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
    return None


if __name__ == "__main__":
    asked = Job(*json.loads(sys.argv[1])) if len(sys.argv) > 1 else serve()
    if asked is not None:
        sys.exit(do(asked))
