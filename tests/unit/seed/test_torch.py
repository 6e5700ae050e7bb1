"""PyTorch, where it is imported, is seeded as `random` and NumPy are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from crystallize import (  # noqa: E402 - after what decides whether this file runs
    AsyncExecution,
    BasePlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    data_source,
    pipeline_step,
)

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(1),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@data_source
def nothing(ctx):
    return None


@pipeline_step()
def draw(data):
    return data, {"drawn": float(torch.rand(1))}


def experiment(*steps, plugins=(), **settings):
    settings.setdefault("seed", 7)
    return Experiment(
        nothing(),
        Pipeline(list(steps)),
        plugins=[SeedPlugin(**settings), *plugins],
        default_plugins=False,
        name="torch",
    )


def drawn(*steps, **settings):
    return list(experiment(*(steps or [draw()]), **settings).run(replicates=4).metrics.baseline.metrics["drawn"])


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_draw_is_the_same_under_every_executor(executor):
    torch.rand(3)
    found = drawn(plugins=[EXECUTORS[executor]()])
    torch.manual_seed(7)
    assert found[0] == float(torch.rand(1))
    assert len(set(found)) == 4
    assert found == drawn()
    assert found != drawn(seed=8)


def test_initial_weights_and_dropout_are_the_same_again():
    @pipeline_step()
    def train(data):
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout())
        return data, {"drawn": float(model(torch.randn(2, 4)).detach().sum())}

    assert drawn(train()) == drawn(train())


def test_where_there_is_a_seed_fn_nothing_else_seeds():
    torch.manual_seed(3)
    expected = [float(torch.rand(1)) for _ in range(4)]
    torch.manual_seed(3)
    assert drawn(seed_fn=lambda seed: None) == expected


def test_strict_mode_puts_the_state_back_that_a_neutral_plugin_moved():
    class Draws(BasePlugin):
        neutral = True

        def before_step(self, experiment, step, ctx):
            torch.rand(1)

    plugins = [SeedPlugin(seed=7), Draws()]
    strict = Experiment(nothing(), Pipeline([draw()]), plugins=plugins, default_plugins=False, strict=True)
    result = strict.run(replicates=1)
    assert list(result.metrics.baseline.metrics["drawn"]) == drawn()[:1]
    assert "PyTorch" in result.plugin_errors[0].error


def test_a_cacheable_step_that_draws_from_it_is_not_cached(caplog):
    @pipeline_step(cacheable=True)
    def draws(data):
        return data, {"drawn": float(torch.rand(1))}

    first = drawn(draws(), draw())
    assert drawn(draws(), draw()) == first
    assert "moved the global random state" in caplog.text
