"""What a plugin was built with: its constructor's arguments, after defaults, never its live state."""

from __future__ import annotations

import inspect
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import isolate
from crystallize.hooks.declared_settings import constructor_signature, secret_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "NOTES_ARGUMENTS",
    "arguments_of",
    "describe_settings",
    "described",
    "note_settings",
    "remember_arguments",
    "shown_with_settings",
]

NOTES_ARGUMENTS = "crystallize_notes_arguments"
"""Attribute of a ``__new__`` that calls `remember_arguments`."""

_KEY = "_crystallize_arguments"
_VALUES = (type(None), bool, int, float, str)
_MOST_ITEMS = 1000
_LONGEST_TEXT = 10_000
_DEEPEST = 10


class _Arguments:
    """The arguments of one construction, kept beside the plugin's own attributes.

    They need not be picklable even where the plugin is (it may leave a lock out of its state), so what travels with
    the plugin is a short description of those that are not plain values.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def __eq__(self, other: object) -> bool:
        # So that plugins which compare their `__dict__` go on doing so.
        return isinstance(other, _Arguments)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (_portable(self.args), _portable(self.kwargs))

    def __deepcopy__(self, memo: object) -> _Arguments:
        return self


class _Settings(_Arguments):
    """The same where the names are known already: what a function that builds a plugin was called with."""

    __slots__ = ("secret",)

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], secret: frozenset[str] = frozenset()) -> None:
        super().__init__(args, kwargs)
        self.secret = secret

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (_portable(self.args), _portable(self.kwargs), self.secret)


def remember_arguments(plugin: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note what a plugin is constructed with; containers are copied, since the plugin may go on to fill them."""
    vars(plugin)[_KEY] = _Arguments(isolate(args), isolate(kwargs))


def note_settings(plugin: object, make: Callable[..., object], settings: Mapping[str, Any]) -> None:
    """Note the settings with which a function built a plugin, in place of its constructor's arguments."""
    attributes = getattr(plugin, "__dict__", None)
    if attributes is not None:  # Without one, what its attributes say will have to do.
        given = _flat(inspect.signature(make).bind(**settings), make)
        attributes[_KEY] = _Settings((), isolate(given), secret_settings(make))


def arguments_of(plugin: object) -> dict[str, Any]:
    """Give a plugin's settings by name: its constructor's arguments, with defaults filled in.

    A `BasePlugin` notes its arguments when it is made. Of anything else, and of classes with a ``__new__`` of their
    own, the attributes that are named like the constructor's parameters are read.

    Parameters
    ----------
    plugin : object
        A plugin's instance.

    Returns
    -------
    dict
        Values as they were given; empty where the constructor cannot be looked at.
    """
    noted = getattr(plugin, "__dict__", {}).get(_KEY)
    if isinstance(noted, _Settings):
        return dict(noted.kwargs)
    try:
        signature = constructor_signature(type(plugin))
    except (TypeError, ValueError):
        return {}
    if isinstance(noted, _Arguments) and not _has_own_new(type(plugin)):
        try:
            bound = signature.bind(*noted.args, **noted.kwargs)
        except TypeError:
            pass  # Rebuilt by a `__reduce__` of its own, say: what was noted is not what `__init__` got.
        else:
            return _flat(bound, type(plugin))
    return _from_attributes(plugin, signature)


def describe_settings(plugin: object) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Describe a plugin's settings so that they can be written down.

    Parameters
    ----------
    plugin : object
        A plugin's instance; its settings are what `arguments_of` gives.

    Returns
    -------
    settings : dict
        Values that JSON has as they are, paths as text, tuples as lists; secrets masked; anything else as a short text.
    opaque : tuple of str
        The names of those that cannot be built again from their description.
    """
    noted = getattr(plugin, "__dict__", {}).get(_KEY)
    secret = noted.secret if isinstance(noted, _Settings) else secret_settings(type(plugin))
    settings: dict[str, Any] = {}
    opaque: list[str] = []
    for name, value in arguments_of(plugin).items():
        settings[name], exact = described(name, value, secret=name in secret)
        if not exact:
            opaque.append(name)
    return settings, tuple(opaque)


def described(name: str, value: Any, *, secret: bool = False) -> tuple[Any, bool]:
    """Describe the value of one setting, and say whether it can be built again from the description."""
    from crystallize.results.description import describe
    from crystallize.results.secrets import MASK, looks_secret, mask_secrets

    if isinstance(value, str) and not value:
        return "", True  # nothing is there to be kept secret
    if secret and value is not None:
        return MASK, False
    if value is None or (_is_plain(value, _DEEPEST) and not looks_secret(name)):
        plain = _as_json(value)
        masked = mask_secrets(plain)
        return masked, bool(masked == plain)
    return describe(value, key=name), False


def shown_with_settings(plugin: object) -> str:
    """Show a plugin as the call that builds it, with secrets masked and long values in short."""
    settings, opaque = describe_settings(plugin)
    shown = (f"{name}=<{value}>" if name in opaque else f"{name}={value!r}" for name, value in settings.items())
    return f"{type(plugin).__name__}({', '.join(shown)})"


def _has_own_new(cls: type) -> bool:
    return not getattr(cls.__new__, NOTES_ARGUMENTS, False)


def _flat(bound: inspect.BoundArguments, target: Any) -> dict[str, Any]:
    bound.apply_defaults()
    for name, field in getattr(target, "__dataclass_fields__", {}).items():
        # In place of what a factory makes, the signature has a mark.
        parameter = bound.signature.parameters.get(name)
        if callable(field.default_factory) and parameter and bound.arguments[name] is parameter.default:
            bound.arguments[name] = field.default_factory()
    settings: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            settings.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
            settings[name] = value
    return settings


def _from_attributes(plugin: object, signature: inspect.Signature) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    missing = object()
    for name in signature.parameters:
        for attribute in (name, f"_{name}"):
            # Statically: a property may do anything.
            value = inspect.getattr_static(plugin, attribute, missing)
            if inspect.ismemberdescriptor(value):
                value = getattr(plugin, attribute, missing)
            if value is not missing and not isinstance(value, property):
                settings[name] = value
                break
    return settings


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if type(value) in _VALUES or isinstance(value, PurePath):
        return True
    if type(value) in (list, tuple):
        return depth > 0 and len(value) <= _MOST_ITEMS and all(_is_plain(item, depth - 1) for item in value)
    if type(value) is dict:
        return (
            depth > 0
            and len(value) <= _MOST_ITEMS
            and all(isinstance(key, str) and _is_plain(item, depth - 1) for key, item in value.items())
        )
    return False


def _as_json(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str.__str__(key): _as_json(item) for key, item in value.items()}
    return value


def _portable(value: Any) -> Any:
    """Keep what surely pickles, and describe the rest."""
    if type(value) is tuple:
        return tuple(_portable(item) for item in value)
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: _portable(item) for key, item in value.items()}
    if _is_plain(value, _DEEPEST) or _is_importable(value):
        return value
    from crystallize.results.description import describe

    return describe(value)


def _is_importable(value: Any) -> bool:
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    found: Any = module
    for part in getattr(value, "__qualname__", "<none>").split("."):
        found = getattr(found, part, None)
    return found is value and module is not None
