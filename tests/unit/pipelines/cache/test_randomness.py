"""Seeds and generators: in the key where a step uses them, and no output is kept that moved the global state."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from crystallize import AsyncExecution, BasePlugin, ParallelExecution, SeedPlugin, pipeline_step
from crystallize.pipelines.cache.randomness import GlobalRandomness


def test_a_step_that_uses_its_generator_has_the_seed_in_its_key(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def draw(data, ctx):
        note()
        return data, {"out": float(ctx.rng.random())}

    first = values(make(draw(), seed=1).run(replicates=3))
    other = values(make(draw(), seed=2).run(replicates=3))
    again = values(make(draw(), seed=1).run(replicates=3))
    assert first == again
    assert len(set(first + other)) == 6
    assert len(ran()) == 6


def test_the_position_counts_where_the_generator_is_used(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def draw(data, ctx):
        note("draw")
        return data, {"out": float(ctx.rng.random())}

    @pipeline_step()
    def same(data, ctx):
        return data

    found = [values(make(*steps).run()) for steps in ([draw()], [same(), draw()], [same(), draw()], [draw()])]
    assert found[0] == found[3] != found[1] == found[2]
    assert len(ran()) == 2


def test_a_step_that_uses_no_randomness_is_shared_by_all_seeds(make, note, ran):
    @pipeline_step(cacheable=True)
    def plain(data, ctx):
        note()
        return data

    for seed in (1, 2):
        make(plain(), seed=seed).run(replicates=3)
    assert ran() == ["ran"]


def test_a_step_that_reads_the_seed_has_it_in_its_key(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def own(data, ctx):
        note()
        return data, {"out": float(np.random.default_rng(ctx["seed_used"]).random())}

    assert len({*values(make(own(), seed=1).run(replicates=2)), *values(make(own(), seed=2).run(replicates=2))}) == 4
    make(own(), seed=2).run(replicates=2)
    assert len(ran()) == 4


@pytest.mark.parametrize(
    "draw",
    [random.random, np.random.rand, lambda: np.random.seed(3), lambda: random.seed(3), lambda: random.shuffle([1, 2])],
    ids=["random", "numpy", "seeds numpy", "seeds random", "shuffles"],
)
def test_a_step_that_moves_the_global_state_is_not_cached_and_warned_about_once(make, note, ran, log, draw):
    @pipeline_step(cacheable=True)
    def lucky(data, ctx):
        note()
        draw()
        return data

    for _ in range(2):
        make(lucky()).run(replicates=3)
        warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
        assert len(warned) == 1, "once in each run"
        assert "LuckyStep is not cached" in warned[0]
        assert "ctx.rng" in warned[0]
        log.records.clear()
    assert len(ran()) == 6


def test_a_step_that_restores_the_state_is_cached(make, note, ran):
    @pipeline_step(cacheable=True)
    def careful(data, ctx):
        note()
        before = random.getstate()
        random.seed(5)
        total = random.random()
        random.setstate(before)
        return total

    for _ in range(2):
        make(careful()).run()
    assert ran() == ["ran"]


def test_steps_after_a_hit_draw_what_they_draw_after_a_miss(make, values):
    @pipeline_step(cacheable=True)
    def plain(data, ctx):
        ctx.rng.random(3)
        return data

    @pipeline_step()
    def draw(data, ctx):
        return data, {"out": (random.random(), float(np.random.rand()), float(ctx.rng.random()))}

    assert values(make(plain(), draw()).run()) == values(make(plain(), draw()).run())


def test_threads_that_only_seed_their_cells_raise_no_alarm(make, note, ran, log):
    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        time.sleep(0.005)  # others are seeded meanwhile
        note(str(ctx["replicate"]))
        return data

    for _ in range(2):
        make(slow(), plugins=[ParallelExecution(4, "thread")]).run(replicates=24)
    assert "moved the global random state" not in log.text()
    assert sorted(map(int, ran())) == list(range(24))


def test_a_thread_that_draws_keeps_what_ran_meanwhile_from_being_kept(make, note, ran, log):
    inside, drawn = threading.Event(), threading.Event()

    def pause(ctx):
        if ctx["replicate"]:
            inside.wait(10)
            random.random()
            drawn.set()
        else:
            inside.set()
            drawn.wait(10)

    @pipeline_step(cacheable=True)
    def innocent(data, ctx, *, pause):
        pause(ctx)
        return data, {"out": ctx["replicate"]}

    make(innocent(), plugins=[ParallelExecution(2, "thread")], initial_ctx={"pause": pause}).run(replicates=2)
    assert "it, or another thread meanwhile, moved the global random state" in log.text(logging.WARNING)


def test_seeding_that_began_before_anybody_watched_raises_no_alarm():
    watch = GlobalRandomness()
    seeding, go_on = threading.Event(), threading.Event()

    def seed():
        with watch.seeding():
            seeding.set()
            go_on.wait(10)
            random.seed(3)

    other = threading.Thread(target=seed)
    other.start()
    seeding.wait(10)
    timer = threading.Timer(0.05, go_on.set)
    timer.start()
    begun = watch.begin()
    moved = watch.end(begun)
    other.join()
    timer.join()
    assert not moved


def test_overlapping_coroutines_that_are_seeded_meanwhile_are_cached(make, note, ran, log):
    @pipeline_step(cacheable=True)
    async def fetch(data, ctx):
        note()
        for _ in range(3):
            await asyncio.sleep(0)
        return data, {"out": ctx["replicate"]}

    for _ in range(2):
        make(fetch(), plugins=[AsyncExecution()]).run(replicates=5)
    assert len(ran()) == 5
    assert "moved" not in log.text()


def test_what_was_drawn_before_another_cell_was_seeded_is_noticed():
    watch = GlobalRandomness()
    begun = watch.begin()
    random.random()
    with watch.seeding():
        random.seed(1)
    assert watch.end(begun)
    begun = watch.begin()
    with watch.seeding():
        random.seed(2)
    assert not watch.end(begun)


@pytest.mark.parametrize("what,moved", [("draws", "True"), ("draws not", "False")])
def test_a_draw_from_a_numpy_that_the_step_itself_imports_is_noticed(what, moved):
    script = """
