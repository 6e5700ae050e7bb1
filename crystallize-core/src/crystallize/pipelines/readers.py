"""Which keys of the context a data source and a pipeline can read, as far as that is known before a cell runs."""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Mapping
from functools import cached_property
from types import FunctionType
from typing import TYPE_CHECKING, Any

from crystallize.context.frozen import keys_of
from crystallize.context.resources import ResourceFactory
from crystallize.errors import UnreadKeyError
from crystallize.names import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from crystallize.datasources.base import ContextReader, DataSource
    from crystallize.errors import MissingParameterError
    from crystallize.pipelines.pipeline import Pipeline

__all__ = ["Readers"]


class Readers:
    """What can read a key of the context.

    Parameters
    ----------
    source : DataSource
    pipeline : Pipeline
    context : mapping of str to object
        The initial context; a resource in it may read any key.
    anything : bool, default False
        Whether something else, such as a plugin, is given the context and may read any key.
    """

    def __init__(
        self, source: DataSource, pipeline: Pipeline, context: Mapping[str, Any], *, anything: bool = False
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._context = context
        self._anything = anything
        steps = zip(pipeline.steps, pipeline.labels, pipeline.addresses, strict=True)
        self._step_readers = [step._context_reader(label, addresses) for step, label, addresses in steps]
        self._source_readers = source._context_readers()
        self._parts = [*self._step_readers, *self._source_readers]
        self._open = frozenset[str]().union(*(part.open for part in self._parts))
        self._by_address = {address: part for part in self._parts for address in part.addresses}

    def check(self, treatment: str, values: Mapping[str, Any], *, strict: bool = False) -> None:
        """Refuse a treatment's key of which it is known that nothing will read it.

        Parameters
        ----------
        treatment : str
        values : mapping of str to object
            What it sets.
        strict : bool, default False
            Whether a key is refused, too, of which nothing in the code of the steps shows that it is read.

        Raises
        ------
        UnreadKeyError
            Naming the nearest key that is read, and what to do.
        """
        unclear = [key for key in values if key not in self._open]
        # What makes a resource is given the context, too.
        if unclear and not any(value.__class__ is ResourceFactory for value in values.values()):
            for key in unclear:
                self._check(treatment, key, values[key], strict=strict)

    def may_read(self, key: str) -> bool:
        """Return whether a key may be read: by a parameter, by name, or by what cannot be told."""
        if key in self._open:
            return True
        address, _, name = key.rpartition(".")
        part = self._by_address.get(address)
        if part is not None and name in part.open:
            return True
        return self._seen is None or key in self._seen

    def known_keys(self) -> list[str]:
        """Return the keys that are read for sure, or are read by name in the code."""
        addresses = (f"{address}.{name}" for part in self._parts for address in part.addresses for name in part.open)
        return [*sorted(self._open), *sorted(self._seen or ()), *addresses]

    def advice(self, key: str) -> str:
        """Return the end of a message: why nothing reads a key, if that is known, or which known one is nearest."""
        explicit = [part for part in self._parts if key in part.explicit]
        if explicit:
            return f" The {_made_with(explicit, key)}, which counts more."
        return did_you_mean(key, (known for known in self.known_keys() if known != key))

    def reads_by_name(self, key: str) -> bool:
        """Return whether the code shows that a key is read, though perhaps not in every cell."""
        return self._seen is not None and key in self._seen

    def missing(self, held: Sequence[Container[str]]) -> Iterator[MissingParameterError]:
        """Yield the error for each parameter of a data source that nobody gives.

        Parameters
        ----------
        held : sequence of container of str
            The keys that the context of a condition holds.
        """
        for source, addresses in self._source.addressed():
            for name in source.required_parameters:
                if not any(key in keys for key in keys_of(name, addresses) for keys in held):
                    yield source.missing(name)

    # -- one key ----------------------------------------------------------------------------------

    def _check(self, treatment: str, key: str, value: Any, *, strict: bool) -> None:
        address, dot, name = key.rpartition(".")
        part = self._by_address.get(address) if dot else None
        if part is not None and name in part.open:
            return
        if self._seen is not None and key in self._seen:
            return  # whatever it looks like, the code reads it
        if part is not None and name in part.explicit and (part.declares or self._seen is not None):
            raise self._overruled(treatment, key, name, [part])
        if part is not None and part.declares:
            raise self._unread(
                treatment, key, f"{part.what} has no parameter {name!r}", [f"{address}.{each}" for each in part.open]
            )
        if dot and part is None and self._means_a_part(address, name):
            raise self._unread(treatment, key, self._why_not(address))
        named = self._by_address.get(key)
        if named is not None and named.declares and isinstance(value, Mapping):
            inside = [f"{key}.{name}" for name in value]
            why = f"{named.what} is no parameter; a key of its own addresses each of its parameters"
            raise self._unread(treatment, key, why, nearest_to=inside[0] if inside else key)
        explicit = [each for each in self._parts if key in each.explicit]
        if explicit and (self._seen is not None if strict else not self._may_read_anything):
            raise self._overruled(treatment, key, key, explicit)
        if strict and self._seen is not None:
            raise self._unread(treatment, key, "nothing in the code of the steps or of the data source reads it")
        if not self._may_read_anything:
            raise self._unread(treatment, key, "no step and no data source has a parameter of that name, or reads it")

    def _means_a_part(self, address: str, name: str) -> bool:
        """Return whether ``address.name`` was meant for a step or a data source, and is no key of another kind."""
        if not any(name in part.open or name in part.explicit for part in self._parts):
            return False
        likely = nearest(address, self._by_address) is not None or bool(self._called(address))
        return likely or self._seen is not None

    def _called(self, name: str) -> list[str]:
        """Return the addresses of several parts that have one name."""
        pipeline = self._pipeline
        labelled = zip(pipeline.labels, pipeline.steps, strict=True)
        return [label for label, step in labelled if step._written_name() == name] or [
            addresses[0] for source, addresses in self._source.addressed() if source.name == name
        ]

    def _why_not(self, address: str) -> str:
        several = self._called(address)
        if several:
            return f"{address!r} stands for {len(several)} of them, which are addressed as {', '.join(several)}"
        return f"{address!r} is neither a step nor a data source"

    def _overruled(self, treatment: str, key: str, name: str, by: list[ContextReader]) -> UnreadKeyError:
        return UnreadKeyError(
            f"treatment {treatment!r} sets {key!r}, which would change nothing: {_made_with(by, name)}, and that "
            f"counts more. Leave {name}=... out there, and give the baseline its value as the default of the "
            f"parameter or with Treatment('baseline', {{{key!r}: ...}})",
            treatment=treatment,
            key=key,
            overruled_by=tuple(part.addresses[-1] for part in by),
        )

    def _unread(
        self,
        treatment: str,
        key: str,
        why: str,
        known: Iterable[str] | None = None,
        *,
        nearest_to: str | None = None,
    ) -> UnreadKeyError:
        near = nearest(nearest_to or key, self.known_keys() if known is None else known)
        advice = f" Did you mean {near!r}?" if near is not None else f" What is read: {self._listed()}."
        return UnreadKeyError(
            f"treatment {treatment!r} sets {key!r}, which would change nothing: {why}.{advice}",
            treatment=treatment,
            key=key,
            nearest=near,
        )

    def _listed(self) -> str:
        return ", ".join([*sorted(self._open), *sorted(self._seen or ())]) or "nothing"

    # -- what reads by itself ---------------------------------------------------------------------

    @cached_property
    def _seen(self) -> frozenset[str] | None:
        """The keys that are read from the context itself; None where nobody can know."""
        if self._anything or self._has_resources:
            return None
        found: frozenset[str] = frozenset()
        for function, position in (each for part in self._parts for each in part.functions):
            keys = _keys_read(function, position)
            if keys is None:
                return None
            found |= keys
        return found

    @cached_property
    def _may_read_anything(self) -> bool:
        """Whether a step takes the context, or something else may read any key of it."""
        if self._anything or self._has_resources or any(part.functions for part in self._step_readers):
            return True
        return any(_keys_read(*each) is None for part in self._source_readers for each in part.functions)

    @cached_property
    def _has_resources(self) -> bool:
        settings = [value for step in self._pipeline.steps for value in step.params.values()]
        return any(value.__class__ is ResourceFactory for value in (*self._context.values(), *settings))


def _made_with(parts: list[ContextReader], name: str) -> str:
    return f"{' and '.join(part.what for part in parts)} {'was' if len(parts) == 1 else 'were'} made with {name}=..."


def _names_used(instruction: dis.Instruction) -> tuple[str, ...]:
    # Since Python 3.13 one instruction may load two variables.
    used = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
    return tuple(name for name in used if isinstance(name, str))


# What a step does with its context that reads no key which a treatment may set.
_HARMLESS = frozenset({"add", "artifacts", "emit", "logger", "metrics", "record", "report", "rng", "set_rng_factory"})
_SEES_ALL = frozenset({"eval", "exec", "globals", "locals", "vars"})


def _keys_read(function: Any, position: int) -> frozenset[str] | None:
    """Return the keys that a function reads from its context by name, or None where it may read others.

    Parameters
    ----------
    function : object
    position : int
        Where the context stands among its parameters, unless one is called ``ctx``.
    """
    if type(function) is not FunctionType or hasattr(function, "__wrapped__"):
        return None
    names = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    if "ctx" not in names and position >= len(names):
        return None
    ctx = "ctx" if "ctx" in names else names[position]
    used = {name for each in dis.get_instructions(function) for name in _names_used(each)}
    if ctx not in used and _SEES_ALL.isdisjoint(used):
        return frozenset()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == function.__code__.co_name
    ]
    return _read_in(found[0], ctx) if len(found) == 1 else None


def _read_in(function: ast.FunctionDef | ast.AsyncFunctionDef, ctx: str) -> frozenset[str] | None:
    nodes = list(ast.walk(function))
    names = [node.id for node in nodes if isinstance(node, ast.Name)]
    if not _SEES_ALL.isdisjoint(names):
        return None
    understood = [key for node in nodes for key in _use_of(node, ctx)]
    return frozenset(understood) - {""} if len(understood) == names.count(ctx) else None


def _use_of(node: ast.AST, ctx: str) -> Iterator[str]:
    """Yield the key for which a node uses the context, ``""`` for a use that reads none; nothing where that is open."""
    key: str | None = None
    if isinstance(node, ast.Subscript) and _is(node.value, ctx) and not isinstance(node.ctx, ast.Del):
        key = _text(node.slice)
        if key is not None and isinstance(node.ctx, ast.Store):
            key = ""
    elif isinstance(node, ast.Attribute) and _is(node.value, ctx) and node.attr in _HARMLESS:
        key = ""
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is(node.func.value, ctx):
        key = _text(node.args[0]) if node.func.attr == "get" and node.args else None
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        key = _text(node.left) if _is(node.comparators[0], ctx) and len(node.ops) == 1 else None
    if key is not None:
        yield key


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
