"""The cases of `bench_large.py`, each in a process of its own: ``workload_large.py CASE NUMBER ...``."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crystallize as c

logging.disable(logging.INFO)


@c.data_source
def one(ctx):
    return 1.0


@c.pipeline_step()
def score(data, ctx, *, shift=0.0):
    return data, {"x": data + shift + ctx["replicate"] / 7}


def experiment(folder, executor="serial"):
    plugins = [c.SeedPlugin(seed=1)]
    if folder is not None:
        plugins.append(c.ArtifactPlugin(root_dir=folder))
    if executor == "process":
        plugins.append(c.ParallelExecution(executor_type="process", max_workers=2))
    treatment = c.Treatment("more", {"shift": 1.0})
    return c.Experiment(
        one(), c.Pipeline([score()]), plugins=plugins, treatments=[treatment], name="large", default_plugins=False
    )


def memory(folder, cells, executor, stored):
    tried = experiment(folder if stored == "1" else None, executor)
    tried.run(replicates=50)  # so that everything is imported
    before = resident("VmRSS")
    forget_peak()
    result = tried.run(replicates=cells // 2)
    found = {"peak": resident("VmHWM") - before, "metrics": result.metric_names}
    if stored == "1":
        program = (
            "import json, sys, time\nimport workload_large as w\nfrom crystallize_plugins.artifacts import open_run\n"
            "open_run(sys.argv[1]); before = w.resident('VmRSS'); w.forget_peak(); began = time.perf_counter()\n"
            "result = open_run(sys.argv[2]); taken = time.perf_counter() - began\n"
            "print(json.dumps({'open_seconds': taken, 'open_peak': w.resident('VmHWM') - before}))"
        )
        runs = [str(folder / "large" / name) for name in ("v0", "v1")]
        opened = subprocess.run(
            [sys.executable, "-c", program, *runs], cwd=Path(__file__).parent, stdout=subprocess.PIPE, check=True
        )
        found |= json.loads(opened.stdout)
    return found


def listed(folder, runs):
    experiment(folder).run(replicates=3)
    for number in range(1, runs):
        copy = folder / f"other-{number % 100}" / f"v{number // 100}"
        copy.mkdir(parents=True)
        for name in ("run.db", "run.json"):
            shutil.copy2(folder / "large" / "v0" / name, copy / name)
    command = [sys.executable, "-m", "crystallize_cli", "runs", "--root", str(folder)]
    times = []
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"first": times[0], "again": times[1], "memory": largest}


def resident(what):
    """Give megabytes: ``VmRSS`` now, ``VmHWM`` at most; of Linux alone."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


CASES = {"memory": memory, "list": listed}

if __name__ == "__main__":
    case, number, *others = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("TMPDIR")) as home:
        print(json.dumps(CASES[case](Path(home), int(number), *others)))
