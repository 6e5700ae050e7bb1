"""`reproduce`: a stored run, done again from its record."""

from __future__ import annotations

import json
import os
import sys

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    Objective,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ArgumentTypeError, ExperimentNotFoundError, ReproductionError, StoreError
from crystallize_plugins.artifacts import list_runs
from crystallize_plugins.optimizers import GridSearch, RandomSearch
from crystallize_plugins.runs import reproduce
from crystallize_plugins.runs.differences import PARTS


@data_source
def numbers(ctx):
    return [ctx.rng.random() for _ in range(3)]


@pipeline_step()
def scale(data, ctx, *, by=1.0):
    return [by * value for value in data]


@pipeline_step()
def total(data, ctx):
    ctx.artifacts.add("total.txt", str(sum(data)))
    return data, {"total": sum(data)}


DRIFT = 0.0


@pipeline_step()
def drifting(data, ctx):
    return data, {"value": sum(data) + DRIFT * (ctx["replicate"] == 1)}


def experiment(steps=None, *, seed=1, plugins=(), **fields):
    return Experiment(
        numbers(),
        Pipeline(steps or [scale(), total()]),
        plugins=[SeedPlugin(seed=seed), ArtifactPlugin(), *plugins],
        name="exp",
        **fields,
    )


def unchanged(found):
    """Whether nothing is said to have changed; in the repository that holds this file somebody may work meanwhile."""
    return found.changes.of(*(part for part in PARTS if part != "git")) == ()


def test_a_run_done_again_is_the_same_bit_for_bit():
    made = experiment(treatments=[Treatment("large", {"by": 2.0})])
    made.run(replicates=3)
    found = reproduce("data/exp/v0", made)
    assert found.identical
    assert (found.cells, found.drift, found.skipped, found.notes) == (6, (), {}, ())
    assert unchanged(found)
    assert str(found).startswith("exp@v0: 6 of 6 cells are the same, bit for bit")


def test_the_store_the_experiment_and_the_cache_are_left_alone(tmp_path):
    made = experiment()
    made.run()
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    plugins = list(made.plugins)
    reproduce("data/exp/v0", made)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert made.plugins == plugins
    assert "CRYSTALLIZE_CACHE_DIR" not in os.environ


def test_a_seed_that_was_drawn_is_used_again():
    made = experiment(seed=None)
    first = made.run(replicates=2)
    assert made.run(replicates=2).metrics.baseline.metrics != first.metrics.baseline.metrics
    assert reproduce("data/exp/v0", made).identical
    assert reproduce("data/exp/v1", made).identical


def test_the_recorded_replicates_and_conditions_are_run_whatever_the_experiment_says_now():
    experiment(treatments=[Treatment("large", {"by": 2.0})]).run(replicates=3)
    now = experiment(treatments=[Treatment("large", {"by": 5.0}), Treatment("new", {"by": 7.0})], replicates=1, seed=99)
    found = reproduce("data/exp/v0", now)
    assert found.identical
    assert found.cells == 6


def test_values_that_could_not_be_stored_are_the_experiment_s_own():
    class Opaque:
        value = 2.0

    @pipeline_step()
    def use(data, ctx, *, tool=None):
        return data, {"m": 0.0 if tool is None else tool.value}

    def added(ctx):
        ctx.add("tool", Opaque())

    made = experiment([use()], treatments=[Treatment("object", {"tool": Opaque()}), Treatment("function", added)])
    made.run()
    found = reproduce("data/exp/v0", made)
    assert found.identical
    assert len(found.notes) == 2
    assert "could not be stored exactly (tool)" in found.notes[0]
    assert "only the code is recorded" in found.notes[1]
    with pytest.raises(ReproductionError, match="treatment 'object'.*no treatment of that name"):
        reproduce("data/exp/v0", experiment([use()]))


def test_drift_is_reported_cell_by_cell_beside_what_changed(monkeypatch):
    made = experiment([drifting()], treatments=[Treatment("large", {"by": 2.0})])
    made.run(replicates=3)
    monkeypatch.setitem(globals(), "DRIFT", 0.25)
    found = reproduce("data/exp/v0", made)
    assert not found.identical
    assert list(found.drifted) == [("baseline", 1), ("large", 1)]
    [drift] = found.drifted["baseline", 1]
    assert drift.what == "metric value"
    assert drift.now == drift.recorded + 0.25
    assert [each.name.rpartition(".")[2] for each in found.changes.of("code")] == ["step DriftingStep", "DRIFT"]
    text = found.text()
    assert "2 of 6 cells have drifted" in text
    assert "test_reproduce.DRIFT: 0.0 → 0.25" in text
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["identical"], len(plain["drift"]), plain["cells"]) == (False, 2, 6)


