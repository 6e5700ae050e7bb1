"""Turning what people write in ``plugins=[...]`` into instances, and adding the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from crystallize.discovery.loading import find_plugin, find_plugins, import_error, load
from crystallize.discovery.metadata import RESERVED
from crystallize.errors import (
    ArgumentTypeError,
    MissingExtraError,
    PluginDefinitionError,
    PluginImportError,
    ValidationError,
)
from crystallize.hooks.base import BasePlugin
from crystallize.hooks.declared_settings import checked_settings
from crystallize.hooks.settings import arguments_of, note_settings
from crystallize.names import did_you_mean
from crystallize.plugins.implementations import find_implementations
from crystallize.plugins.info import asked_by, default_kind, note_asked_by, note_name, note_origin, origin_of
from crystallize.plugins.manager import check_distinct_plugins

__all__ = ["build_own_plugin", "build_plugin", "build_plugins", "rebuild_plugin"]


def build_plugins(specs: Iterable[object] | None, *, default_plugins: bool | Iterable[str] = True) -> list[Any]:
    """Build the plugins of an experiment.

    Parameters
    ----------
    specs : iterable or None
        Instances, classes, names of installed plugins, and pairs ``(name, settings)``.
    default_plugins : bool or iterable of str, default True
        True: the three defaults are added where they are installed, unless `specs` has a plugin of the same kind;
        False: none; names among ``"artifacts"``, ``"seed"``, ``"logging"``: those, which must be installed then.

    Returns
    -------
    list
        Instances, in the order given, then the added defaults.

    Raises
    ------
    ArgumentTypeError
        A bare text or a single plugin instead of a list, or something that names no plugin.
    PluginConflictError
        One instance twice, two of one default kind, or a name that two distributions use.
    PluginError
        A plugin cannot be found, imported or built.

    Examples
    --------
    >>> build_plugins([], default_plugins=False)
    []
    """
    wanted = _as_list(specs)
    for name in filter(None, map(_name_in, wanted)):
        find_plugin(name)  # What metadata can tell of all of them, before the first one is imported.
    given = [build_plugin(spec) for spec in wanted]
    check_distinct_plugins(given)
    missing = [name for name in _defaults(default_plugins) if name not in {default_kind(plugin) for plugin in given}]
    return [*given, *(build_plugin(name, asked_by="default") for name in missing)]


def build_plugin(spec: object, *, asked_by: str | None = None) -> Any:
    """Build one plugin of what ``plugins=[...]`` may hold.

    Parameters
    ----------
    spec : object
        An instance, which is given back as it is, a class, a name, or ``(name, settings)``.
    asked_by : str, optional
        Who asks for it, which the lock says; without it, code does.

    Raises
    ------
    PluginError, ArgumentTypeError
        As `build_plugins`.
    """
    plugin = _built(spec)
    if asked_by is not None:
        note_asked_by(plugin, asked_by)
    return plugin


def _built(spec: object) -> Any:
    if isinstance(spec, str):
        return _installed(spec, None)
    if type(spec) is tuple:
        if _name_in(spec):
            return _installed(spec[0], spec[1] or {})
        shown = ", ".join(repr(part) if isinstance(part, str) else type(part).__name__ for part in spec)
        raise ArgumentTypeError(f"({shown}) in plugins: a pair is (name, {{setting: value}})")
    if isinstance(spec, type):
        _check_class(spec)
        origin = origin_of(spec)
        return _construct(spec, {}, str(origin), origin.fields)
    if inspect.isroutine(spec) or inspect.ismodule(spec) or spec is None or isinstance(spec, (int, float, bytes)):
        shown = getattr(spec, "__name__", repr(spec))
        raise ArgumentTypeError(
            f"{shown} in plugins is of type {type(spec).__name__}: give an instance, a class, the name of an installed "
            "plugin, or (name, settings)"
        )
    if not _is_plugin(spec):
        raise PluginDefinitionError(
            f"{_named(spec)} in plugins is no plugin, since it has no hooks: derive its class from BasePlugin, or mark "
            "its methods with @hookimpl",
            plugin=type(spec).__name__,
        )
    return spec


def build_own_plugin(name: str, target: Any, settings: Mapping[str, Any], *, asked_by: str) -> Any:
    """Build a plugin that no distribution declares, of a class, a function or an instance.

    Parameters
    ----------
    name : str
        What it is called in messages and in the lock.
    target : object
        As what an entry point leads to.
    settings : mapping of str to object
    asked_by : str
        As for `build_plugin`.

    Raises
    ------
    PluginError
        It is no plugin, or does not take the settings.
    """
    plugin = _plugin_of(target, settings, f"plugin {name!r}", {"plugin": name})
    note_name(plugin, name)
    note_asked_by(plugin, asked_by)
    return plugin


def rebuild_plugin(plugin: object, settings: Mapping[str, Any]) -> Any:
    """Build a plugin again with other settings; those that are not named are as it was built with.

    Parameters
    ----------
    plugin : object
        An instance, which is left as it is.
    settings : mapping of str to object

    Raises
    ------
    PluginError
        It does not take them.
    """
    origin = origin_of(plugin)
    arguments = {**arguments_of(plugin), **settings}
    if origin.entry_point is not None:
        again = _installed(origin.name, arguments)
    else:
        again = _construct(type(plugin), arguments, str(origin), origin.fields)
    note_asked_by(again, asked_by(plugin))
    return again


def _name_in(spec: object) -> str | None:
    """Give the name of the installed plugin that is asked for, with or without settings."""
    if type(spec) is tuple and len(spec) == 2 and isinstance(spec[1], (Mapping, type(None))):  # noqa: PLR2004
        spec = spec[0]
    return spec if isinstance(spec, str) else None


def _as_list(specs: Iterable[object] | None) -> list[object]:
    if specs is None:
        return []
    if isinstance(specs, str):
        raise ArgumentTypeError(f"plugins={specs!r} is a bare text: write plugins=[{specs!r}]")
    if isinstance(specs, (BasePlugin, type, Mapping)) or not isinstance(specs, Iterable):
        raise ArgumentTypeError(f"plugins takes a list, not {_named(specs)}: write plugins=[...]")
    return list(specs)


def _defaults(wanted: bool | Iterable[str]) -> list[str]:
    if wanted is True:
        official = {record.name for record in find_plugins() if record.is_official}
        return [name for name in RESERVED if name in official]
    if wanted is False:
        return []
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        raise ArgumentTypeError(
            f"default_plugins={wanted!r}: write True, False, or the list of those to keep, such as ['seed']"
        )
    names = list(wanted)
    for name in names:
        if name not in RESERVED:
            raise ValidationError(
                f"default_plugins names {name!r}, and the defaults are {', '.join(map(repr, RESERVED))}."
                f"{did_you_mean(name, RESERVED)} Name other plugins in plugins=[...]"
            )
    return [name for name in RESERVED if name in names]


def _installed(name: str, settings: Mapping[str, Any] | None) -> Any:
    record = find_plugin(name)
    target = load(record)
    what = f"plugin {record.name!r} ({record.origin})"
    fields: dict[str, Any] = {"plugin": name, "distribution": record.distribution, "version": record.version}
    try:
        plugin = _plugin_of(target, settings, what, fields)
    except ImportError as exc:
        if isinstance(exc, (MissingExtraError, PluginImportError)):
            raise
        raise import_error(record, exc) from exc
    note_origin(plugin, record)
    return plugin


def _plugin_of(target: Any, settings: Mapping[str, Any] | None, what: str, fields: Mapping[str, Any]) -> Any:
    plugin = _from_target(target, settings, what, fields)
    if not _is_plugin(plugin):
        gives = f"the class {plugin.__qualname__}" if isinstance(plugin, type) else f"a {type(plugin).__name__}"
        raise PluginDefinitionError(
            f"{what} leads to {gives}, which is no plugin: its entry point must lead to a plugin class, a function "
            "that builds an instance, or an instance",
            **fields,
        )
    if _is_function(target):
        note_settings(plugin, target, settings or {})
    return plugin


def _from_target(target: Any, settings: Mapping[str, Any] | None, what: str, fields: Mapping[str, Any]) -> Any:
    if isinstance(target, type):
        _check_class(target, what, fields)
    if isinstance(target, type) or _is_function(target):
        return _construct(target, settings or {}, what, fields)
    if settings:
        raise PluginDefinitionError(
            f"{what} is an instance already, and takes no settings; {', '.join(map(repr, settings))} was given",
            **fields,
        )
    return target


def _construct(make: Any, settings: Mapping[str, Any], what: str, fields: Mapping[str, Any]) -> Any:
    settings = checked_settings(make, settings, what=what, **fields)
    try:
        return make(**settings)
    except Exception as exc:
        if hasattr(exc, "add_note"):  # From Python 3.11 on; what a constructor raises is its own to choose.
            exc.add_note(f"while {what} was built")
        raise


def _check_class(cls: type, what: str | None = None, fields: Mapping[str, Any] | None = None) -> None:
    if not (issubclass(cls, BasePlugin) or find_implementations(cls)):
        subject = f"{what} leads to {cls.__qualname__}, which is" if what else f"{cls.__qualname__} is"
        raise PluginDefinitionError(
            f"{subject} no plugin class: derive it from BasePlugin, or mark its methods with @hookimpl",
            **(fields or {"plugin": cls.__name__}),
        )


def _is_function(target: object) -> bool:
    return callable(target) and not isinstance(target, type) and not _is_plugin(target)


def _is_plugin(candidate: object) -> bool:
    return isinstance(candidate, BasePlugin) or (
        not isinstance(candidate, type) and bool(find_implementations(candidate))
    )


def _named(thing: object) -> str:
    return thing.__qualname__ if isinstance(thing, type) else f"an object of type {type(thing).__name__}"
