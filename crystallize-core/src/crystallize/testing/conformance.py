"""The tests that every plugin should pass, in a class to inherit."""

from __future__ import annotations

import functools
import inspect
import json
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from crystallize.errors import CrystallizeError
from crystallize.hooks import HOOKS, ActivePlugins, BasePlugin, StorePlugin, build_plugins, find_plugins, load_plugin
from crystallize.plugins.lock import lock_entry
from crystallize.testing.examination import examine_plugin
from crystallize.testing.leaks import check_leaks
from crystallize.testing.overriding import check_overrides
from crystallize.testing.promises import chain_of, no_findings, promise, raising_breaks, rule_of
from crystallize.testing.sample import REPLICATES, TREATMENTS, executor_named, experiment_with, numbers_of
from crystallize.testing.static import instance_findings, pickle_findings, settings_findings
from crystallize.testing.watching import random_states, replaced_hooks, watched_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystallize.discovery.metadata import PluginRecord
    from crystallize.hooks import PluginInfo
    from crystallize.plugins.implementations import Implementation
    from crystallize.results.result import Result
    from crystallize.testing.examination import Examination
    from crystallize.testing.watching import Watch

__all__ = ["PluginConformance"]

_NOT_IN_A_RUN = frozenset({"init_hook", "completed_cells", "plan_cells"})
"""Hooks that an ordinary run does not call."""
_CLOSING = frozenset({"after_run", "worker_stop", "after_replicate"})


