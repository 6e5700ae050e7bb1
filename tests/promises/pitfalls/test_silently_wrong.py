"""Rows of kind A: silently wrong science, lost or overwritten data, files written elsewhere."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Hypothesis,
    PipelineStep,
    Treatment,
    pipeline_step,
    resource_factory,
    verifier,
)
from crystallize.errors import CrystallizeError, DuplicateNameError
from crystallize_plugins.artifacts import open_run


@pipeline_step()
def total(data, ctx, *, delta=0):
    ctx.record("total", sum(data) + delta)
    return data


@verifier
def gain(baseline, treatment):
    return {"p_value": 0.01}


def test_applying_leaves_the_results_of_an_earlier_run_alone(make, saved):
    experiment = make(total())
    experiment.run(replicates=5)
    experiment.apply(data=[100])
    experiment.apply(Treatment("t", {"delta": 1}))
    assert saved() == {"total": [6] * 5}
    assert sorted(path.name for path in Path("data/pitfall").iterdir()) == ["v0"]


@pytest.mark.parametrize("fault", ["verifier raises", "ranker raises", "metric absent"])
def test_a_hypothesis_that_cannot_be_tested_costs_no_metric(make, saved, fault):
    @verifier
    def fails(baseline, treatment):
        raise ZeroDivisionError

    def rank(output):
        raise ZeroDivisionError

    hypothesis = {
        "verifier raises": Hypothesis(fails(), "total", name="h"),
        "ranker raises": Hypothesis(gain(), "total", ranker=rank, name="h"),
        "metric absent": Hypothesis(gain(), "absent", name="h"),
    }[fault]
    result = make(total()).run(treatments=[Treatment("t", {"delta": 1})], hypotheses=[hypothesis], replicates=2)
    assert "hypothesis:h" in result.errors
    assert result.metrics.treatments["t"].metrics["total"] == saved(condition="t")["total"] == [7, 7]


def test_a_plugin_that_raises_at_the_end_costs_no_result(make, saved):
    class Fails(BasePlugin):
        def after_run(self):
            raise OSError("report server away")

    result = make(total(), plugins=[Fails()]).run(replicates=2)
    assert "report server away" in str(result.errors["after_run:Fails"])
    assert result.metrics.baseline.metrics["total"] == saved()["total"] == [6, 6]


def test_a_teardown_that_raises_costs_no_result(make, saved):
    class Stuck(PipelineStep):
        def teardown(self, ctx):
            raise OSError("stuck")

        def __call__(self, data, ctx):
            return data

    result = make(total(), Stuck()).run(replicates=2)
    assert "stuck" in str(result.errors["teardown:Stuck"])
    assert saved()["total"] == [6, 6]


ODD = {
    "date": dt.date(2020, 1, 2), "set": {1}, "bytes": b"ab", "path": Path("a/b"), "complex": 3 + 1j,
    "tuple keys": {(1, 2): 3}, "object": object, "none": None, "nested": [{"when": dt.date(2020, 1, 2)}],
}  # fmt: skip


def test_a_metric_of_any_kind_is_stored_and_costs_no_other(make, saved):
    @pipeline_step()
    def odd(data, ctx):
        for name, value in ODD.items():
            ctx.record(name, value)
        return data, {"last": 1}

    result = make(odd()).run(treatments=[Treatment("t", {})])
    assert not result.errors
    for condition in ("baseline", "t"):
        stored = saved(condition=condition)
        assert list(stored) == [*ODD, "last"]
        assert stored["last"] == [1]
        assert "2020-01-02" in str(stored["date"])
        assert "a/b" in str(stored["path"])
        assert stored["none"] == [None]
    result.to_json("result.json")
    assert Path("result.json").stat().st_size


@pytest.mark.parametrize("name", ["../out", "..", "/tmp/out", "a/../../b", "a\\..\\b"])
def test_no_name_leads_out_of_the_folder(make, tmp_path, name):
    def write(data, ctx):
        ctx.artifacts.add(name, b"x")

    for attempt in (
        lambda: make(total(), name=name).run(),
        lambda: make(total()).run(treatments=[Treatment(name, {})]),
        lambda: make(write).apply(),
    ):
        with pytest.raises(CrystallizeError):
            attempt()
    result = make(write, name="writes").run()
    assert list(result.errors) == ["baseline_rep_0"]
    assert not list(tmp_path.parent.glob("out*"))
    assert {path.name for path in tmp_path.iterdir()} <= {"data"}


def test_several_processes_take_a_version_each(program, tmp_path):
    source = """
        from crystallize import Experiment, Pipeline, data_source
        @data_source
        def nothing(ctx):
            return None
        experiment = Experiment(nothing(), Pipeline([lambda data, ctx: ctx.record("n", ctx["replicate"])]), name="many")
        for _ in range(3):
            print("version", experiment.run(replicates=20).provenance["run"]["version"])
    """
    running = [program(source) for _ in range(3)]
    versions = [int(line.split()[1]) for one in running for line in one.end().splitlines() if line[:8] == "version "]
    assert sorted(versions) == list(range(9))
    for version in versions:
        assert (tmp_path / f"data/many/v{version}/baseline/results.json").read_text().count(",") >= 19


def test_two_treatments_of_one_name_are_refused(make):
    with pytest.raises(DuplicateNameError):
        make(total()).run(treatments=[Treatment("t", {"delta": 1}), Treatment("t", {"delta": 2})])


def test_two_factories_of_one_closure_maker_are_two_resources(make):
    def maker(tag):
        return resource_factory(lambda ctx: [tag])

    def both(data, ctx):
        return data, {"tags": ctx["a"][0] + ctx["b"][0]}

    result = make(both, initial_ctx={"a": maker("x"), "b": maker("y")}).run()
    assert result.metrics.baseline.metrics["tags"] == ["xy"]


@pytest.mark.parametrize("order", list(itertools.permutations(["nan", "good", "bad"])))
def test_a_p_value_that_is_no_number_never_wins(make, order):
    p_values = {"nan": float("nan"), "good": 0.01, "bad": 0.9}

    @verifier
    def look(baseline, treatment):
        return {"p_value": p_values[treatment["name"][0]]}

    show = pipeline_step()(lambda data, ctx: (data, {"name": ctx["condition"]}))
    result = make(show()).run(
        treatments=[Treatment(name, {}) for name in order], hypotheses=[Hypothesis(look(), "name", name="h")]
    )
    ranking = result.get_hypothesis("h").ranking
    assert ranking["best"] == "good"
    assert [name for name, _ in ranking["ranked"]] == ["good", "bad", "nan"]


def test_two_experiments_of_one_name_overwrite_nothing(make, saved):
    make(total()).run(replicates=1)
    make(total(delta=1)).run(replicates=2)
    assert saved(version=0)["total"] == [6]
    assert saved(version=1)["total"] == [7, 7]


def test_a_rerun_without_versions_leaves_nothing_of_the_one_before(make, saved):
    store = lambda: ArtifactPlugin(versioned=False)  # noqa: E731 - one for each experiment
    make(total(), plugins=[store()]).run(replicates=5, treatments=[Treatment("a", {}), Treatment("b", {})])
    make(total(), plugins=[store()]).run(replicates=2, treatments=[Treatment("a", {})])
    assert sorted(path.name for path in Path("data/pitfall").iterdir()) == ["v0"]
    assert saved()["total"] == [6, 6]
    assert not Path("data/pitfall/v0/b").exists()


def test_treatments_run_where_the_baseline_failed(make):
    def fail(data, ctx):
        if (ctx["condition"], ctx["replicate"]) == ("baseline", 1):
            raise ValueError("no")
        return data

    result = make(fail, total()).run(replicates=3, treatments=[Treatment("t", {})])
    assert list(result.errors) == ["baseline_rep_1"]
    assert result.metrics.treatments["t"].metrics["total"].replicates == [0, 1, 2]
    assert result.metrics.baseline.metrics["total"].replicates == [0, 2]


def test_finished_replicates_survive_a_kill(program, tmp_path):
    """As a power cut in the middle: no chance to clean up."""
    one = program("""
        import time
        from pathlib import Path
        from crystallize import Experiment, Pipeline, data_source
        @data_source
        def nothing(ctx):
            return None
        def step(data, ctx):
            if ctx["replicate"] == 3:
                while not Path("data/killed/v0/run.db-wal").exists():
                    time.sleep(0.01)
                time.sleep(1)  # two hundred times as long as outcomes wait for their commit
                print("now", flush=True)
                time.sleep(60)
            ctx.record("n", ctx["replicate"])
        Experiment(nothing(), Pipeline([step]), name="killed").run(replicates=9)
    """)
    one.wait_for_line("now")
    one.kill()
    one.end()
    result = open_run(tmp_path / "data/killed/v0")
    assert result.metrics.baseline.metrics["n"] == [0, 1, 2]
