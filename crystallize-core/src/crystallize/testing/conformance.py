"""The tests that every plugin should pass, in a class to inherit."""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import random
import sys
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from crystallize.errors import CrystallizeError
from crystallize.hooks import HOOKS, ActivePlugins, find_plugins, hookimpl, load_plugin
from crystallize.plugins.implementations import find_implementations
from crystallize.testing.overriding import check_overrides
from crystallize.testing.sample import REPLICATES, TREATMENTS, experiment_with, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystallize.hooks import PluginInfo
    from crystallize.plugins.implementations import Implementation
    from crystallize.results.result import Result

__all__ = ["PluginConformance"]


_NOT_IN_A_RUN = frozenset({"init_hook", "completed_cells", "plan_cells"})
"""Hooks that an ordinary run does not call."""


class PluginConformance:
    """Inherit this, give one fixture, and pytest tries the plugin in small runs.

    The fixture ``plugin`` gives a fresh instance; what it writes, it should write into ``tmp_path``. pytest collects
    the class if its name begins with ``Test``. A test that does not fit can be overridden with a stated reason: see
    `deviates`.

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
        """Give the plugins that the one under test requires; override it where there are any.

        Returns
        -------
        sequence of object
            Instances, classes or names of installed plugins.
        """
        return ()

    # -- what it declares -------------------------------------------------------------------------

    def test_its_hooks_and_declarations_are_valid(self, plugin: Any) -> None:
        """Names, arguments, relations and the contract are what this core understands."""
        info = self._info(plugin)
        _promise(
            bool(info.hooks) or bool(getattr(plugin, "silent_hooks", ())),
            f"{info.origin} implements no hook: override one, or mark methods with @hookimpl",
        )

    def test_its_entry_point_leads_to_it(self, plugin: Any) -> None:
        """Asked for by the name in the distribution's metadata, it is what the fixture gives."""
        package = type(plugin).__module__.partition(".")[0]
        records = [record for record in find_plugins() if record.module.partition(".")[0] == package]
        if not records:
            raise SkipTest(f"no installed distribution declares an entry point into {package}")
        problems = [f"{record.name}: {record.problem}" for record in records if record.problem]
        _promise(not problems, f"entry points of {package} cannot be used: {'; '.join(problems)}")
        targets = [load_plugin(record.name) for record in records]
        _promise(
            any(_leads_to(target, plugin) for target in targets),
            f"the entry points of {package} ({', '.join(record.value for record in records)}) do not lead to "
            f"{type(plugin).__qualname__}",
        )

    def test_its_settings_are_recorded(self, plugin: Any) -> None:
        """The lock can be written as JSON, and says with which settings the plugin was built."""
        entry = self._locked(plugin)
        _promise(json.loads(json.dumps(entry, allow_nan=False)) == entry, "the lock changes when it is written as JSON")
        missing = {"name", "distribution", "version", "contract", "entry_point", "order", "settings"} - set(entry)
        _promise(not missing, f"the lock leaves out {sorted(missing)}")
        info = self._info(plugin)
        _promise(
            set(entry["settings"]) == set(info.arguments),
            f"the lock has the settings {sorted(entry['settings'])}, the constructor took {sorted(info.arguments)}",
        )

    def test_its_settings_do_not_change_in_a_run(self, plugin: Any) -> None:
        """What it was built with stays what it was, however its state goes on."""
        before = self._locked(plugin)
        self._run(plugin)
        after = self._locked(plugin)
        _promise(before == after, f"a run changed the plugin's lock from {before} to {after}")

    # -- what it survives -------------------------------------------------------------------------

    def test_it_pickles(self, plugin: Any) -> None:
        """It reaches worker processes as a pickled copy, with the same hooks and settings."""
        active = ActivePlugins.resolve([*self._companions(), plugin])
        try:
            again = pickle.loads(pickle.dumps(active))  # noqa: S301 - what was pickled in the line itself
        except Exception as exc:
            raise AssertionError(
                f"{type(plugin).__qualname__} does not pickle: {type(exc).__name__}: {exc}. Leave what cannot travel "
                "out of its state (__getstate__), or open it in worker_start"
            ) from exc
        _promise(
            [(info.hooks, info.settings) for info in again.infos]
            == [(info.hooks, info.settings) for info in active.infos],
            "the pickled copy has other hooks or settings",
        )

    def test_it_works_in_a_run_with_failing_cells(self, plugin: Any) -> None:
        """A failed cell is none of its business: it raises nothing, and the other cells are all there."""
        result = self._run(plugin)
        _whole(result)

    def test_it_works_in_a_second_run(self, plugin: Any) -> None:
        """What the first run left on the instance does not stand in the way."""
        experiment = experiment_with([*self._companions(), plugin])
        for _ in range(2):
            result = experiment.run(treatments=TREATMENTS, replicates=REPLICATES)
            _no_plugin_errors(result)
            _whole(result)

    def test_it_works_in_apply(self, plugin: Any) -> None:
        """Inference calls the hooks too, with no run folder and one cell."""
        given = experiment_with([*self._companions(), plugin]).apply(TREATMENTS[0], data=[1.0, 2.0])
        _promise(given == [2.0, 4.0], f"apply() gave {given!r} in place of [2.0, 4.0]")

    def test_it_works_in_worker_processes(self, plugin: Any) -> None:
        """The pickled copy does its work where the cells run."""
        info = self._info(plugin)
        if "run_experiment_loop" in info.hooks:
            raise SkipTest("the plugin is an executor itself")
        if not any(record.name == "parallel" and record.problem is None for record in find_plugins()):
            raise SkipTest("crystallize-plugins is not installed")
        processes = ("parallel", {"max_workers": 2, "executor_type": "process"})
        result = experiment_with([*self._companions(), plugin, processes]).run(
            treatments=TREATMENTS, replicates=REPLICATES
        )
        _no_plugin_errors(result)
        _whole(result)

    def test_an_error_in_any_of_its_hooks_is_dealt_with_as_it_declares(self, plugin: Any) -> None:
        """Whichever of its hooks raises, the others cope, and the results are not lost."""
        info = self._info(plugin)
        if not hasattr(plugin, "__dict__"):
            raise SkipTest("a hook of an instance without __dict__ cannot be made to raise")
        for implementation in find_implementations(plugin):
            hook, attribute = implementation.hook, implementation.attribute
            if hook in _NOT_IN_A_RUN or hook not in info.hooks or attribute in vars(plugin):
                continue  # Not called in an ordinary run; and what an instance made itself is left alone.
            if hook == "on_event" and not _wants_what_the_sample_sends(plugin):
                continue
            vars(plugin)[attribute] = _raising(implementation)
            try:
                self._try_broken(plugin, info, hook)
            finally:
                del vars(plugin)[attribute]

    # -- what it promises -------------------------------------------------------------------------

    def test_a_neutral_plugin_changes_nothing(self, plugin: Any) -> None:
        """Context, data, random state, numbers and errors are the same with it and without it."""
        if self._info(plugin).neutral is not True:
            raise SkipTest("the plugin does not call itself neutral")
        without = experiment_with(self._companions(), strict=True).run(treatments=TREATMENTS, replicates=REPLICATES)
        states = _random_states()
        result = self._run(plugin, strict=True)
        _promise(states == _random_states(), "a neutral plugin moved the global random state")
        _promise(
            numbers_of(result) == numbers_of(without),
            f"a neutral plugin changed the numbers from {numbers_of(without)} to {numbers_of(result)}",
        )
        _promise(set(result.errors) == set(without.errors), "a neutral plugin changed which cells fail")

    def test_a_plugin_that_is_not_neutral_says_the_same_twice(self, plugin: Any) -> None:
        """Its code and settings are its identity, so the same ones must not make other numbers of the same data."""
        if self._info(plugin).neutral is True:
            raise SkipTest("the plugin is neutral")
        again = pickle.loads(pickle.dumps(plugin))  # noqa: S301 - as above
        one, other = (
            {condition: (found.get("total"), found.get("size")) for condition, found in numbers_of(result).items()}
            for result in (self._run(plugin), self._run(again))
        )
        _promise(one == other, f"with the same settings, two runs gave {one} and {other}")

    # -- helpers ----------------------------------------------------------------------------------

    def _companions(self) -> list[Any]:
        from crystallize.hooks import build_plugins

        return build_plugins(self.companions(), default_plugins=False)

    def _info(self, plugin: Any) -> PluginInfo:
        active = ActivePlugins.resolve([*self._companions(), plugin])
        return next(info for info in active.infos if info.plugin is plugin)

    def _locked(self, plugin: Any) -> dict[str, Any]:
        active = ActivePlugins.resolve([*self._companions(), plugin])
        return next(entry for entry, info in zip(active.lock(), active.infos, strict=True) if info.plugin is plugin)

    def _run(self, plugin: Any, *, strict: bool = False) -> Result:
        experiment = experiment_with([*self._companions(), plugin], strict=strict)
        result = experiment.run(treatments=TREATMENTS, replicates=REPLICATES)
        _no_plugin_errors(result)
        return result

    def _try_broken(self, plugin: Any, info: PluginInfo, hook: str) -> None:
        policy = info.on_error or HOOKS[hook].undeclared
        try:
            result = experiment_with([*self._companions(), plugin]).run(treatments=TREATMENTS, replicates=REPLICATES)
        except (_MadeToRaiseError, CrystallizeError) as exc:
            stops = policy in {"propagate", "stop_run"} or HOOKS[hook].undeclared == "propagate"
            _promise(
                stops and _is_ours(exc), f"an error in {hook} was to be dealt with as {policy!r}, and {exc!r} came out"
            )
            return
        told = [*result.plugin_errors, *result.errors.values()]
        _promise(
            policy in {"record", "keep", "fail_cell"} and any(_MESSAGE in str(error) for error in told),
            f"an error in {hook} left no trace in the result",
        )


