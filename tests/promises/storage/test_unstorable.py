"""What cannot be stored fails its cell by name; whatever becomes of the store's thread, nobody waits for ever."""

from __future__ import annotations

import collections.abc
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    data_source,
    pipeline_step,
)
from crystallize.errors import StoreError
from crystallize_plugins.artifacts import list_runs, open_run
from crystallize_plugins.artifacts.database import writer


class Closed(collections.abc.Mapping):
    """As the attributes of a file that was closed, or the row of a connection that is gone."""

    def __getitem__(self, key):
        raise ValueError("the file is closed")

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class Rows(collections.abc.Sequence):
    def __getitem__(self, index):
        raise MemoryError

    def __len__(self):
        return 3


class Number(float):
    def __reduce__(self):
        return Number, (0.5,)

    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __float__ = __eq__ = __repr__
    __hash__ = float.__hash__


class Exits(Closed):
    def __getitem__(self, key):
        raise SystemExit(3)


class Unspeakable(Closed):
    class Error(Exception):
        def __str__(self):
            raise ValueError("nor has it a text")

    def __getitem__(self, key):
        raise self.Error


VALUES = {
    "mapping": Closed(),
    "sequence": Rows(),
    "in a list": [1, {"a": Closed()}],
    "exits": Exits(),
    "unspeakable": Unspeakable(),
    "too large": "x" * 200_000,
}


@data_source
def replicate(ctx):
    return ctx["replicate"]


@pipeline_step()
def measure(data, ctx, *, bad=None):
    ctx.metrics.add("loss", data)
    if bad and data == 5:
        ctx.metrics.add("attributes", VALUES[bad])
    return data


@pipeline_step()
def remember(data, ctx, *, bad=None):
    if data == 5:
        ctx.add("attributes", VALUES[bad])
    return data, {"loss": data}


def experiment(step, *plugins):
    return Experiment(replicate(), Pipeline([step]), [SeedPlugin(seed=1), *plugins, ArtifactPlugin()], name="exp")


def consumed(built, how):
    if how == "stream":
        return {outcome.cell.replicate: outcome.error for outcome in built.stream(replicates=40, strategy="resume")}
    result = built.run(replicates=40, strategy="resume")
    return {5: next(iter(result.errors.values()), None), **dict.fromkeys(result.metrics.baseline.metrics["loss"])}


@pytest.mark.parametrize("how", ["run", "stream"])
@pytest.mark.parametrize("bad", VALUES)
def test_a_metric_that_cannot_be_stored_fails_its_cell_by_name_and_no_other(bad, how, monkeypatch):
    monkeypatch.setattr(writer, "_LARGEST_CELL", 100_000)
    errors = consumed(experiment(measure(bad=bad)), how)
    assert sorted(errors) == list(range(40))
    assert [number for number, error in errors.items() if error is not None] == [5]
    for word in ("replicate 5", "metric 'attributes' cannot be stored"):
        assert word in str(errors[5])
    assert list_runs()[0].status == "complete"
    stored = open_run("data/exp/v0")
    assert stored.metrics.baseline.metrics["loss"] == [number for number in range(40) if number != 5]
    assert "cannot be stored" in str(stored.errors["baseline_rep_5"])
    assert len(consumed(experiment(measure()), how)) == 40


def test_a_metric_from_a_worker_process_that_cannot_be_stored_fails_its_cell():
    result = experiment(measure(bad="mapping"), ParallelExecution(max_workers=2, executor_type="process")).run(
        replicates=8
    )
    assert list(result.errors) == ["baseline_rep_5"]
    assert len(open_run("data/exp/v0").metrics.baseline.metrics["loss"]) == 7


def test_an_error_that_an_executor_gives_an_outcome_is_one_of_its_cell():
    class Judging(BasePlugin):
        def run_experiment_loop(self, cells, run_cell):
            for cell in cells:
                outcome = run_cell(cell)
                if cell.replicate == 5:
                    outcome.error = RuntimeError("no good")
                yield outcome

    result = experiment(measure(), Judging()).run(replicates=8)
    assert "no good" in str(result.errors["baseline_rep_5"])
    assert "no good" in str(open_run("data/exp/v0").errors["baseline_rep_5"])


def test_a_writer_whose_thread_ends_settles_what_is_waited_for(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_LOOK_AFTER", 0.05)
        patch.setattr(writer.RunWriter, "_work", lambda self: None)  # as a thread that a debugger has ended
        with pytest.raises(StoreError, match="its writer's thread has ended"):
            experiment(measure()).run(replicates=3)
    assert experiment(measure()).run(replicates=3, strategy="resume").provenance["run"]["version"] == 1


def test_after_an_error_at_its_end_a_run_can_be_resumed_by_the_same_process(monkeypatch):
    from crystallize_plugins.artifacts import active

    def fail(*_, **__):
        raise RuntimeError("a hypothesis that cannot be taken apart")

    with monkeypatch.context() as patch:
        patch.setattr(active, "documents_of", fail)
        with pytest.raises(RuntimeError, match="taken apart"):
            experiment(measure()).run(replicates=3)
    assert list_runs()[0].status == "interrupted"
    result = experiment(measure()).run(replicates=3, strategy="resume")
    assert (result.provenance["run"]["version"], result.provenance["resume"]["kept"]) == (0, 3)


LIMITED = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx):
        return data, {"x": data}

    built = Experiment(source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp")
    try:
        list(built.stream(replicates=3)) if sys.argv[1] == "stream" else built.run(replicates=3, strategy=sys.argv[1])
        print("done")
    except StoreError as error:
        print(error)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="the limit holds for users that are not root, and root becomes one",
)
@pytest.mark.parametrize("how", ["rerun", "resume", "stream"])
def test_where_no_thread_can_be_started_a_run_says_so_at_its_beginning(how, tmp_path):
    # In a user's own process: the limit counts all that a user has.
    (tmp_path / "program.py").write_text(textwrap.dedent(LIMITED), encoding="utf-8")
    tmp_path.chmod(0o777)
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--no-new-privs"]
    user = ["setpriv", "--reuid", "5432", "--clear-groups", *may_read]
    program = [sys.executable, str(tmp_path / "program.py"), how]
    done = subprocess.run([*user, *program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "no thread can be started" in done.stdout, done.stderr
