"""A run that somebody sent: one that was made here, of which every part can be forged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize_plugins.artifacts.database.schema import COLUMNS, cell_seal, seal

STEERING = "\x1b[2J\x1b]0;title\x07\x1b]52;c;cm0=\x07\x9b31m\r\x08\u202egpj.\u2066\u2028\u200b"
"""Clears the screen, sets title and clipboard, goes back, turns the direction of text, and hides."""


@data_source
def number(ctx):
    return ctx["replicate"]


@pipeline_step()
def work(data, ctx, *, delta=0, note=""):
    ctx.artifacts.add("model.bin", bytes([data]) * 10)
    ctx.add(f"seen{STEERING}", data)
    if data == 1:
        raise RuntimeError(f"it failed{STEERING}\ncrystallize: everything is fine")
    return data, {f"loss{STEERING}\nforged 0.0": data + delta, "text": f"value{STEERING}", "x": float(data)}


def experiment(root, *, seed=1, name="sent", **settings):
    return Experiment(
        number(),
        Pipeline([work()]),
        [SeedPlugin(seed=seed), ArtifactPlugin(root_dir=root, **settings)],
        name=name,
        description=f"described{STEERING}",
        treatments=[Treatment("more", {"delta": 5, "note": f"noted{STEERING}"})],
        replicates=2,
    )


@pytest.fixture(scope="session")
def sent_run(tmp_path_factory):
    """The folder of a run that nobody may change."""
    root = tmp_path_factory.mktemp("sent")
    experiment(root).run()
    return root / "sent" / "v0"


@pytest.fixture
def received(sent_run, tmp_path):
    """A copy of that run, below ``received/sent`` in the working folder."""
    return shutil.copytree(sent_run, tmp_path / "received" / "sent" / "v0")


def forge(folder, table, change):
    """Change the rows of a table, and seal them as the store would: ``change`` takes and gives a row by column."""
    names = [column.split()[0].strip('"') for column in COLUMNS[table]]
    sealed = cell_seal if table == "cell" else lambda row: seal(*row)
    with closing(sqlite3.connect(folder / "run.db", isolation_level=None)) as database:
        rows = [dict(zip(names, row, strict=False)) for row in database.execute(f"SELECT * FROM {table}")]
        database.execute(f"DELETE FROM {table}")
        for row in map(change, rows):
            values = [row[name] for name in names]
            values.append(sealed(values))
            database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(values))})", values)


@pytest.fixture(name="forge", scope="session")
def forge_fixture():
    return forge


@pytest.fixture(scope="session")
def steering():
    return STEERING


@pytest.fixture(scope="session")
def sent_again():
    """Make the experiment of the run anew."""
    return experiment
