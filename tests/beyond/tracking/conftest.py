"""An MLflow store in a file, copied for each test; what lies in it, read with MLflow itself."""

from __future__ import annotations

import math
import shutil
import sqlite3
import warnings
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step


def client(uri):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        return MlflowClient(uri)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The tables of MLflow take it ten seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client(f"sqlite:///{path}").search_experiments()
    return path


class Store:
    """An MLflow store, and what is in it."""

    def __init__(self, path):
        self.path = path
        self.uri = f"sqlite:///{path}"

    def forget(self, step):
        """Have the store lose what it takes of one step, and say nothing."""
        with sqlite3.connect(self.path) as connection:
            connection.execute(
                f"CREATE TRIGGER forget AFTER INSERT ON metrics WHEN NEW.step = {step} "
                "BEGIN DELETE FROM metrics WHERE rowid = NEW.rowid; END"
            )

    def remember(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute("DROP TRIGGER forget")

    def runs(self, experiment="tracked"):
        """Give ``{condition: run}``, the parent as None."""
        mlflow = client(self.uri)
        found = mlflow.get_experiment_by_name(experiment)
        runs = mlflow.search_runs([found.experiment_id]) if found else []
        by_condition = {run.data.tags.get("crystallize.condition"): run for run in runs}
        assert len(by_condition) == len(runs)
        return by_condition

    def points(self, run):
        """Give ``{metric: [(step, value)]}``, NaN as text."""
        mlflow = client(self.uri)
        return {
            key: sorted((each.step, "nan" if math.isnan(each.value) else each.value) for each in history)
            for key in run.data.metrics
            if (history := mlflow.get_metric_history(run.info.run_id, key))
        }

    def files(self, run, folder=None):
        """Give ``{path: content}``."""
        mlflow, found = client(self.uri), {}
        for each in mlflow.list_artifacts(run.info.run_id, folder):
            if each.is_dir:
                found |= self.files(run, each.path)
            else:
                place = f"{run.info.artifact_uri.removeprefix('file://')}/{each.path}"
                found[each.path] = Path(place).read_text()
        return found


@pytest.fixture
def store(empty_store, tmp_path):
    return Store(shutil.copy(empty_store, tmp_path / "mlflow.db"))


@data_source
def draws(ctx):
    import random

    return random.random()


@pipeline_step()
def measure(data, ctx, *, delta=0.0, fails_at=None, api_key=None):
    if ctx["replicate"] == fails_at:
        raise ArithmeticError("as it was told")
    ctx.artifacts.add("note.txt", f"{ctx['condition']} {ctx['replicate']}")
    ctx.record("twice", 1.0)
    ctx.record("twice", 1.0)
    return data, {
        "total": data + delta,
        "limit": math.inf if ctx["replicate"] == 1 else 0.5,
        "hole": math.nan,
        "a/b: c": 1,
        "a/b_ c": 2,
        "word": "text",
    }


@pytest.fixture
def experiment():
    def made(*plugins, root="data"):
        stored = [] if root is None else [ArtifactPlugin(root)]
        return Experiment(
            draws(),
            Pipeline([measure()]),
            plugins=[SeedPlugin(seed=7), *stored, *plugins],
            default_plugins=False,
            treatments=[Treatment("raised", {"delta": 1.0, "fails_at": 2, "api_key": "hush-hush"})],
            name="tracked",
        )

    return made
