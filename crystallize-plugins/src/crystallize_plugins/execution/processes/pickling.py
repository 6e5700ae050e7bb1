"""How objects travel between processes: definitions by name where both sides have them, else by value.

What goes by value is rebuilt inside the module that it comes from: the receiving process has a module of that name (see
`crystallize_plugins.execution.processes.modules`), functions get its namespace as their globals, and what was found
there under a name is found there again. So a class is one object in a worker, however it got there.
"""

from __future__ import annotations

import copyreg
import functools
import io
import linecache
import marshal
import sys
import types
from enum import EnumMeta
from typing import TYPE_CHECKING, Any

import cloudpickle

from crystallize.hooks.declarations import MARK, FolderModules, home_of

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable, Mapping

__all__ = ["Pickler", "definition", "dumps", "name_of", "top_level"]

# What seeding seeds: the generators behind `random.random` and `numpy.random.rand`, by module and name.
_GLOBAL_GENERATORS = (("random", "_inst"), ("numpy.random.mtrand", "_rand"))
_CACHED_FUNCTION = type(functools.cache(len))
_DISPATCHER_CODE = functools.singledispatch(len).__code__  # type: ignore[attr-defined]  # it is a function
_REDUCED = 6
"""The length of what cloudpickle gives for a function or class that goes by value."""

_definitions: dict[tuple[str, str], Any] = {}
"""What this process has rebuilt of modules that it cannot import, by module and qualified name."""