class PluginConformance:
    """Inherit this, give one fixture, and pytest tries the plugin in small runs.

    The fixture ``plugin`` gives a fresh instance; what it writes, it should write into ``tmp_path``. pytest collects
    the class if its name begins with ``Test``. A test that does not fit can be overridden with a stated reason: see
    `deviates`. The message of a test that fails has the name of the broken rule in square brackets: see `RULES`.

    A plugin that looks and changes nothing inherits `ObserverConformance`, one that changes what steps see
    `TransformerConformance`, one that runs cells `ExecutorConformance`, one that keeps runs `StoreConformance`.

    Examples
    --------
    In a test module of the plugin's distribution::

        import pytest
        from crystallize.testing import PluginConformance

        from acme_csv import CsvLines


        class TestCsvLines(PluginConformance):
            @pytest.fixture
            def plugin(self, tmp_path):
                return CsvLines(tmp_path / "lines.csv")
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_overrides(cls)

    def companions(self) -> Sequence[object]:
        """Return the plugins that the one under test requires; override it where there are any.

        Returns
        -------
        sequence of object
            Instances, classes or names of installed plugins.
        """
        return ()

    # -- what it declares -------------------------------------------------------------------------

    def test_its_hooks_and_declarations_are_valid(self, plugin: Any) -> None:
        """Names, arguments, annotations, relations and the contract are what this core understands."""
        no_findings(instance_findings(plugin))
        self._info(plugin)

    def test_its_entry_point_leads_to_it(self, plugin: Any) -> None:
        """Asked for by the name in the distribution's metadata, it is what the fixture gives."""
        records = _records(plugin)
        if not records:
            raise SkipTest(f"no installed distribution declares an entry point into {_package(plugin)}")
        names = [finding for record in records for finding in _examined(record).findings]
        no_findings(finding for finding in names if finding.rule in {"entry-point", "name-taken", "name-reserved"})
        with raising_breaks("entry-point", "loading it by its name"):
            targets = [load_plugin(record.name) for record in records]
        promise(
            any(_leads_to(target, plugin) for target in targets),
            "entry-point",
            f"the entry points of {_package(plugin)} ({', '.join(record.value for record in records)}) do not lead to "
            f"{type(plugin).__qualname__}",
        )

    def test_importing_it_changes_nothing(self, plugin: Any) -> None:
        """Importing its module is quick, prints nothing, and leaves the process' state as it is."""
        found = [finding for record in _records(plugin) for finding in _examined(record).findings]
        # A note about the time depends on the machine, and is for `crystallize plugins check`.
        found = [finding for finding in found if (finding.rule, finding.state) != ("import-slow", "note")]
        no_findings(finding for finding in found if finding.rule.startswith(("import-", "leak-")))

    def test_its_distribution_is_sound(self, plugin: Any) -> None:
        """It requires the core in a range, and its annotations are there for type checkers."""
        found = [finding for record in _records(plugin) for finding in _examined(record).findings]
        no_findings(finding for finding in found if finding.rule in {"core-bound", "py-typed"})

    def test_its_settings_are_recorded(self, plugin: Any) -> None:
        """The lock can be written as JSON, and says with which settings the plugin was built."""
        no_findings(settings_findings(type(plugin)))
        entry = self._locked(plugin)
        with raising_breaks("settings", "writing the lock as JSON"):
            same = json.loads(json.dumps(entry, allow_nan=False)) == entry
        promise(same, "settings", "the lock changes when it is written as JSON")
        missing = {"name", "distribution", "version", "contract", "entry_point", "order", "settings"} - set(entry)
        promise(not missing, "settings", f"the lock leaves out {sorted(missing)}")
        info = self._info(plugin)
        promise(
            set(entry["settings"]) == set(info.arguments),
            "settings",
            f"the lock has the settings {sorted(entry['settings'])}, the constructor took {sorted(info.arguments)}",
        )

    def test_its_settings_do_not_change_in_a_run(self, plugin: Any) -> None:
        """What it was built with stays what it was, however its state goes on."""
        before = self._locked(plugin)
        self._run(plugin)
        after = self._locked(plugin)
        promise(before == after, "settings", f"a run changed the plugin's lock from {before} to {after}")

    # -- what it survives -------------------------------------------------------------------------

    def test_it_pickles(self, plugin: Any) -> None:
        """It reaches worker processes as a pickled copy, with the same hooks and settings."""
        no_findings(pickle_findings(plugin))
        active = ActivePlugins.resolve([*self._companions(), plugin])
        with raising_breaks("pickle", "pickling it with its companions"):
            again = pickle.loads(pickle.dumps(active))  # noqa: S301 - what was pickled in the line itself
        promise(
            [(info.hooks, info.settings) for info in again.infos]
            == [(info.hooks, info.settings) for info in active.infos],
            "pickle",
            "the pickled copy has other hooks or settings",
        )

    def test_it_works_in_a_run_with_failing_cells(self, plugin: Any) -> None:
        """A failed cell is none of its business: it raises nothing, and the other cells are all there."""
        _whole(self._run(plugin))

    def test_it_works_in_a_second_run(self, plugin: Any) -> None:
        """What the first run left on the instance does not stand in the way."""
        experiment = experiment_with([*self._companions(), plugin])
        for which in ("first", "second"):
            with raising_breaks("state", f"the {which} run with the same instance"):
                result = experiment.run(treatments=TREATMENTS, replicates=REPLICATES)
            _no_plugin_errors(result, "state" if which == "second" else "errors")
            _whole(result)

    def test_it_works_in_apply(self, plugin: Any) -> None:
        """Inference calls the hooks too, with no run folder and one cell."""
        with raising_breaks("state", "apply()"):
            given = experiment_with([*self._companions(), plugin]).apply(TREATMENTS[0], data=[1.0, 2.0])
        promise(given == [2.0, 4.0], "data", f"apply() gave {given!r} in place of [2.0, 4.0]")

    def test_it_works_under_the_serial_executor(self, plugin: Any) -> None:
        """One cell after the other gives what a run without an executor gives."""
        self._try_under("serial", plugin)

    def test_it_works_under_the_thread_executor(self, plugin: Any) -> None:
        """An instance serves several cells at once."""
        self._try_under("thread", plugin)

    def test_it_works_in_worker_processes(self, plugin: Any) -> None:
        """A pickled copy does its work where the cells run."""
        self._try_under("process", plugin)

    def test_it_works_under_the_async_executor(self, plugin: Any) -> None:
        """Cells overlap in one thread."""
        self._try_under("async", plugin)

    def test_it_works_with_others_before_and_after_it(self, plugin: Any) -> None:
        """Its place in the list changes neither what others see nor what it does."""
        alone = numbers_of(self._run(plugin))
        for place in ("before", "after", "around"):
            first, last = _Probe(), _Probe()
            plugins = {"before": [first, plugin], "after": [plugin, last], "around": [first, plugin, last]}[place]
            with raising_breaks("order", f"a run with another plugin {place} it"):
                result = experiment_with([*self._companions(), *plugins]).run(
                    treatments=TREATMENTS, replicates=REPLICATES
                )
            _no_plugin_errors(result, "order")
            promise(
                numbers_of(result) == alone,
                "order",
                f"with another plugin {place} it, the numbers are {numbers_of(result)} in place of {alone}",
            )
            for probe in (each for each in plugins if isinstance(each, _Probe)):
                seen = (len(probe.outcomes), probe.ended)
                promise(
                    seen == (3 * REPLICATES, True),
                    "order",
                    f"a plugin {place} it saw {seen[0]} of {3 * REPLICATES} outcomes"
                    + ("" if probe.ended else ", and no end of the run"),
                )

    def test_an_error_in_any_of_its_hooks_is_dealt_with_as_it_declares(self, plugin: Any) -> None:
        """Whichever of its hooks raises, the others cope, and the results are not lost."""
        info = self._info(plugin)
        if not hasattr(plugin, "__dict__"):
            raise SkipTest("a hook of an instance without __dict__ cannot be made to raise")
        for hook in info.hooks:
            if hook in _NOT_IN_A_RUN or (hook == "on_event" and not _wants_what_the_sample_sends(plugin)):
                continue
            raising = functools.partial(_raising, hook)
            with replaced_hooks(plugin, raising) as replaced:
                if replaced:
                    self._try_broken(plugin, info, hook)

    # -- what it leaves alone ---------------------------------------------------------------------

    def test_a_neutral_plugin_changes_nothing(self, plugin: Any) -> None:
        """Numbers, errors and random state are the same with it and without it."""
        if self._info(plugin).neutral is not True:
            raise SkipTest("the plugin does not call itself neutral")
        for rule in ("random", "data", "outcome"):
            self._unbroken(plugin, rule)
        without = experiment_with(self._companions(), strict=True).run(treatments=TREATMENTS, replicates=REPLICATES)
        states = random_states()
        result = self._run(plugin, strict=True)
        promise(states == random_states(), "random", "a neutral plugin moved the global random state")
        promise(
            numbers_of(result) == numbers_of(without),
            "outcome",
            f"a neutral plugin changed the numbers from {numbers_of(without)} to {numbers_of(result)}",
        )
        promise(set(result.errors) == set(without.errors), "outcome", "a neutral plugin changed which cells fail")

    def test_it_leaves_the_random_states_alone(self, plugin: Any) -> None:
        """No hook of a neutral plugin moves the state of `random` or NumPy, in the coordinator or in a worker."""
        self._unbroken(plugin, "random")

    def test_it_leaves_the_data_alone(self, plugin: Any) -> None:
        """No hook of a neutral plugin changes the data between the steps."""
        self._unbroken(plugin, "data")

    def test_it_leaves_outcomes_alone(self, plugin: Any) -> None:
        """No hook changes an outcome."""
        self._unbroken(plugin, "outcome")

    def test_it_leaves_the_result_alone(self, plugin: Any) -> None:
        """No hook changes the result."""
        self._unbroken(plugin, "result")

    def test_it_leaves_the_experiment_alone(self, plugin: Any) -> None:
        """No hook changes the experiment, the run or the cells, and a neutral one's the context neither."""
        self._unbroken(plugin, "view")

    def test_it_leaves_the_steps_alone(self, plugin: Any) -> None:
        """No hook changes the pipeline's steps."""
        self._unbroken(plugin, "step")

    def test_what_it_adds_to_provenance_is_json_of_its_own(self, plugin: Any) -> None:
        """Facts are JSON, of less than a megabyte, and under no name of the framework's."""
        watch = self._unbroken(plugin, "facts")
        if watch.facts:
            # A store writes down which plugins there are, and says so with the other facts that it writes down.
            own = {"plugins"} if isinstance(plugin, StorePlugin) else set()
            taken = sorted(set(experiment_with([]).run().provenance) & (set(watch.facts) - own))
            promise(not taken, "facts", f"it adds {taken}, which the framework records: use another name")

    def test_it_leaves_nothing_behind(self, plugin: Any) -> None:
        """Threads, files and processes are gone after a run; the working folder and the environment are as before."""
        runs_cells = "run_experiment_loop" in self._info(plugin).hooks
        # What is made once stays: by an executor, which may keep its pool, or by whatever the first run imports.
        warming = [*self._companions(), plugin] if runs_cells else self._companions()
        with raising_breaks("errors", "a run with failing cells"):
            for _ in range(2):
                experiment_with(warming).run(treatments=TREATMENTS, replicates=REPLICATES)
        with check_leaks():
            self._run(plugin)

    def test_a_plugin_that_is_not_neutral_says_the_same_twice(self, plugin: Any) -> None:
        """Its code and settings are its identity, so the same ones must not make other numbers of the same data."""
        with raising_breaks("pickle", "copying it"):
            again = pickle.loads(pickle.dumps(plugin))  # noqa: S301 - as above
        one, other = (numbers_of(self._run(each)) for each in (plugin, again))
        if _random_by_choice(self._info(plugin)):
            one, other = (_without_context(found) for found in (one, other))
        promise(one == other, "state", f"with the same settings, two runs gave {one} and {other}")

    # -- what the tests share ---------------------------------------------------------------------

    def _companions(self) -> list[Any]:
        return build_plugins(self.companions(), default_plugins=False)

    def _resolved(self, plugin: Any) -> ActivePlugins:
        with raising_breaks("declaration", "putting it into order"):
            return ActivePlugins.resolve([*self._companions(), plugin])

    def _info(self, plugin: Any) -> PluginInfo:
        return next(info for info in self._resolved(plugin).infos if info.plugin is plugin)

    def _locked(self, plugin: Any) -> dict[str, Any]:
        return lock_entry(self._info(plugin), 0)

    def _run(self, plugin: Any, *more: Any, strict: bool = False) -> Result:
        """Run the sample with the plugin, and with others before it in the list."""
        with raising_breaks("errors", "a run with failing cells"):
            experiment = experiment_with([*self._companions(), *more, plugin], strict=strict)
            result = experiment.run(treatments=TREATMENTS, replicates=REPLICATES)
        _no_plugin_errors(result)
        return result

    def _try_under(self, name: str, plugin: Any) -> None:
        executor = executor_named(name)
        if executor is None:
            raise SkipTest("crystallize-plugins is not installed")
        if "run_experiment_loop" in self._info(plugin).hooks:  # It gives what the other one gives, in its place.
            reference, plugins = self._run(executor), [plugin]
        else:
            reference, plugins = self._run(pickle.loads(pickle.dumps(plugin))), [executor, plugin]  # noqa: S301 - as above
        with raising_breaks("executor", f"a run under the {name} executor"):
            result = experiment_with([*self._companions(), *plugins]).run(treatments=TREATMENTS, replicates=REPLICATES)
        _no_plugin_errors(result, "executor")
        _whole(result)
        found, expected = numbers_of(result), numbers_of(reference)
        if _random_by_choice(self._info(plugin)):
            found, expected = _without_context(found), _without_context(expected)
        promise(
            found == expected, "executor", f"under the {name} executor, the numbers are {found} in place of {expected}"
        )

    def _unbroken(self, plugin: Any, rule: str) -> Watch:
        """Watch what the plugin's hooks do in a run, and fail where they break a rule."""
        with watched_hooks(plugin) as watch, suppress(Exception):  # what it raises is another test's
            experiment_with([*self._companions(), plugin]).run(treatments=TREATMENTS, replicates=REPLICATES)
        broken = watch.broken(rule)
        promise(not broken, rule, f"{type(plugin).__name__} does not leave it alone: {'; '.join(broken)}")
        return watch

    def _try_broken(self, plugin: Any, info: PluginInfo, hook: str) -> None:
        policy = info.on_error or HOOKS[hook].undeclared
        try:
            result = experiment_with([*self._companions(), plugin]).run(treatments=TREATMENTS, replicates=REPLICATES)
        except (_MadeToRaiseError, CrystallizeError) as exc:
            stops = policy in {"propagate", "stop_run"} or HOOKS[hook].undeclared == "propagate"
            ours = any(isinstance(each, _MadeToRaiseError) for each in chain_of(exc))
            text = f"an error in {hook} was to be dealt with as {policy!r}, and {exc!r} came out"
            promise(stops and ours, "errors", text)
            return
        told = [*result.plugin_errors, *result.errors.values()]
        promise(
            policy in {"record", "keep", "fail_cell"} and any(_MESSAGE in str(error) for error in told),
            "errors",
            f"an error in {hook} left no trace in the result",
        )


