"""Checks of a plugin before it is used: each mistake is one error that names the plugin and the nearest hook."""

from __future__ import annotations

import inspect
import re
import threading
from dataclasses import replace
from functools import lru_cache, partial
from itertools import zip_longest
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pluggy

from crystallize.errors import PluginContractError, PluginDefinitionError, PluginError, ValidationError
from crystallize.hooks.base import NOT_A_HOOK, BasePlugin
from crystallize.hooks.deprecations import warn_of_deprecations
from crystallize.hooks.specs import CONTRACT, HOOKS, PROJECT, HookSpecs
from crystallize.plugins.implementations import (
    arguments_of_function,
    find_implementations,
    recall,
    remember,
    static_function,
)
from crystallize.plugins.info import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crystallize.hooks.specs import HookSpec
    from crystallize.plugins.implementations import Implementation
    from crystallize.plugins.info import Origin

__all__ = ["check_plugin", "misspelt", "nearest", "problems_of", "satisfies"]

_POLICIES = ("record", "fail_cell", "stop_run")
_INSTEAD = {
    "tryfirst": "name the plugins that it comes before: before = ('name', ...) on the class",
    "trylast": "name the plugins that it comes after: after = ('name', ...) on the class",
    "wrapper": "implement the hooks on both sides, before_... and after_..., and keep the state on self",
    "hookwrapper": "implement the hooks on both sides, before_... and after_..., and keep the state on self",
}
_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "gathers arguments with *{}",
    inspect.Parameter.VAR_KEYWORD: "gathers arguments with **{}",
    inspect.Parameter.KEYWORD_ONLY: "takes {!r} by keyword only",
    inspect.Parameter.POSITIONAL_ONLY: "takes {!r} by position only",
}
_ITERATES = ("run_experiment_loop", "completed_cells")


def check_plugin(plugin: object, origin: Origin) -> list[Implementation]:
    """Check a plugin, and give the methods that implement hooks.

    Parameters
    ----------
    plugin : object
        What is meant to be an instance of a plugin class.
    origin : Origin
        What it is called in messages.

    Raises
    ------
    PluginDefinitionError
        It does not keep the contract.
    PluginContractError
        It needs another version of the contract.
    """
    _check_kind(plugin, origin)
    remembered = recall(plugin)
    if remembered is not None:
        _check_declarations(plugin, origin)
        return remembered
    known: list[Implementation] = []
    for check in _checks(plugin, origin, known):
        check()
    for method in known:
        warn_of_deprecations(method.function, str(origin), method.hook, method.arguments or ())
    _register(plugin, origin, known)
    remember(plugin, known)
    return known


def problems_of(plugin: object, origin: Origin) -> list[PluginError]:
    """Return everything for which `check_plugin` refuses a plugin, one error each mistake."""
    found: list[PluginError] = []
    for check in _checks(plugin, origin, []):
        try:
            check()
        except PluginError as exc:
            found.append(exc)
            if exc.rule == "entry-point":
                break  # It is no plugin, so there is nothing else to say of it.
    return found


def _checks(plugin: object, origin: Origin, known: list[Implementation]) -> Iterator[Callable[[], None]]:
    """Yield the checks in their order; implementations that pass are put into `known`."""
    yield partial(_check_kind, plugin, origin)
    found = find_implementations(plugin)
    yield partial(_check_has_hooks, plugin, origin, found)
    yield partial(_check_declarations, plugin, origin)  # The contract first: in another one other hooks may exist.
    yield partial(_check_spelling, plugin, origin, found)
    for implementation in found:
        yield partial(_check_implementation, implementation, origin, known)


def _check_has_hooks(plugin: object, origin: Origin, found: list[Implementation]) -> None:
    if not found and not isinstance(plugin, BasePlugin):
        raise PluginDefinitionError(
            f"{_shown(plugin)} is no plugin: it has no hooks. Derive its class from BasePlugin, or mark its methods "
            "with @hookimpl",
            rule="entry-point",
            **origin.fields,
        )


