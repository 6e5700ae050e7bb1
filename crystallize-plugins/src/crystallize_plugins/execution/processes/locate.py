"""Say where in an experiment the thing sits that cannot travel."""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize import DataSource, PipelineStep
from crystallize_plugins.execution.processes.pickling import Pickler, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Culprit", "find_culprit"]

_DEEPEST = 40
_MOST = 5000


class Culprit:
    """An object that cannot travel, and the way to it.

    Attributes
    ----------
    path : str
        Such as ``experiment.pipeline.steps[1].params['lock']``.
    kind : str
        The object's type.
    reason : str
        What pickling it says.
    """

    __slots__ = ("kind", "path", "reason")

    def __init__(self, path: str, value: object, reason: str) -> None:
        self.path = path
        self.kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        self.reason = reason


def find_culprit(
    value: object, path: str, *, rebuild: bool = False, absent: frozenset[str] = frozenset()
) -> Culprit | None:
    """Walk an object graph to the innermost part that cannot be pickled.

    Parameters
    ----------
    value : object
        Where to begin.
    path : str
        What to call it.
    rebuild : bool, default False
        Look for a part that can be pickled and not rebuilt.
    absent : set of str, default empty
        The modules whose definitions have to go by value.

    Returns
    -------
    Culprit or None
        None if `value` can travel.
    """
    return _Walk(_rebuilding if rebuild else partial(_pickling, absent)).search(value, path, 0)


def _pickling(absent: frozenset[str], value: object) -> str | None:
    try:
        Pickler(io.BytesIO(), lambda _: False, absent=absent).dump(value)
    except Exception as exc:  # noqa: BLE001 - user code: whatever it raises is the answer
        return f"{type(exc).__name__}: {exc}"
    return None


def _rebuilding(value: object) -> str | None:
    buffers: list[pickle.PickleBuffer] = []
    try:
        stream = dumps(value, buffers.append)
        pickle.loads(stream, buffers=buffers)
    except Exception as exc:  # noqa: BLE001 - see above
        return f"{type(exc).__name__}: {exc}"
    return None


class _Walk:
    def __init__(self, problem: Callable[[object], str | None]) -> None:
        self._problem = problem
        self._seen: set[int] = set()
        self._looked = 0

    def search(self, value: object, path: str, depth: int) -> Culprit | None:
        self._looked += 1
        if id(value) in self._seen or depth > _DEEPEST or self._looked > _MOST:
            return None
        self._seen.add(id(value))
        reason = self._problem(value)
        if reason is None:
            return None
        for place, child in _parts(value):
            found = self.search(child, path + place, depth + 1)
            if found is not None:
                return found
        return Culprit(path, value, reason)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in list(value.items()))
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((f" (member {item!r})", item) for item in value)
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, partial):
        yield from ((f".args[{index}]", item) for index, item in enumerate(value.args))
        yield from ((f".keywords[{key!r}]", item) for key, item in value.keywords.items())
        yield ".func", value.func
    elif isinstance(value, type):
        yield from ((f".{name}", item) for name, item in list(vars(value).items()) if name != "__dict__")
    elif not isinstance(value, types.ModuleType):
        yield from _parts_of_object(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" (its closure variable {name!r})", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for index, default in enumerate(function.__defaults__ or ()):
        yield f" (its default number {index + 1})", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f" (its default of {name!r})", default
    for name in _names_in(code):
        if name in function.__globals__:
            yield f" (the global {name!r} that it uses)", function.__globals__[name]


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _parts_of_object(value: object) -> Iterator[tuple[str, object]]:
    # `params` first: that is the name under which people know what they gave to a step.
    params = getattr(value, "params", None) if hasattr(type(value), "params") else None
    if isinstance(params, Mapping):
        yield from ((f".params[{key!r}]", item) for key, item in params.items())
    # Then the function of which a step or a data source was made: that, too, is what people wrote.
    declared = value.declared_as() if isinstance(value, (DataSource, PipelineStep)) else None
    if declared is not None:
        yield "", declared.function
    for name in _attribute_names(value):
        try:
            yield f".{_public(value, name)}", getattr(value, name)
        except AttributeError:
            continue


def _attribute_names(value: object) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots: Any = kind.__dict__.get("__slots__", ())
        names.extend([slots] if isinstance(slots, str) else slots)
    return names


def _public(value: object, name: str) -> str:
    bare = name.lstrip("_")
    return bare if bare != name and isinstance(getattr(type(value), bare, None), property) else name
