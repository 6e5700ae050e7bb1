"""Strict mode: what a plugin that calls itself neutral has changed, and putting back what can be."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import NeutralityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.plugins.manager import HookCall

__all__ = ["RandomStates", "violation"]

_WORDS = 624


class _Kept(NamedTuple):
    """The states of the global generators, as far as there are such generators."""

    python: Any
    numpy: Any
    torch: Any


class RandomStates:
    """The global random states of one process, looked at before each hook and after it.

    To read the state of ``random`` or of NumPy takes tens of microseconds, too much for each hook of each step. So the
    memory that holds it is read, where it is laid out as it is in CPython and for a Mersenne twister, which is tried
    out first; states are put back by the modules' own functions.
    """

    def __init__(self) -> None:
        from crystallize.pipelines.cache.randomness import torch_state  # only here: it brings the whole step cache

        self._torch_state = torch_state
        self._python = _python_reader()
        self._numpy: Callable[[], Any] | None = None

    def look(self) -> _Kept:
        """Return the states as they are now."""
        # While another thread imports NumPy the module is there and the function may not be.
        if self._numpy is None and hasattr(sys.modules.get("numpy.random"), "get_state"):
            self._numpy = _numpy_reader()
        return _Kept(self._python(), self._numpy and self._numpy(), self._torch_state())

    def restore(self, before: _Kept) -> list[str]:
        """Put back what is no longer as it was, and say what that is."""
        changed = []
        if self._python() != before.python:
            random.setstate(_python_state(before.python))
            changed.append("the state of Python's random module (restored)")
        if before.numpy is not None and self._numpy is not None and self._numpy() != before.numpy:
            sys.modules["numpy"].random.set_state(_numpy_state(before.numpy))
            changed.append("the state of NumPy's global generator (restored)")
        now = self._torch_state()
        if now is not None and before.torch is not None and not bool((now == before.torch).all()):
            sys.modules["torch"].set_rng_state(before.torch)
            changed.append("the state of PyTorch's global generator (restored)")
        return changed


def violation(call: HookCall, changed: list[str]) -> NeutralityError:
    """Say what a neutral plugin has changed in a hook."""
    return NeutralityError(
        f"plugin {call.info.name!r} says that it is neutral, and changed {' and '.join(changed)} in {call.hook}: fix "
        "it, or set neutral = False on its class",
        hook=call.hook,
        **call.info.origin.fields,
    )


def _python_reader() -> Callable[[], Any]:
    """Return what gives the state of `random`: index and words as bytes, and the number that `gauss` keeps."""
    import ctypes
    from _random import Random

    generator: Any = random._inst
    start, read, size = id(generator) + object.__basicsize__, ctypes.string_at, 4 * (_WORDS + 1)

    def look() -> tuple[bytes, float | None]:
        return read(start, size), generator.gauss_next

    fits = sys.implementation.name == "cpython" and Random.__basicsize__ - object.__basicsize__ >= size
    return look if fits and _python_state(look()) == random.getstate() else random.getstate


def _python_state(kept: Any) -> Any:
    """Return what `random.setstate` takes."""
    if len(kept) != 2:  # noqa: PLR2004 - `random.getstate` gave it
        return kept
    memory, gauss = kept
    index, *words = memoryview(memory).cast("I").tolist()
    return 3, (*words, index), gauss


def _numpy_reader() -> Callable[[], Any]:
    """Return what gives the state of NumPy's global generator, the words as bytes."""
    import ctypes

    numpy_random = sys.modules["numpy"].random
    state = numpy_random.mtrand._rand
    generator: Any = state._bit_generator

    def slowly() -> Any:
        return _plainly(numpy_random.get_state())

    if type(generator).__name__ != "MT19937":
        return slowly
    start, read = generator.ctypes.state_address, ctypes.string_at
    own, size = id(state) + object.__basicsize__, type(state).__basicsize__ - object.__basicsize__
    # What `randn` keeps of a pair is in the object itself: asked for again only once that has changed.
    known: list[Any] = [None, None]

    def look() -> tuple[Any, ...]:
        memory = read(own, size)
        if memory != known[0]:
            known[:] = memory, numpy_random.get_state()[3:]
        return read(start, 4 * (_WORDS + 1)), *known[1]

    return look if _numpy_state(look()) == slowly() else slowly


def _numpy_state(kept: Any) -> Any:
    """Return what `numpy.random.set_state` takes."""
    if not isinstance(kept[0], bytes):
        return kept
    memory, has_gauss, gauss = kept
    *words, position = memoryview(memory).cast("I").tolist()
    return "MT19937", words, position, has_gauss, gauss


def _plainly(state: Any) -> Any:
    """Return what `numpy.random.get_state` gave with a list for an array, so that it can be compared."""
    return (*(part.tolist() if hasattr(part, "tolist") else part for part in state),) if type(state) is tuple else state
