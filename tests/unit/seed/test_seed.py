"""`SeedPlugin`: the formula, what is seeded, what is recorded, and `ctx.rng`."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import (
    AsyncExecution,
    BasePlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
    standalone_context,
)
from crystallize.errors import ArgumentTypeError, CrystallizeError, RandomnessError
from crystallize.hooks import ExperimentView, RunInfo
from crystallize_plugins.seed import seed_global_state

NO_SEEDS = ["abc", "7", 1.5, 2.0, True, False, [1], np.float64(1), np.True_]


@data_source
def drawn(ctx):
    return float(ctx.rng.random())


@pipeline_step()
def note(data, ctx):
    ctx.record("seed", ctx["seed_used"])
    ctx.record("python", random.random())
    ctx.record("numpy", float(np.random.rand()))
    return data


@pipeline_step()
def own(data, ctx):
    ctx.record("source", data)
    ctx.record("own", float(ctx.rng.random()))
    return data


@pipeline_step()
def skip(data, ctx):
    return data


@pipeline_step()
async def waits(data, ctx):
    await asyncio.sleep(0)
    ctx.record("waits", float(ctx.rng.random()))
    return data


def experiment(*plugins, steps=None, name="seeded"):
    return Experiment(drawn(), Pipeline(steps or [note()]), plugins=list(plugins), name=name, default_plugins=False)


def metrics(result, condition="baseline"):
    assert not result.errors
    found = result.metrics.baseline if condition == "baseline" else result.metrics.treatments[condition]
    return dict(found.metrics)


# -- the formula --------------------------------------------------------------------------------------


@given(st.integers(), st.integers(0, 10_000))
def test_a_replicates_seed_follows_the_formula_for_any_integer(seed, replicate):
    assert SeedPlugin(seed=seed).seed_for(replicate) == (seed + replicate * 31337) % 2**32


@given(st.integers(), st.integers(0, 100))
def test_without_auto_seed_every_replicate_has_the_master_seed(seed, replicate):
    assert SeedPlugin(seed=seed, auto_seed=False).seed_for(replicate) == seed % 2**32


@given(st.integers(-(2**70), 2**70))
def test_every_seed_serves_both_global_generators(seed):
    seed_global_state(SeedPlugin(seed=seed).seed_for(1))


@pytest.mark.parametrize("seed", [0, 1234, 2**32 - 1, 2**32, -3, 10**30])
def test_steps_see_the_formula_the_same_in_every_condition(seed):
    result = experiment(SeedPlugin(seed=seed)).run(replicates=3, treatments=[Treatment("t", {"x": 1})])
    expected = [(seed + r * 31337) % 2**32 for r in range(3)]
    assert metrics(result)["seed"] == metrics(result, "t")["seed"] == expected
    assert list(result.provenance["seeds"]["baseline"]) == list(result.provenance["seeds"]["t"]) == expected


def test_conditions_of_a_replicate_draw_the_same_and_replicates_differ():
    result = experiment(SeedPlugin(seed=5), steps=[note(), own()]).run(replicates=3, treatments=[Treatment("t", {})])
    assert metrics(result) == metrics(result, "t")
    for name in ("python", "numpy", "source", "own"):
        assert len(set(metrics(result)[name])) == 3


def test_a_numpy_integer_is_a_seed():
    assert SeedPlugin(seed=np.int64(7)).seed == 7
    assert type(SeedPlugin(seed=np.int64(7)).seed) is int


@pytest.mark.parametrize("seed", NO_SEEDS, ids=repr)
def test_what_is_no_integer_is_refused_when_the_plugin_is_made(seed):
    with pytest.raises(ArgumentTypeError, match="seed must be an integer"):
        SeedPlugin(seed=seed)
    with pytest.raises(TypeError):
        SeedPlugin(seed)


def test_the_other_settings_are_checked_when_the_plugin_is_made():
    with pytest.raises(ArgumentTypeError, match="auto_seed must be True or False"):
        SeedPlugin(auto_seed=1)
    with pytest.raises(ArgumentTypeError, match="seed_fn must be callable"):
        SeedPlugin(seed_fn="numpy")

    async def seed_later(seed):
        await asyncio.sleep(0)

    with pytest.raises(ArgumentTypeError, match="seed_fn is an async function, .*seed_later"):
        SeedPlugin(seed_fn=seed_later)


# -- with no seed given -------------------------------------------------------------------------------


def test_a_seed_is_drawn_logged_and_recorded_so_that_the_run_can_be_repeated(caplog):
    with caplog.at_level(logging.INFO, logger="crystallize"):
        first = experiment(SeedPlugin()).run(replicates=2)
    seed = first.provenance["run"]["seed"]
    assert f"SeedPlugin(seed={seed})" in caplog.text
    assert metrics(first)["seed"][0] == seed
    assert metrics(experiment(SeedPlugin(seed=seed)).run(replicates=2)) == metrics(first)


def test_every_run_draws_a_seed_of_its_own_even_if_runs_share_the_plugin_and_the_state_of_random():
    plugin = SeedPlugin()
    seeds = set()
    for _ in range(4):
        random.seed(1)
        seeds.add(experiment(plugin).run().provenance["run"]["seed"])
    assert len(seeds) == 4
    assert plugin.seed is None


def test_a_seed_that_the_run_has_already_is_adopted_unless_the_plugin_has_its_own():
    def seed_after(plugin, **run):
        view = view_of(**run)
        seed = plugin.base_seed(view)
        return plugin.draw_seed(view) if seed is None else seed

    assert seed_after(SeedPlugin(), seed=12) == 12
    assert seed_after(SeedPlugin(seed=3), seed=12) == 3
    assert seed_after(SeedPlugin(), seed_override=99) == 99
    assert 0 <= seed_after(SeedPlugin()) < 2**32


def test_a_cell_without_any_base_seed_says_so():
    with pytest.raises(RandomnessError, match="no seed has been drawn"):
        SeedPlugin().before_replicate(view_of(), standalone_context({"replicate": 0}))


def view_of(**run):
    return ExperimentView(
        name="x", description=None, datasource=None, pipeline=None, plugins=(), treatments=(), hypotheses=(),
        replicates=1, outputs={}, initial_ctx={}, run=RunInfo(id="1", **run),
    )  # fmt: skip


# -- what is seeded -----------------------------------------------------------------------------------


def test_by_default_python_and_numpy_are_seeded():
    first = metrics(experiment(SeedPlugin(seed=5)).run(replicates=2))
    random.random()
    np.random.rand()
    assert metrics(experiment(SeedPlugin(seed=5)).run(replicates=2)) == first
    random.seed(5)
    np.random.seed(5)
    assert (first["python"][0], first["numpy"][0]) == (random.random(), float(np.random.rand()))


def test_the_first_cell_is_seeded_even_if_a_step_is_the_first_to_import_numpy(run_script):
    finished = run_script(
        """
        import sys
        from crystallize import Experiment, Pipeline, SeedPlugin, data_source, pipeline_step

        @data_source
        def nothing(ctx):
            return None

        @pipeline_step()
        def draw(data, ctx):
            import numpy
            ctx.record("n", float(numpy.random.rand()))
            return data

        assert "numpy" not in sys.modules
        for _ in range(2):
            made = Experiment(nothing(), Pipeline([draw()]), plugins=[SeedPlugin(seed=3)], default_plugins=False)
            print(made.run(replicates=2).metrics.baseline.metrics["n"])
        """,
        options=["-s"],  # a new interpreter, which has imported nothing
    )
    first, second = finished.stdout.splitlines()
    assert first == second, finished.stderr


def test_a_seed_fn_gets_every_computed_seed_in_place_of_the_default():
    seen = []
    random.seed(99)
    expected = random.random()
    random.seed(99)
    result = experiment(SeedPlugin(seed=2**32 - 1, seed_fn=seen.append)).run(
        replicates=2, treatments=[Treatment("t", {})]
    )
    assert seen == [2**32 - 1, 2**32 - 1, 31336, 31336]
    assert metrics(result)["python"][0] == expected


def test_a_seed_fn_that_raises_fails_its_cells_and_is_named_with_its_seed():
    def picky(seed):
        if seed > 10:
            raise ValueError("too large")

    result = experiment(SeedPlugin(seed=10, seed_fn=picky)).run(replicates=2, treatments=[Treatment("t", {})])
    assert set(result.errors) == {"baseline_rep_1", "t_rep_1"}
    text = str(result.errors["t_rep_1"])
    assert all(part in text for part in ("seed_fn", "picky", "31347", "ValueError", "too large"))
    assert result.metrics.baseline.metrics["seed"] == [10]


def test_a_seed_fn_may_be_any_callable():
    class Seeder:
        def __init__(self):
            self.seen = []

        def __call__(self, seed):
            self.seen.append(seed)
            if len(self.seen) > 1:
                raise KeyError("again")

    seeder = Seeder()
    result = experiment(SeedPlugin(seed=1, seed_fn=seeder)).run(replicates=2)
    assert seeder.seen == [1, 31338]
    assert "Seeder" in str(result.errors["baseline_rep_1"])
    assert not experiment(SeedPlugin(seed=1, seed_fn=functools.partial(np.random.seed))).run().errors


# -- one cell -----------------------------------------------------------------------------------------


def test_apply_takes_another_seed_in_place_of_the_computed_one():
    @pipeline_step()
    def tell(data, ctx):
        return ctx["seed_used"]

    seen = []
    made = experiment(SeedPlugin(seed=4, seed_fn=seen.append), steps=[tell()])
    assert [made.apply(), made.apply(seed=21), made.apply(seed=-1), made.apply(seed=2**40)] == [4, 21, 2**32 - 1, 0]
    assert seen == [4, 21, 2**32 - 1, 0]


# -- ctx.rng ------------------------------------------------------------------------------------------


def test_every_place_in_a_cell_has_a_generator_of_its_own():
    result = experiment(SeedPlugin(seed=8), steps=[own(), own(), own()]).run()
    drawn_numbers = [metrics(result)["source"][0], *metrics(result)["own"]]
    assert len(set(drawn_numbers)) == 4
    again = [
        float(np.random.default_rng(np.random.SeedSequence(entropy=8, spawn_key=(place,))).random())
        for place in range(4)
    ]
    assert drawn_numbers == again


def test_the_generator_of_a_step_does_not_depend_on_what_others_drew():
    @pipeline_step()
    def greedy(data, ctx):
        ctx.rng.random(1000)
        random.seed(0)
        np.random.seed(0)
        return data

    quiet = experiment(SeedPlugin(seed=8), steps=[skip(), own()]).run(replicates=3)
    noisy = experiment(SeedPlugin(seed=8), steps=[greedy(), own()]).run(replicates=3)
    assert metrics(quiet) == metrics(noisy)


def test_within_a_step_the_generator_goes_on():
    @pipeline_step()
    def twice(data, ctx):
        ctx.record("x", float(ctx.rng.random()))
        ctx.record("x", float(ctx.rng.random()))
        return data

    assert len(set(metrics(experiment(SeedPlugin(seed=8), steps=[twice()]).run())["x"])) == 2


def test_without_a_seed_plugin_there_is_no_generator_and_the_error_says_what_to_add():
    result = experiment().run()
    assert "SeedPlugin" in str(result.errors["baseline_rep_0"])


# -- every executor -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "executor",
    [SerialExecution(), ParallelExecution(2, "thread"), ParallelExecution(2, "process"), AsyncExecution()],
    ids=["serial", "thread", "process", "async"],
)
def test_generators_give_the_same_numbers_under_every_executor(executor):
    steps = [own(), waits(), own()]
    plain = experiment(SeedPlugin(seed=6), steps=steps).run(replicates=5, treatments=[Treatment("t", {})])
    other = experiment(SeedPlugin(seed=6), executor, steps=steps).run(replicates=5, treatments=[Treatment("t", {})])
    assert metrics(other) == metrics(plain)
    assert metrics(other, "t") == metrics(plain, "t")


def test_processes_seed_the_global_state_as_a_serial_run_does():
    plain = experiment(SeedPlugin(seed=6)).run(replicates=5)
    other = experiment(SeedPlugin(seed=6), ParallelExecution(2, "process")).run(replicates=5)
    assert metrics(other) == metrics(plain)


def test_a_drawn_seed_reaches_worker_processes():
    result = experiment(SeedPlugin(), ParallelExecution(2, "process")).run(replicates=3)
    seed = result.provenance["run"]["seed"]
    assert metrics(result)["seed"] == [(seed + r * 31337) % 2**32 for r in range(3)]


def test_two_runs_at_once_may_share_a_plugin():
    plugin = SeedPlugin()
    results = []

    def run():
        results.append(experiment(plugin).run(replicates=20))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        seed = result.provenance["run"]["seed"]
        assert metrics(result)["seed"] == [(seed + r * 31337) % 2**32 for r in range(20)]


def test_the_plugin_pickles_with_its_settings():
    again = pickle.loads(pickle.dumps(SeedPlugin(seed=3, auto_seed=False, seed_fn=np.random.seed)))
    assert (again.seed, again.auto_seed, again.seed_fn) == (3, False, np.random.seed)


# -- as a plugin --------------------------------------------------------------------------------------


def test_its_settings_are_part_of_the_identity_and_of_the_lock():
    made = experiment(SeedPlugin(seed=3, auto_seed=False))
    (entry,) = made.run().provenance["plugins"]
    assert entry["name"] == "seed"
    assert entry["settings"]["seed"] == 3
    assert SeedPlugin.neutral is False
    assert SeedPlugin.seeds_global_state is True


def test_what_later_plugins_do_finds_the_cell_seeded():
    class Looks(BasePlugin):
        neutral = True

        def before_replicate(self, ctx):
            seen.append(ctx["seed_used"])

    seen = []
    made = experiment(Looks(), SeedPlugin(seed=3))
    made.run()
    assert made.plugin_order()[0] == "seed"
    assert seen == [3]


def test_every_refusal_is_ours():
    for attempt in (
        lambda: SeedPlugin(seed="x"),
        lambda: SeedPlugin(auto_seed=None),
        lambda: SeedPlugin(seed_fn=1),
        lambda: SeedPlugin().seed_for(0),
    ):
        with pytest.raises(CrystallizeError):
            attempt()
