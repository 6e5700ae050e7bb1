"""Running graphs: order, treatments by name, what happens when something fails."""

from __future__ import annotations

import asyncio
import threading

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    ExperimentGraph,
    ParallelExecution,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ContextMutationError, GraphError, GraphRunError


def baseline(result):
    return list(result.metrics.baseline.metrics["total"])


def treated(result, name):
    return list(result.metrics.treatments[name].metrics["total"])


@pytest.fixture(params=["run", "arun"])
def run(request):
    """Run a graph both ways."""
    if request.param == "run":
        return lambda graph, *args, **settings: graph.run(*args, **settings)
    return lambda graph, *args, **settings: asyncio.run(graph.arun(*args, **settings))


def test_each_experiment_reads_what_those_before_it_wrote(node, run):
    top = node("top", replicates=2)
    left, right = node("left", top), node("right", top)
    results = run(ExperimentGraph(node("bottom", left, right), left, right, top))
    assert next(iter(results)) == "top"
    assert list(results)[-1] == "bottom"
    assert baseline(results["top"]) == [2, 2]
    assert baseline(results["bottom"]) == [7, 7]
    assert results.skipped == {}


def test_treatments_of_parents_are_inherited_by_name_and_own_ones_win(node, run):
    top = node("top", treatments=[Treatment("big", {"add": 10}), Treatment("huge", {"add": 100})])
    below = node("below", top, treatments=[Treatment("big", {"add": 0}), Treatment("own", {"add": 5})])
    last = node("last", below)
    results = run(ExperimentGraph(top, below, last))
    assert treated(results["below"], "big") == [11]
    assert treated(results["below"], "huge") == [201]
    assert treated(results["below"], "own") == [2 + 5], "the producer never had it: its baseline is read"
    assert treated(results["last"], "huge") == [301]
    assert treated(results["last"], "big") == [11], "the payload is that of the parent's own"
    assert set(results["last"].metrics.treatments) == {"big", "huge", "own"}


def test_given_treatments_go_to_every_experiment(node, run):
    top = node("top", treatments=[Treatment("left out", {"add": 7})])
    results = run(ExperimentGraph(top, node("below", top)), [Treatment("given", {"add": 10})])
    assert set(results["top"].metrics.treatments) == set(results["below"].metrics.treatments) == {"given"}
    assert treated(results["below"], "given") == [21]


def test_no_treatments_means_none_anywhere(node, run):
    top = node("top", treatments=[Treatment("left out", {"add": 7})])
    results = run(ExperimentGraph(top, node("below", top)), [])
    assert not results["top"].metrics.treatments
    assert not results["below"].metrics.treatments


def test_treatments_of_one_name_from_two_parents_are_put_together(node):
    one = node("one", treatments=[Treatment("fast", {"add": 2})])
    other = node("other", treatments=[Treatment("fast", {"depth": 3, "add": 2})])
    results = ExperimentGraph(one, other, node("both", one, other)).run()
    assert treated(results["both"], "fast") == [3 + 3 + 2]
    context = results["both"].conditions[1].context
    assert (context["add"], context["depth"]) == (2, 3)


@pytest.mark.parametrize("second", [{"add": 3}, lambda ctx: ctx.add("add", 2)])
def test_treatments_of_one_name_that_contradict_each_other_are_refused(node, second):
    one = node("one", treatments=[Treatment("fast", {"add": 2})])
    other = node("other", treatments=[Treatment("fast", second)])
    with pytest.raises(GraphError, match="'both' inherits a treatment 'fast' from 'one' and another from 'other'"):
        ExperimentGraph(one, other, node("both", one, other)).run()


def test_an_inherited_treatment_that_clashes_with_the_context_is_refused_before_anything_runs(node, tmp_path):
    top = node("top", treatments=[Treatment("fast", {"depth": 2})])
    below = node("below", top, initial_ctx={"depth": 1})
    with pytest.raises(ContextMutationError, match="'below' of the graph.*'depth'"):
        ExperimentGraph(top, below).run()
    assert not (tmp_path / "data").exists()


def test_replicates_are_those_given_else_its_own_else_those_of_what_is_read(node, run):
    top = node("top", replicates=3)
    below = node("below", top)
    own = node("own", top, replicates=5)
    graph = ExperimentGraph(top, below, own)
    results = run(graph)
    assert [len(baseline(results[name])) for name in ("top", "below", "own")] == [3, 3, 5]
    results = run(graph, replicates=2)
    assert [len(baseline(results[name])) for name in ("top", "below", "own")] == [2, 2, 2]


def test_what_depends_on_an_experiment_without_a_success_is_not_run(node, run, log):
    top = node("top", failing=True)
    below = node("below", top)
    results = run(ExperimentGraph(top, below, node("last", below), node("alone")))
    assert set(results) == {"top", "alone"}
    assert baseline(results["alone"]) == [2]
    assert set(results["top"].errors) == {"baseline_rep_0"}
    assert "'top'" in results.skipped["below"]
    assert "'top'" in results.skipped["last"], "the reason is the one at the root"
    with pytest.raises(KeyError, match="the experiment 'below' was not run .*'top'"):
        results["below"]
    with pytest.raises(KeyError, match="the experiment 'beside' is not in the graph; results are there of: "):
        results["beside"]
    assert results.get("below") is None
    assert "experiment 'last' is not run" in log.text()


