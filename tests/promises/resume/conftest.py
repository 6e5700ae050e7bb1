"""Experiments that are run, changed, and resumed."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)

_numbers = itertools.count()


class Counted(BasePlugin):
    """Notes the cells that run, in this process."""

    neutral = True

    def __init__(self):
        self.cells = []

    def before_replicate(self, ctx):
        self.cells.append(f"{ctx['condition']}_rep_{ctx['replicate']}")


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def draw(data, ctx, *, delta=0.0):
    return [value + delta + ctx.rng.random() for value in data]


@pipeline_step()
def record(data, ctx):
    ctx.metrics.add("sum", sum(data))
    ctx.artifacts.add("data.txt", repr(data).encode())
    return data


@pytest.fixture
def counted():
    """A plugin that notes which cells run."""
    return Counted()


@pytest.fixture
def build(counted):
    """Make the experiment of the tests, as a new process would."""

    def make(*steps, plugins=(), seed=7, seeder=None, store=None, name="exp", **more):
        more.setdefault("treatments", [Treatment("more", {"delta": 1.0})])
        seeding = SeedPlugin() if seed is None else SeedPlugin(seed=seed)
        return Experiment(
            more.pop("datasource", None) or numbers(),
            Pipeline(list(steps) or [draw(), record()]),
            plugins=[seeder or seeding, counted, *plugins, store or ArtifactPlugin()],
            default_plugins=False,
            name=name,
            **more,
        )

    return make


@pytest.fixture
def ran(counted):
    """Give the cells that ran since the last time it was asked."""

    def since():
        cells, counted.cells = sorted(counted.cells), []
        return cells

    return since


@pytest.fixture
def module(tmp_path):
    """Make a module of a text, each time as a new process would find it: under one name, from a file of its own."""
    made = []

    def load(text, name="lab"):
        path = tmp_path / f"sources_{next(_numbers)}" / f"{name}.py"
        path.parent.mkdir()
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        loaded = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        made.append(name)
        return loaded

    yield load
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def files():
    """Give everything below a folder: paths, contents and times."""

    def listed(folder="data"):
        found = {}
        for path in sorted(Path(folder).rglob("*")):
            status = path.stat()
            found[str(path)] = (status.st_ino, status.st_mtime_ns, path.read_bytes() if path.is_file() else None)
        return found

    return listed


@pytest.fixture
def told():
    """Give everything that a result says of its cells and that does not depend on time and place."""

    def facts(result):
        changes = {
            condition: {
                replicate: [{key: value for key, value in step.items() if key != "duration"} for step in steps]
                for replicate, steps in by_replicate.items()
            }
            for condition, by_replicate in result.provenance["ctx_changes"].items()
        }
        files = [
            (entry["condition"], entry["replicate"], entry["step"], entry["name"], entry["sha256"], entry["size"])
            for entry in result.provenance["artifacts"]
        ]
        return {
            "metrics": result.metrics,
            "cells": result.provenance["cells"],
            "seeds": result.provenance["seeds"],
            "changes": changes,
            "before": {name: dict(each) for name, each in result.provenance["before_steps"].items()},
            "files": files,
            "contents": [Path(entry["path"]).read_bytes() for entry in result.provenance["artifacts"]],
        }

    return facts
