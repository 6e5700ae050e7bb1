"""`import crystallize`: time and modules in a cold process, and what the core brings along."""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import common
from packaging.requirements import Requirement

IMPORT = "import crystallize"
COUNT = "import sys; before = len(sys.modules); import crystallize; print(len(sys.modules) - before)"
FIRST_RESULT = """
from crystallize import Experiment, Pipeline, PipelineStep, DataSource

class Numbers(DataSource):
    def fetch(self, ctx):
        return [1, 2, 3]

class Total(PipelineStep):
    params = {{}}
    def __call__(self, data, ctx):
        ctx.metrics.add("total", sum(data))
        return data

experiment = Experiment(Numbers(), Pipeline([Total()]), name="cold"{options})
experiment.validate()
experiment.run()
"""


class Cold:
    """Fresh interpreters that start in an empty folder and find byte code where it was written the last time."""

    def __init__(self, folder):
        self._folder = folder / "work"
        self._folder.mkdir()

    def run(self, python, code):
        return subprocess.run([python, "-c", code], check=True, cwd=self._folder, capture_output=True)

    def seconds(self, python, code):
        started = time.perf_counter()
        self.run(python, code)
        return time.perf_counter() - started

    def modules(self, python):
        return int(self.run(python, COUNT).stdout)


def measure(bench):
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return _measure(bench, Cold(Path(folder)))


def _measure(bench, cold):
    ours = bench.ours.python
    peer = bench.peer.python if bench.peer else None
    programs = {
        "bare": (ours, "pass"),
        "ours": (ours, IMPORT),
        "ours alone": (ours, FIRST_RESULT.format(options=", default_plugins=False")),
        "ours stored": (ours, FIRST_RESULT.format(options="")),
    }
    if peer:
        stored = FIRST_RESULT.format(options="")
        programs |= {"peer bare": (peer, "pass"), "peer": (peer, IMPORT), "peer stored": (peer, stored)}
    median = _medians(cold, programs, 3 * bench.rounds)

    def over(name, bare):
        return common.scaled(median.get(name), 1e3, median.get(bare))

    mine = _closure("crystallize-core", ours)
    allowed = {"crystallize-core"} | _closure("pluggy", ours) | _closure("importlib-metadata", ours)
    bare = common.scaled(median["bare"], 1e3)
    theirs = over("peer stored", "peer bare")
    return [
        common.Row("import, over python -c pass", "ms", bare, over("ours", "bare"), over("peer", "peer bare"), 15),
        common.Row("import: modules", "", 0, cold.modules(ours), cold.modules(peer) if peer else None),
        common.Row(
            "core alone: distributions beside pip's own",
            "",
            0,
            len(mine),
            len(_closure("crystallize-ml", peer)) if peer else None,
            len(allowed),
            ", ".join(sorted(mine)),
        ),
        common.Row("cold process to a first result, core alone", "ms", bare, over("ours alone", "bare"), theirs),
        common.Row("cold process to a first result, stored", "ms", bare, over("ours stored", "bare"), theirs),
    ]


def _medians(cold, programs, rounds):
    times = {}
    for name, (python, code) in programs.items():
        try:
            cold.run(python, code)  # this writes the byte code
        except subprocess.CalledProcessError as exc:
            common.say(f"  {name}: {exc.stderr.decode().strip()[-300:]}")
        else:
            times[name] = []
    for _ in range(rounds):
        for name, taken in times.items():
            taken.append(cold.seconds(*programs[name]))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _closure(name, python):
    """The distributions that installing `name` brings, by what an environment's metadata says."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    required = {
        _normal(distribution.metadata["Name"]): [Requirement(text) for text in distribution.requires or ()]
        for distribution in importlib.metadata.distributions(path=[folder])
    }
    found, todo = set(), [(_normal(name), ())]
    while todo:
        current, extras = todo.pop()
        found.add(current)
        for requirement in required[current]:
            wanted = _normal(requirement.name)
            marker = requirement.marker
            if wanted not in found and (
                marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or ("",))
            ):
                todo.append((wanted, tuple(requirement.extras)))
    return found


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    common.main(__doc__, measure)