def test_cells_that_fail_stop_only_the_cells_that_read_from_them(node, run):
    top = node("top", failing=["bad"], treatments=[Treatment("bad", {}), Treatment("good", {"add": 2})])
    results = run(ExperimentGraph(top, node("below", top)))
    assert baseline(results["below"]) == [3]
    assert treated(results["below"], "good") == [5]
    assert set(results["below"].errors) == {"bad_rep_0"}


class Refusing(BasePlugin):
    neutral = True

    def before_run(self, experiment):
        raise ConnectionError("no licence today")


def test_an_experiment_that_raises_is_told_of_once_everything_else_has_run(node, run):
    top = node("top", plugins=[Refusing()])
    graph = ExperimentGraph(top, node("below", top), node("alone"))
    with pytest.raises(GraphRunError, match="'top': ConnectionError: no licence today") as caught:
        run(graph)
    assert baseline(caught.value.results["alone"]) == [2]
    assert not caught.value.results["top"].metrics.baseline.metrics, "what had been collected of it: nothing"
    assert set(caught.value.failures) == {"top"}
    assert set(caught.value.results.skipped) == {"below"}
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_experiments_that_do_not_depend_on_each_other_run_at_the_same_time(node, run):
    meeting = threading.Barrier(2, timeout=30)
    graph = ExperimentGraph(node("left", body=meeting.wait), node("right", body=meeting.wait))
    results = run(graph)
    assert not results["left"].errors
    assert not results["right"].errors


def test_async_experiments_meet_in_the_callers_loop(tmp_path):
    @data_source
    def nothing(ctx):
        return None

    loops = []

    def waiting(name, own, other):
        @pipeline_step()
        async def meet(data, ctx):
            loops.append(asyncio.get_running_loop())
            own.set()
            await asyncio.wait_for(other.wait(), 30)
            ctx.record("total", 1)

        return Experiment(nothing(), [meet()], name=name)

    async def main():
        left, right = asyncio.Event(), asyncio.Event()
        results = await ExperimentGraph(waiting("left", left, right), waiting("right", right, left)).arun()
        assert {id(loop) for loop in loops} == {id(asyncio.get_running_loop())}
        return results

    results = asyncio.run(main())
    assert not results["left"].errors | results["right"].errors


def test_max_parallel_limits_how_many_run_at_the_same_time(node, run):
    state = {"now": 0, "most": 0}
    lock = threading.Lock()

    def body():
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        threading.Event().wait(0.02)
        with lock:
            state["now"] -= 1

    run(ExperimentGraph(*(node(f"n{number}", body=body, replicates=2) for number in range(4))), max_parallel=1)
    assert state["most"] == 1


def shared(record):
    return "share one global random state" in record.getMessage()


def test_sharing_the_global_random_state_is_warned_about_once_and_only_where_it_happens(node, log):
    ExperimentGraph(*(node(name) for name in "abc")).run()
    assert len([record for record in log.records if shared(record)]) == 1
    log.records.clear()
    ExperimentGraph(*(node(name) for name in "abc")).run(max_parallel=1)
    ExperimentGraph(*(node(name, plugins=[ParallelExecution(1, "process")]) for name in "abc")).run()
    ExperimentGraph(*(node(name, default_plugins=["artifacts"]) for name in "abc")).run()
    first = node("first")
    ExperimentGraph(first, node("second", first)).run()
    assert not [record for record in log.records if shared(record)]


def test_numbers_from_ctx_rng_are_the_same_however_many_run_together(tmp_path):
    @data_source
    def nothing(ctx):
        return None

    @pipeline_step()
    def draw(data, ctx):
        ctx.record("total", float(ctx.rng.random()))

    def graph():
        return ExperimentGraph(
            *(Experiment(nothing(), [draw()], [SeedPlugin(seed=7)], name=name, replicates=20) for name in "abc")
        )

    alone = {name: baseline(result) for name, result in graph().run(max_parallel=1).items()}
    assert {name: baseline(result) for name, result in graph().run().items()} == alone
    assert {name: baseline(result) for name, result in asyncio.run(graph().arun()).items()} == alone


def test_a_graph_runs_in_worker_processes(node):
    pool = ParallelExecution(2, "process")
    top = node("top", plugins=[pool], replicates=3)
    left, right = node("left", top, plugins=[pool]), node("right", top, plugins=[pool])
    results = ExperimentGraph(top, left, right, node("bottom", left, right, plugins=[pool])).run()
    assert baseline(results["bottom"]) == [7, 7, 7]


def test_runs_are_stored_as_those_of_each_experiment_alone(node, tmp_path):
    top = node("top", plugins=[ArtifactPlugin("store")])
    graph = ExperimentGraph(top, node("below", top, plugins=[ArtifactPlugin("store")]))
    graph.run()
    graph.run()
    assert sorted(path.name for path in (tmp_path / "store" / "below").iterdir()) == ["v0", "v1"]
