"""What another machine is sent to run cells with: `RunCell.elsewhere`."""

from __future__ import annotations

import pickle
import time

import cloudpickle
import pytest

from crystallize import BasePlugin, Experiment, SeedPlugin, data_source, pipeline, pipeline_step
from crystallize.hooks import ExecutorPlugin


class Unpicklable(BasePlugin):
    """Has nothing to do in workers, and could not be sent there."""

    neutral = True

    def collect(self, outcome):
        pass

    def __reduce__(self):
        raise TypeError("stays here")


class Looks(BasePlugin):
    neutral = False

    def before_replicate(self, experiment, ctx):
        run = experiment.run
        parts = experiment.cell_identities().common_parts
        names = [type(plugin).__name__ for plugin in experiment.plugins]
        ctx.artifacts.add("seen.bin", pickle.dumps((run.folder, names, len(experiment.lock()), dict(parts))))


class Sends(ExecutorPlugin):
    """Runs cells with what would be sent to another machine."""

    def run_experiment_loop(self, experiment, cells, run_cell):
        self.parts = dict(experiment.cell_identities().common_parts)
        self.hears, self.experiment = run_cell.hears_cells, run_cell.experiment
        there = pickle.loads(cloudpickle.dumps(run_cell.elsewhere()))
        yield [there(cell) for cell in cells]
        run_cell.absorb(there.stop())


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "here"))


@data_source
def source(ctx):
    return ctx["replicate"]


def experiment_of(function, *plugins, cacheable=False):
    step = pipeline_step(cacheable=cacheable)(function)
    return Experiment(source(), pipeline(step()), plugins=[SeedPlugin(3), *plugins], name="e")


def ran(function, *plugins, **options):
    experiment = experiment_of(function, *plugins, **options)
    result = experiment.run(replicates=2)
    assert not result.errors
    return result


def noted(data, ctx):
    return {"n": data, "r": ctx.rng.random()}, {"n": data}


def test_plugins_without_worker_hooks_stay_and_the_lock_goes():
    sends = Sends()
    result = ran(noted, Unpicklable(), Looks(), sends)
    seen = pickle.loads(result.get_artifact("seen.bin")["baseline"].read_bytes())
    folder, names, entries, parts = seen
    assert folder is None
    assert "Looks" in names
    assert not {"Unpicklable", "Sends", "ArtifactPlugin"} & set(names)
    assert entries == len(result.provenance["plugins"])
    assert parts == sends.parts


def test_the_step_cache_is_that_of_the_machine(tmp_path, monkeypatch):
    class Moves(Sends):
        def run_experiment_loop(self, experiment, cells, run_cell):
            sent = cloudpickle.dumps(run_cell.elsewhere())
            monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "there"))
            there = pickle.loads(sent)
            yield [there(cell) for cell in cells]
            run_cell.absorb(there.stop())

    ran(noted, Moves(), cacheable=True)
    assert (tmp_path / "there").is_dir()
    assert not (tmp_path / "here").exists()


def test_an_outcome_says_when_it_was_begun_and_where():
    before = time.time()
    outcomes = list(experiment_of(noted).stream(replicates=2))
    assert all(before <= outcome.started <= time.time() and outcome.host for outcome in outcomes)


def test_an_executor_is_told_whether_anybody_hears_cells():
    class Hears(BasePlugin):
        neutral = True

        def on_event(self, event):
            pass

    deaf, hearing = Sends(), Sends()
    ran(noted, deaf)
    ran(noted, Hears(), hearing)
    assert (deaf.hears, hearing.hears) == (False, True)
