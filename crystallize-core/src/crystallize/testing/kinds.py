"""The tests of one kind of plugin each: observers, transformers, executors, stores."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from crystallize.design import Treatment
from crystallize.hooks import BasePlugin, ExecutorPlugin, StorePlugin
from crystallize.testing.conformance import PluginConformance
from crystallize.testing.leaks import found_leaks, held_open
from crystallize.testing.promises import promise, raising_breaks
from crystallize.testing.sample import REPLICATES, TREATMENTS, executor_named, experiment_with, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.results.result import Result

__all__ = ["ExecutorConformance", "ObserverConformance", "StoreConformance", "TransformerConformance"]

_CHANGING = {"completed_cells", "plan_cells", "run_experiment_loop"}
_CELLS = 3 * REPLICATES


class ObserverConformance(PluginConformance):
    """Inherit this for a plugin that looks and changes nothing: a logger, a tracker, a progress bar.

    The fixture ``plugin`` is that of `PluginConformance`.

    Examples
    --------
    ::

        class TestProgress(ObserverConformance):
            @pytest.fixture
            def plugin(self):
                return Progress()
    """

    def test_it_is_an_observer(self, plugin: Any) -> None:
        """It says that it is neutral, and implements no hook that decides which cells run, or how."""
        info = self._info(plugin)
        promise(info.neutral is True, "declaration", f"{info.origin} does not say that it is neutral: neutral = True")
        decides = sorted(_CHANGING.intersection(info.hooks))
        promise(not decides, "declaration", f"{info.origin} implements {', '.join(decides)}, which observers do not")


class TransformerConformance(PluginConformance):
    """Inherit this for a plugin that changes what steps see: it adds to the context before a replicate.

    The fixture ``plugin`` is that of `PluginConformance`.

    Examples
    --------
    ::

        class TestCalibration(TransformerConformance):
            @pytest.fixture
            def plugin(self):
                return Calibration(offset=0.5)
    """

    def test_it_is_a_transformer(self, plugin: Any) -> None:
        """It does not say that it is neutral, so that its code and settings are part of the experiment's identity."""
        info = self._info(plugin)
        promise(
            info.neutral is not True,
            "declaration",
            f"{info.origin} says that it is neutral, and results may depend on it: leave neutral out",
        )
        promise(
            "before_replicate" in info.hooks, "declaration", f"{info.origin} implements no before_replicate, where "
            "what steps see is added to the context",
        )  # fmt: skip

    def test_it_adds_the_same_to_the_context_in_every_worker(self, plugin: Any) -> None:
        """What a cell sees depends on the cell alone, not on who runs it, nor on what ran before."""
        expected = _contexts(self._run(plugin))
        without = _contexts(experiment_with(self._companions()).run(treatments=TREATMENTS, replicates=REPLICATES))
        promise(expected != without, "view", "it adds nothing to the context of a cell before its first step")
        for name in ("thread", "process", "async"):
            executor = executor_named(name)
            if executor is None:
                raise SkipTest("crystallize-plugins is not installed")
            found = _contexts(self._run(plugin, executor))
            promise(
                found == expected,
                "executor",
                f"under the {name} executor it adds {found} to the contexts, in one process {expected}",
            )


