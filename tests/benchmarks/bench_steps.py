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
    costs = _fit(taken, SIZES[plugins], "seconds")
    works = _fit(taken, SIZES[plugins], "processor")
    label = "default plugins, stored" if plugins == "default" else "core alone"
    targets = (5.0, 15.0, 0.5) if plugins == "default" else (None, None, None)
    executions = steps * replicates * CONDITIONS
    bare, ours, peer = (
        common.scaled(found["seconds"] if found else None, 1e6 / executions)
        for found in (taken["bare", steps, replicates], taken["ours", steps, replicates], taken["peer"])
    )
    return [
        *(
            common.Row(
                f"serial, {label}: per {what}", unit, ours=common.scaled(cost, factor), target=target,
                note="" if work is None else f"of the processor: {work * factor:.3g}",
            )
            for what, unit, factor, cost, work, target in zip(
                ("run", "cell", "step"), ("ms", "µs", "µs"), (1e3, 1e6, 1e6), costs, works, targets, strict=True
            )
        ),
        common.Row(
            f"serial, {label}: in all, per step of 10 x 4 x 200", "µs", bare,
            common.scaled(ours, 1, bare), common.scaled(peer, 1, bare), note="over the bare loop",
        ),
    ]  # fmt: skip


def _fit(taken, sizes, figure):
    """Least squares of run + cells * cell + executions * step, each point weighed by its own size."""
    matrix, values = [], []
    for steps, replicates in sizes:
        if taken["ours", steps, replicates] is None:
            return None, None, None
        whole = taken["ours", steps, replicates][figure]
        cells = CONDITIONS * replicates
        matrix.append([1 / whole, cells / whole, cells * steps / whole])
        values.append((whole - taken["bare", steps, replicates][figure]) / whole)
    return np.linalg.lstsq(np.array(matrix), np.array(values), rcond=None)[0]


if __name__ == "__main__":
    common.main(__doc__, measure)
