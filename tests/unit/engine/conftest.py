"""Experiments without plugins but those a test gives, and what all tests of the engine need."""

from __future__ import annotations

import asyncio

import pytest

from crystallize import Experiment, Pipeline, data_source, hookimpl


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pytest.fixture
def make():
    """Make an experiment of steps; keywords are those of `Experiment`."""

    def made(*steps, source=None, **settings):
        settings.setdefault("default_plugins", False)
        return Experiment(source or numbers(), Pipeline(list(steps)), **settings)

    return made


def in_plain_code(work):
    return work()


def inside_a_loop(work):
    async def main():
        return work()

    return asyncio.run(main())


@pytest.fixture(params=[in_plain_code, inside_a_loop], ids=lambda where: where.__name__)
def where(request):
    """Call something where no event loop runs, and where one runs already, as in a notebook."""
    return request.param


def streamed(experiment, **settings):
    """Run through `stream`, and give the result that `after_run` was handed."""
    results = []

    class Keep:
        neutral = True

        @hookimpl
        def after_run(self, result):
            results.append(result)

    keep = Keep()
    experiment.plugins.append(keep)
    try:
        for _ in experiment.stream(**settings):
            pass
    finally:
        experiment.plugins.remove(keep)
    return results[0]


FACES = {
    "run": lambda experiment, **kw: experiment.run(**kw),
    "arun": lambda experiment, **kw: asyncio.run(experiment.arun(**kw)),
    "stream": streamed,
    "run inside a loop": lambda experiment, **kw: inside_a_loop(lambda: experiment.run(**kw)),
    "stream inside a loop": lambda experiment, **kw: inside_a_loop(lambda: streamed(experiment, **kw)),
}


@pytest.fixture(params=FACES.values(), ids=FACES.keys())
def face(request):
    """Every way to run an experiment to its end, giving the result."""
    return request.param