class _Probe(BasePlugin):
    """Looks at what every plugin gets to see."""

    neutral = True

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self.ended = False

    def collect(self, outcome: Any) -> None:
        self.outcomes.append(outcome.cell)

    def after_run(self) -> None:
        self.ended = True


class _MadeToRaiseError(Exception):
    """What the kit lets a hook raise."""


_MESSAGE = "raised by the conformance kit"


def _raising(hook: str, implementation: Implementation) -> Callable[..., None] | None:
    """Return a hook that raises; one that closes what another opened does so first, or the kit itself would leak it."""
    if implementation.hook != hook:
        return None

    def raises(*arguments: Any, **named: Any) -> None:
        if hook in _CLOSING:
            implementation.function(*arguments, **named)
        raise _MadeToRaiseError(_MESSAGE)

    return raises


def _random_by_choice(info: PluginInfo) -> bool:
    """Whether a plugin puts random numbers into the context on purpose, as one that seeds without a seed does."""
    from crystallize.hooks import SeederPlugin

    return isinstance(info.plugin, SeederPlugin)


def _without_context(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        condition: {name: values for name, values in found.items() if name in {"total", "size"}}
        for condition, found in numbers.items()
    }


def _wants_what_the_sample_sends(plugin: object) -> bool:
    wanted = getattr(plugin, "wanted_events", None)
    return wanted is None or not {"run_started", "cell_finished", "run_finished"}.isdisjoint(wanted)


