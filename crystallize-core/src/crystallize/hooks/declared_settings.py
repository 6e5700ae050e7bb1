"""The settings that a plugin declares: their types, defaults and limits, and checking what is given for them.

They are the parameters of its constructor, or of the function that builds it; a dataclass has one. What their
annotations say is what is checked, wherever a setting comes from: code, ``config.yaml`` or a command line.
"""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import pathlib
import typing
import weakref
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import partial
from os import PathLike
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin

from crystallize.errors import PluginSettingError
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Setting", "checked_settings", "constructor_signature", "secret_settings", "settings_of", "settings_schema"]

_STANDARD = (builtins, collections.abc, typing, pathlib)
_REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Setting:
    """What a plugin says of one of its settings, beside its type; it stands in the annotation.

    Parameters
    ----------
    help : str, default ""
        What it is for, in a sentence.
    choices : sequence, optional
        The values that it may have; those of a `Literal` or an `Enum` need not be said again.
    minimum, maximum : float, optional
        The limits of a number, which it may have.
    secret : bool, default False
        Whether the value is kept out of records, messages and representations.

    Examples
    --------
    >>> from typing import Annotated
    >>> from crystallize.hooks import BasePlugin, Setting
    >>> class Webhook(BasePlugin):
    ...     def __init__(
    ...         self,
    ...         every: Annotated[float, Setting("Seconds between two messages", minimum=0)] = 1.0,
    ...         token: Annotated[str | None, Setting("Sent with each message", secret=True)] = None,
    ...     ) -> None:
    ...         self.every, self.token = every, token
    """

    help: str = ""
    _: KW_ONLY
    choices: Sequence[Any] = ()
    minimum: float | None = None
    maximum: float | None = None
    secret: bool = False


class _Declared(NamedTuple):
    """One setting: its type, what it is when nothing is given, and what is said of it."""

    hint: Any
    default: Any
    about: Setting


class _UnfitError(Exception):
    """A value is none of a type; the text says what is expected."""


_known: weakref.WeakKeyDictionary[Any, dict[str, _Declared]] = weakref.WeakKeyDictionary()


def settings_of(target: object) -> dict[str, dict[str, Any]]:
    """Return what can be set of a plugin, as data.

    Parameters
    ----------
    target : class or callable
        What an entry point leads to: a plugin class, or a function that builds a plugin. Of anything else, such as an
        instance, nothing can be set.

    Returns
    -------
    dict
        By name, in the constructor's order: ``type`` (as text, ``"any"`` where nothing is said), ``default``,
        ``required``, ``help``, ``choices`` (a list, or None), ``minimum``, ``maximum``, ``secret``; JSON has all of it.

    Examples
    --------
    >>> class Threshold(BasePlugin):
    ...     def __init__(self, limit: float = 1.0) -> None:
    ...         self.limit = limit
    >>> settings_of(Threshold)["limit"]["type"], settings_of(Threshold)["limit"]["default"]
    ('float', 1.0)
    """
    from crystallize.hooks.settings import described

    found = {}
    for name, setting in _declared(target).items():
        required = setting.default is _REQUIRED
        choices = _choices(setting)
        found[name] = {
            "type": _text(setting.hint),
            "default": None if required else described(name, setting.default, secret=setting.about.secret)[0],
            "required": required,
            "help": setting.about.help,
            "choices": None if choices is None else [_plain(choice) for choice in choices],
            "minimum": setting.about.minimum,
            "maximum": setting.about.maximum,
            "secret": setting.about.secret,
        }
    return found


