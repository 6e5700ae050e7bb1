"""Experiments with cacheable steps, and what tells how often they ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystallize import Experiment, Pipeline, SeedPlugin, data_source
from crystallize.pipelines import cache

LOGBOOK = "ran.txt"


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pytest.fixture
def make():
    """Make an experiment of steps, with a seed and nothing else; keywords are those of `Experiment`."""

    def made(*steps, source=None, seed=7, plugins=(), **settings):
        return Experiment(
            source or numbers(),
            Pipeline(list(steps)),
            plugins=[SeedPlugin(seed=seed), *plugins],
            default_plugins=False,
            **settings,
        )

    return made


@pytest.fixture
def note():
    """Note in a file that a step ran: a list that it refers to would be a value that it changes."""

    def noted(what="ran"):
        with Path(LOGBOOK).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")

    return noted


@pytest.fixture
def ran():
    """Give what was noted since the last time."""

    def look():
        path = Path(LOGBOOK)
        lines = path.read_text(encoding="utf-8").split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    return look


@pytest.fixture
def values():
    """Give the values of a metric of the baseline, or of a treatment."""

    def look(result, name="out", treatment=None):
        assert not result.errors, result.errors
        found = result.metrics.treatments[treatment] if treatment else result.metrics.baseline
        return list(found.metrics[name])

    return look


@pytest.fixture
def hits():
    """Say of each step of one cell whether its output came from the cache."""

    def look(result, condition="baseline", replicate=0):
        return [step["cache_hit"] for step in result.provenance["ctx_changes"][condition][replicate]]

    return look


@pytest.fixture
def entries():
    """Give the files of the entries there are."""
    return lambda: sorted(Path(cache.info().folder).rglob("*.entry"))
