"""The modules of a folder: each load has its own, and pickles name them as their own code does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from crystallize import Experiment, ParallelExecution
from crystallize_plugins.execution.processes import worker_pool
from crystallize_plugins.execution.processes.fork_server import ForkServer
from crystallize_plugins.execution.processes.spawn import SpawnStarter

TEXT = "datasource: {data: numbers}\nsteps: [make, keep, look]\nreplicates: 2\nplugins: {logging: false}\n"
MODELS = """
from __future__ import annotations

import dataclasses
import enum
from typing import ClassVar


class Kind(enum.Enum):
    GOOD = 1


@dataclasses.dataclass
class Found:
    kind: Kind
    number: int = 3
    limit: ClassVar[int] = 9


def told(value):
    return value + WHO
"""
STEPS = """
import dataclasses
import inspect
import pickle
import typing

from crystallize import pipeline_step

import models
from models import Found, Kind, told


class Model:
    def __init__(self, weight):
        self.weight = weight


@pipeline_step(cacheable=True)
def make(data, ctx):
    return {"found": Found(Kind.GOOD), "model": Model(2)}


@pipeline_step()
def keep(data, ctx):
    ctx.artifacts.add("model.pkl", pickle.dumps([data["model"], data["found"], told]))
    return data


@pipeline_step()
def look(data, ctx):
    again = pickle.loads(pickle.dumps(data))
    return data, {
        "member": data["found"].kind is Kind.GOOD,
        "class": type(data["found"]) is Found is models.Found and type(data["model"]) is Model,
        "again": type(again["found"]) is Found and type(again["model"]) is Model,
        "fields": len(dataclasses.fields(Found)) == 2 and typing.get_type_hints(Found)["kind"] is Kind,
        "source": "self.weight" in inspect.getsource(Model),
        "file": inspect.getsourcefile(Found) == models.__file__,
        "who": told(0),
    }
"""


EXECUTORS = ["serial", "thread", "async", "fork", "forkserver", "spawn"]
ONE_OF_EACH = pytest.mark.parametrize("executor", ["serial", "forkserver"], indirect=True)
"""One in the program, one beside it; the whole matrix is that of `test_two_folders_with_modules_of_one_name`."""


@pytest.fixture(params=EXECUTORS)
def executor(request, monkeypatch):
    """The plugins of an executor, and of processes started in every way."""
    from crystallize import AsyncExecution, SerialExecution

    if os.name == "nt" and request.param in ("fork", "forkserver"):
        pytest.skip("Windows only spawns")
    ways = {"forkserver": ForkServer.launched, "spawn": lambda needs: SpawnStarter()}
    if request.param in ways:
        monkeypatch.setattr(worker_pool, "new_starter", ways[request.param])
    inside = {"serial": SerialExecution, "thread": lambda: ParallelExecution(2), "async": AsyncExecution}
    return inside.get(request.param, lambda: ParallelExecution(2, "process"))()


@pytest.fixture
def lab(write):
    def make(name="lab", who=1, steps=STEPS, **modules):
        return write(TEXT, name=name, steps=steps, models=f"{MODELS}\nWHO = {who}\n", **modules)

    return make


def seen(experiment, executor, who=1):
    """Run, and check that what the step found is as it has to be; give the file that it pickled."""
    experiment.plugins.append(executor)
    try:
        result = experiment.run()
    finally:
        experiment.plugins.remove(executor)
    assert {key: error.traceback_text for key, error in result.errors.items()} == {}
    metrics = {name: list(values) for name, values in result.metrics.baseline.metrics.items()}
    assert metrics.pop("who") == [who, who]
    assert metrics == {name: [True, True] for name in metrics}
    return result.get_artifact("model.pkl")["baseline"]


def plain(folder, artifact):
    """Unpickle an artifact where the folder's modules can be imported, in a plain program."""
    program = (
        f"import json, pickle, sys; sys.path.insert(0, {str(folder)!r}); "
        f"model, found, told = pickle.loads({bytes(artifact.read_bytes())!r}); "
        "print(json.dumps([type(model).__module__, model.weight, found.number, told(0)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@ONE_OF_EACH
def test_a_folder_is_loaded_twice_and_each_load_finds_its_own_classes(lab, executor):
    first, second = Experiment.from_yaml(lab()), Experiment.from_yaml(lab())
    for experiment in (first, second, first):
        seen(experiment, executor)


@ONE_OF_EACH
def test_so_it_is_when_its_code_was_edited_in_between(lab, executor):
    folder = lab()
    first = Experiment.from_yaml(folder)
    seen(first, executor)
    edited = Experiment.from_yaml(lab(who=5, steps=STEPS + "\nEDITED = True\n"))
    seen(edited, executor, who=5)
    assert first.id != edited.id
    seen(first, executor, who=1)


def test_two_folders_with_modules_of_one_name_pickle_each_its_own(lab, executor):
    one, two = lab("one"), lab("two", who=2)
    experiments = {folder: Experiment.from_yaml(folder) for folder in (one, two)}
    for folder, who in ((one, 1), (two, 2), (one, 1)):
        artifact = seen(experiments[folder], executor, who)
        assert plain(folder, artifact) == ["steps", 2, 3, who]


def test_a_second_load_reads_what_the_first_has_cached(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "kept"))
    seen(Experiment.from_yaml(lab()), ParallelExecution(2, "process"))
    entries = sorted(Path(tmp_path).rglob("*.entry"))
    monkeypatch.setattr(worker_pool, "new_starter", ForkServer.launched)
    for executor in (ParallelExecution(2), ParallelExecution(2, "process")):
        seen(Experiment.from_yaml(lab()), executor)
    assert len(entries) == 1
    assert sorted(Path(tmp_path).rglob("*.entry")) == entries


