"""`run_experiment_loop`: every form that a plugin may give it, and what becomes of one that does it wrong."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import BasePlugin, Experiment, Pipeline, Treatment, data_source
from crystallize.errors import PluginHookError
from crystallize.hooks import CellOutcome


@data_source
def replicate(ctx):
    return ctx["replicate"]


def draw(data, ctx):
    ctx.record("n", data)
    ctx.record("twice", [data, data], tags={"by": ctx["condition"]})
    return data


async def draw_later(data, ctx):
    await asyncio.sleep(0)
    return draw(data, ctx)


class Executor(BasePlugin):
    neutral = True


def executor(function):
    """A plugin whose loop is the function."""
    return type(function.__name__, (Executor,), {"run_experiment_loop": function})()


def as_list(self, cells, run_cell):
    return [run_cell(cell) for cell in cells]


def as_generator(self, cells, run_cell):
    for cell in cells:
        yield run_cell(cell)


def as_iterator(self, cells, run_cell):
    return map(run_cell, cells)


def short_form(self, experiment, replicate_fn):
    return [replicate_fn(number) for number in range(experiment.replicates)]


def short_form_as_generator(self, experiment, replicate_fn):
    for number in range(experiment.replicates):
        yield replicate_fn(number)


async def as_async_generator(self, cells, run_cell):
    for cell in cells:
        yield await run_cell.aio(cell)


def as_coroutine(self, cells, run_cell):
    async def gathered():
        return await asyncio.gather(*map(run_cell.aio, cells))

    return gathered()


def as_async_iterator(self, cells, run_cell):
    class Outcomes:
        def __init__(self):
            self.cells = iter(cells)

        def __aiter__(self):
            return self

        async def __anext__(self):
            for cell in self.cells:
                return await run_cell.aio(cell)
            raise StopAsyncIteration

    return Outcomes()


def in_threads(self, cells, run_cell):
    with ThreadPoolExecutor(3) as pool:
        for future in as_completed([pool.submit(run_cell, cell) for cell in cells]):
            yield future.result()


def backwards(self, cells, run_cell):
    return reversed([run_cell(cell) for cell in cells])


FORMS = (
    as_list, as_generator, as_iterator, short_form, short_form_as_generator, as_async_generator, as_coroutine,
    as_async_iterator, in_threads, backwards,
)  # fmt: skip


@pytest.mark.parametrize("step", [draw, draw_later])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_serial_numbers(make, face, form, step):
    settings = {"replicates": 3, "treatments": [Treatment("t", {})]}
    serial = make(step, source=replicate()).run(**settings)
    result = face(make(step, source=replicate(), plugins=[executor(form)]), **settings)
    assert not result.errors
    for condition in ("baseline", "t"):
        mine, other = (found.to_dict()["metrics"] for found in (result, serial))
        assert mine == other
        assert len(result.provenance["ctx_changes"][condition]) == 3


@given(st.randoms(use_true_random=False), st.integers(1, 5), st.integers(0, 3))
def test_results_do_not_depend_on_the_order_of_outcomes(shuffler, replicates, treatments):
    def shuffled(self, cells, run_cell):
        outcomes = [run_cell(cell) for cell in cells]
        shuffler.shuffle(outcomes)
        return outcomes

    def fail_sometimes(data, ctx):
        if (data + len(ctx["condition"])) % 4 == 1:
            raise ValueError(data)
        return data

    def run(*plugins):
        experiment = Experiment(
            replicate(), Pipeline([draw, fail_sometimes]), plugins=list(plugins), default_plugins=False
        )
        found = experiment.run(
            replicates=replicates, treatments=[Treatment("t" * (n + 1), {}) for n in range(treatments)]
        )
        kept = found.to_dict()
        return kept["metrics"], kept["errors"], list(kept["errors"]), found.provenance["seeds"]

    assert run(executor(shuffled)) == run()


@pytest.mark.parametrize("answer", [None, NotImplemented])
def test_declining_leaves_it_to_the_others(make, answer):
    def declines(self, cells, run_cell):
        return answer

    asked = []

    def takes(self, cells, run_cell):
        asked.append(len(cells))
        return as_list(self, cells, run_cell)

    assert make(draw, plugins=[executor(declines)]).run(replicates=2).metrics.baseline.metrics["n"]
    assert make(draw, plugins=[executor(takes), executor(declines)]).run(replicates=2).metrics.baseline.metrics["n"]
    assert asked == [2]


def test_the_last_in_the_list_that_answers_wins(make):
    asked = []

    def first(self, cells, run_cell):
        asked.append("first")
        return as_list(self, cells, run_cell)

    def last(self, cells, run_cell):
        asked.append("last")
        return as_list(self, cells, run_cell)

    make(draw, plugins=[executor(first), executor(last)]).run()
    assert asked == ["last"]


def test_apply_and_debug_run_their_one_cell_themselves(make):
    def never(self, cells, run_cell):
        raise AssertionError

    experiment = make(draw, plugins=[executor(never)])
    assert experiment.apply() == [1, 2, 3]
    assert experiment.debug().ok


FAULTS = {
    "answers with something else": (lambda cells, run: 5, "answered run_experiment_loop with int"),
    "gives something else": (lambda cells, run: [run(cells[0]), 5], "gave int instead of a cell's outcome"),
    "gives one twice": (lambda cells, run: [run(cells[0])] * 2, "gave the outcome of baseline_rep_0 twice"),
    "gives one for ever": (
        lambda cells, run: itertools.repeat(run(cells[0])),
        "gave the outcome of baseline_rep_0 twice",
    ),
    "gives another for the same": (
        lambda cells, run: [run(cells[0]), run(cells[0])],
        "gave the outcome of baseline_rep_0 twice",
    ),
    "leaves some out": (lambda cells, run: [run(cells[0])], "gave no outcome for 2 of 3 cells: baseline_rep_1"),
    "invents one": (
        lambda cells, run: [run(cells[0]), CellOutcome(cells[0]._replace(replicate=9), {})],
        "the outcome of baseline_rep_9, which it was not asked to run",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_that_does_it_wrong_is_named_and_nothing_is_lost(make, face, name):
    answer, message = FAULTS[name]

    def faulty(self, cells, run_cell):
        return answer(cells, run_cell)

    with pytest.raises(PluginHookError, match=message) as caught:
        face(make(draw, source=replicate(), plugins=[executor(faulty)]), replicates=3)
    assert "faulty" in str(caught.value)
    kept = [] if name.startswith("answers") else [0]
    assert caught.value.result.metrics.baseline.metrics.get("n", []) == kept


def test_one_that_raises_in_the_middle_keeps_what_was_collected(make, face):
    def breaks(self, cells, run_cell):
        yield run_cell(cells[0])
        raise OSError("pool away")

    with pytest.raises(OSError, match="pool away") as caught:
        face(make(draw, source=replicate(), plugins=[executor(breaks)]), replicates=3)
    assert caught.value.result.metrics.baseline.metrics["n"] == [0]


def test_one_that_is_interrupted_may_give_again_what_it_has_just_given(make, face):
    """Where Ctrl-C is raised in a generator, it cannot tell whether what it yielded last has been taken."""

    def ctrl_c():
        raise KeyboardInterrupt

    def interrupted(self, cells, run_cell):
        last = run_cell(cells[0])
        try:
            yield last
            ctrl_c()
        except KeyboardInterrupt:
            yield [last]
            yield run_cell(cells[1])
            raise

    with pytest.raises(KeyboardInterrupt) as caught:
        face(make(draw, source=replicate(), plugins=[executor(interrupted)]), replicates=3)
    assert caught.value.result.metrics.baseline.metrics["n"] == [0, 1]


@pytest.mark.parametrize("waits", [False, True])
def test_what_an_interrupted_one_gives_again_is_shown_once(make, waits):
    async def overlapping(cells, run_cell):
        last = await run_cell.aio(cells[0])
        yield last
        yield last
        raise KeyboardInterrupt

    def plain(cells, run_cell):
        last = run_cell(cells[0])
        yield last
        yield last
        raise KeyboardInterrupt

    def interrupted(self, cells, run_cell):
        return (overlapping if waits else plain)(cells, run_cell)

    shown = []
    stream = make(draw, source=replicate(), plugins=[executor(interrupted)]).stream(replicates=3)
    with pytest.raises(KeyboardInterrupt):
        shown.extend(outcome.cell.replicate for outcome in stream)
    assert shown == [0]


def test_an_executor_is_closed_however_the_run_ends(make):
    closed = []

    def tidy(self, cells, run_cell):
        try:
            for cell in cells:
                yield run_cell(cell)
        finally:
            closed.append(True)

    experiment = make(draw, plugins=[executor(tidy)])
    experiment.run(replicates=2)
    stream = experiment.stream(replicates=2)
    next(stream)
    stream.close()
    asyncio.run(experiment.arun(replicates=2))
    assert closed == [True] * 3


def test_a_coroutine_executor_stays_in_the_callers_loop_under_arun(make):
    loops = []

    def note(self, cells, run_cell):
        async def noted():
            loops.append(asyncio.get_running_loop())
            return [await run_cell.aio(cell) for cell in cells]

        return noted()

    async def main():
        await make(draw, plugins=[executor(note)]).arun()
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_the_cell_runner_makes_outcomes_of_cells_that_could_not_run(make):
    def crashes(self, cells, run_cell):
        yield run_cell.failed(cells[0], OSError("killed"), worker="process-1")

    result = make(draw, plugins=[executor(crashes)]).run()
    assert "worker failed in condition 'baseline', replicate 0: OSError: killed" in str(result.errors["baseline_rep_0"])
    assert result.provenance["workers"]["baseline"] == ["process-1"]


def test_the_short_form_with_many_replicates_costs_one_look_at_each_cell(make):
    class Counting(list):
        looks = 0

        def __iter__(self):
            Counting.looks += 1
            return super().__iter__()

    import crystallize.engine.run as engine

    cells_seen = []

    def counted(self, experiment, cells, replicate_fn):
        cells_seen.append(len(cells))
        return [replicate_fn(number) for number in range(experiment.replicates)]

    original = engine.plan_cells
    engine.plan_cells = lambda *arguments: Counting(original(*arguments))
    try:
        make(draw, plugins=[executor(counted)]).run(replicates=50)
    finally:
        engine.plan_cells = original
    assert cells_seen == [50]
    assert Counting.looks < 10