def settings_schema(target: object) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a plugin's settings.

    Parameters
    ----------
    target : class or callable
        As for `settings_of`.
    """
    declared, told = _declared(target), settings_of(target)
    properties: dict[str, Any] = {}
    for name, setting in declared.items():
        schema = _schema(setting.hint, setting.about)
        if setting.about.help:
            schema["description"] = setting.about.help
        if not told[name]["required"] and not setting.about.secret:
            schema["default"] = told[name]["default"]
        properties[name] = schema
    whole: dict[str, Any] = {"type": "object", "properties": properties}
    required = [name for name, about in told.items() if about["required"]]
    if required:
        whole["required"] = required
    if not _takes_any(target):
        whole["additionalProperties"] = False
    return whole


def secret_settings(target: object) -> frozenset[str]:
    """Return the names of the settings that a plugin class, or a function that builds a plugin, declares secret."""
    return frozenset(name for name, setting in _declared(target).items() if setting.about.secret)


def checked_settings(target: Any, settings: Mapping[str, Any], *, what: str, **origin: str | None) -> dict[str, Any]:
    """Return settings as a plugin's annotations want them.

    Parameters
    ----------
    target : class or callable
        As for `settings_of`.
    settings : mapping of str to object
        As they were given: values of Python, of YAML or of a command line.
    what : str
        What the plugin is called in messages.
    **origin
        What the error carries: `plugin`, `distribution`, `version`.

    Returns
    -------
    dict
        Text made into paths and members of enumerations, lists into tuples and so on; what has no annotation is as it
        was given.

    Raises
    ------
    PluginSettingError
        One is unknown or missing, of the wrong type, no choice, or out of its limits.
    """
    refuse = partial(_refuse, what, origin)
    try:
        signature = constructor_signature(target)
    except (TypeError, ValueError):
        return dict(settings)
    try:
        signature.bind(**settings)
    except TypeError as exc:
        raise _misfit(exc, signature, settings, what, origin) from None
    declared = _declared(target)
    found = dict(settings)
    for name, value in settings.items():
        setting = declared.get(name)
        if setting is None or value is setting.default:
            continue
        shown = "the value given" if setting.about.secret else f"{value!r:.200}"
        try:
            found[name] = _converted(value, setting.hint, setting.about)
        except _UnfitError as exc:
            raise refuse(name, f"is {shown}, and has to be {exc}") from None
    return found


def constructor_signature(target: Any) -> inspect.Signature:
    """Return what a constructor, or a function, takes; of a class what `__init__` says counts where there is one."""
    if not isinstance(target, type):
        return inspect.signature(target)
    constructor: Any = _constructor(target)
    if constructor is vars(object)["__init__"]:
        return inspect.signature(target)
    signature = inspect.signature(constructor)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _constructor(cls: type) -> Any:
    return next(vars(parent)["__init__"] for parent in cls.__mro__ if "__init__" in vars(parent))


def _refuse(what: str, origin: Mapping[str, str | None], name: str, problem: str) -> PluginSettingError:
    return PluginSettingError(f"the setting {name!r} of {what} {problem}", setting=name, **origin)


def _misfit(
    exc: TypeError, signature: inspect.Signature, settings: Mapping[str, Any], what: str, origin: Mapping[str, Any]
) -> PluginSettingError:
    known = [name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_POSITIONAL]
    wrong = next((name for name in settings if name not in known), None)
    missing = next(
        (
            name
            for name, parameter in signature.parameters.items()
            if parameter.default is _REQUIRED and name not in settings and "VAR" not in parameter.kind.name
        ),
        None,
    )
    hint = did_you_mean(wrong, known) if wrong else " Give it with (name, settings), or as an instance."
    given = f"the settings {', '.join(settings)}" if settings else "no settings"
    return PluginSettingError(
        f"{what} cannot be built with {given}: {exc}. Its settings are {', '.join(known) or 'none'}.{hint}",
        setting=wrong or missing,
        **origin,
    )


# -- what is declared -----------------------------------------------------------------------------


def _declared(target: Any) -> dict[str, _Declared]:
    try:
        known = _known.get(target)
    except TypeError:  # It cannot be referred to weakly, or is not hashable.
        return _read(target)
    if known is None:
        known = _known[target] = _read(target)
    return known


def _read(target: Any) -> dict[str, _Declared]:
    if not callable(target):
        return {}
    try:
        parameters = constructor_signature(target).parameters
    except (TypeError, ValueError):
        return {}
    hints = _hints(target)
    found = {}
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        hint = hints.get(name, Any)
        about = Setting()
        if get_origin(hint) is typing.Annotated:
            about = next((extra for extra in hint.__metadata__ if isinstance(extra, Setting)), about)
            hint = get_args(hint)[0]
        found[name] = _Declared(hint, _default(target, name, parameter), about)
    return found


def _default(target: Any, name: str, parameter: inspect.Parameter) -> Any:
    field = getattr(target, "__dataclass_fields__", {}).get(name)
    factory = getattr(field, "default_factory", None)
    return factory() if callable(factory) else parameter.default


class _Names(dict[str, Any]):
    """Names of a module; of those that only checkers import, the standard ones are known, others mean anything."""

    def __missing__(self, name: str) -> Any:
        return next((vars(module)[name] for module in _STANDARD if name in vars(module)), Any)


def _hints(target: Any) -> dict[str, Any]:
    """Return annotations with the names in them looked up; one that cannot be read is left as its text."""
    owner: Any = _constructor(target) if isinstance(target, type) else target
    owner = inspect.unwrap(owner.func if isinstance(owner, partial) else owner)
    names = _Names(getattr(owner, "__globals__", {}))
    found = {}
    for name, annotation in getattr(owner, "__annotations__", {}).items():
        found[name] = annotation
        if isinstance(annotation, str):
            with suppress(Exception):  # Whatever an annotation may be.
                found[name] = eval(annotation, {}, names)  # noqa: S307 - the plugin's own code, as its author wrote it
    return found


def _takes_any(target: Any) -> bool:
    try:
        parameters = constructor_signature(target).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


# -- what is given --------------------------------------------------------------------------------

_LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection,
          collections.abc.Iterable)  # fmt: skip
_SETS: dict[Any, type] = {
    set: set, frozenset: frozenset, collections.abc.Set: frozenset, collections.abc.MutableSet: set
}  # fmt: skip
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_PLAIN = (NoneType, bool, int, float, str, list, tuple, dict)
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _converted(value: Any, hint: Any, about: Setting) -> Any:
    found = _fitted(value, hint)
    if about.choices and found is not None and found not in about.choices:
        raise _UnfitError(_listed(about.choices))
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        if about.minimum is not None and not found >= about.minimum:
            raise _UnfitError(f"at least {about.minimum:g}")
        if about.maximum is not None and not found <= about.maximum:
            raise _UnfitError(f"at most {about.maximum:g}")
    return found


def _fitted(value: Any, hint: Any) -> Any:
    """Return a value as a type wants it.

    Raises
    ------
    _UnfitError
        It is none of that type.
    """
    origin = get_origin(hint)
    if origin is typing.Annotated:
        about = next((extra for extra in hint.__metadata__ if isinstance(extra, Setting)), Setting())
        return _converted(value, get_args(hint)[0], about)
    if origin in (Union, UnionType):
        return _one_of(value, get_args(hint))
    if origin is Literal:
        return _chosen(value, get_args(hint), lambda choice: choice)
    kind = NoneType if hint is None else getattr(hint, "__supertype__", origin or hint)
    if kind is PathLike:
        kind = pathlib.Path
    if hint is Any or not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return value  # A callable, a type variable, a name that only checkers know: the plugin's own to look at.
    return _fitted_to_class(value, kind, get_args(hint))


def _fitted_to_class(value: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    if issubclass(kind, Enum):
        by_value = {member: member.value for member in kind}
        return value if isinstance(value, kind) else _chosen(value, tuple(by_value), by_value.__getitem__)
    if kind is NoneType and value is not None:
        raise _UnfitError("None")
    if kind in (bool, int, float, str):
        return _scalar(value, kind)
    if issubclass(kind, pathlib.PurePath):
        return kind(value) if isinstance(value, str) else _of(value, kind)
    if kind in _LISTS or kind in _SETS or kind is tuple or kind in _MAPPINGS:
        return _container(value, kind, inner)
    return _of(value, kind)


def _of(value: Any, kind: type) -> Any:
    # What is no plain data comes from code, which may know better than an annotation.
    if type(value) in _PLAIN and not isinstance(value, kind):
        raise _UnfitError(_text(kind))
    return value


def _one_of(value: Any, options: tuple[Any, ...]) -> Any:
    fitting, expected = [], []
    for option in options:
        try:
            fitting.append(_fitted(value, option))
        except _UnfitError as exc:
            expected.append(str(exc))
    if not fitting:
        raise _UnfitError(" or ".join(expected))
    return next((found for found in fitting if found is value), fitting[0])


def _chosen(value: Any, choices: tuple[Any, ...], plain: Callable[[Any], Any]) -> Any:
    for choice in choices:
        if plain(choice) == value and type(plain(choice)) is type(value):
            return choice
    for choice in choices:
        if isinstance(choice, Enum) and choice.name == value:
            return choice
    raise _UnfitError(_listed([plain(choice) for choice in choices]))


def _scalar(value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and (isinstance(value, bool) or type(value).__name__ == "bool_"):
        return bool(value)
    if kind in (int, float) and not isinstance(value, bool):
        number = value
        if kind is float and isinstance(value, str):  # YAML takes 1e-3 for text.
            try:
                return float(value)
            except ValueError:
                raise _UnfitError(_NAMES[kind]) from None
        if hasattr(number, "__index__"):
            return kind(number)
        if hasattr(number, "__float__") and (kind is float or float(number).is_integer()):
            return kind(float(number))
    raise _UnfitError(_NAMES[kind])


def _container(value: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    if kind in _MAPPINGS:
        if not isinstance(value, collections.abc.Mapping):
            raise _UnfitError("a mapping")
        of_key, of_value = inner or (Any, Any)
        return {_fitted(key, of_key): _fitted(item, of_value) for key, item in value.items()}
    if not isinstance(value, (list, tuple, set, frozenset)):
        if type(value) in _PLAIN:
            raise _UnfitError("a list")
        return value
    if kind is tuple and inner and Ellipsis not in inner:
        if len(value) != len(inner):
            raise _UnfitError(f"a list of {len(inner)}")
        return tuple(_fitted(item, of_item) for item, of_item in zip(value, inner, strict=True))
    items = [_fitted(item, inner[0] if inner else Any) for item in value]
    return items if kind in _LISTS else tuple(items) if kind is tuple else _SETS[kind](items)


# -- in words, and as a schema --------------------------------------------------------------------


def _choices(setting: _Declared) -> list[Any] | None:
    if setting.about.choices:
        return list(setting.about.choices)
    for hint in _options(setting.hint):
        if get_origin(hint) is Literal:
            return list(get_args(hint))
        if isinstance(hint, type) and issubclass(hint, Enum):
            return [member.value for member in hint]
    return None


def _options(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, UnionType):
        yield from get_args(hint)
    else:
        yield hint


def _text(hint: Any) -> str:  # noqa: PLR0911 - one line for each form of annotation
    if hint is Any:
        return "any"
    if hint in (None, NoneType):
        return "None"
    if isinstance(hint, str):
        return hint
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " | ".join(map(_text, inner))
    if origin is typing.Annotated:
        return _text(inner[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    name: str = getattr(origin or hint, "__name__", None) or str(hint).removeprefix("typing.")
    if origin is None or not inner:
        return name
    shown = ("..." if part is ... else str(part) if isinstance(part, list) else _text(part) for part in inner)
    return f"{name}[{', '.join(shown)}]"


def _listed(choices: Sequence[Any]) -> str:
    return "one of " + ", ".join(repr(_plain(choice)) for choice in choices)


def _plain(value: Any) -> Any:
    return (
        _plain(value.value) if isinstance(value, Enum) else str(value) if isinstance(value, pathlib.PurePath) else value
    )


_SCHEMAS = {str: "string", NoneType: "null", int: "integer", float: "number", bool: "boolean"}


def _schema(hint: Any, about: Setting) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    found: dict[str, Any] = {}
    if about.choices or origin is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        choices = _choices(_Declared(hint, None, about)) or []
        found = {"enum": [_plain(choice) for choice in choices]}
    elif origin in (Union, UnionType):
        found = {"anyOf": [_schema(option, Setting()) for option in inner]}
    elif origin is typing.Annotated:
        nested = next((extra for extra in hint.__metadata__ if isinstance(extra, Setting)), Setting())
        found = _schema(inner[0], nested)
    else:
        found = _schema_of_class(NoneType if hint is None else origin or hint, inner)
    if about.minimum is not None:
        found["minimum"] = about.minimum
    if about.maximum is not None:
        found["maximum"] = about.maximum
    return found


def _schema_of_class(kind: Any, inner: tuple[Any, ...]) -> dict[str, Any]:
    if kind in _SCHEMAS:
        return {"type": _SCHEMAS[kind]}
    if kind is PathLike or (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return {"type": "string"}
    if kind in _MAPPINGS:
        return {"type": "object", "additionalProperties": _schema(inner[1], Setting())} if inner else {"type": "object"}
    if kind in _LISTS or kind in _SETS or kind is tuple:
        if kind is tuple and inner and Ellipsis not in inner:
            parts = [_schema(part, Setting()) for part in inner]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        return {"type": "array", "items": _schema(inner[0], Setting())} if inner else {"type": "array"}
    return {}
