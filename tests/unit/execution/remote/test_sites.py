"""Runs on sites of this machine, through an executor that is made of `pack`, `Site` and `Ledger` alone."""

from __future__ import annotations

import importlib
import logging
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from crystallize import BasePlugin, Experiment, SeedPlugin, Treatment, data_source, pipeline, pipeline_step
from crystallize.errors import ValidationError, WorkerCrashError, WorkerMismatchError, WorkerStartError
from crystallize.hooks import ExecutorPlugin
from crystallize_plugins.execution.remote import Ledger, Site, pack

MODULE = """
import os, pathlib

FACTOR = 3


class Scale:
    def times(self, value):
        return FACTOR * value


def read():
    return pathlib.Path("data/one.txt").read_text()
"""


class Elsewhere(ExecutorPlugin):
    """Opens sites, hands out batches, and takes in what comes."""

    cells_leave_process = True
    ends_overdue_cells = True

    def __init__(self, *, sites=1, changed=lambda parcel: parcel, ship=(), **options):
        self.sites, self.changed, self.ship, self.options = sites, changed, ship, options

    def run_experiment_loop(self, experiment, cells, run_cell):
        parcel = pickle.loads(pickle.dumps(self.changed(pack(experiment, run_cell, ship=self.ship))))
        self.ledger = ledger = Ledger(experiment, cells, run_cell)
        sites = [Site.open(parcel, name=f"site-{number}", **self.options) for number in range(self.sites)]
        try:
            with ThreadPoolExecutor(self.sites) as pool:
                while ledger.unfinished:
                    live, jobs = [], []
                    for site in sites:
                        batch = ledger.batch(workers=self.sites)
                        jobs.append(pool.submit(site.run, batch, live.append, lambda: set(ledger.stopping)))
                    for job in jobs:
                        data = job.result()
                        while live:
                            yield ledger.take(live.pop(0))
                        yield ledger.take(data)
            for site in sites:
                ledger.take(site.close())
        finally:
            for site in sites:
                site.kill()


@data_source
def source(ctx):
    return ctx["replicate"]


def experiment_of(function, *plugins, **options):
    treatments = [Treatment("more", {"delta": 1})]
    step = pipeline_step()(function)()
    return Experiment(source(), pipeline(step), plugins=[SeedPlugin(3), *plugins], treatments=treatments, **options)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A module of the project, imported from a folder that can be hidden."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "shipped_along.py").write_text(MODULE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.txt").write_text("one")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield folder, importlib.import_module("shipped_along")
    sys.modules.pop("shipped_along", None)


def test_numbers_are_those_of_a_serial_run_and_everything_comes_back(project, caplog, capsys):
    folder, module = project
    hidden_from = str(folder)
    scale = module.Scale()
    heard = []

    class Hears(BasePlugin):
        neutral = True

        def on_event(self, event):
            heard.append((event.name, event.cell))

    def step(data, ctx, delta=0):
        import os
        import pathlib
        import warnings

        from shipped_along import read  # which only the parcel has

        print("printed", data)
        logging.getLogger("mine").warning("logged")
        warnings.warn("warned", UserWarning, stacklevel=1)
        ctx.emit("sent")
        ctx.artifacts.add("file.txt", read().encode())
        if ctx["replicate"] == 3 and delta and not pathlib.Path(hidden_from).exists():
            os._exit(9)
        return data, {"n": scale.times(data) + delta + ctx.rng.random(), "pair": (data, delta)}

    def hidden(parcel):
        folder.rename(folder.with_name("hidden"))
        return parcel

    elsewhere = Elsewhere(sites=2, processes=2, ship=["data/*.txt"], changed=hidden)
    warnings.simplefilter("ignore")
    serial = experiment_of(step).run(replicates=4)
    caplog.clear()
    capsys.readouterr()
    with pytest.warns(UserWarning, match="warned"):
        result = experiment_of(step, Hears(), elsewhere).run(replicates=4)
    assert list(result.errors) == ["more_rep_3"]
    cause = result.errors["more_rep_3"].__cause__
    assert (type(cause), cause.exit_code) == (WorkerCrashError, 9)
    assert result.metrics.baseline.metrics == serial.metrics.baseline.metrics
    kept = result.metrics.treatments["more"].metrics["n"]
    assert list(kept) == list(serial.metrics.treatments["more"].metrics["n"])[:3]
    assert len({cell for name, cell in heard if name == "sent"}) >= 7  # what crashes has no time to send
    assert "printed 3" in capsys.readouterr().out
    logged = [record for record in caplog.records if record.name == "mine"]
    assert {record.cell.replicate for record in logged} == {0, 1, 2, 3}
    assert result.get_artifact("file.txt")["more"].read_bytes() == b"one"
    assert set(elsewhere.ledger.workers) == {"site-0", "site-1"}
    assert {each["cells"] for each in elsewhere.ledger.workers.values()} != {0}


def noted(data, delta=0):
    return data, {"n": data}


def test_a_module_that_was_edited_since_its_import_is_refused_by_name(project):
    folder, module = project
    (folder / "shipped_along.py").write_text(MODULE.replace("FACTOR * value", "FACTOR + value"))

    def step(data, delta=0):
        return data, {"n": module.Scale().times(data)}

    with pytest.raises(ValidationError, match=r"'shipped_along' .* was edited .* times\(\)"):
        experiment_of(step, Elsewhere()).run()


def test_a_site_with_other_code_or_another_plugin_gets_no_cells():
    def other(**facts):
        return Elsewhere(changed=lambda parcel: replace(parcel, facts={**parcel.facts, **facts}))

    with pytest.raises(WorkerMismatchError, match=r"site-0 .* step 1 NotedStep code") as caught:
        experiment_of(noted, other(parts={"step 1 NotedStep code": "0" * 64})).run()
    assert caught.value.worker == "site-0"
    assert any("seed" in each for each in caught.value.differences)
    with pytest.raises(WorkerMismatchError, match=r"Python is .*, and cpython 3\.99 in the program"):
        experiment_of(noted, other(python="cpython 3.99")).run()


def test_in_the_engines_own_process_numbers_are_the_same(project):
    result = experiment_of(noted, Elsewhere(isolate=False)).run(replicates=3)
    assert list(result.metrics.baseline.metrics["n"]) == [0, 1, 2]
    with pytest.raises(ValidationError, match="ship needs isolate=True"):
        experiment_of(noted, Elsewhere(isolate=False, ship=["data/*"])).run()


def test_an_interrupt_in_a_step_ends_the_run():
    def step(data, delta=0):
        if data == 1:
            raise KeyboardInterrupt("enough")
        return data, {"n": data}

    with pytest.raises(KeyboardInterrupt, match="raised in a worker process"):
        experiment_of(step, Elsewhere()).run(replicates=3)


def test_what_cannot_be_loaded_is_said_by_the_site():
    class Sour:
        def __reduce__(self):
            return int, ("sour",)

    with pytest.raises(WorkerStartError, match="site-0 cannot run cells of this run: ValueError: invalid literal"):
        experiment_of(noted, Elsewhere(), initial_ctx={"sour": Sour()}).run()


@pytest.mark.parametrize(
    "ship, message",
    [(["nothing/*.csv"], "matches no file"), (["../*"], "inside the working folder"), (["/etc/*"], "inside")],
)
def test_files_that_cannot_be_shipped_are_refused(ship, message):
    with pytest.raises(ValidationError, match=message):
        experiment_of(noted, Elsewhere(ship=ship)).run()
