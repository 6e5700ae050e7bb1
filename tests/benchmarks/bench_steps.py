"""Serial runs over a bare loop: what a run, a cell and a step cost.

The three are fitted to runs of different numbers of steps and replicates, each less the bare loop of
the same size. The peer's figure is its whole cost per step of 10 steps x 4 conditions x 200 replicates.
"""

from __future__ import annotations

import common
import numpy as np

# Numbers of steps and of replicates. A store needs runs of some length to show what a cell adds; without one, short
# runs are the less disturbed.
SIZES = {"default": [(10, 1), (10, 10), (2, 200), (10, 200), (40, 200)], "none": [(10, 1), (2, 50), (10, 50), (40, 50)]}
CONDITIONS = 4
MAIN = (10, 200)


def measure(bench):
    return [*_costs(bench, "default", seeds=True), *_costs(bench, "none", seeds=False)]


def _costs(bench, plugins, *, seeds):
    questions = {}
    for steps, replicates in {*SIZES[plugins], MAIN}:
        # The small ones are short, and noisier than what they are subtracted from.
        repeat = 3 if replicates > 50 else 15
        size = {"steps": steps, "replicates": replicates, "conditions": CONDITIONS, "repeat": repeat}
        questions["bare", steps, replicates] = (bench.bare, "bare_loop", {**size, "seeds": seeds})
        questions["ours", steps, replicates] = (bench.ours, "loop", {**size, "plugins": plugins})
    steps, replicates = MAIN
    questions["peer"] = (
        bench.peer,
        "loop",
        {"steps": steps, "replicates": replicates, "conditions": CONDITIONS, "plugins": plugins, "repeat": 1},
    )
    taken = bench.least(questions)
    run, cell, step = _fit(taken, SIZES[plugins])
    executions = steps * replicates * CONDITIONS
    bare = taken["bare", steps, replicates]
    label = "default plugins, stored" if plugins == "default" else "core alone"
    targets = (5.0, 15.0, 0.5) if plugins == "default" else (None, None, None)
    return [
        common.Row(f"serial, {label}: per run", "ms", ours=common.scaled(run, 1e3), target=targets[0]),
        common.Row(f"serial, {label}: per cell", "µs", ours=common.scaled(cell, 1e6), target=targets[1]),
        common.Row(f"serial, {label}: per step", "µs", ours=common.scaled(step, 1e6), target=targets[2]),
        common.Row(
            f"serial, {label}: in all, per step of 10 x 4 x 200",
            "µs",
            bare=bare / executions * 1e6,
            ours=common.scaled(taken["ours", steps, replicates], 1e6 / executions, bare),
            peer=common.scaled(taken["peer"], 1e6 / executions, bare),
            note="over the bare loop",
        ),
    ]


def _fit(taken, sizes):
    """Least squares of run + cells * cell + executions * step, each point weighed by its own size."""
    matrix, values = [], []
    for steps, replicates in sizes:
        whole = taken["ours", steps, replicates]
        if whole is None:
            return None, None, None
        cells = CONDITIONS * replicates
        matrix.append([1 / whole, cells / whole, cells * steps / whole])
        values.append((whole - taken["bare", steps, replicates]) / whole)
    return np.linalg.lstsq(np.array(matrix), np.array(values), rcond=None)[0]


if __name__ == "__main__":
    common.main(__doc__, measure)
