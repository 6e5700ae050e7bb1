"""Identities of code, values and data: equal content gives one digest, in every process and on every machine.

A function is known by its code in a normal form, its defaults and closure, and by the functions and values of the
project that it refers to, however far away. What libraries define is known by name. What has no content,
such as an open connection, is known by its type, and never by an address; it is named as untracked.

An object can say what it is by a method ``__fingerprint__(self)`` that returns any value: that value, and the class,
then stand for it.
"""

from __future__ import annotations

from functools import lru_cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.checks import check_callable
from crystallize.fingerprint.added import added_to_libraries, may_have_added
from crystallize.fingerprint.graph import Graph, Walk, written
from crystallize.fingerprint.hashing import content_of, digest_of_buffer, new_hash
from crystallize.fingerprint.memo import Known, recall, remember, remembered
from crystallize.fingerprint.project import asked_for, module_of
from crystallize.fingerprint.values import describe_value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Identity",
    "added_code",
    "code_of",
    "combine",
    "content_of",
    "digest_of_buffer",
    "identify",
    "may_have_added",
    "state_of",
    "value_of",
]


_SHORT = 1024
"""Bytes up to which the digest of what was written down is remembered."""


class Identity(NamedTuple):
    """The identity of a value, and what in it has none."""

    digest: str
    """64 hexadecimal digits."""
    untracked: tuple[str, ...] = ()
    """What cannot be compared, as ``"where: what"``."""


def code_of(fn: Callable[..., Any]) -> str:
    """Return the identity of a callable's code.

    Comments, layout, line numbers, docstrings, annotations and the place of the file change nothing. A changed
    statement, default, closure value or global does, in the callable itself or in anything of the project that it
    refers to.

    Parameters
    ----------
    fn : callable
        A function, method, class, partial or callable object; anything of a library is known by name.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ArgumentTypeError
        `fn` cannot be called.

    Examples
    --------
    >>> code_of(lambda x: x + 1) == code_of(lambda x: x + 2)
    False
    """
    return value_of(check_callable(fn, what="what is to be identified by its code"))


def value_of(value: Any) -> str:
    """Return the identity of a value by content.

    Parameters
    ----------
    value : object
        Anything. Equal built-in values have one identity, whatever the order of sets and dicts, but types are
        told apart: ``1``, ``1.0`` and ``True`` differ. Arrays and frames are hashed where they lie, objects by class
        and state, callables as in `code_of`.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> value_of({"a": 1, "b": 2}) == value_of({"b": 2, "a": 1})
    True
    >>> value_of(1) == value_of(1.0)
    False
    """
    return identify(value).digest


def identify(value: Any) -> Identity:
    """Return the identity of a value by content, as `value_of` does, and say what in it cannot be compared.

    That is what has no content that could be read, such as an open connection, and what code gets at by a name that is
    not written in it. Locks and loggers are no such thing: no result depends on which of them it gets.

    Parameters
    ----------
    value : object
        Anything.

    Examples
    --------
    >>> import itertools, threading
    >>> identify({"numbers": itertools.count(), "guard": threading.Lock()}).untracked
    ('dict: itertools.count',)
    """
    plain = written(value)
    if plain is not None:
        return _plain_identity(plain) if len(plain) < _SHORT else Identity(Graph().digest(plain).hex())
    large = remembered(value, lambda: _looked_at(value).digest)
    return _looked_at(value) if large is None else Identity(large)


def _looked_at(value: Any) -> Identity:
    known = recall(value)
    if known is None:
        walk = Walk(describe_value)
        root = walk.start(value, _label(value))
        known = Known(value, walk.guards, walk.graph.digest(root).hex(), tuple(walk.untracked(root)))
        remember(known)
    return Identity(known.digest, known.untracked)


def state_of(value: Any) -> Identity:
    """Return the identity of what an object holds, to be compared with that of the same object in the same process.

    Classes, functions and modules count as the objects that they are: what a class counts, or what a function keeps in
    a global table, is no part of the object.

    Parameters
    ----------
    value : object
        Anything.
    """
    walk = Walk(_describe_state)
    root = walk.start(value, _label(value))
    return Identity(walk.graph.digest(root).hex(), tuple(walk.untracked(root)))


def _describe_state(walk: Walk, node: int, value: Any) -> None:
    if isinstance(value, (type, FunctionType, ModuleType)):
        walk.fill(node, b"same", [walk.ref(id(value))])
    else:
        describe_value(walk, node, value)


def added_code() -> dict[str, Identity]:
    """Return the identity of what the project has added to libraries: accessors, replaced methods, registered handlers.

    Code that uses such a thing does not refer to it, so that it is part of no other identity.

    Returns
    -------
    dict of str to Identity
        By place, such as ``"pandas.DataFrame.house"``, sorted.
    """
    return {place: identify(held) for place, held in added_to_libraries().items()}


@lru_cache(maxsize=4096)
def _plain_identity(written_down: bytes) -> Identity:
    return Identity(Graph().digest(written_down).hex())


@lru_cache(maxsize=4096)
def combine(*parts: str) -> str:
    """Return one identity for several, in their order.

    Parameters
    ----------
    *parts : str
        Identities, or any texts.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> combine("ab", "c") == combine("a", "bc")
    False
    """
    digest = new_hash()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return digest.hexdigest()


def _label(value: Any) -> str:
    named = value if isinstance(asked_for(value, "__qualname__"), str) else type(value)
    module = module_of(named)
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"