def dumps(value: object, buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None) -> bytes:
    """Pickle what is to travel to a process that has the modules of this one.

    Parameters
    ----------
    value : object
    buffer_callback : callable, optional
        As for `pickle.dumps`.

    Raises
    ------
    Exception
        Whatever the parts of `value` raise.
    """
    stream = io.BytesIO()
    Pickler(stream, buffer_callback).dump(value)
    return stream.getvalue()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Carries definitions of scripts and notebooks with all that they refer to.

    ``from random import random`` refers to the one generator behind the module, of which a copy would be drawn from and
    never seeded: it goes by name. What a decorator of `functools` made holds locks and weak references: it is made
    again.

    Parameters
    ----------
    stream : binary file
    buffer_callback : callable, optional
        As for `pickle.Pickler`.
    absent : set of str, default empty
        The modules that the receiving process cannot import: their definitions go by value.
    changed : set of str, default empty
        The names of ``__main__`` that mean something else in the receiving process.
    shared : mapping of str to object, optional
        What ``__main__`` holds, by name.

    Attributes
    ----------
    defined : dict of int to (object, str, str)
        What went by value and can be found by name: the object, its module and its qualified name, by `id`.
    installed : set of (str, str)
        Module and name of the globals that went with functions.
    touched : set of str
        The modules among `absent` of which something went.
    copied : dict of str to object
        What ``__main__`` holds and went by value all the same.
    """

    def __init__(
        self,
        stream: io.BytesIO,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
        *,
        absent: frozenset[str] = frozenset(),
        changed: frozenset[str] = frozenset(),
        shared: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(stream, protocol=5, buffer_callback=buffer_callback)
        self._absent = absent
        self._changed = changed
        self._shared = {id(value): name for name, value in (shared or {}).items()}
        self._namespaces: dict[int, _Namespace] = {}
        self._held = {id(value) for module in _of_the_program(absent) for value in list(vars(module).values())}
        self.defined: dict[int, tuple[object, str, str]] = {}
        self.installed: set[tuple[str, str]] = set()
        self.touched: set[str] = set()
        self.copied: dict[str, object] = {}
        self._generators = {
            id(getattr(sys.modules[module], name, None)): (sys.modules[module], name)
            for module, name in _GLOBAL_GENERATORS
            if module in sys.modules
        }

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild an object; NotImplemented leaves it to the object itself."""
        kind = type(obj)
        if kind is types.FunctionType or issubclass(kind, type):
            return self._definition(obj)
        if kind is _CACHED_FUNCTION:
            return self._placed(obj, _cached, (obj.__wrapped__, obj.cache_parameters()))
        if issubclass(kind, types.ModuleType):
            return self._module(obj)
        rebuilt = _REDUCERS.get(kind)
        return self._value(obj) if rebuilt is None else rebuilt(obj)

    def _value(self, obj: Any) -> Any:
        place = self._generators.get(id(obj))
        if place is not None:
            return getattr, place
        name = self._shared.get(id(obj))
        if name is not None:
            if name not in self._changed and _has_no_state(obj):
                return getattr, (sys.modules["__main__"], name)
            self.copied[name] = obj
        if (
            id(obj) in self._held
            and self._is_absent(getattr(obj, "__module__", ""))
            and isinstance(obj.__reduce_ex__(5), str)
        ):
            # It goes by the name of a variable, which the receiving process does not have yet.
            return copyreg.__newobj__, (type(obj),), getattr(obj, "__dict__", None) or None  # type: ignore[attr-defined]
        return super().reducer_override(obj)

    def _is_absent(self, module: str) -> bool:
        return module in self._absent or isinstance(sys.modules.get(module), FolderModules)

    def _goes_by_name(self, module: str, name: str) -> bool:
        return module not in self._absent and not (module == "__main__" and top_level(name) in self._changed)

    def _definition(self, obj: Any) -> Any:
        place = name_of(obj)
        if place is not None and self._goes_by_name(*place):
            return _by_name(obj, place)
        if type(obj) is types.FunctionType:
            return self._function(obj)
        reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple) or len(reduced) != _REDUCED:  # by name, or one that has none
            return reduced
        make, arguments, (attributes, slots), *_, complete = reduced
        arguments = _with_layout(obj, arguments, attributes)
        state = complete, (attributes, slots), _attributes_of_members(obj)
        return self._placed(obj, _class, (obj.__qualname__, make, arguments), state, None, None, _complete_class)

    def _function(self, obj: types.FunctionType) -> Any:
        if obj.__code__ is _DISPATCHER_CODE:
            return self._placed(
                obj, _dispatcher, (obj.__name__,), _state_of_dispatcher(obj), None, None, _complete_dispatcher
            )
        namespace = self._namespace(obj.__globals__)
        reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple):
            return reduced
        if namespace is None:
            return self._placed(obj, *reduced)
        attributes, slots = reduced[2]
        del slots["__closure__"]  # of copied cells: two functions that share a variable are to go on sharing it
        slots["__globals__"] = self._globals_of(namespace.module, slots["__globals__"])
        arguments = (obj.__code__, namespace, obj.__closure__)
        return self._placed(obj, _function, arguments, (attributes, slots), None, None, _complete_function)

    def _namespace(self, values: dict[str, Any]) -> _Namespace | None:
        """Return what stands for a module's namespace, if the receiving process has one to be shared; else None."""
        known = self._namespaces.get(id(values))
        if known is None:
            name = values.get("__name__")
            module = sys.modules.get(name) if isinstance(name, str) else None
            # To a fresh interpreter, only what it cannot import: of other modules it has what their files say,
            # while the function has what this process made of it.
            if module is None or vars(module) is not values or (self._absent and name not in self._absent):
                return None
            known = self._namespaces[id(values)] = _Namespace(module.__name__)
        if self._absent:
            self.touched.add(known.module)
        return known

    def _globals_of(self, module: str, values: dict[str, Any]) -> dict[str, Any]:
        """Choose the globals that a function brings along."""
        if module not in self._absent:
            return {}
        self.installed.update((module, name) for name in values)
        return values

    def _placed(self, obj: Any, make: Any, arguments: tuple[Any, ...], *rest: Any) -> Any:
        """Return how to rebuild a definition, and have it found by its name again."""
        place = name_of(obj)
        if place is None:
            return make, arguments, *rest
        if self._goes_by_name(*place):
            return _by_name(obj, place)
        module, name = place
        if module not in self._absent:  # it is one of `changed`
            if "." not in name:
                self.copied[name] = obj
            return make, arguments, *rest
        self.touched.add(module)
        self.defined[id(obj)] = obj, module, name
        return _defined, (module, name, make, arguments), *rest

    def _module(self, module: types.ModuleType) -> Any:
        name = module.__name__
        if sys.modules.get(name) is not module:
            return super().reducer_override(module)
        if name not in self._absent or name == "__main__":
            return _module_of, (name,)
        self.touched.add(name)
        values = {key: value for key, value in vars(module).items() if key not in _OF_MODULES}
        self.installed.update((name, key) for key in values)
        return _module_of, (name,), values, None, None, _complete_module