def test_files_are_compared_by_their_hashes(monkeypatch):
    made = experiment()
    made.run()
    other = experiment([scale(by=1.0 + 2**-40), total()])
    found = reproduce("data/exp/v0", other)
    assert [drift.what for drift in found.drift] == ["metric total", "artifact TotalStep/total.txt"]
    assert [each.name for each in found.changes.of("parameters")] == ["step 1 ScaleStep: by"]


@pipeline_step()
def fragile(data, ctx):
    if ctx["replicate"] == 1:
        raise (ValueError if DRIFT == 0 else KeyError)("no")
    return data, {"ok": 1}


def test_a_cell_that_failed_fails_again_in_the_same_way(monkeypatch):
    made = experiment([fragile()])
    made.run(replicates=3)
    found = reproduce("data/exp/v0", made)
    assert (found.identical, found.cells) == (True, 3)
    monkeypatch.setitem(globals(), "DRIFT", 1)
    [drift] = reproduce("data/exp/v0", made).drift
    assert (drift.what, drift.recorded, drift.now) == (
        "outcome",
        "ValueError in FragileStep",
        "KeyError in FragileStep",
    )


def test_executors_may_differ():
    made = experiment(treatments=[Treatment("large", {"by": 2.0})])
    made.run(replicates=4)
    found = reproduce("data/exp/v0", experiment(plugins=[ParallelExecution(2, "process")]))
    assert found.identical
    assert found.changes.of("plugins") == ()


def test_a_cached_step_is_really_run_again(tmp_path):
    calls = tmp_path / "calls"

    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        with calls.open("a") as file:
            file.write("x")
        return [1.0 for _ in data], {"n": len(data)}

    made = experiment([slow(), total()])
    made.run()
    made.run()
    before = calls.read_text()
    assert reproduce("data/exp/v0", made).identical
    assert len(calls.read_text()) > len(before)


class Tracker(BasePlugin):
    neutral = True
    told: list[str] = []  # noqa: RUF012 - shared on purpose

    def after_run(self, experiment, result):
        self.told.append(experiment.run.id)


def test_plugins_that_only_look_hear_nothing_of_it():
    made = experiment(plugins=[Tracker()])
    made.run()
    told = list(Tracker.told)
    assert unchanged(reproduce("data/exp/v0", made))
    assert Tracker.told == told


def test_an_interrupted_run_is_done_again_as_far_as_it_came():
    @pipeline_step()
    def stop(data, ctx):
        if ctx["replicate"] == 2 and not os.environ.get("GO_ON"):
            raise KeyboardInterrupt
        return data

    made = experiment([stop(), total()])
    with pytest.raises(KeyboardInterrupt):
        made.run(replicates=5)
    found = reproduce("data/exp/v0", made)
    assert (found.identical, found.cells) == (True, 2)


@pytest.mark.parametrize("batched", [GridSearch, RandomSearch])
def test_the_trials_of_an_optimisation_are_done_again(batched):
    made = experiment()
    settings = {"objective": Objective("total", "maximize"), **({"seed": 3} if batched is RandomSearch else {})}
    optimizer = batched({"by": [1.0, 2.0, 3.0]}, **settings)
    made.optimize(optimizer, num_trials=3, replicates_per_trial=2)
    [run] = list_runs("data")
    found = reproduce(run, made)
    assert found.identical
    assert found.cells == 6


def test_a_run_that_holds_nothing_is_refused():
    @pipeline_step()
    def stop(data, ctx):
        raise KeyboardInterrupt

    made = experiment([stop()])
    with pytest.raises(KeyboardInterrupt):
        made.run()
    with pytest.raises(ReproductionError, match="no cell"):
        reproduce("data/exp/v0", made)


def test_what_is_no_experiment_and_what_is_no_run_is_refused(tmp_path):
    experiment().run()
    with pytest.raises(ArgumentTypeError, match="must be an Experiment"):
        reproduce("data/exp/v0", 3)
    with pytest.raises(StoreError, match="no run"):
        reproduce("data/absent/v0", experiment())


# -- finding the experiment again ---------------------------------------------------------------


AGAIN = """
import json, sys
from crystallize_plugins.runs import reproduce
found = reproduce(*sys.argv[1:], confirm=lambda place, overrides: True)
print(json.dumps({"identical": found.identical, "cells": found.cells}))
"""


def again(python, run, *more, **environment):
    return json.loads(python("-c", AGAIN, run, *more, **environment).splitlines()[-1])


def test_the_experiment_of_a_script_is_found_again(ran, python, tmp_path):
    run = ran()
    assert again(python, run) == {"identical": True, "cells": 4}
    assert [path.name for path in (tmp_path / "data" / "shift").iterdir()] == ["v0"]


def test_a_script_that_runs_at_its_top_level_is_not_run(script, ran, python, tmp_path):
    source = script.partition("if __name__")[0]
    run = ran(source + "experiment.run()\nopen('after.txt', 'a').write('x')\n")
    assert (tmp_path / "after.txt").read_text() == "x"
    assert again(python, run) == {"identical": True, "cells": 4}
    assert [path.name for path in (tmp_path / "data" / "shift").iterdir()] == ["v0"]
    assert (tmp_path / "after.txt").read_text() == "x"