def test_the_program_unpickles_what_a_step_pickled(lab):
    from crystallize import SerialExecution

    experiment = Experiment.from_yaml(lab())
    model, found, _ = pickle.loads(seen(experiment, SerialExecution()).read_bytes())
    assert (model.weight, found.number) == (2, 3)
    assert type(model).__module__ == "steps"


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_module_of_the_program_keeps_its_name(lab, order, tmp_path, monkeypatch):
    from crystallize import SerialExecution

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "models.py").write_text("class Found:\n    own = True\nNUMBER = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    if order == "before":
        import models

        assert models.NUMBER == 7
    experiment = Experiment.from_yaml(lab())
    import models
    from models import Found

    assert models.NUMBER == 7
    assert Found.own
    seen(experiment, SerialExecution())
    models.NUMBER = 8
    from models import NUMBER

    assert NUMBER == 8


def test_a_module_named_like_a_library_is_not_taken_for_it(lab):
    from crystallize import SerialExecution

    steps = STEPS + "\nimport numpy\nassert numpy.MINE.value == 1\n"
    experiment = Experiment.from_yaml(lab(steps=steps, numpy="class Mine:\n    value = 1\n\n\nMINE = Mine()\n"))
    seen(experiment, SerialExecution())
    import numpy as np

    assert np.asarray([1]).sum() == 1
    assert not hasattr(np, "MINE")


def test_a_load_that_fails_leaves_the_names_as_they_were(write, problems_of):
    before = set(sys.modules)
    problems_of(write("datasource: {data: numbers}\nsteps: [absent]\n", lonely="X = 1\n", steps="import lonely\n"))
    assert "lonely" not in set(sys.modules) - before


@ONE_OF_EACH
def test_modules_in_packages_of_a_folder_go_by_their_dotted_names(write, executor):
    folder = write(
        "datasource: {data: numbers}\nsteps: [give, take]\nreplicates: 2\nplugins: {logging: false}\n",
        steps=textwrap.dedent("""
            import pickle
            from crystallize import pipeline_step
            from deeper.inside import Thing

            @pipeline_step(cacheable=True)
            def give(data, ctx):
                return Thing()

            @pipeline_step()
            def take(data, ctx):
                again = pickle.loads(pickle.dumps(data))
                return data, {"same": type(again) is type(data) is Thing and Thing.__module__ == "deeper.inside"}
        """),
        **{"deeper/__init__": "", "deeper/inside": "class Thing:\n    pass\n"},
    )
    for experiment in (Experiment.from_yaml(folder), Experiment.from_yaml(folder)):
        experiment.plugins.append(executor)
        result = experiment.run()
        assert result.errors == {}
        assert result.metrics.baseline.metrics["same"] == [True, True]
