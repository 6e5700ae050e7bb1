"""An optimisation that is killed at any moment, and the same command again: the very sequence of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests import programs

from crystallize_plugins.artifacts import StoredRun, list_runs, open_optimization

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
CHAINS = 6 if SOAK else 1
"""Optimisations of each kind; each is killed again and again."""
KILLS = 3
PATIENCE = 900 if SOAK else 240

pytestmark = [
    pytest.mark.timeout(PATIENCE),
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

PROGRAM = """
    import json, sys, time
    from crystallize import ArtifactPlugin, Experiment, Objective, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize_plugins.optimizers import GridSearch, RandomSearch, RelativeConstraint, floating

    kind, root = sys.argv[1:]
    told = []

    @data_source
    def noise(ctx):
        return float(ctx.rng.normal(0.0, 0.1))

    @pipeline_step()
    def fit(data, ctx, *, x=0.0, y=0.0):
        for epoch in range(3):
            ctx.report("loss", (x - 1.0) ** 2 + y / (1 + epoch), step=epoch)
        time.sleep(0.002)
        if x > 4.5:
            raise ArithmeticError(f"x is {x}")
        return data, {"loss": (x - 1.0) ** 2 + y + data, "cost": 1.0 + abs(x)}

    def noting(cls):
        class Noting(cls):
            def tell_trials(self, trials):
                told.append([(t.number, t.state, {n: list(v) for n, v in t.metrics.items()}, t.seeds) for t in trials])
                print(len(told), flush=True)
                super().tell_trials(trials)
        return Noting

    def optimizer():
        space = {"x": floating(-5.0, 5.0), "y": floating(0.0, 1.0)}
        if kind == "grid":
            listed = {"x": [-1.0, 0.0, 1.0, 5.0], "y": [0.1 * n for n in range(15)]}
            return noting(GridSearch)(listed, Objective("loss"), batch_size=2)
        if kind == "random":
            return noting(RandomSearch)(space, Objective("loss"), seed=3, batch_size=3)
        import optuna
        from crystallize_plugins.optimizers import OptunaOptimizer
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        more = {}
        if kind == "pruned":
            more = {"pruner": optuna.pruners.MedianPruner(n_startup_trials=3)}
        elif kind == "constrained":
            more = {"constraints": [RelativeConstraint("cost", at_most=3.0)], "batch_size": 2}
        return noting(OptunaOptimizer)(space, Objective("loss"), seed=5, **more)

    if __name__ == "__main__":
        experiment = Experiment(
            noise(), Pipeline([fit()]), name="tuning", plugins=[SeedPlugin(seed=11), ArtifactPlugin(root)]
        )
        print("ready", flush=True)
        best = experiment.optimize(optimizer(), 30, replicates_per_trial=2, strategy="resume")
        found = experiment.last_optimization
        print(json.dumps({
            "told": told, "best": dict(best.apply_map), "statement": found.statement(), "replayed": found.replayed,
            "states": [trial.state for trial in found.trials],
            "reports": [[(r.replicate, r.value, r.step) for r in trial.reports] for trial in found.trials],
        }), flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start the program; none outlives the test."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    started = []

    def make(kind, root):
        process = programs.popen(
            [sys.executable, "-W", "ignore", str(script), kind, root],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def finished(process):
    """Wait for the program's end, and give what it says there."""
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def killed_at_random(process, chance):
    """Kill it, at its beginning or in the middle."""
    for _ in range(chance.choice([1, 2, 3, 5, 8, 13])):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        if line.startswith("{"):
            break  # it was quicker, and is done
    time.sleep(chance.random() * 0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def sequence(path):
    """Give what was asked and told, and what its cells gave, but for the times."""
    run = StoredRun(path)
    journal = [
        (entry.name, entry.fields["batch"], entry.fields.get("trials"), entry.fields.get("values"))
        for entry in run.journal()
        if "batch" in entry.fields
    ]
    cells = {
        outcome.cell: (dict(outcome.metrics), outcome.seed, tuple(outcome.reports), str(outcome.error))
        for outcome in run.outcomes()
    }
    return journal, cells


@pytest.mark.parametrize("chain", range(CHAINS))
@pytest.mark.parametrize(
    "kind", ["grid", "random", "tpe", "pruned", "constrained"] if SOAK else ["grid", "random", "tpe", "pruned"]
)
def test_the_sequence_is_that_of_an_optimisation_that_was_never_killed(start, tmp_path, kind, chain):
    if kind not in ("grid", "random"):
        pytest.importorskip("optuna")
    chance = random.Random(f"{kind} {chain}")
    whole = start(kind, "whole")
    for _ in range(KILLS):
        killed_at_random(start(kind, "cut"), chance)
        # Whatever was stored by then can be read, and is of trials that had run to their end.
        for run in list_runs(tmp_path / "cut"):
            assert run.status in ("interrupted", "complete")
            if run.journal():
                assert all(trial.seeds for trial in open_optimization(run.path).trials)
    resumed, expected = finished(start(kind, "cut")), finished(whole)
    assert resumed.pop("replayed") >= 0 == expected.pop("replayed")
    assert resumed == expected
    (run,) = [found for found in list_runs(tmp_path / "cut") if found.status == "complete"]
    assert sequence(run.path) == sequence(Path(tmp_path, "whole/tuning/v0"))


# ---------------------------------------------------------------- at every operation of the store

OPERATIONS = """
    import errno, itertools, json, logging, os, shutil, signal, sys
    from pathlib import Path

    import optuna
    from crystallize import ArtifactPlugin, Experiment, Objective, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError
    from crystallize_plugins.artifacts import StoredRun, list_runs, operations
    from crystallize_plugins.optimizers import OptunaOptimizer, floating

    logging.disable()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ROOM = {"open_new", "write", "sync", "replace", "link", "make_folder", "execute", "execute_many", "commit"}

    @data_source
    def noise(ctx):
        return float(ctx.rng.normal())

    @pipeline_step()
    def fit(data, ctx, *, x=0.0):
        for epoch in range(2):
            ctx.report("loss", x * x + 1 / (1 + epoch), step=epoch)
        if ctx["replicate"]:
            ctx.artifacts.add("model.bin", repr((x, data)).encode())
        if x > 4:
            raise ArithmeticError("too large")
        return data, {"loss": x * x + data}

    def optimise(folder):
        os.chdir(folder)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
        optimizer = OptunaOptimizer({"x": floating(-5.0, 5.0)}, Objective("loss"), seed=3, pruner=pruner)
        experiment = Experiment(noise(), Pipeline([fit()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="tuning")
        experiment.optimize(optimizer, 7, replicates_per_trial=2, strategy="resume")

    def found_in(folder):
        run = [run for run in list_runs(Path(folder, "data")) if run.status == "complete"][-1]
        journal = [
            (entry.name, str(entry.fields.get("trials")), str(entry.fields.get("values")))
            for entry in run.journal() if "batch" in entry.fields
        ]
        cells = sorted(
            (*o.cell, str(dict(o.metrics)), o.seed, str(o.reports), str(o.error), [a.sha256 for a in o.artifacts],
             [Path(a.path).read_bytes().decode() for a in o.artifacts])
            for o in run.outcomes()
        )
        return repr((journal, cells))

    def break_at(number, mode):
        count = itertools.count()
        for name in operations.__all__:
            def call(*arguments, real=getattr(operations, name), name=name, **settings):
                if mode == "kill" or name in ROOM:
                    if next(count) == number:
                        if mode == "kill":
                            os.kill(os.getpid(), signal.SIGKILL)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return real(*arguments, **settings)
            setattr(operations, name, call)
        return count

    def forked(folder, number=None, mode="kill"):
        # Give how the process ended: 0 done, 1 told of a full disk, negative killed.
        folder = os.path.abspath(folder)
        child = os.fork()
        if child == 0:
            count = break_at(-1 if number is None else number, mode)
            try:
                optimise(folder)
                code = 0
            except StoreError as error:
                code = 1 if error.errno == errno.ENOSPC else 2
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                code = 3
            Path(folder, "count").write_text(str(next(count)))
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    mode, step = sys.argv[1], int(sys.argv[2])
    home = os.getcwd()
    Path("whole").mkdir()
    assert forked("whole") == 0
    expected = found_in("whole")
    operations_of_a_run = int(Path("whole/count").read_text())
    wrong, ended = [], []
    for number in range(1, operations_of_a_run + 1, step):
        folder = os.path.join(home, str(number))
        os.mkdir(folder)
        # Broken when it runs, broken when it is resumed, and resumed at last.
        ended.append([forked(folder, number, mode), forked(folder, number // 3, mode)])
        last = forked(folder)
        if last != 0 or found_in(folder) != expected:
            wrong.append((number, last))
        shutil.rmtree(folder)
    print(json.dumps({"operations": operations_of_a_run, "wrong": wrong, "ended": ended}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied as they are")
@pytest.mark.parametrize("mode", ["kill", "full"])
def test_the_sequence_survives_a_fault_at_any_operation_of_the_store(run_script, mode):
    pytest.importorskip("optuna")
    step = 1 if SOAK else 29
    done = run_script(OPERATIONS, mode, step, options=["-W", "ignore"], timeout=PATIENCE - 10)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == [], done.stderr
    codes = [code for pair in told["ended"] for code in pair]
    assert set(codes) <= ({0, -9} if mode == "kill" else {0, 1}), (codes, done.stderr)
    # Most of them did hit something.
    assert sum(code != 0 for code in codes) > len(codes) // 3
