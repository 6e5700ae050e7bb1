"""Objects that several cells are given by reference: a step that changes one changes it for all, and is refused."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from crystallize.errors import ContextMutationError
from crystallize.fingerprint import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["SharedObjects"]


class SharedObjects:
    """What one process knows of such objects: what each was like when a cell was first given it.

    Parameters
    ----------
    steps : sequence of str
        The names of the steps.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = steps
        self._known: dict[int, tuple[Callable[[], Any], str | None]] = {}
        self._changed_by: dict[int, str] = {}

    def handed_out(self, objects: Iterable[Any]) -> list[Any]:
        """Note what a cell is given; say what of it is to be checked after each step.

        Parameters
        ----------
        objects : iterable of object
            What has no content of its own in it, such as a connection or a lock, is meant to be shared, and left out.

        Raises
        ------
        ContextMutationError
            An earlier cell has changed one of them.
        """
        checked = []
        for each in objects:
            known = self._known.get(id(each))
            if known is None or known[0]() is not each:
                known = self._known[id(each)] = (_referrer(each), _state(each))
            if known[1] is None:
                continue
            if _state(each) != known[1]:
                by = self._changed_by.get(id(each), f"a step of another cell, one of {', '.join(self._steps)},")
                raise ContextMutationError(
                    _told(each, f"was changed in place by {by} after an earlier cell was given it")
                )
            checked.append(each)
        return checked

    def exempt(self, objects: Iterable[Any]) -> None:
        """Let cells change what a step's ``setup`` has made for all cells of this process."""
        for each in objects:
            self._known[id(each)] = (_referrer(each), None)

    def check(self, objects: Iterable[Any], step: str, *, kind: str = "step") -> None:
        """Refuse what a step, or a plugin, has changed.

        Parameters
        ----------
        objects : iterable of object
            What the cell was given.
        step : str
            The name of what has just run.
        kind : str, default "step"
            What it is.
        """
        for each in objects:
            if _state(each) != self._known[id(each)][1]:
                self._changed_by.setdefault(id(each), f"the {kind} {step}")
                raise ContextMutationError(_told(each, f"was changed in place by the {kind} {step}"))


def _told(value: Any, what: str) -> str:
    return (
        f"the {type(value).__name__} object that every cell is given {what}, so that others would get it changed: copy "
        "it in the step (copy.deepcopy), or have the data source make it anew for each cell; let resource_factory make "
        "what is meant to be shared"
    )


def _referrer(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _state(value: Any) -> str | None:
    """Return the identity of an object's content; None where there is something in it that has none."""
    kind: Any = type(value)
    if _is_module(kind):
        return _versions(value)
    lazy = _cached_properties(kind)
    try:
        if lazy:
            # Whoever reads one keeps what it gives, and changes nothing.
            found = state_of((kind, {name: item for name, item in vars(value).items() if name not in lazy}))
        else:
            found = state_of(value)
    except Exception:  # noqa: BLE001 - the object's own methods say what it is; it goes by reference, as before
        return None
    return None if found.untracked else found.digest


@functools.lru_cache(maxsize=512)
def _cached_properties(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for base in kind.__mro__
        for name, value in vars(base).items()
        if isinstance(value, functools.cached_property)
    )


@functools.lru_cache(maxsize=512)
def _is_module(kind: type) -> bool:
    return any(base.__name__ == "Module" and base.__module__.startswith("torch.") for base in kind.__mro__)


def _versions(module: Any) -> str:
    """Return what a model of PyTorch is like without reading its weights: each tensor counts its changes itself."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    told = [(name, id(each), each._version, each.data_ptr()) for name, each in tensors]
    return repr((told, [part.training for part in module.modules()]))
