"""Runs made by hand: hooks called as the engine calls them, outcomes as cells leave them behind."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from array import array
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from crystallize.datasources import data_source
from crystallize.design import Treatment
from crystallize.engine.identity import cell_identities
from crystallize.engine.plan import condition_names
from crystallize.engine.record import condition_records
from crystallize.errors import PipelineExecutionError
from crystallize.hooks import (
    ArtifactRecord,
    Cell,
    CellOutcome,
    CellTrace,
    ExperimentView,
    RunInfo,
    StepShape,
    TraceShape,
    build_result,
)
from crystallize.pipelines import Pipeline
from crystallize.plugins.manager import ActivePlugins
from crystallize.results.trace import intern_shape
from crystallize_plugins.artifacts import ArtifactPlugin
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import CellRows
from crystallize_plugins.artifacts.database.schema import insert, seal
from crystallize_plugins.artifacts.reading.outcomes import StoredOutcomes


@data_source
def nothing(ctx):
    return []


def fit(data, ctx):
    return data


@pytest.fixture
def view():
    """Make what a hook sees of an experiment that is about to run."""

    def make(name="exp", *, treatments=(), replicates=3, kind="run", seed=42, **fields):
        made = ExperimentView(
            name=name,
            description=fields.pop("description", None),
            datasource=nothing(),
            pipeline=Pipeline([fit]),
            plugins=(),
            treatments=[Treatment(each, {"delta": len(each)}) for each in treatments],
            hypotheses=(),
            replicates=replicates,
            outputs={},
            initial_ctx={"alpha": 0.5},
            identity="0" * 16,
            run=RunInfo(id=uuid.uuid4().hex, kind=kind, seed=seed, started=time.time()),
            **fields,
        )
        made.identities = partial(cell_identities, made, ActivePlugins.resolve(()))
        made.describe = partial(condition_records, made)
        return made

    return make


@pytest.fixture
def outcome():
    """Make the outcome of one cell; a text as `error` makes it a failed one, `files` are what its step wrote."""

    def make(condition="baseline", replicate=0, metrics=None, *, error=None, files=None, **fields):
        names = tuple((name, len(values)) for name, values in (metrics or {}).items())
        before = StepShape("", ("replicate",), ("seed_used",), ())
        shape = TraceShape(before, (StepShape("FitStep", ("alpha",), (), names),))
        if error is not None:
            fields["error"] = PipelineExecutionError(
                f"FitStep failed in condition {condition!r}, replicate {replicate}: ValueError: {error}",
                step_name="FitStep",
                condition=condition,
                replicate=replicate,
                error_type="ValueError",
                traceback_text=f"Traceback (most recent call last):\n  …\nValueError: {error}\n",
            )
        defaults = {
            "seed": 42 + 31337 * replicate,
            "provenance": CellTrace(intern_shape(shape), array("d", [0.25]), None),
            "duration": 0.5,
            "artifacts": [
                ArtifactRecord("FitStep", name, data, size=len(data)) for name, data in (files or {}).items()
            ],
        }
        return CellOutcome(Cell(condition, replicate), metrics or {}, **{**defaults, **fields})

    return make


@pytest.fixture
def store():
    """Run an experiment as the engine does, as far as a store sees it; give the view and the result."""

    def run(view, outcomes, plugin=None, *, stopped_by=None, errors=None, hypotheses=(), plugin_errors=()):
        plugin = plugin or ArtifactPlugin()
        plugin.before_run(view)
        outcomes = list(outcomes)
        for each in outcomes:
            plugin.collect(view, each)
        baseline = view.run.kind != "trial"
        facts = {
            **(plugin.collect_provenance(view) or {}),
            "plugins": [],
            "run": {
                "id": view.run.id,
                "experiment": view.name,
                "kind": view.run.kind,
                "strategy": view.run.strategy,
                "version": view.run.version,
                "folder": view.run.folder,
                "seed": view.run.seed,
                "started": view.run.started,
                "duration": 1.5,
                "stopped_by": stopped_by,
            },
        }
        result = build_result(
            conditions=condition_records(view, condition_names(view.treatments, baseline=baseline)),
            outcomes=outcomes,
            replicates=view.replicates,
            facts=facts,
            errors=errors,
            hypotheses=hypotheses,
            plugin_errors=plugin_errors,
        )
        plugin.after_run(view, result)
        return result

    return run


@pytest.fixture
def strict_json():
    """Read a file as JSON by the letter of the standard."""

    def refuse(token):
        raise ValueError(f"not standard JSON: {token}")

    def read(path):
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)

    return read


@pytest.fixture
def files_below():
    """List the files below a folder, with slashes."""

    def names(folder):
        return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())

    return names


@pytest.fixture
def names_in():
    """List what is directly in a folder."""

    def names(folder):
        return sorted(path.name for path in Path(folder).iterdir())

    return names


@pytest.fixture(scope="module")
def stored_outcomes(tmp_path_factory):
    """Store outcomes and open them again; of a cell that comes twice, the later one."""

    def store(outcomes, artifacts=None):
        folder = tmp_path_factory.mktemp("stored") / "exp" / "v0"
        folder.mkdir(parents=True)
        rows = CellRows()
        cells = {}
        for outcome in outcomes:
            row = rows.row(outcome, None)
            cells.pop(row[:2], None)
            cells[row[:2]] = row
        (folder / "run.db").write_bytes(database._empty(rollback=True))
        with closing(sqlite3.connect(folder / "run.db")) as target, target:
            target.execute("PRAGMA synchronous = OFF")
            names = dict.fromkeys(outcome.cell.condition for outcome in outcomes)
            conditions = [(number, name, "[]", None, None, None) for number, name in enumerate(names)]
            insert(target, "condition", [(*row, seal(*row)) for row in conditions])
            insert(target, "trace", rows.take_new_traces())
            insert(target, "cell", list(cells.values()))
        with database.reading(folder) as source:
            return StoredOutcomes(source, folder, lambda: artifacts or {})

    return store
