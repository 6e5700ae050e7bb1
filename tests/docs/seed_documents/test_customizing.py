"""The page on customising experiments: each of its code blocks, pasted into a file, runs.

The lines of the blocks stand as the page has them; what the page leaves to its reader (`my_source`, `step_one`, the
ellipsis for the steps) is filled in before and after.
"""

from __future__ import annotations

import pytest

FILL_IN = """
from crystallize import (
    AsyncExecution, Experiment, ParallelExecution, Pipeline, SeedPlugin, SerialExecution, Treatment, data_source,
    pipeline_step,
)

@data_source
def my_source(ctx):
    return {"numbers": [1, 2, 3]}

@pipeline_step()
def step_one(data, ctx, *, delta=0.0):
    return {"numbers": [number + delta for number in data["numbers"]]}

@pipeline_step()
def step_two(data, ctx):
    import random
    import numpy as np
    ctx.metrics.add("total", sum(data["numbers"]))
    ctx.metrics.add("seed", ctx["seed_used"])
    ctx.metrics.add("draws", [random.random(), float(np.random.rand())])
    return data
"""

PLUGINS = """
from crystallize import Experiment, Pipeline, SeedPlugin, ParallelExecution, LoggingPlugin
experiment = Experiment(
    datasource=my_source(),
    pipeline=Pipeline([step_one(), step_two()]),
    plugins=[
        SeedPlugin(seed=1234, auto_seed=True),
        ParallelExecution(max_workers=4, executor_type="process"),
        LoggingPlugin(verbose=True, log_level="DEBUG"),
    ],
)
"""

SEED_FN = """
import numpy as np
def seed_all(seed: int) -> None:
    import random
    random.seed(seed)
    np.random.seed(seed % (2**32 - 1))
seeded = SeedPlugin(seed=123, seed_fn=seed_all)
"""

RESOURCE = """
from crystallize import resource_factory
from crystallize.utils.context import FrozenContext
def connect(ctx: FrozenContext):
    import sqlite3
    return sqlite3.connect(":memory:")
experiment = Experiment(
    datasource=my_source(),
    pipeline=Pipeline([STEPS]),
    initial_ctx={"db": resource_factory(connect)},
)
"""

EXECUTORS = ['ParallelExecution(max_workers=8, executor_type="process")', "AsyncExecution()", "SerialExecution()"]

APPLY = """
result = experiment.run(treatments=[best], replicates=40)
single_output = experiment.apply(
    treatment=best,
    data={"numbers": [10, 20, 30]}, # optional override for the datasource output
    seed=999, # optional override seed forwarded to SeedPlugin
)
"""


@pytest.fixture
def printed_by(run_script):
    """Run the parts of a script and give what it printed."""

    def run(*parts):
        done = run_script("\n".join([FILL_IN, *parts]))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_three_default_plugins_are_there_without_a_word(printed_by):
    assert printed_by("""
from crystallize import ArtifactPlugin, LoggingPlugin
built = Experiment.builder().datasource(my_source()).add_step(step_one()).build()
for experiment in (Experiment(datasource=my_source(), pipeline=Pipeline([step_one()])), built):
    print(experiment.get_plugin(ArtifactPlugin).root_dir, experiment.get_plugin(SeedPlugin).auto_seed,
          experiment.get_plugin(LoggingPlugin).verbose)
""") == "data True False\n" * 2  # fmt: skip


def test_the_list_of_plugins_runs(printed_by):
    assert printed_by(PLUGINS, """
result = experiment.run(replicates=3)
print(dict(result.errors), list(result.metrics.baseline.metrics["total"]))
print(list(result.metrics.baseline.metrics["seed"]) == [(1234 + r * 31337) % 2**32 for r in range(3)])
""") == "{} [6.0, 6.0, 6.0]\nTrue\n"  # fmt: skip


def test_the_seed_function_gets_the_computed_seeds(printed_by):
    assert printed_by(SEED_FN, """
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([step_one(), step_two()]), plugins=[seeded])
result = experiment.run(replicates=3)
expected = []
for r in range(3):
    seed = (123 + r * 31337) % 2**32
    seed_all(seed)
    import random
    expected.append([random.random(), float(np.random.rand())])
print(list(result.metrics.baseline.metrics["draws"]) == expected)
""") == "True\n"  # fmt: skip


