"""Large numbers: the coordinator's memory for a million cells, and the list of ten thousand stored runs.

python tests/benchmarks/bench_large.py [--json [FILE]]
"""

from __future__ import annotations

import json
import subprocess
import sys

import common

CELLS, RUNS = 1_000_000, 10_000


def measure(bench):
    rows = []
    for executor, stored in (("serial", False), ("serial", True), ("process", True)):
        found = case("memory", CELLS, executor, str(int(stored)))
        what = f"{CELLS:,} cells, {executor}, {'stored' if stored else 'not stored'}"
        rows.append(common.Row(f"memory of the coordinator, {what}", "MB", ours=found["peak"], target=150))
        if stored and executor == "serial":
            rows.append(common.Row(f"open_run of {CELLS:,} cells", "s", ours=found["open_seconds"], target=1))
            rows.append(common.Row(f"open_run of {CELLS:,} cells, memory", "MB", ours=found["open_peak"], target=100))
    found = case("list", RUNS)
    rows.append(common.Row(f"crystallize runs, {RUNS:,} of them, no index yet", "s", ours=found["first"]))
    rows.append(common.Row(f"crystallize runs, {RUNS:,} of them", "s", ours=found["again"], target=1))
    rows.append(common.Row(f"crystallize runs, {RUNS:,} of them, memory", "MB", ours=found["memory"], target=100))
    return rows


def case(*arguments):
    command = [sys.executable, str(common.HERE / "workload_large.py"), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    common.main(__doc__, measure)
