"""Rows of kind B: a crash or a hang in an ordinary situation."""

from __future__ import annotations

import functools
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from crystallize import (
    Artifact,
    Hypothesis,
    ParallelExecution,
    PipelineStep,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    quick_experiment,
    verifier,
)


@pytest.fixture
def processes():
    """Make an executor of two worker processes."""
    return lambda: ParallelExecution(max_workers=2, executor_type="process")


class UnpicklableError(Exception):
    """Cannot be rebuilt from its arguments."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")


def test_an_error_that_cannot_be_rebuilt_in_a_worker_process_is_a_recorded_failure(make, processes):
    def fail(data, ctx):
        if ctx["replicate"] == 1:
            raise UnpicklableError(7, "odd")
        ctx.record("n", ctx["replicate"])

    result = make(fail, plugins=[processes()]).run(replicates=4)
    assert list(result.errors) == ["baseline_rep_1"]
    assert "UnpicklableError: 7: odd" in str(result.errors["baseline_rep_1"])
    assert result.metrics.baseline.metrics["n"] == [0, 2, 3]


SERIAL = "[]"
THREADS = "[ParallelExecution(2)]"
PROCESSES = "[ParallelExecution(2, 'process')]"


@pytest.mark.parametrize("plugins", [SERIAL, THREADS, PROCESSES])
def test_ctrl_c_stops_and_keeps_what_was_finished(program, tmp_path, plugins):
    one = program(f"""
        import time
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source
        @data_source
        def nothing(ctx):
            return None
        def step(data, ctx):
            ctx.record("n", ctx["replicate"])
            if ctx["replicate"] >= 4:
                print("now", flush=True)
                time.sleep(0.5)
        if __name__ == "__main__":
            experiment = Experiment(nothing(), Pipeline([step]), name="stopped", plugins={plugins})
            try:
                experiment.run(replicates=500)
            except KeyboardInterrupt as exc:
                print("kept", len(exc.result.metrics.baseline.metrics["n"]))
    """)
    one.wait_for_line("now")
    one.interrupt()
    printed = one.end(seconds=60)  # all the cells would take minutes
    (kept,) = [int(line.split()[1]) for line in printed.splitlines() if line.startswith("kept")]
    assert 4 <= kept < 50
    assert one.members() == []
    assert (tmp_path / "data/stopped/v0/baseline/results.json").exists()


def test_worker_processes_end_with_their_parent(program):
    one = program("""
        import time
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source
        @data_source
        def nothing(ctx):
            return None
        def step(data, ctx):
            print("now", flush=True)
            time.sleep(120)
        if __name__ == "__main__":
            plugins = [ParallelExecution(2, "process")]
            Experiment(nothing(), Pipeline([step]), name="killed", plugins=plugins).run(replicates=4)
    """)
    one.wait_for_line("now")
    one.kill()
    one.process.wait()
    for _ in range(200):
        if not one.members():
            break
        time.sleep(0.05)
    assert one.members() == []


def test_artifacts_work_in_processes(make, processes):
    model = Artifact("model.txt", writer=str.encode, loader=lambda path: path.read_text())

    @pipeline_step()
    def save(data, ctx, *, model: Artifact):
        model.write(f"{ctx['condition']} {ctx['replicate']}")
        ctx.artifacts.add("note.txt", "n")

    @pipeline_step()
    def load(data, ctx):
        return data, {"loaded": data}

    producer = make(save(), name="producer", outputs=[model], plugins=[processes()])
    result = producer.run(replicates=2, treatments=[Treatment("t", {})])
    assert {name: path.read_text() for name, path in result.get_artifact("model.txt").items()} == {
        "baseline": "baseline 0", "t": "t 0",
    }  # fmt: skip
    assert sorted(result.artifacts) == ["model.txt", "note.txt"]
    consumer = make(load(), name="consumer", source=model, plugins=[processes()])
    loaded = consumer.run(treatments=[Treatment("t", {})])
    assert loaded.metrics.treatments["t"].metrics["loaded"] == ["t 0", "t 1"]


def test_a_required_parameter_may_come_from_the_context(make):
    @pipeline_step()
    def fit(data, ctx, rate):
        return data, {"rate": rate}

    assert make(fit(), initial_ctx={"rate": 0.1}).run().metrics.baseline.metrics["rate"] == [0.1]


def test_local_functions_everywhere_work_in_processes(make, processes):
    bias = 5

    @pipeline_step()
    def local(data, ctx, *, delta=0, fn=None):
        return data, {"total": fn(sum(data)) + delta + bias, "seeded": random.random()}

    experiment = make(
        local(fn=lambda value: value * 2),
        plugins=[SeedPlugin(seed=1, seed_fn=lambda s: random.seed(s)), processes()],  # noqa: PLW0108
    )
    result = experiment.run(replicates=2, treatments=[Treatment("t", lambda ctx: ctx.add("delta", 100))])
    assert not result.errors
    assert result.metrics.treatments["t"].metrics["total"] == [117, 117]
    assert result.metrics.treatments["t"].metrics["seeded"] == result.metrics.baseline.metrics["seeded"]


@pytest.mark.parametrize("kind", ["generator", "lock", "open file", "lambda"])
def test_data_between_steps_may_be_anything(make, tmp_path, kind):
    @data_source
    def source(ctx):
        (tmp_path / "file.txt").write_text("6")
        return {
            "generator": lambda: (n for n in range(4)),
            "lock": threading.Lock,
            "open file": lambda: open(tmp_path / "file.txt"),  # noqa: PTH123 - handed to the next step
            "lambda": lambda: lambda: 6,
        }[kind]()

    def use(data):
        with data if kind in ("lock", "open file") else threading.Lock():
            value = {
                "generator": sum,
                "lock": lambda d: 6,
                "open file": lambda d: int(d.read()),
                "lambda": lambda d: d(),
            }
            return data, {"n": value[kind](data)}

    result = make(lambda data: data, use, source=source()).run(replicates=2)
    assert result.metrics.baseline.metrics["n"] == [6, 6]


def test_arrays_may_be_in_the_context_and_in_treatments(make):
    @pipeline_step()
    def use(data, ctx, *, weights):
        ctx.add("more", weights * 2)
        return data, {"sum": int(ctx["weights"].sum() + ctx["more"].sum())}

    treatments = [Treatment("t", {"weights": np.ones(3)}), Treatment("baseline", {"weights": np.arange(4)})]
    result = make(use()).run(treatments=treatments)
    assert not result.errors
    assert result.metrics.baseline.metrics["sum"] == [18]
    assert result.metrics.treatments["t"].metrics["sum"] == [9]


def test_a_step_whose_setup_adds_to_the_context_can_run_again(make):
    class Client(PipelineStep):
        def setup(self, ctx):
            ctx.add("client", "ready")

        def __call__(self, data, ctx):
            return data, {"client": ctx["client"]}

    experiment = make(Client())
    for _ in range(3):
        assert experiment.run().metrics.baseline.metrics["client"] == ["ready"]
    assert experiment.apply() == [1, 2, 3]


def test_what_cannot_be_copied_may_be_in_the_initial_context(make):
    lock = threading.Lock()
    result = make(lambda data, ctx: (data, {"same": ctx["lock"] is lock}), initial_ctx={"lock": lock}).run()
    assert result.metrics.baseline.metrics["same"] == [True]


def test_two_steps_that_write_one_file_name_do_not_disturb_each_other(make):
    def first(data, ctx):
        ctx.artifacts.add("out.txt", "first")
        return data

    def second(data, ctx):
        ctx.artifacts.add("out.txt", "second")
        return data

    result = make(first, second).run()
    found = {entry["step"]: Path(entry["path"]).read_text() for entry in result.provenance["artifacts"]}
    assert found == {"FirstStep": "first", "SecondStep": "second"}


def test_grouped_metrics_are_ranked_by_default(make):
    @verifier
    def look(baseline, treatment):
        (values,) = treatment.values()
        return {"p_value": values[0]}

    @pipeline_step()
    def show(data, ctx, *, a=0.5, b=0.5):
        return data, {"a": a, "b": b}

    result = make(show()).run(
        treatments=[Treatment("weak", {"a": 0.9}), Treatment("strong", {"a": 0.01, "b": 0.02})],
        hypotheses=[Hypothesis(look(), [["a"], ["b"]], name="h")],
    )
    assert not result.errors
    assert result.get_hypothesis("h").ranking["best"] == "strong"
    assert result.get_hypothesis("h").results["strong"] == [{"p_value": 0.01}, {"p_value": 0.02}]


def test_an_async_data_source_is_awaited(make):
    @data_source
    async def later(ctx):
        return [5]

    assert make(len, source=later()).apply() == 1


class Doubles:
    def __call__(self, data):
        return [value * 2 for value in data]


def test_functions_without_source_and_callable_objects_are_steps(make):
    namespace = {}
    exec("def from_exec(data): return sorted(data, reverse=True)", namespace)
    steps = [namespace["from_exec"], Doubles(), functools.partial(map, lambda v: v + 1), sum]
    assert make(*steps).apply() == 15


def test_a_large_object_in_the_context_costs_no_copies(make):
    table = {number: {"value": [number]} for number in range(20_000)}
    copies = []

    class Counted(dict):
        def __copy__(self):
            copies.append(1)
            return self

        __deepcopy__ = copy = __copy__

    steps = [lambda data, ctx: (ctx.get("rate"), data)[1] for _ in range(10)]
    result = make(*steps, initial_ctx={"table": table, "counted": Counted(table), "rate": 1}).run(replicates=2)
    assert not result.errors
    assert copies == []


@pytest.mark.parametrize("seed", [2**32 - 1, 2**32, -1, -(2**40)])
def test_quick_experiments_take_any_integer_as_their_seed(seed):
    values = quick_experiment(lambda config: float(np.random.rand()), {"a": 1}, replicates=3, seed=seed)["a"]
    assert len(set(values)) == 3
