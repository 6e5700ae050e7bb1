"""Executors: trivial cells and large arrays through processes, CPU-bound and waiting steps beside bare loops.

Each case runs in a fresh process of its own, since the first run of a process is one of the things measured. The peer
takes no large array in a context.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

TRIVIAL = 2000
WAITING = (500, 5000)
MEGABYTES = 80
REPLICATES = 20
CPU_CELLS = 40
CPU_ROUNDS = 10


def measure(bench):
    peer = _of_the_peer(bench)
    rows = []
    for way, first_limit, warm_limit in (("fork", 150, 40), ("forkserver", None, 40)):
        taken = ask("trivial", way)
        label = f"a trivial cell, {TRIVIAL} of them, store on, {way}"
        rows += [
            common.Row(f"{label}: first run", "µs", None, taken["first"] / TRIVIAL * 1e6, peer["trivial"],
                       target=first_limit),
            common.Row(f"{label}: warm", "µs", taken["serial"] / TRIVIAL * 1e6, taken["warm"] / TRIVIAL * 1e6,
                       peer["trivial"], target=warm_limit, note="bare: the same, serially"),
            common.Row(f"pool start, first outcome, {way}", "ms", None, taken["outcome"] * 1e3, target=350),
        ]  # fmt: skip
    for place in ("source", "context"):
        taken = ask("array", place)
        rows.append(
            common.Row(f"{MEGABYTES} MB array carried by the {place}, per replicate", "ms", taken["bare"] * 1e3,
                       taken["ours"] * 1e3, peer[place], target=6, note="bare: an array of ten numbers")
        )  # fmt: skip
    taken = ask("cpu")
    rows.append(
        common.Row(f"{CPU_CELLS} CPU-bound 50 ms steps on two processes: time over bare forks'", "ratio", 1,
                   taken["ratio"], target=1 / 0.95, note=f"median of {CPU_ROUNDS} rounds; bare forks took "
                   f"{taken['bare']:.2f} s, one process {taken['serial']:.2f} s")
    )  # fmt: skip
    for cells in WAITING:
        taken = ask("waiting", cells)
        rows.append(
            common.Row(f"{cells} cells of 20 ms under AsyncExecution, over a bare gather: a cell", "µs",
                       taken["bare"] / cells * 1e6, (taken["ours"] - taken["bare"]) / cells * 1e6, target=35)
        )  # fmt: skip
    return rows


def _of_the_peer(bench):
    """Give what the peer takes: microseconds for a trivial cell, milliseconds for a replicate with an array."""
    if bench.peer is None:
        return dict.fromkeys(("trivial", "source", "context"))
    side = common.Side(common.PEER, bench.peer.python, "workload_executors.py")
    carried = {"megabytes": MEGABYTES, "replicates": 5}
    try:
        found = bench.medians(
            {
                "trivial": (side, "trivial_cells", {"cells": TRIVIAL}),
                "source": (side, "carried", {**carried, "place": "source"}),
                "context": (side, "carried", {**carried, "place": "context"}),
            },
            rounds=min(bench.rounds, 3),
        )
    finally:
        side.close()
    factors = {"trivial": 1e6, "source": 1e3, "context": 1e3}
    return {name: common.scaled(found[name], factor) for name, factor in factors.items()}


def ask(case, *arguments):
    """Run a case in a new process, in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--case", case, *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- in the new process


def experiment(step, executor, replicates, *, data=None, context=None):
    """Give an experiment of one step, seeded and stored."""
    from crystallize import Experiment, LoggingPlugin, Pipeline, SeedPlugin, data_source

    @data_source
    def source(ctx):
        return data

    return Experiment(
        source(),
        Pipeline([step]),
        plugins=[SeedPlugin(seed=1), executor, LoggingPlugin(log_level="ERROR")],
        initial_ctx=context,
        replicates=replicates,
        name="bench",
    )