def _check_implementation(implementation: Implementation, origin: Origin, known: list[Implementation]) -> None:
    spec = HOOKS.get(implementation.hook)
    if spec is None:
        _refuse_unknown(implementation, origin)
        return
    if any(implementation.hook == other.hook for other in known):
        raise _error(origin, f"implements {spec.name} twice, the second time as {implementation.attribute}", spec)
    _check_options(implementation, origin, spec)
    _check_function(implementation, origin, spec)
    named = _check_arguments(implementation, origin, spec)
    known.append(replace(implementation, arguments=named))


def _check_kind(plugin: object, origin: Origin) -> None:
    if isinstance(plugin, type):
        raise PluginDefinitionError(
            f"{origin} is the class {plugin.__qualname__} where an instance is needed: write {plugin.__name__}()",
            rule="entry-point",
            **origin.fields,
        )
    if isinstance(plugin, ModuleType) or inspect.isroutine(plugin):
        raise PluginDefinitionError(
            f"{_shown(plugin)} is no plugin: give an instance of a plugin class", rule="entry-point", **origin.fields
        )


def _check_declarations(plugin: Any, origin: Origin) -> None:
    contract = declared(plugin, "contract")
    if contract is not None:
        _check_contract(contract, origin)
    on_error = declared(plugin, "on_error")
    if on_error is not None and on_error not in _POLICIES:
        if callable(on_error):
            raise _error(
                origin,
                f"has a method on_error; that name says what becomes of errors: {_one_of(_POLICIES)}",
                rule="declaration",
            )
        raise _error(
            origin, f"declares on_error = {on_error!r}; what is understood is {_one_of(_POLICIES)}", rule="declaration"
        )
    neutral = declared(plugin, "neutral")
    if neutral is not None and not isinstance(neutral, bool):
        raise _error(
            origin, f"declares neutral = {neutral!r}; what is understood is True, False or None", rule="declaration"
        )
    for relation in ("before", "after", "requires"):
        named = declared(plugin, relation)
        if isinstance(named, (str, type)):
            continue
        if not isinstance(named, (tuple, list, set, frozenset)) or not all(isinstance(n, (str, type)) for n in named):
            raise _error(
                origin,
                f"declares {relation} = {named!r}; names of plugins or classes are expected, in a tuple",
                rule="declaration",
            )
    silent = declared(plugin, "silent_hooks")
    if isinstance(silent, str) or any(name not in HOOKS for name in silent):
        raise _error(
            origin, f"declares silent_hooks = {silent!r}; a collection of hooks' names is expected", rule="declaration"
        )
    wanted = declared(plugin, "wanted_events")
    if wanted is not None and not (
        isinstance(wanted, (tuple, list, set, frozenset)) and all(isinstance(name, str) for name in wanted)
    ):
        raise _error(
            origin,
            f"declares wanted_events = {wanted!r}; names of events are expected, in a tuple, or None",
            rule="declaration",
        )


def _check_contract(contract: Any, origin: Origin) -> None:
    if not isinstance(contract, str):
        raise _error(origin, f"declares contract = {contract!r}; a text such as '>=1,<2' is expected", rule="contract")
    try:
        fits = satisfies(CONTRACT, contract)
    except ValidationError as exc:
        raise _error(origin, f"declares contract = {contract!r}, which cannot be read: {exc}", rule="contract") from exc
    if not fits:
        from importlib.metadata import version

        upgrade = f", or another version of {origin.distribution}" if origin.distribution else ""
        raise PluginContractError(
            f"{origin} needs the hook contract {contract!r}, and crystallize-core {version('crystallize-core')} offers "
            f"{CONTRACT}: install another version of crystallize-core{upgrade}",
            rule="contract",
            **origin.fields,
        )