class ExecutorConformance(PluginConformance):
    """Inherit this for a plugin that runs cells.

    The fixture ``plugin`` is that of `PluginConformance`.

    Examples
    --------
    ::

        class TestPool(ExecutorConformance):
            @pytest.fixture
            def plugin(self):
                return Pool(workers=2)
    """

    def test_it_is_an_executor(self, plugin: Any) -> None:
        """It derives from `ExecutorPlugin`, is neutral, and implements `run_experiment_loop`."""
        info = self._info(plugin)
        promise(isinstance(plugin, ExecutorPlugin), "declaration", f"{info.origin} does not derive from ExecutorPlugin")
        promise(info.neutral is True, "declaration", f"{info.origin} does not say that it is neutral: neutral = True")
        promise(
            "run_experiment_loop" in info.hooks, "hook-unknown", f"{info.origin} does not implement run_experiment_loop"
        )

    def test_every_cell_is_run_and_handed_out_once(self, plugin: Any) -> None:
        """None is lost and none is doubled, and what each gave is what it gives one after the other."""
        expected = experiment_with([]).run(treatments=TREATMENTS, replicates=REPLICATES)
        seen = _Seen()
        with raising_breaks("executor", "running the sample"):
            result = experiment_with([*self._companions(), seen, plugin]).run(
                treatments=TREATMENTS, replicates=REPLICATES
            )
        for what, cells in (("handed out", seen.outcomes), ("run", seen.begun)):
            counts = Counter(cells)
            doubled = sorted(str(cell) for cell, count in counts.items() if count > 1)
            promise(not doubled, "executor", f"cells were {what} more than once: {', '.join(doubled)}")
            promise(len(counts) == _CELLS, "executor", f"{len(counts)} of {_CELLS} cells were {what}")
        promise(
            numbers_of(result) == numbers_of(expected),
            "executor",
            f"it gives {numbers_of(result)}, and one cell after the other {numbers_of(expected)}",
        )
        promise(
            set(result.errors) == set(expected.errors),
            "executor",
            f"cells failed: {sorted(result.errors)}, and one after the other {sorted(expected.errors)}",
        )

    def test_what_steps_emit_reaches_the_coordinator(self, plugin: Any) -> None:
        """Each event of a cell comes once, live or with the outcome, and with the cell that sent it."""
        seen = _Seen()
        self._run(plugin, seen)
        promise(
            sorted(seen.begun) == sorted(seen.outcomes),
            "executor",
            f"events came of {sorted(map(str, seen.begun))}, and outcomes of {sorted(map(str, seen.outcomes))}",
        )

    def test_ctrl_c_stops_the_run_and_leaves_nothing_behind(self, plugin: Any) -> None:
        """Ctrl-C raises `KeyboardInterrupt`, what has finished is kept, and the next run is whole."""
        if threading.current_thread() is not threading.main_thread():
            raise SkipTest("signals reach the main thread alone")
        self._run(plugin)
        before = held_open()
        interrupts = _Interrupts()
        try:
            experiment_with([*self._companions(), interrupts, plugin]).run(replicates=20)
        except KeyboardInterrupt:
            pass
        else:
            promise(False, "executor", "Ctrl-C in the middle of a run did not end it with KeyboardInterrupt")  # noqa: FBT003
        del interrupts
        threads = found_leaks(before).get("leak-thread", [])
        promise(not threads, "leak-thread", f"after Ctrl-C there is still {', '.join(threads)}")
        self._run(plugin)