_OF_MODULES = (
    "__builtins__",
    "__loader__",
    "__spec__",
    "__cached__",
    "__name__",
    "__package__",
    "__path__",
    "__file__",
)


def _of_the_program(names: frozenset[str]) -> list[types.ModuleType]:
    """Return the script and the modules of folders, whose variables people pickle by name; other modules are many."""
    modules = [sys.modules[name] for name in names if name in sys.modules]
    return [module for module in modules if module.__name__ == "__main__" or MARK in vars(module)]


class _Namespace:
    """Stands for the namespace of a module: each process puts its own in its place."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return _namespace, (self.module,)


# -- names ---------------------------------------------------------------------------------------------


def name_of(obj: Any) -> tuple[str, str] | None:
    """Return the module and the qualified name under which a definition is found; None where it is not."""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<locals>" in name:
        return None
    holder = sys.modules.get(module)
    if isinstance(holder, FolderModules):
        holder = home_of(obj)
        module = module if holder is None else holder.__name__
    found: Any = holder
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is obj and found is not None else None


def _by_name(obj: Any, place: tuple[str, str]) -> Any:
    # Of the modules that go by one name, it is in one.
    return NotImplemented if obj.__module__ == place[0] else (definition, place)


def top_level(name: str) -> str:
    """Return the first part of a qualified name."""
    return name.partition(".")[0]


def definition(module: str, name: str) -> Any:
    """Return what a module defines under a qualified name, in the process that received it.

    Raises
    ------
    AttributeError
        There is no such thing.
    """
    known = _definitions.get((module, name))
    if known is None:
        known = sys.modules[module]
        for part in name.split("."):
            known = getattr(known, part)
    return known


def _has_no_state(obj: Any) -> bool:
    """Whether an object is nothing but itself, such as ``object()`` that marks what is missing."""
    kind: Any = type(obj)
    if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
        return False
    try:
        reduced = obj.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - it says so itself when it is pickled
        return False
    return isinstance(reduced, tuple) and reduced[1] == (kind,) and not any(reduced[2:])


# -- the other side ------------------------------------------------------------------------------------


def _module_of(name: str) -> types.ModuleType:
    module = sys.modules.get(name)
    if module is None:
        __import__(name)
        module = sys.modules[name]
    return module


def _namespace(name: str) -> dict[str, Any]:
    return vars(_module_of(name))


def _defined(module: str, name: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    made = make(*arguments)
    _definitions[module, name] = made
    if "." not in name:
        # At once: what it refers to may refer to it by name.
        _namespace(module).setdefault(name, made)
    return made


def _with_layout(kind: type, arguments: tuple[Any, ...], attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Add what has to be known when a class is made: its slots, and the aliases among the members of an enumeration.

    cloudpickle would set the slots when it is too late for them, and forget the aliases.
    """
    made = list(arguments)
    if isinstance(kind, EnumMeta):
        members: dict[str, Any] = dict(kind.__members__)
        made[3] = {name: member.value for name, member in members.items()}
        for name in members:
            attributes.pop(name, None)
    elif "__slots__" in attributes and not hasattr(kind, "_fields"):  # named tuples see to it themselves
        made[3] = {**made[3], "__slots__": attributes.pop("__slots__")}
    return tuple(made)


