"""What can be said of a plugin without a run: its hooks, its declarations, its settings, its distribution."""

from __future__ import annotations

import inspect
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.discovery.metadata import OFFICIAL, PLUGINS, normalized
from crystallize.hooks import HOOKS, BasePlugin
from crystallize.hooks.declared_settings import constructor_signature
from crystallize.hooks.deprecations import deprecated_uses
from crystallize.plugins.implementations import arguments_of_function, find_implementations
from crystallize.plugins.info import Origin, declared, origin_of
from crystallize.plugins.validation import problems_of
from crystallize.testing.annotations import wrong_annotations
from crystallize.testing.rules import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize.discovery.metadata import PluginRecord
    from crystallize.errors import PluginError

__all__ = [
    "distribution_findings",
    "instance_findings",
    "name_findings",
    "pickle_findings",
    "place_of",
    "settings_findings",
    "target_findings",
    "typed_findings",
]

_OURS = {"crystallize-core", "crystallize-plugins", "crystallize-cli"}
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")


def name_findings(record: PluginRecord) -> Iterator[Finding]:
    """Yield what is wrong with an entry point as far as metadata tells."""
    if record.problem is not None:
        rules = {" both ": "name-taken", "is reserved": "name-reserved"}
        rule = next((rule for text, rule in rules.items() if text in record.problem), "entry-point")
        yield Finding(rule, "problem", f"the name {record.name!r} cannot be used: {record.problem}")


def distribution_findings(record: PluginRecord, requirements: Iterable[str]) -> Iterator[Finding]:
    """Yield what is wrong with the requirements of a plugin's distribution.

    Parameters
    ----------
    record : PluginRecord
    requirements : iterable of str
        As the distribution's metadata lists them.
    """
    matches = [match for line in requirements if (match := _REQUIREMENT.fullmatch(line))]
    ours = [match[2] for match in matches if normalized(match[1]) in _OURS and "extra" not in (match[3] or "")]
    advice = 'write "crystallize-core>=0.1,<0.2" under dependencies, for the versions that it works with'
    if not ours:
        text = f"{record.distribution} does not require crystallize-core: {advice}"
        yield Finding("core-bound", "problem", text)
    elif not any(re.search(r"<|==|~=", specifier) for specifier in ours):
        text = f"{record.distribution} takes any later version of crystallize-core: {advice}"
        yield Finding("core-bound", "note", text)


def typed_findings(module: str) -> Iterator[Finding]:
    """Yield a note where the package of an imported module has no file py.typed."""
    package = module.partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is not None and not Path(file).with_name("py.typed").is_file():
        text = f"type checkers do not look at the annotations of {package}: put an empty file py.typed into the package"
        yield Finding("py-typed", "note", text)


def target_findings(record: PluginRecord, target: Any) -> Iterator[Finding]:
    """Yield what is wrong with what an entry point leads to; a plugin that can be built with its defaults is built.

    Parameters
    ----------
    record : PluginRecord
    target : object
        What it leads to, imported.
    """
    wrong = _wrong_target(record.group, target)
    if wrong:
        text = f"the entry point {record.name} = {record.value} leads to {wrong}"
        yield Finding("entry-point", "problem", text, place_of(target))
        return
    if record.group != PLUGINS:
        return
    if _is_built(target):
        yield from settings_findings(target)
    yield from _built_findings(record, target)


def instance_findings(plugin: object, origin: Origin | None = None) -> Iterator[Finding]:
    """Yield what is wrong with the hooks and the declarations of a plugin.

    Parameters
    ----------
    plugin : object
        An instance.
    origin : Origin, optional
        What it is called in messages; by default looked up.
    """
    origin = origin or origin_of(plugin)
    problems = problems_of(plugin, origin)
    for problem in problems:
        yield Finding(problem.rule or "declaration", "problem", str(problem), place_of(_member(plugin, problem)))
    found = find_implementations(plugin)
    if not found and not problems and not declared(plugin, "silent_hooks"):
        text = f"{origin} implements no hook: override one, or mark methods with @hookimpl"
        yield Finding("hook-unknown", "problem", text, place_of(plugin))
    wrong = {problem.hook for problem in problems}
    for implementation in found:
        if implementation.hook in wrong or implementation.hook not in HOOKS:
            continue
        arguments = [parameter.name for parameter in arguments_of_function(implementation.function)]
        for use in deprecated_uses(implementation.hook, arguments):
            yield Finding("deprecated", "problem", f"{origin}: {use}", place_of(implementation.function))
        for sentence in wrong_annotations(implementation):
            yield Finding("hook-annotation", "problem", f"{origin}: {sentence}", place_of(implementation.function))
    # A class of a script has no later version of the core to fear, and ours have the version of the core.
    if declared(plugin, "contract") is None and normalized(origin.distribution or OFFICIAL) != OFFICIAL:
        text = f'{origin} does not say with which contract it works: write contract = ">=1.1,<2" on its class'
        yield Finding("contract", "note", text, place_of(plugin))