def _check_spelling(plugin: object, origin: Origin, found: list[Implementation]) -> None:
    implementing = {implementation.attribute for implementation in found}
    for attribute in dir(plugin):
        if attribute.startswith("_") or attribute in implementing:
            continue
        function, _ = static_function(plugin, attribute)
        if attribute in HOOKS and function is None and isinstance(plugin, BasePlugin):
            raise _error(
                origin,
                f"has an attribute {attribute} that is no method, and hides the hook",
                HOOKS[attribute],
                rule="hook-kind",
            )
        if function is None or getattr(function, NOT_A_HOOK, False):
            continue
        if attribute in HOOKS and not isinstance(plugin, BasePlugin):
            raise _error(
                origin,
                f"has a method {attribute} that is not marked: mark it with @hookimpl, or with @not_a_hook",
                rule="hook-unknown",
            )
        meant = misspelt(attribute, HOOKS) if isinstance(plugin, BasePlugin) else None
        if meant is not None:
            raise _error(
                origin,
                f"has a method {attribute}, which is no hook; the nearest is {meant}. Rename it, or mark it with "
                "@not_a_hook if it is meant",
                HOOKS[meant],
                rule="hook-unknown",
            )


def _refuse_unknown(implementation: Implementation, origin: Origin) -> None:
    if not implementation.options.get("optionalhook"):
        raise _error(
            origin,
            f"marks {implementation.attribute} as a hook, and no hook is called {implementation.hook}; the nearest is "
            f"{nearest(implementation.hook, HOOKS)}",
            rule="hook-unknown",
        )


def _check_options(implementation: Implementation, origin: Origin, spec: HookSpec) -> None:
    for option, instead in _INSTEAD.items():
        if implementation.options.get(option):
            raise _error(origin, f"marks {spec.name} with {option}=True, which is not supported: {instead}", spec)


def _check_function(implementation: Implementation, origin: Origin, spec: HookSpec) -> None:
    function = inspect.unwrap(implementation.function)
    if inspect.iscoroutinefunction(function):
        advice = (
            "write an async generator: yield the outcomes"
            if spec.name == "run_experiment_loop"
            else "hooks are called, never awaited"
        )
        raise _error(origin, f"implements {spec.name} as a coroutine; {advice}", spec)
    generator = inspect.isgeneratorfunction(function)
    if (generator and spec.name not in _ITERATES) or (
        inspect.isasyncgenfunction(function) and spec.name != "run_experiment_loop"
    ):
        raise _error(origin, f"yields in {spec.name}, so that its body would never run: leave the yield out", spec)


def _check_arguments(implementation: Implementation, origin: Origin, spec: HookSpec) -> tuple[str, ...]:
    signature = f"{spec.name}({', '.join(spec.arguments)})"
    try:
        parameters = arguments_of_function(implementation.function)
    except ValueError:
        raise _error(
            origin, f"implements {spec.name} without taking self: write def {signature}", spec, rule="hook-argument"
        ) from None
    for parameter in parameters:
        if parameter.kind in _KINDS:
            raise _error(
                origin,
                f"implements {spec.name} in a way that {_KINDS[parameter.kind].format(parameter.name)}: name the "
                f"arguments that it uses, of {signature}"
                + (", and use functools.wraps in its decorator if it has one" if "VAR" in parameter.kind.name else ""),
                spec,
                rule="hook-argument",
            )
        if parameter.name not in spec.arguments:
            meant = nearest(parameter.name, spec.arguments)
            raise _error(
                origin,
                f"implements {spec.name} with an argument {parameter.name!r} that it does not have; the nearest is "
                f"{meant!r}. It may name any of {signature}",
                spec,
                rule="hook-argument",
            )
    return tuple(parameter.name for parameter in parameters)