def _attributes_of_members(kind: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Return what ``__init__`` and ``__new__`` of an enumeration have set: they are not called again."""
    if not isinstance(kind, EnumMeta):
        return []
    members: list[Any] = list(kind)
    kept = [(member, {k: v for k, v in vars(member).items() if k not in _OF_MEMBERS}) for member in members]
    return [(member, attributes) for member, attributes in kept if attributes]


_OF_MEMBERS = ("_value_", "_name_", "__objclass__", "_sort_order_")


def _complete_class(kind: type, state: tuple[Callable[..., Any], Any, list[tuple[Any, dict[str, Any]]]]) -> None:
    complete, attributes, members = state
    complete(kind, attributes)
    for member, own in members:
        vars(member).update(own)


def _class(name: str, make: Callable[..., type], arguments: tuple[Any, ...]) -> type:
    # A base class that lists its subclasses has led here before: `__init_subclass__` is not to see another one.
    made = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(arguments[-2]) or make(*arguments)
    made.__qualname__ = name  # cloudpickle knows the last part alone
    return made


def _function(
    code: types.CodeType, namespace: dict[str, Any], closure: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    return types.FunctionType(code, namespace, None, None, closure)


def _complete_function(function: types.FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    attributes, slots = state
    vars(function).update(attributes)
    for name, value in slots.pop("__globals__").items():
        function.__globals__.setdefault(name, value)
    slots.pop("_cloudpickle_submodules", None)
    for name, value in slots.items():
        setattr(function, name, value)


def _complete_module(module: types.ModuleType, values: dict[str, Any]) -> None:
    for name, value in values.items():
        vars(module).setdefault(name, value)


def _code_reduced(code: types.CodeType) -> Any:
    try:
        encoded = marshal.dumps(code)
    except ValueError:  # somebody put an object among its constants that no source has
        return NotImplemented
    source: Any = linecache.cache.get(code.co_filename)
    # What is on disk is found there; the cells of a notebook are not.
    return _code, (encoded, source if source is not None and len(source) > 1 and source[1] is None else None)


def _code(encoded: bytes, source: Any) -> Any:
    code = marshal.loads(encoded)  # noqa: S302 - the program that started this process wrote it
    if source is not None:
        linecache.cache.setdefault(code.co_filename, source)
    return code


def _cell_reduced(cell: types.CellType) -> Any:
    try:
        content = cell.cell_contents
    except ValueError:  # not assigned yet
        return types.CellType, ()
    return types.CellType, (), (content,), None, None, _fill_cell


def _fill_cell(cell: types.CellType, content: tuple[Any]) -> None:
    cell.cell_contents = content[0]


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _cached_property_reduced(found: functools.cached_property[Any]) -> Any:
    return _cached_property, (found.func, found.attrname)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _state_of_dispatcher(dispatcher: Any) -> tuple[list[tuple[type, Any]], dict[str, Any]]:
    made_by_functools = vars(functools.singledispatch(len))
    attributes = {name: value for name, value in vars(dispatcher).items() if name not in made_by_functools}
    return list(dispatcher.registry.items()), attributes


def _dispatcher(name: str) -> Any:
    def placeholder(*_: Any) -> None: ...

    placeholder.__name__ = name  # it stands in the messages of the dispatcher
    return functools.singledispatch(placeholder)


def _complete_dispatcher(dispatcher: Any, state: tuple[list[tuple[type, Any]], dict[str, Any]]) -> None:
    registered, attributes = state
    for kind, function in registered:
        dispatcher.register(kind, function)
    functools.update_wrapper(dispatcher, dispatcher.registry[object])
    vars(dispatcher).update(attributes)


def _file_reduced(file: io.TextIOWrapper) -> Any:
    if file in (sys.stdin, sys.stdout, sys.stderr):
        return NotImplemented
    # cloudpickle would send all that is in it, and the worker would read a copy.
    raise TypeError("an open file cannot be sent")


_REDUCERS: dict[type, Callable[[Any], Any]] = {
    io.TextIOWrapper: _file_reduced,
    types.CodeType: _code_reduced,
    types.CellType: _cell_reduced,
    functools.cached_property: _cached_property_reduced,
}
