"""Workers are killed at random: every other cell is kept, nothing hangs, nobody is left."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from crystallize import ParallelExecution, Treatment, pipeline_step

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
RUNS = 20 if SOAK else 2
KILLS = 10
CELLS = 60

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=range(RUNS))
def chance(request):
    return random.Random(1000 + request.param)


def worker_pids(folder):
    """Those who are at a cell now."""
    return [int(file.name) for file in folder.iterdir() if Path(f"/proc/{file.name}").exists()]


def kill_at_random(folder, chance, killed, stop):
    limit = time.monotonic() + 45
    while len(killed) < KILLS and not stop.is_set() and time.monotonic() < limit:
        time.sleep(chance.uniform(0.01, 0.08))
        pids = worker_pids(folder)
        if pids:
            victim = chance.choice(pids)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.append(victim)


def test_ten_random_kills_cost_no_other_cell(chance, build, tmp_path, logbook_text):
    folder = tmp_path / "at-work"
    folder.mkdir()
    at_work, others = str(folder), str(os.getpid())

    @pipeline_step()
    def work(data, ctx):
        mark = Path(at_work, str(os.getpid()))
        mark.write_text("")
        time.sleep(0.02)
        mark.unlink()
        ctx.metrics.add("drawn", float(ctx.rng.random()))
        ctx.metrics.add("not_here", str(os.getpid()) != others)
        return data

    killed, stop = [], threading.Event()
    expected = build(work()).run(replicates=CELLS // 2, treatments=[Treatment("t", {})])
    for file in folder.iterdir():
        file.unlink()
    killer = threading.Thread(target=kill_at_random, args=(folder, chance, killed, stop))
    killer.start()
    try:
        result = build(work(), plugins=[ParallelExecution(2, "process")]).run(
            replicates=CELLS // 2, treatments=[Treatment("t", {})]
        )
    finally:
        stop.set()
        killer.join()
    lost = {key for key, error in result.errors.items() if error.error_type == "WorkerCrashError"}
    assert set(result.errors) == lost
    assert len(lost) <= len(killed) // 2  # a cell is lost by its second death alone
    for name in ("baseline", "t"):
        got = result.metrics.baseline if name == "baseline" else result.metrics.treatments[name]
        wanted = expected.metrics.baseline if name == "baseline" else expected.metrics.treatments[name]
        kept = [r for r in range(CELLS // 2) if f"{name}_rep_{r}" not in lost]
        assert list(got.metrics["drawn"]) == [list(wanted.metrics["drawn"])[r] for r in kept]
        assert all(got.metrics["not_here"])
    assert killed
    assert "SIGKILL" in logbook_text()


def test_the_process_that_starts_workers_may_be_killed_too(build, tmp_path):
    mark = tmp_path / "done"

    @pipeline_step()
    def work(data, ctx):
        if ctx["replicate"] == 5 and not mark.exists():
            mark.write_text("")
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(30)
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(work(), plugins=[ParallelExecution(2, "process")]).run(replicates=12)
    assert not result.errors, result.errors
    assert list(result.metrics.baseline.metrics["fine"]) == list(range(12))