class _Verifier(pluggy.PluginManager):
    """pluggy's registration, which takes the methods that we found for hooks."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(HookSpecs)
        self.expected: dict[str, Implementation] = {}

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:  # noqa: ARG002 - pluggy's own signature
        implementation = self.expected.get(name)
        if implementation is None:
            return None
        options: dict[str, Any] = {"specname": implementation.hook, **implementation.options}
        return cast("Any", options)


_verifying = threading.Lock()


@lru_cache(maxsize=1)
def _verifier() -> _Verifier:
    return _Verifier()


def _register(plugin: Any, origin: Origin, found: list[Implementation]) -> None:
    """Let pluggy have its say; one plugin at a time, since equal ones may exist."""
    with _verifying:
        verifier = _verifier()
        verifier.expected = {implementation.attribute: implementation for implementation in found}
        try:
            verifier.register(plugin, name=origin.name)
        except pluggy.PluginValidationError as exc:
            raise _error(origin, f"is refused: {exc}") from exc
        finally:
            verifier.expected = {}
            if verifier.has_plugin(origin.name):
                verifier.unregister(name=origin.name)


def _error(
    origin: Origin, text: str, spec: HookSpec | None = None, *, rule: str = "hook-kind"
) -> PluginDefinitionError:
    return PluginDefinitionError(f"{origin} {text}", hook=spec.name if spec else None, rule=rule, **origin.fields)


def _one_of(choices: tuple[str, ...]) -> str:
    return ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"


def _shown(plugin: object) -> str:
    shown = repr(plugin)
    return f"{type(plugin).__name__} {shown if len(shown) <= 60 else shown[:60] + '…'}"  # noqa: PLR2004 - one line


_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?\s*")
Version = tuple[int, ...]


def satisfies(version: str, specifier: str) -> bool:
    """Whether `version` fulfils every clause of `specifier`.

    The clauses are those of Python packaging's version specifiers, for versions made of numbers.

    Parameters
    ----------
    version : str
        Numbers with dots, ``"1.0"``.
    specifier : str
        Clauses with commas between them, ``">=1,<2"``.

    Raises
    ------
    ValidationError
        `specifier` is not of that form.

    Examples
    --------
    >>> satisfies("1.2", ">=1,<2"), satisfies("2.0", "~=1.4"), satisfies("1.2", "==1.*")
    (True, False, True)
    """
    offered = _numbers(version)
    clauses = _clauses(specifier)
    return all(_fulfils(offered, *clause) for clause in clauses)


def _clauses(specifier: str) -> list[tuple[str, Version, bool]]:
    found = []
    for text in specifier.split(","):
        match = _CLAUSE.fullmatch(text)
        if match is None or (match[3] and match[1] not in {"==", "!="}) or (match[1] == "~=" and "." not in match[2]):
            raise ValidationError(f"{specifier!r} is no range of versions: write something like '>=1,<2'")
        found.append((match[1], _numbers(match[2]), bool(match[3])))
    return found


def _fulfils(offered: Version, operator: str, wanted: Version, prefix: bool) -> bool:
    if operator == "~=":
        return _compare(offered, wanted) >= 0 and offered[: len(wanted) - 1] == wanted[:-1]
    order = _compare(offered[: len(wanted)] if prefix else offered, wanted)
    return {
        ">=": order >= 0,
        "<=": order <= 0,
        ">": order > 0,
        "<": order < 0,
        "==": order == 0,
        "!=": order != 0,
    }[operator]


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))


def _compare(one: Version, other: Version) -> int:
    for left, right in zip_longest(one, other, fillvalue=0):
        if left != right:
            return 1 if left > right else -1
    return 0


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """Give the known name from which `name` is one edit away, or None.

    An edit is a letter more, less, other, two neighbours swapped, or any difference in underscores and case.

    Examples
    --------
    >>> misspelt("before_rum", ["before_run", "collect"]), misspelt("afterRun", ["after_run"])
    ('before_run', 'after_run')
    """
    squeezed = name.replace("_", "").lower()
    for candidate in known:
        if candidate != name and (squeezed == candidate.replace("_", "") or _one_edit(name, candidate)):
            return candidate
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that is most like `name`."""
    import difflib  # for an error, which most programs never see

    return max(known, key=lambda candidate: difflib.SequenceMatcher(None, name, candidate).ratio())


def _one_edit(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    left, right = one[start:], other[start:]
    return (
        left[1:] == right[1:]  # another letter
        or left[1:] == right  # a letter more
        or left == right[1:]  # a letter less
        or (left[:2] == right[1::-1] and left[2:] == right[2:])  # two neighbours swapped
    )