def _no_plugin_errors(result: Result, rule: str = "errors") -> None:
    # The same in every cell, as a rule.
    said = {f"{e.plugin} in {e.hook}: {e.error}": rule_of(_raised(e.error)) for e in result.plugin_errors}
    broken = next(filter(None, said.values()), None) or rule
    promise(not said, broken, f"hooks raised: {'; '.join(said)}")
    failed = [error for key, error in result.errors.items() if not key.startswith("failing_rep_")]
    text = f"cells failed that were not meant to: {'; '.join(map(str, failed))}"
    promise(not failed, next(filter(None, map(rule_of, failed)), None) or rule, text)


def _raised(error: Any) -> BaseException | None:
    return error if isinstance(error, BaseException) else None


def _whole(result: Result) -> None:
    failed = {f"failing_rep_{replicate}" for replicate in range(REPLICATES)}
    text = f"other cells failed than were meant to: {sorted(result.errors)}"
    promise(set(result.errors) == failed, "outcome", text)
    for condition, found in numbers_of(result).items():
        expected = 0 if condition == "failing" else REPLICATES
        for name in ("total", "size"):
            count = len(found.get(name, ()))
            promise(count == expected, "outcome", f"{condition} has {count} values of {name!r}")


def _package(plugin: object) -> str:
    return type(plugin).__module__.partition(".")[0]


def _records(plugin: object) -> list[PluginRecord]:
    """Return the entry points of the plugin's package."""
    return [record for record in find_plugins() if record.module.partition(".")[0] == _package(plugin)]


_examined_already: dict[PluginRecord, Examination] = {}


def _examined(record: PluginRecord) -> Examination:
    if record not in _examined_already:
        _examined_already[record] = examine_plugin(record)
    return _examined_already[record]


def _leads_to(target: Any, plugin: object) -> bool:
    if isinstance(target, type):
        return type(plugin) is target
    if inspect.isroutine(target):
        return True  # A function that builds one: what it builds, its settings decide.
    return target is plugin
