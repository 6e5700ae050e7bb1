"""The active plugins of one experiment: checked, in order, with the calls of every hook resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import isolate
from crystallize.errors import PluginConflictError
from crystallize.hooks.specs import HOOKS
from crystallize.plugins.implementations import adapt, find_implementations, implementation, named_arguments
from crystallize.plugins.info import Origin, PluginInfo, asked_by, declared, default_kind, origin_of
from crystallize.plugins.ordering import RankedPlugin, in_order, reasons_for
from crystallize.plugins.validation import check_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crystallize.plugins.implementations import Implementation, Shape
    from crystallize.plugins.info import OnError

__all__ = ["ActivePlugins", "HookCall", "check_distinct_plugins", "explain_order"]

_RANKS = {"seed": 0, None: 1, "logging": 2, "artifacts": 3}
_RELATIONS = ("before", "after", "requires")


@dataclass(frozen=True, slots=True)
class HookCall:
    """One plugin's implementation of one hook, ready to be called.

    Attributes
    ----------
    hook : str
    fn : callable
        Takes all arguments of the specification, by position, in its order.
    method : callable
        The plugin's method, bound.
    takes : tuple of str
        The names of the arguments that the method takes.
    info : PluginInfo
        Whose it is.
    neutral : bool
    on_error : {"record", "fail_cell", "stop_run"} or None
    """

    hook: str
    fn: Callable[..., Any]
    method: Callable[..., Any]
    takes: tuple[str, ...]
    info: PluginInfo
    neutral: bool
    on_error: OnError | None


class ActivePlugins:
    """The plugins of one experiment, in their order.

    It pickles as the instances and what is known about them, so that nothing is looked up again in a worker.

    Attributes
    ----------
    infos : tuple of PluginInfo
        In order.
    """

    def __init__(
        self, infos: Sequence[PluginInfo], implementations: Sequence[Sequence[Implementation]] | None = None
    ) -> None:
        self.infos = tuple(infos)
        found = implementations or [find_implementations(info.plugin) for info in self.infos]
        calls: dict[str, list[HookCall]] = {name: [] for name in HOOKS}
        for info, methods in zip(self.infos, found, strict=True):
            neutral = info.neutral is True
            for method in methods:
                if method.hook in info.hooks:
                    fn = adapt(method, HOOKS[method.hook])
                    takes = named_arguments(method)
                    calls[method.hook].append(
                        HookCall(method.hook, fn, method.function, takes, info, neutral, info.on_error)
                    )
        self._calls = {name: tuple(listed) for name, listed in calls.items()}
        self._found = found
        self._lock: list[dict[str, Any]] | None = None
        self._made_from: tuple[tuple[object, tuple[str, ...]], ...] = ()

    @classmethod
    def resolve(cls, plugins: Sequence[object], *, complete: bool = True) -> ActivePlugins:
        """Check plugins, and put them into their one order.

        Parameters
        ----------
        plugins : sequence of object
            Instances, in the order of ``experiment.plugins``.
        complete : bool, default True
            False where more may be appended before the run: what a plugin requires need not be there yet.

        Raises
        ------
        PluginDefinitionError, PluginContractError
            One of them does not keep the contract, or needs another one.
        PluginConflictError
            One instance twice, or two of one default kind.
        PluginOrderError
            Relations form a cycle, or require what is not active.
        """
        check_distinct_plugins(plugins)
        infos: list[PluginInfo] = []
        implementations: list[list[Implementation]] = []
        places = []
        for position, plugin in enumerate(plugins):
            origin = origin_of(plugin)
            implementations.append(check_plugin(plugin, origin))
            silent = declared(plugin, "silent_hooks")
            hooks = {implementation.hook for implementation in implementations[-1]}.difference(silent)
            infos.append(
                PluginInfo(
                    origin,
                    plugin,
                    declared(plugin, "neutral"),
                    declared(plugin, "on_error"),
                    declared(plugin, "contract"),
                    tuple(name for name in HOOKS if name in hooks),
                    asked_by(plugin),
                )
            )
            places.append(_place(plugin, origin, position))
        order = [place.position for place in in_order(places, complete=complete)]
        active = cls([infos[i] for i in order], [implementations[i] for i in order])
        active._made_from = tuple((plugin, tuple(declared(plugin, "silent_hooks"))) for plugin in plugins)
        return active

    def fits(self, plugins: Sequence[object]) -> bool:
        """Whether these plugins, as they are now, are the ones that were resolved.

        Parameters
        ----------
        plugins : sequence of object
            Instances, in the order of ``experiment.plugins``.

        Returns
        -------
        bool
            False too where an instance sits out other hooks than it did.
        """
        return len(plugins) == len(self._made_from) and all(
            plugin is known and tuple(declared(plugin, "silent_hooks")) == silent
            for plugin, (known, silent) in zip(plugins, self._made_from, strict=True)
        )

    @property
    def plugins(self) -> tuple[Any, ...]:
        """The instances, in order."""
        return tuple(info.plugin for info in self.infos)

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return [info.name for info in self.infos]

    def calls(self, hook: str) -> tuple[HookCall, ...]:
        """Give the implementations of a hook, in order; empty where nobody implements it."""
        return self._calls[hook]

    def in_workers(self) -> ActivePlugins:
        """Return those with hooks that run in workers, in order."""
        kept = [
            (info, methods)
            for info, methods in zip(self.infos, self._found, strict=True)
            if any(HOOKS[hook].place == "worker" for hook in info.hooks)
        ]
        return ActivePlugins([info for info, _ in kept], [methods for _, methods in kept])

    def lock(self) -> list[dict[str, Any]]:
        """Give the plugin lock: one mapping a plugin, in order.

        Returns
        -------
        list of dict
            ``name``, ``distribution``, ``version``, ``contract``, ``entry_point``, ``class``, ``order``, ``neutral``,
            ``asked_by``; ``settings`` after defaults, and ``opaque``, the names of those that only code can give again;
            ``digests`` as the distribution's own record lists them, and ``editable``, whether its code may change all
            the same.
        """
        if self._lock is None:
            from crystallize.plugins.lock import lock_entry

            named = (info for info in self.infos if info.neutral is not True or declared(info.plugin, "recorded"))
            self._lock = [lock_entry(info, order) for order, info in enumerate(named)]
        return isolate(self._lock)  # Results keep it, and belong to others.

    def identity(self) -> tuple[str, ...]:
        """Give what the plugins add to the identity of an experiment: code and settings of those not neutral."""
        from crystallize.fingerprint import code_of, combine, value_of

        return tuple(
            combine(code_of(type(info.plugin)), value_of(dict(info.arguments)))
            for info in self.infos
            if info.neutral is not True
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # To look through a plugin for its hooks takes a millisecond, in every worker of every run.
        return _found_again, (self.infos, [[method.shape for method in methods] for methods in self._found])

    def __repr__(self) -> str:
        return f"<ActivePlugins {', '.join(self.names) or 'none'}>"


def explain_order(plugins: Sequence[object]) -> list[tuple[PluginInfo, str]]:
    """Return plugins in their order, each with the reasons for its place.

    Parameters
    ----------
    plugins : sequence of object
        Instances, in the order of ``experiment.plugins``.

    Raises
    ------
    PluginError
        As `ActivePlugins.resolve`.
    """
    infos = {id(info.plugin): info for info in ActivePlugins.resolve(plugins).infos}
    ordered = in_order(_place(plugin, origin_of(plugin), position) for position, plugin in enumerate(plugins))
    return [
        (infos[id(plugins[place.position])], because)
        for place, because in zip(ordered, reasons_for(ordered), strict=True)
    ]


def _found_again(infos: Sequence[PluginInfo], shapes: Sequence[Sequence[Shape]]) -> ActivePlugins:
    found = [
        [implementation(info.plugin, shape) for shape in several] for info, several in zip(infos, shapes, strict=True)
    ]
    return ActivePlugins(infos, found)


def check_distinct_plugins(plugins: Iterable[object]) -> None:
    """Refuse one instance twice, and two plugins of one default kind.

    Raises
    ------
    PluginConflictError
    """
    seen: list[object] = []
    kinds: dict[str, Origin] = {}
    for plugin in plugins:
        if isinstance(plugin, (str, type, tuple)):
            seen.append(plugin)
            continue
        origin = origin_of(plugin)
        if any(plugin is other for other in seen):
            raise PluginConflictError(f"{origin} is given twice, as the same instance: give it once", **origin.fields)
        seen.append(plugin)
        kind = default_kind(plugin)
        if kind is not None and kind in kinds:
            raise PluginConflictError(
                f"{kinds[kind]} and {origin} are both of the kind {kind!r}: an experiment has one, so give one of them",
                **origin.fields,
            )
        if kind is not None:
            kinds[kind] = origin


def _place(plugin: object, origin: Origin, position: int) -> RankedPlugin:
    classes = tuple(cls for cls in type(plugin).__mro__ if cls is not object)
    kind = default_kind(plugin)
    names = {origin.name, *(cls.__name__ for cls in classes), *(cls.__qualname__ for cls in classes)}
    relations = {name: _as_tuple(declared(plugin, name)) for name in _RELATIONS}
    return RankedPlugin(
        origin, _RANKS[kind], position, frozenset(names | ({kind} if kind else set())), classes, **relations
    )


def _as_tuple(named: Any) -> tuple[str | type, ...]:
    if isinstance(named, (str, type)):
        return (named,)
    return tuple(sorted(named, key=repr)) if isinstance(named, (set, frozenset)) else tuple(named)