def timed(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def case_trivial(way):
    from crystallize import ParallelExecution, SerialExecution, pipeline_step

    if way == "forkserver":
        import threading

        threading.Thread(target=threading.Event().wait, daemon=True).start()

    @pipeline_step()
    def trivial(data, ctx):
        ctx.metrics.add("one", 1.0)
        return data

    first_outcome = []

    def once():
        began = time.perf_counter()
        stream = experiment(trivial(), ParallelExecution(2, "process"), 4).stream()
        first_outcome.extend(time.perf_counter() - began for _ in stream)

    def many(executor):
        return timed(lambda: experiment(trivial(), executor, TRIVIAL).run())

    if "--first-outcome" in sys.argv:
        once()
        return {"outcome": first_outcome[0]}
    first = many(ParallelExecution(2, "process"))
    warm = statistics.median(many(ParallelExecution(2, "process")) for _ in range(5))
    serial = statistics.median(many(SerialExecution()) for _ in range(3))
    return {
        "first": first,
        "warm": warm,
        "serial": serial,
        "outcome": ask("trivial", way, "--first-outcome")["outcome"],
    }


def case_array(place):
    import numpy as np

    from crystallize import ParallelExecution, pipeline_step

    @pipeline_step()
    def look(data, ctx):
        table = ctx["table"] if place == "context" else data
        ctx.metrics.add("middle", float(table[len(table) // 2]))
        return data

    def run(array):
        parts = {"data": array} if place == "source" else {"context": {"table": array}}
        return timed(lambda: experiment(look(), ParallelExecution(2, "process"), REPLICATES, **parts).run())

    arrays = {"ours": np.zeros(MEGABYTES * 125_000), "bare": np.zeros(10)}
    run(arrays["bare"])
    taken = {name: [] for name in arrays}
    for _ in range(5):
        for name, array in arrays.items():
            taken[name].append(run(array) / REPLICATES)
    return {name: statistics.median(found) for name, found in taken.items()}


def spin(rounds):
    total = 0
    for number in range(rounds):
        total += number * number % 7
    return total


def case_cpu():
    from crystallize import ParallelExecution, pipeline_step

    rounds = 100_000
    rounds = int(rounds * 0.05 / min(timed(lambda: spin(100_000)) for _ in range(5)))

    @pipeline_step()
    def work(data, ctx):
        ctx.metrics.add("total", spin(rounds))
        return data

    def forks():
        children = []
        for share in range(2):
            pid = os.fork()
            if pid == 0:
                for _ in range(share, CPU_CELLS, 2):
                    spin(rounds)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)

    found = []
    executor = ParallelExecution(2, "process")
    experiment(work(), executor, 2).run()
    for _ in range(CPU_ROUNDS):
        bare = timed(forks)
        found.append((timed(lambda: experiment(work(), executor, CPU_CELLS).run()) / bare, bare))
    return {
        "ratio": statistics.median(ratio for ratio, _ in found),
        "bare": statistics.median(bare for _, bare in found),
        "serial": timed(lambda: [spin(rounds) for _ in range(CPU_CELLS)]),
    }


def case_waiting(cells):
    from crystallize import AsyncExecution, pipeline_step

    @pipeline_step()
    async def wait(data, ctx):
        await asyncio.sleep(0.02)
        return data

    async def gathered():
        await asyncio.gather(*(asyncio.sleep(0.02) for _ in range(int(cells))))

    found = {"bare": [], "ours": []}
    for _ in range(5):
        found["bare"].append(timed(lambda: asyncio.run(gathered())))
        found["ours"].append(timed(lambda: experiment(wait(), AsyncExecution(), int(cells)).run()))
    return {name: statistics.median(each) for name, each in found.items()}


if __name__ == "__main__":
    if "--case" in sys.argv:
        _, _, case, *arguments = sys.argv
        print(json.dumps(globals()[f"case_{case}"](*[one for one in arguments if not one.startswith("--")])))
    else:
        common.main(__doc__, measure)
