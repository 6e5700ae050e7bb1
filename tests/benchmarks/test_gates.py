"""What speed and size rest on, held in counts, in growth, and in ratios with room to spare; never in seconds."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from importlib.metadata import PathDistribution

import numpy as np
import pytest

from crystallize import BasePlugin, Experiment, Pipeline, Treatment, data_source, pipeline_step
from crystallize.discovery import metadata
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.writer import GROUP_SECONDS

MEGABYTE = 1_000_000
TREATMENTS = [Treatment(f"treatment_{number}", {"delta": float(number)}) for number in range(1, 4)]
CONDITIONS = 1 + len(TREATMENTS)


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def shift(data, ctx, *, delta=0.0):
    return data


@pipeline_step()
def score(data, ctx):
    ctx.metrics.add("score", float(ctx["replicate"]))
    return data


def make(steps=10, *, keys=0, plugins="none", **options):
    context = {f"key_{number}": number if number % 2 else [number] for number in range(keys)}
    return Experiment(
        numbers(),
        Pipeline([*[shift() for _ in range(steps - 1)], score()]),
        name="gates",
        initial_ctx=context,
        plugins=None if isinstance(plugins, str) else plugins,
        default_plugins=plugins == "default",
        **options,
    )


def run(experiment, replicates, treatments=TREATMENTS):
    result = experiment.run(treatments=treatments, replicates=replicates)
    assert not result.errors
    return result


def calls_of(function):
    """Count the functions that are called, Python's and built-in ones: the same on a busy machine and an idle one."""
    count = 0

    def look(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    # A collection now and then would count as well: other tests' libraries have functions called at each.
    gc.collect()
    gc.disable()
    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def shortest(*functions, rounds=9):
    """Time functions in turns, and give the shortest time of each: other work only ever adds."""
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, taken in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    return [min(taken) for taken in times]


def modules_after(code):
    code = f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


# ---- what importing brings


def test_importing_crystallize_imports_next_to_nothing():
    modules = modules_after("import crystallize")
    assert "crystallize" in modules
    assert len(modules) <= 8, sorted(modules)
    # It alone would be most of what the import costs.
    assert "typing" not in modules


def test_a_run_of_the_core_alone_loads_no_heavy_library():
    modules = modules_after(
        "from crystallize import Experiment, Pipeline\n"
        "from crystallize.datasources import DataSource\n"
        "class Source(DataSource):\n"
        "    def fetch(self, ctx):\n"
        "        return 1\n"
        "def keep(data, ctx):\n"
        "    return data\n"
        "Experiment(Source(), Pipeline([keep]), name='cold', default_plugins=False).run()"
    )
    for heavy in ("numpy", "sqlite3", "asyncio", "multiprocessing", "concurrent.futures", "crystallize_plugins"):
        assert heavy not in modules
    assert len(modules) <= 215, len(modules)


# ---- the step loop


def marginal_calls(plugins):
    """Calls that one more step in each cell, and one more cell of ten steps, add to a run."""

    def per_cell(steps):
        experiment = make(steps, plugins=plugins)
        run(experiment, 1)
        # The lesser of two: what is done once in a process is none of a step's.
        few, many = (
            min(calls_of(lambda: run(experiment, replicates)) for _ in range(2))  # noqa: B023
            for replicates in (10, 30)
        )
        return (many - few) / (20 * CONDITIONS)

    short, long = per_cell(10), per_cell(30)
    return (long - short) / 20, short


def test_a_step_costs_its_call_and_little_more():
    step, cell = marginal_calls("none")
    # The step itself, the clock, and two notes of the time.
    assert step <= 4, step
    assert cell <= 110, cell


def test_the_default_plugins_add_nothing_to_a_step():
    step, cell = marginal_calls("default")
    assert step <= 4, step
    assert cell <= 170, cell


@pytest.mark.parametrize("neutral", [True, False])
def test_hooks_of_a_step_cost_their_calls_and_one_more(neutral):
    class Looks(BasePlugin):
        def before_step(self, step):
            pass

        def after_step(self, experiment, ctx):
            pass

    Looks.neutral = neutral
    hooks = 10  # five implementations of two
    calls = {}
    for steps in (10, 30):
        experiment = make(steps, plugins=[Looks() for _ in range(5)])
        run(experiment, 1)
        few, many = (
            min(calls_of(lambda: run(experiment, replicates)) for _ in range(2))  # noqa: B023
            for replicates in (10, 30)
        )
        calls[steps] = (many - few) / (20 * CONDITIONS)
    step = (calls[30] - calls[10]) / 20
    # Beside what a step costs without any: one call for each hook, and for neutral ones what they see of the context.
    assert step <= 4 + hooks + 2 + (1 if neutral else 0), step


def test_strict_mode_asks_for_no_random_state():
    """To ask for those of `random` and NumPy costs more than everything else; their memory is compared."""
    asked = 0

    def look(frame, event, argument):
        nonlocal asked
        asked += event == "c_call" and argument.__name__ in ("getstate", "get_state")

    class Looks(BasePlugin):
        neutral = True

        def before_step(self):
            pass

    np.random.rand()
    experiment = make(10, plugins=[Looks()], strict=True)
    counts = []
    for replicates in (3, 13):
        asked = 0
        sys.setprofile(look)
        try:
            run(experiment, replicates)
        finally:
            sys.setprofile(None)
        counts.append(asked)
    assert counts[0] == counts[1] <= 10, counts


def test_each_distribution_is_looked_at_once(tmp_path, monkeypatch):
    for number in range(40):
        folder = tmp_path / f"acme_{number}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: acme-{number}\nVersion: 1.0\n")
        if number % 8 == 0:
            (folder / "entry_points.txt").write_text(f"[crystallize.plugins]\np{number} = acme_{number}:Plugin\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    reads = []
    looked_up = PathDistribution.read_text
    monkeypatch.setattr(
        PathDistribution, "read_text", lambda self, name: reads.append((self._path.name, name)) or looked_up(self, name)
    )
    found = metadata._scan()
    assert len(found.records["crystallize.plugins"]) == 5
    assert len(reads) == len(set(reads)) == 40 + 5


def test_the_second_run_prepares_next_to_nothing():
    experiment = make()
    first = calls_of(experiment.run)
    experiment.run()
    later = calls_of(experiment.run)
    assert later < first
    assert later <= 900, later


def test_a_serial_run_is_within_reach_of_a_bare_loop():
    def shift_bare(data, delta):
        return data

    def bare():
        scores = {}
        for replicate in range(50):
            for condition in range(CONDITIONS):
                data = [1, 2, 3]
                for _ in range(9):
                    data = shift_bare(data, condition)
                scores.setdefault(condition, []).append(float(replicate))
        return scores

    experiment = make()
    run(experiment, 1)
    ours, theirs = shortest(lambda: run(experiment, 50), bare)
    # Some twenty times in practice, most of it for cells; the closest peer takes about seven hundred.
    assert ours / theirs < 80


# ---- large contexts


@pytest.mark.parametrize("plugins", ["none", "default"])
def test_ten_thousand_context_keys_cost_no_more_calls_than_ten(plugins):
    counts = []
    for keys in (10, 10_000):
        experiment = make(keys=keys, plugins=plugins)
        run(experiment, 1)
        counts.append(calls_of(lambda experiment=experiment: run(experiment, 10)))
    assert counts[1] < 1.2 * counts[0], counts


def test_ten_thousand_context_keys_hardly_take_longer_than_ten():
    few, many = make(keys=10), make(keys=10_000)
    for experiment in (few, many):
        run(experiment, 1)
    short, long = shortest(lambda: run(few, 50), lambda: run(many, 50))
    assert long / short < 3


def test_looking_at_a_cell_describes_what_it_read_and_no_more():
    few, many = (run(make(keys=keys), 2) for keys in (10, 10_000))
    look = [calls_of(lambda result=result: result.provenance["ctx_changes"]["baseline"][1]) for result in (few, many)]
    assert look[1] < 1.5 * look[0], look


# ---- arrays


def peak_of(function):
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_an_array_goes_through_the_steps_where_it_lies():
    array = np.ones(20 * MEGABYTE // 8)
    seen = []

    @data_source
    def source(ctx):
        return array

    @pipeline_step()
    def keep(data, ctx):
        seen.append(data)
        return data

    experiment = Experiment(source(), Pipeline([keep() for _ in range(5)]), name="arrays")
    experiment.run()
    assert peak_of(experiment.run) < MEGABYTE
    assert len(seen) == 10
    assert all(np.shares_memory(data, array) for data in seen)


def test_an_array_in_the_context_is_looked_at_where_it_lies():
    array = np.ones(20 * MEGABYTE // 8)
    shared = []

    @pipeline_step()
    def look(data, ctx, *, weights):
        shared.append(np.shares_memory(ctx["weights"], array) and np.shares_memory(weights, array))
        return data

    experiment = Experiment(numbers(), Pipeline([look() for _ in range(5)]), initial_ctx={"weights": array}, name="x")
    experiment.run()
    assert peak_of(experiment.run) < MEGABYTE
    assert len(shared) == 10
    assert all(shared)


# ---- memory


@pytest.mark.parametrize("plugins", ["none", "default"])
def test_a_result_keeps_less_than_a_hundred_bytes_for_each_step_execution(plugins):
    experiment = make(plugins=plugins)
    kept = []
    run(experiment, 200)
    for replicates in (50, 150):
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            result = run(experiment, replicates)
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
        del result
    # Metrics included: a number takes some forty bytes in each cell.
    assert (kept[1] - kept[0]) / (100 * CONDITIONS * 10) < 100


# ---- the store


@pytest.fixture
def syncs(monkeypatch):
    """Count the calls of `os.fsync`."""
    counted = []
    sync = os.fsync

    def count(descriptor):
        counted.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    return counted


@pytest.fixture
def statements(monkeypatch):
    """Collect the statements that the store's database executes."""
    executed = []
    create = database.create

    def traced(*arguments, **options):
        connection = create(*arguments, **options)
        connection.set_trace_callback(executed.append)
        return connection

    monkeypatch.setattr(database, "create", traced)
    return executed


def test_cells_add_no_syncs_of_their_own(syncs):
    experiment = make(plugins="default")
    counts = []
    for replicates in (1, 1, 50):
        syncs.clear()
        run(experiment, replicates)
        counts.append(len(syncs))
    assert counts[1] == counts[2]
    assert counts[1] <= 6


def test_cells_are_committed_in_groups(statements):
    experiment = make(plugins="default")
    started = time.perf_counter()
    run(experiment, 100)
    # Once every few milliseconds, however many cells there are; beside that, a beginning and an end.
    groups = (time.perf_counter() - started) / GROUP_SECONDS
    assert statements
    assert len(statements) <= 60 + 2 * groups


def test_a_stored_cell_takes_few_bytes():
    experiment = make(plugins="default")
    sizes = []
    for replicates in (100, 300):
        folder = run(experiment, replicates).provenance["run"]["folder"]
        connection = sqlite3.connect(f"{folder}/run.db")
        sizes.append(connection.execute("SELECT sum(length(record)) FROM cell").fetchone()[0])
        connection.close()
    # Of ten steps, up to twenty digits each.
    assert (sizes[1] - sizes[0]) / (200 * CONDITIONS) < 300


def test_an_artifact_takes_four_syncs_at_most(syncs):
    @pipeline_step()
    def publish(data, ctx):
        ctx.artifacts.add("blob.bin", b"x" * 1000)
        return data

    experiment = Experiment(numbers(), Pipeline([publish()]), name="files")
    counts = []
    for replicates in (10, 60):
        syncs.clear()
        run(experiment, replicates, ())
        counts.append(len(syncs))
    # Its own, and one for each of its three folders; those of the run's folder are shared by a group.
    assert (counts[1] - counts[0]) / 50 <= 4.5