def test_an_experiment_without_a_variable_is_caught_where_it_is_run(script, ran, python):
    source = script.partition("if __name__")[0].replace("experiment = Experiment(", "def make():\n  return Experiment(")
    run = ran(source.replace('treatments=[Treatment("shifted", {"by": 0.5})],', "") + "make().run()\n")
    assert again(python, run) == {"identical": True, "cells": 2}


def test_treatments_that_only_the_call_of_run_names_are_found(script, ran, python):
    source = script.partition("if __name__")[0].replace('treatments=[Treatment("shifted", {"by": 0.5})],', "")
    run = ran(source + 'experiment.run(treatments=[Treatment("own", lambda ctx: ctx.add("by", 3.0))])\n')
    assert again(python, run) == {"identical": True, "cells": 4}


def test_of_several_experiments_in_a_file_the_one_of_the_run_is_taken(script, ran, python):
    source = script.partition("if __name__")[0]
    other = source[source.index("experiment = Experiment(") :].replace('name="shift"', 'name="other"')
    source += other.replace("experiment = ", "other = ").replace("seed=7", "seed=8")
    run = ran(source + "if __name__ == '__main__':\n    other.run()\n    experiment.run()\n")
    assert again(python, run) == {"identical": True, "cells": 4}


def test_a_module_of_a_package_is_imported_with_its_relative_imports(script, write, python, tmp_path):
    write("", "package/__init__.py")
    write("FACTOR = 2\n", "package/settings.py")
    write(script.replace("FACTOR = 2", "from .settings import FACTOR"), "package/work.py")
    python("-m", "package.work")
    python("-c", "import package.work; package.work.experiment.run()")
    for version in ("v0", "v1"):
        assert again(python, tmp_path / "data" / "shift" / version) == {"identical": True, "cells": 4}


def test_a_folder_experiment_is_loaded_from_its_folder(write, python, tmp_path):
    write(
        """
        name: folder
        seed: 4
        replicates: 2
        datasource:
          data: rows
        steps:
          - total
        treatments:
          more: {by: 3}
        """,
        "folder/config.yaml",
    )
    write(
        "from crystallize import data_source\n@data_source\ndef rows(ctx):\n    return [ctx.rng.random()]\n",
        "folder/datasources.py",
    )
    write(
        """
        from crystallize import pipeline_step

        @pipeline_step()
        def total(data, ctx, *, by=1):
            return data, {"total": by * sum(data)}
        """,
        "folder/steps.py",
    )
    python("-c", "from crystallize import Experiment; Experiment.from_yaml('folder').run()")
    load = "Experiment.from_yaml('folder', overrides=['replicates=3', 'treatments.more.by=5'])"
    python("-c", f"from crystallize import Experiment; {load}.run()")
    assert again(python, tmp_path / "data" / "folder" / "v0") == {"identical": True, "cells": 4}
    assert again(python, tmp_path / "data" / "folder" / "v1") == {"identical": True, "cells": 6}


def test_an_experiment_of_this_process_is_found_without_loading_anything():
    made = globals()["module_level"] = experiment()
    try:
        made.run()
        assert reproduce("data/exp/v0").identical
    finally:
        del globals()["module_level"]


def test_a_path_says_where_the_experiment_is_now(script, ran, python, tmp_path):
    run = ran()
    (tmp_path / "script.py").rename(tmp_path / "moved.py")
    assert again(python, run, "moved.py") == {"identical": True, "cells": 4}


def test_an_experiment_that_cannot_be_found_says_what_to_pass(script, ran, python, tmp_path):
    run = ran()
    (tmp_path / "script.py").unlink()
    with pytest.raises(ExperimentNotFoundError, match=r"which is not there.*reproduce\(run, experiment=\.\.\.\)"):
        reproduce(run)
    (tmp_path / "script.py").write_text("x = 1\n")
    with pytest.raises(ExperimentNotFoundError, match="gives no such experiment"):
        reproduce(run, confirm=lambda *_: True)
    (tmp_path / "script.py").write_text("1 / 0\n")
    with pytest.raises(ExperimentNotFoundError, match="ZeroDivisionError"):
        reproduce(run, confirm=lambda *_: True)
    with pytest.raises(ExperimentNotFoundError, match="no Python file and no folder absent"):
        reproduce(run, "absent")


def test_what_was_typed_into_a_shell_cannot_be_found_and_says_so(script, python, tmp_path):
    source = script.replace('if __name__ == "__main__":\n    ', "")
    python("-c", source)
    run = tmp_path / "data" / "shift" / "v0"
    if sys.modules["__main__"].__dict__.get("__file__"):
        with pytest.raises(ExperimentNotFoundError, match="notebook or a shell"):
            reproduce(run)