class StoreConformance(PluginConformance):
    """Inherit this for a plugin that keeps runs, and gives them back where one is resumed.

    The fixture ``plugin`` is that of `PluginConformance`; the fixture ``reopen`` gives a function of no arguments that
    makes another instance for what the one of ``plugin`` has stored, as a later process would.

    Examples
    --------
    ::

        class TestShelf(StoreConformance):
            @pytest.fixture
            def plugin(self, tmp_path):
                return Shelf(tmp_path / "shelf")

            @pytest.fixture
            def reopen(self, tmp_path):
                return lambda: Shelf(tmp_path / "shelf")
    """

    def test_it_is_a_store(self, plugin: Any) -> None:
        """It derives from `StorePlugin`, is neutral, stops the run where it fails, and collects outcomes."""
        info = self._info(plugin)
        promise(isinstance(plugin, StorePlugin), "declaration", f"{info.origin} does not derive from StorePlugin")
        promise(info.neutral is True, "declaration", f"{info.origin} does not say that it is neutral: neutral = True")
        promise(
            info.on_error == "stop_run",
            "declaration",
            f"{info.origin} declares on_error = {info.on_error!r}: what cannot be stored must not look done",
        )
        missing = sorted({"collect", "completed_cells"}.difference(info.hooks))
        promise(not missing, "hook-unknown", f"{info.origin} does not implement {', '.join(missing)}")

    def test_what_is_stored_is_not_run_again(self, plugin: Any, reopen: Callable[[], Any]) -> None:
        """A resumed run runs the cells that failed, and no others; the numbers are those that were stored."""
        first = self._run(plugin)
        seen = _Seen()
        second = self._resumed(reopen(), seen)
        again = {cell.condition for cell in seen.begun}
        promise(again <= {"failing"}, "state", f"cells that are stored were run again: {sorted(again - {'failing'})}")
        promise(
            len(seen.begun) == REPLICATES,
            "state",
            f"{len(seen.begun)} cells ran again, and the {REPLICATES} that failed should",
        )
        promise(
            numbers_of(second) == numbers_of(first),
            "outcome",
            f"{numbers_of(first)} was stored, and {numbers_of(second)} came back",
        )

    def test_it_adds_what_is_missing(self, plugin: Any, reopen: Callable[[], Any]) -> None:
        """With more replicates and another treatment, the new cells alone are run."""
        self._run(plugin)
        seen = _Seen()
        more = (*TREATMENTS, Treatment("tripled", {"factor": 3.0}))
        result = self._resumed(reopen(), seen, treatments=more, replicates=REPLICATES + 1)
        stored = {
            (cell.condition, cell.replicate)
            for cell in seen.begun
            if cell.condition in {"baseline", "doubled"} and cell.replicate < REPLICATES
        }
        promise(not stored, "state", f"cells that are stored were run again: {sorted(stored)}")
        counts = {name: len(found["total"]) for name, found in numbers_of(result).items() if found}
        expected = dict.fromkeys(("baseline", "doubled", "tripled"), REPLICATES + 1)
        promise(counts == expected, "outcome", f"{counts} values came back, and {expected} were expected")

    def test_it_gives_back_the_recorded_seed(self, plugin: Any, reopen: Callable[[], Any]) -> None:
        """A resumed run without a seed of its own adopts that of the run before."""
        seeds = []
        for store, strategy in ((plugin, "rerun"), (reopen(), "resume")):
            with raising_breaks("errors", f"a seeded run with strategy={strategy!r}"):
                result = experiment_with([*self._companions(), _seeder(), store]).run(
                    replicates=REPLICATES, strategy=strategy
                )
            seeds.append(list(result.provenance["seeds"]["baseline"]))
        promise(seeds[0] == seeds[1], "state", f"the seeds were {seeds[0]}, and {seeds[1]} in the resumed run")

    def _resumed(self, store: Any, seen: _Seen, **options: Any) -> Result:
        with raising_breaks("errors", "resuming the run"):
            return experiment_with([*self._companions(), seen, store]).run(
                **{"treatments": TREATMENTS, "replicates": REPLICATES, **options}, strategy="resume"
            )


class _Seen(BasePlugin):
    """Notes which cells begin, by the event that the first step of the sample sends, and which are handed out."""

    neutral = True

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.outcomes: list[Any] = []

    def on_event(self, event: Any) -> None:
        if event.name == "scaled":
            self.begun.append(event.cell)

    def collect(self, outcome: Any) -> None:
        self.outcomes.append(outcome.cell)


class _Interrupts(BasePlugin):
    """Presses Ctrl-C once the first outcome is there."""

    neutral = True

    def collect(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _seeder() -> Any:
    from crystallize.hooks import SeederPlugin

    class Seeds(SeederPlugin):
        def before_replicate(self, experiment: Any, ctx: Any) -> None:
            ctx.add("seed_used", experiment.run.seed + ctx["replicate"])

    return Seeds()


def _contexts(result: Result) -> dict[str, Iterable[Any]]:
    """Return what plugins have added to the contexts, by condition, in the order of replicates."""
    return {condition: found.get("added", ()) for condition, found in numbers_of(result).items()}