def test_auto_seed_off_uses_the_master_seed_for_every_replicate(printed_by):
    assert printed_by("""
plugin = SeedPlugin(seed=77, auto_seed=False)
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([step_two()]), plugins=[plugin])
print(list(experiment.run(replicates=3).metrics.baseline.metrics["seed"]))
""") == "[77, 77, 77]\n"  # fmt: skip


def test_without_the_plugin_randomness_is_managed_by_hand(printed_by):
    assert printed_by("""
@pipeline_step()
def by_hand(data, ctx):
    return data, {"seeded": "seed_used" in ctx}
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([by_hand()]), default_plugins=["logging"])
print(list(experiment.run().metrics.baseline.metrics["seeded"]))
""") == "[False]\n"  # fmt: skip


def test_the_seed_is_in_the_context_and_in_the_tree(printed_by):
    assert "918273" in printed_by("""
plugin = SeedPlugin(seed=918273)
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([step_one()]), plugins=[plugin])
experiment.run().print_tree()
""")  # fmt: skip


def test_threads_with_a_seed_plugin_are_warned_about(run_script):
    done = run_script(FILL_IN + """
plugins = [SeedPlugin(seed=1), ParallelExecution(executor_type="thread")]
Experiment(datasource=my_source(), pipeline=Pipeline([step_one()]), plugins=plugins).run(replicates=2)
""")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "thread" in done.stderr.lower()
    assert "reproducib" in done.stderr.lower()


@pytest.mark.parametrize("executor", ["SerialExecution()", 'ParallelExecution(2, "process")', "ParallelExecution(2)"])
def test_a_resource_is_there_under_every_executor(printed_by, executor):
    assert printed_by("""
@pipeline_step()
def ask(data, ctx):
    return data, {"answer": ctx["db"].execute("select 40 + 2").fetchone()[0]}
""", RESOURCE.replace("STEPS", "ask()"), f"""
experiment.plugins.append({executor})
result = experiment.run(replicates=4)
print(dict(result.errors), list(result.metrics.baseline.metrics["answer"]))
""") == "{} [42, 42, 42, 42]\n"  # fmt: skip


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_executor_gives_the_same_metrics(printed_by, executor):
    assert printed_by(f"""
plugins = [SeedPlugin(seed=5), {executor}]
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([step_one(), step_two()]), plugins=plugins)
result = experiment.run(treatments=[Treatment("up", {{"delta": 2.0}})], replicates=4)
print(dict(result.errors), list(result.metrics.baseline.metrics["total"]),
      list(result.metrics.treatments["up"].metrics["total"]))
""") == "{} [6.0, 6.0, 6.0, 6.0] [12.0, 12.0, 12.0, 12.0]\n"  # fmt: skip


def test_the_winner_is_applied(printed_by):
    assert printed_by(SEED_FN, """
seen = []
def seed_fn(seed):
    seen.append(seed)
    seed_all(seed)
plugins = [SeedPlugin(seed=123, seed_fn=seed_fn)]
experiment = Experiment(datasource=my_source(), pipeline=Pipeline([step_one(), step_two()]), plugins=plugins)
best = Treatment("best", {"delta": 1.0})
""", APPLY, """
print(len(result.metrics.treatments["best"].metrics["total"]), single_output, seen[-1])
print(experiment.apply(best))
""") == "40 {'numbers': [11.0, 21.0, 31.0]} 999\n{'numbers': [2.0, 3.0, 4.0]}\n"  # fmt: skip


def test_validate_finds_what_is_missing(printed_by):
    assert printed_by("""
Experiment(datasource=my_source(), pipeline=Pipeline([step_one()])).validate()
for parts in ({"datasource": None, "pipeline": Pipeline([step_one()])}, {"datasource": my_source(), "pipeline": None}):
    try:
        Experiment(**parts).validate()
    except ValueError as error:
        print([name for name in parts if name in str(error)])
""") == "['datasource']\n['pipeline']\n"  # fmt: skip