class _MadeToRaiseError(Exception):
    """What the kit lets a hook raise."""


_MESSAGE = "raised by the conformance kit"


def _raising(implementation: Implementation) -> Callable[..., None]:
    """Give a hook that raises; one that closes what another opened does so first, or the kit itself would leak it."""

    @functools.wraps(implementation.function)
    def raises(*arguments: Any, **named: Any) -> None:
        if implementation.hook in {"after_run", "worker_stop", "after_replicate"}:
            implementation.function(*arguments, **named)
        raise _MadeToRaiseError(_MESSAGE)

    return hookimpl(raises, specname=implementation.hook)


def _is_ours(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, _MadeToRaiseError):
            return True
        exc = exc.__cause__
    return False


def _wants_what_the_sample_sends(plugin: object) -> bool:
    wanted = getattr(plugin, "wanted_events", None)
    return wanted is None or not {"run_started", "cell_finished", "run_finished"}.isdisjoint(wanted)


def _promise(kept: bool, text: str) -> None:
    if not kept:
        raise AssertionError(text)


def _no_plugin_errors(result: Result) -> None:
    # The same in every cell, as a rule.
    said = dict.fromkeys(f"{e.plugin} in {e.hook}: {e.error}" for e in result.plugin_errors)
    _promise(not said, f"hooks raised: {'; '.join(said)}")


def _whole(result: Result) -> None:
    failed = {f"failing_rep_{replicate}" for replicate in range(REPLICATES)}
    _promise(set(result.errors) == failed, f"other cells failed than were meant to: {sorted(result.errors)}")
    for condition, found in numbers_of(result).items():
        expected = 0 if condition == "failing" else REPLICATES
        for name in ("total", "size"):
            count = len(found.get(name, ()))
            _promise(count == expected, f"{condition} has {count} values of {name!r}")


def _leads_to(target: Any, plugin: object) -> bool:
    if isinstance(target, type):
        return type(plugin) is target
    if inspect.isroutine(target):
        return True  # A function that builds one: what it builds, its settings decide.
    return target is plugin


def _random_states() -> tuple[object, str]:
    numpy_random = sys.modules.get("numpy.random")
    return random.getstate(), "" if numpy_random is None else repr(numpy_random.get_state())