def settings_findings(target: Any) -> Iterator[Finding]:
    """Yield what is wrong with the settings of a plugin class, or of a function that builds a plugin."""
    if getattr(target, "__init__", None) is object.__init__:
        return  # It has none.
    try:
        parameters = constructor_signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            text = f"*{parameter.name} cannot be given by name, as settings are: give each a name"
            yield Finding("settings", "problem", text, place_of(target))
        elif isinstance(parameter.default, (list, dict, set)):
            text = f"the default of {parameter.name} is one {type(parameter.default).__name__} for all: write None"
            yield Finding("settings", "problem", text, place_of(target))


def pickle_findings(plugin: object) -> Iterator[Finding]:
    """Yield why a plugin cannot reach a worker process."""
    try:
        again = pickle.loads(pickle.dumps(plugin))  # noqa: S301 - what was pickled in the line itself
    except Exception as exc:  # noqa: BLE001 - a stranger's class may raise anything
        text = (
            f"{type(plugin).__qualname__} does not pickle: {type(exc).__name__}: {exc}. Leave what cannot travel out "
            "of its state (__getstate__), or open it in worker_start"
        )
        yield Finding("pickle", "problem", text, place_of(plugin))
        return
    hooks = [{found.hook for found in find_implementations(each)} for each in (plugin, again)]
    if hooks[0] != hooks[1]:
        text = f"the pickled copy of {type(plugin).__qualname__} has other hooks: {sorted(hooks[0] ^ hooks[1])}"
        yield Finding("pickle", "problem", text, place_of(plugin))


def place_of(thing: Any) -> str | None:
    """Return where a function, a class or an object's class is defined, ``"file:line"``."""
    if not (inspect.isroutine(thing) or isinstance(thing, (type, property))):
        thing = type(thing)
    try:
        code = getattr(inspect.unwrap(getattr(thing, "__func__", thing)), "__code__", None)
        if code is not None:
            return f"{code.co_filename}:{code.co_firstlineno}"
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError, ValueError):
        return None


def _member(plugin: object, problem: PluginError) -> Any:
    """Return the method that a problem is about, or the plugin."""
    methods = {found.hook: found.function for found in find_implementations(plugin)}
    return methods.get(problem.hook or "", plugin)


def _wrong_target(group: str, target: Any) -> str:
    """Say what an entry point leads to where that is not what its group is for; else nothing."""
    kind = (
        f"an object of type {type(target).__name__}"
        if not isinstance(target, type)
        else f"the class {target.__qualname__}"
    )
    if group == PLUGINS:
        is_class = isinstance(target, type) and (issubclass(target, BasePlugin) or bool(find_implementations(target)))
        is_instance = not isinstance(target, type) and (callable(target) or bool(find_implementations(target)))
        is_instance = is_instance or isinstance(target, BasePlugin)
        fits, wanted = is_class or is_instance, "a plugin class, a function that builds a plugin, or an instance"
    elif group == "crystallize.optimizers":
        asked = [name for name in ("ask", "tell", "get_best_treatment") if not hasattr(target, name)]
        fits, wanted = not asked or not isinstance(target, type), "a class with ask, tell and get_best_treatment"
    elif group == "crystallize.commands":
        command = getattr(sys.modules.get("click"), "Command", ())
        fits, wanted = isinstance(target, command), "what @click.command or @click.group made"
    else:
        fits, wanted = callable(target), "something that can be called"
    return "" if fits else f"{kind}, where {wanted} is expected"


def _is_built(target: Any) -> bool:
    """Whether a plugin is built of what an entry point leads to, so that it has settings."""
    return isinstance(target, type) or (callable(target) and not find_implementations(target))


def _built_findings(record: PluginRecord, target: Any) -> Iterator[Finding]:
    """Build the plugin with its defaults where that is possible, and yield what is wrong with it."""
    plugin = target
    if _is_built(target):
        try:
            constructor_signature(target).bind()
        except (TypeError, ValueError):
            if isinstance(target, type):  # Something has to be given; its hooks can be looked at all the same.
                yield from instance_findings(object.__new__(target), _origin(record))
            return
        try:
            plugin = target()
        except Exception as exc:  # noqa: BLE001 - a stranger's constructor may raise anything
            state = "note" if isinstance(exc, ImportError) else "problem"
            text = f"built with its defaults, it raises {type(exc).__name__}: {exc}"
            yield Finding("settings", state, text, place_of(target))  # type: ignore[arg-type]
            return
    yield from instance_findings(plugin, _origin(record))
    yield from pickle_findings(plugin)


def _origin(record: PluginRecord) -> Origin:
    return Origin(record.name, record.distribution, record.version, record.value)