import subprocess
import sys
from crystallize.pipelines.cache.randomness import GlobalRandomness

watch = GlobalRandomness()
assert "numpy" not in sys.modules
begun = watch.begin()
import numpy
if sys.argv[1] == "draws":
    numpy.random.rand()
print(watch.end(begun))
"""
    # An interpreter of its own: one that was forked has imported NumPy.
    done = subprocess.run([sys.executable, "-c", script, what], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [moved], done.stderr


@pytest.fixture
def hidden(monkeypatch):
    """Something that a step may go by, and that nobody can see in the step: what a library keeps for itself."""
    monkeypatch.setenv("HIDDEN", "0")
    return "HIDDEN"


def test_a_seed_function_of_ones_own_puts_the_seed_into_every_key(make, note, ran, values, hidden):
    def seed_all(seed):
        os.environ[hidden] = str(seed)

    @pipeline_step(cacheable=True)
    def draw(data, ctx):
        note()
        return data, {"out": int(os.environ[hidden])}

    def run(seed):
        experiment = make(draw())
        experiment.plugins[0] = SeedPlugin(seed=seed, seed_fn=seed_all)
        return values(experiment.run(replicates=2))

    assert [run(1), run(2), run(1)] == [[1, 31338], [2, 31339], [1, 31338]]
    assert len(ran()) == 4


def test_a_plugin_that_may_influence_steps_is_in_the_key_and_a_neutral_one_is_not(make, note, ran, values, hidden):
    class Tune(BasePlugin):
        def __init__(self, scale):
            self.scale = scale

        def before_step(self, experiment, step, ctx):
            os.environ[hidden] = str(self.scale * (ctx["replicate"] + 1))

    class Watch(BasePlugin):
        neutral = True

        def __init__(self, setting):
            self.setting = setting

        def before_step(self, experiment, step, ctx):
            pass

    class Report(BasePlugin):
        def __init__(self, setting):
            self.setting = setting

        def after_run(self, result):
            pass

    @pipeline_step(cacheable=True)
    def act(data, ctx):
        note()
        return data, {"out": int(os.environ[hidden])}

    found = [values(make(act(), plugins=[Tune(scale)]).run(replicates=2)) for scale in (1, 5, 1)]
    assert found == [[1, 2], [5, 10], [1, 2]]
    assert len(ran()) == 4
    for plugin in (Watch(1), Watch(2), Report(1), Report(2)):
        make(act(), plugins=[plugin]).run(replicates=2)
    assert len(ran()) == 1


def test_a_plugin_that_draws_from_the_steps_generator_after_the_step_gets_the_same_numbers(make, values):
    drawn = []

    class After(BasePlugin):
        def after_step(self, experiment, step, data, ctx):
            drawn.append(float(ctx.rng.random()))

    @pipeline_step(cacheable=True)
    def draw(data, ctx):
        return data, {"out": float(ctx.rng.random())}

    for _ in range(2):
        make(draw(), plugins=[After()]).run()
    assert drawn[0] == drawn[1]
