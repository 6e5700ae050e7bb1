"""What plugin authors hold in their hands: `BasePlugin`, `hookimpl` and `not_a_hook`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

from crystallize.hooks.settings import NOTES_ARGUMENTS, remember_arguments, shown_with_settings
from crystallize.hooks.specs import HOOKS, PROJECT, HookSpecs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["NOT_A_HOOK", "BasePlugin", "TypedPlugin", "hookimpl", "is_no_op", "not_a_hook"]

FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")

NOT_A_HOOK = "crystallize_not_a_hook"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Mark a method as the implementation of the hook of its name.

It makes a plugin of any class; `BasePlugin` and its attributes are not needed. ``specname="before_run"`` implements a
hook under another name, and ``optionalhook=True`` one that this core may not have yet.

Examples
--------
>>> class Announce:
...     @hookimpl
...     def before_run(self, experiment):
...         print(experiment.name, "starts")
"""


def not_a_hook(function: FunctionT) -> FunctionT:
    """Mark a method whose name is close to a hook's as meant, so that it is not taken for a spelling mistake.

    Parameters
    ----------
    function : callable
        A method of a plugin class.

    Returns
    -------
    callable
        The same method.

    Examples
    --------
    >>> class Invoices(BasePlugin):
    ...     @not_a_hook
    ...     def collects(self):
    ...         return "debts"
    """
    setattr(function, NOT_A_HOOK, True)
    return function


class BasePlugin:
    """A plugin: override the hooks that you need, and name only the arguments that you use.

    The hooks are those of `HookSpecs`; none of them does anything here, and one that is not overridden costs nothing.
    A class that does not derive from this one is a plugin too, if its methods are marked with `hookimpl`; the
    attributes below mean the same there.

    The constructor's arguments are the plugin's *settings*: they are noted as they are given, and kept with every run.

    Attributes
    ----------
    neutral : bool or None, default None
        True: the plugin looks, and never changes results (loggers, stores, trackers, executors), so it stays out of
        the identity of the experiment, and its hooks get a context that refuses to be written. None, undeclared, counts
        as not neutral: then its code and settings are part of the identity.
    on_error : {"record", "fail_cell", "stop_run"} or None, default None
        What becomes of an error in a hook: kept as data while the run goes on, the cell's failure, or the end of the
        run. None, undeclared, leaves it to the hook: see ``undeclared`` in `HookSpec`.
    before, after : sequence of str or class, default ()
        Plugins, by entry-point name, class or class name, that this one comes before or after in the order of calls.
        Those that are not active are ignored.
    requires : sequence of str or class, default ()
        Like `after`, and the run is refused when such a plugin is not active.
    contract : str or None, default None
        The versions of the hook contract that the plugin works with, such as ``">=1,<2"``.
    silent_hooks : collection of str, default ()
        Names of implemented hooks that this instance sits out; looked at once, at the start of each run.
    wanted_events : collection of str or None, default None
        Names of the events that `on_event` is called for, where these are few: all others then cost nothing. None is
        all; looked at once, at the start of each run.
    recorded : bool, default True
        Whether the plugin lock, and with it the record of a run, names this plugin. A neutral one that only shows a run
        while it goes on says False: whether somebody watched is no difference between two runs.
    seen_by_cache : bool, default False
        Whether the step cache sees by itself whatever this plugin does to a step: it shows in the step's context, in
        ``ctx.rng`` and in the global states of ``random`` and NumPy alone. Of one that is neither neutral nor seen,
        code, settings and the run's seed are in the key of every cacheable step.

    Examples
    --------
    >>> class Threshold(BasePlugin):
    ...     neutral = True
    ...     on_error = "record"
    ...     after = ("artifacts",)
    ...
    ...     def __init__(self, limit=1.0):
    ...         self.limit = limit
    ...
    ...     def collect(self, outcome):
    ...         if outcome.duration > self.limit:
    ...             print(outcome.cell.key, "took", outcome.duration, "seconds")
    """

    neutral: bool | None = None
    on_error: Literal["record", "fail_cell", "stop_run"] | None = None
    before: Sequence[str | type] = ()
    after: Sequence[str | type] = ()
    requires: Sequence[str | type] = ()
    contract: str | None = None
    silent_hooks: Collection[str] = ()
    wanted_events: Collection[str] | None = None
    recorded: bool = True
    seen_by_cache: bool = False

    def __repr__(self) -> str:
        return shown_with_settings(self)

    if TYPE_CHECKING:
        # To a type checker the hooks take anything, since an override may name any of the arguments;
        # at run time they are the specifications themselves (below).
        def init_hook(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.init_hook`."""

        def before_run(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.before_run`."""

        def completed_cells(self, *args: Any, **kwargs: Any) -> Any:
            """See `HookSpecs.completed_cells`."""

        def plan_cells(self, *args: Any, **kwargs: Any) -> Any:
            """See `HookSpecs.plan_cells`."""

        def run_experiment_loop(self, *args: Any, **kwargs: Any) -> Any:
            """See `HookSpecs.run_experiment_loop`."""

        def worker_start(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.worker_start`."""

        def worker_stop(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.worker_stop`."""

        def before_replicate(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.before_replicate`."""

        def before_step(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.before_step`."""

        def after_step(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.after_step`."""

        def after_replicate(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.after_replicate`."""

        def on_event(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.on_event`."""

        def collect(self, *args: Any, **kwargs: Any) -> Any:
            """See `HookSpecs.collect`."""

        def collect_provenance(self, *args: Any, **kwargs: Any) -> Any:
            """See `HookSpecs.collect_provenance`."""

        def after_run(self, *args: Any, **kwargs: Any) -> None:
            """See `HookSpecs.after_run`."""

    else:

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            """Note the constructor's arguments."""
            if cls.__init__ is object.__init__ and (args or kwargs):
                # `object` refuses arguments only where nobody overrides `__new__`.
                msg = f"{cls.__name__}() takes no arguments"
                raise TypeError(msg)
            plugin = super().__new__(cls)
            remember_arguments(plugin, args, kwargs)
            return plugin

        setattr(__new__, NOTES_ARGUMENTS, True)


for _name in HOOKS:
    setattr(BasePlugin, _name, vars(HookSpecs)[_name])


def is_no_op(function: object) -> bool:
    """Whether a function is one of `BasePlugin`'s own, which does nothing."""
    return function in _NO_OPS


_NO_OPS = frozenset(vars(HookSpecs)[name] for name in HOOKS)


if TYPE_CHECKING:

    class TypedPlugin(HookSpecs, BasePlugin):
        """See below."""

else:

    class TypedPlugin(BasePlugin):
        """A `BasePlugin` whose hooks a type checker compares with the specifications.

        An override names all arguments of the hook, in their order, and has to have their types. Which of the two a
        plugin derives from makes no difference at run time.

        Examples
        --------
        >>> class Progress(TypedPlugin):
        ...     neutral = True
        ...
        ...     def on_event(self, experiment, event):
        ...         print(event.name)
        """
