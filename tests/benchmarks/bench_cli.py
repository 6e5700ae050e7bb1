"""The command line: how long its commands take to answer, over Python's own start-up.

python tests/benchmarks/bench_cli.py [--rounds N]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

FOLDERS = 500
PASS = ["-c", "pass"]
COMMAND = ["-m", "crystallize_cli"]
# What an experiment's own modules import, without anything of the framework's running.
IMPORTS = ["-c", "import numpy, crystallize as c; c.data_source, c.pipeline_step, c.Experiment"]
FIRST_CELL = """

import os, time
with open(os.environ["FIRST_CELL"], "a") as file:
    pass


@pipeline_step()
def mark(data, ctx):
    with open(os.environ["FIRST_CELL"], "a") as file:
        file.write(f"{time.time()}\\n")
    return data
"""


def measure(bench):
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        prepare(home)
        cases = {
            "pass": PASS,
            "version": [*COMMAND, "--version"],
            "help": [*COMMAND, "--help"],
            "list": [*COMMAND, "list", "many"],
            "imports": IMPORTS,
            "run": [*COMMAND, "run", "one", "--quiet"],
            "diff": [*COMMAND, "diff", "one@0", "one@1"],
            "click": ["-c", "import click, crystallize"],
        }
        taken = {name: [] for name in cases}
        for _ in range(bench.rounds):
            for name, command in cases.items():
                taken[name].append(first_cell(command, home) if name == "run" else timed(command, home))
        found = {name: statistics.median(times) * 1e3 for name, times in taken.items()}
        bare = found["pass"]
        rows += [
            common.Row("crystallize --version over `python -c pass`", "ms", bare, found["version"] - bare, target=60),
            common.Row("crystallize --help over `python -c pass`", "ms", bare, found["help"] - bare, target=120),
            common.Row("from `run` to the first cell, over the experiment's own imports", "ms", found["imports"],
                       found["run"] - found["imports"], target=300),
            common.Row(f"crystallize list over {FOLDERS} folders", "ms", bare, found["list"], target=1000),
            common.Row("diff of two runs, over the start-up", "ms", found["click"], found["diff"] - found["click"],
                       target=300),
        ]  # fmt: skip
    return rows


def prepare(home):
    """Make an experiment with two runs, and many folders."""
    call(home, "new", "one", "--in", ".")
    steps = home / "one" / "steps.py"
    steps.write_text(steps.read_text() + FIRST_CELL)
    config = home / "one" / "config.yaml"
    config.write_text(config.read_text().replace("  - estimate\n", "  - mark\n  - estimate\n"))
    call(home, "run", "one", "--quiet")
    call(home, "run", "one", "--quiet", "--seed", "7")
    for number in range(FOLDERS):
        copy_of_one(home / "many", f"experiment {number}")


def copy_of_one(parent, name):
    """Make a folder experiment without a process for each."""
    folder = parent / name
    folder.mkdir(parents=True)
    source = parent.parent / "one"
    (folder / "config.yaml").write_text((source / "config.yaml").read_text().replace('"one"', f'"{name}"'))
    (folder / "steps.py").write_text((source / "steps.py").read_text())


def call(home, *arguments):
    subprocess.run(
        [sys.executable, *COMMAND, *arguments], cwd=home, env=environment(home), check=True, capture_output=True
    )


def environment(home):
    return {**os.environ, "FIRST_CELL": str(home / "first")}


def timed(command, home):
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=home, env=environment(home), check=False, capture_output=True)
    return time.perf_counter() - began


def first_cell(command, home):
    """Give the time until the first cell's first step."""
    marks = home / "first"
    marks.unlink(missing_ok=True)
    began = time.time()
    subprocess.run([sys.executable, *command], cwd=home, env=environment(home), check=True, capture_output=True)
    return float(marks.read_text().split()[0]) - began


if __name__ == "__main__":
    common.main(__doc__, measure)
