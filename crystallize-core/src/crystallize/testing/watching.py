"""What the hooks of a plugin do to what they are handed, seen before and after each call."""

from __future__ import annotations

import functools
import json
import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crystallize.errors import ContextMutationError, ReadOnlyError
from crystallize.fingerprint import value_of
from crystallize.hooks import StorePlugin, hookimpl
from crystallize.plugins.implementations import find_implementations
from crystallize.plugins.info import declared
from crystallize.testing.promises import rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from crystallize.plugins.implementations import Implementation

__all__ = ["Watch", "random_states", "replaced_hooks", "watched_hooks"]

_LARGEST = 1_000_000
_UNCHECKED = frozenset({"init_hook"})  # There the experiment is the user's own object, which may be changed.


class Watch:
    """What was seen.

    Attributes
    ----------
    changes : list of (str, str)
        The rule that was broken, and how.
    facts : dict
        What was added to provenance.
    """

    def __init__(self, plugin: object) -> None:
        self.plugin = plugin
        self.neutral = declared(plugin, "neutral") is True
        self.changes: list[tuple[str, str]] = []
        self.facts: dict[str, Any] = {}

    def broken(self, rule: str) -> list[str]:
        """Return how a rule was broken, each way once."""
        return list(dict.fromkeys(text for found, text in self.changes if found == rule))

    def call(self, implementation: Implementation, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a hook, and note what it changes."""
        handed = {**dict(zip(implementation.arguments or (), arguments, strict=False)), **named}
        before = self._look(handed)
        try:
            answer = implementation.function(*arguments, **named)
        except Exception as exc:
            rule = rule_of(exc) or _rule_of_refusal(exc, handed)
            if rule is not None:
                self.changes.append((rule, f"{implementation.hook} is refused: {exc}"))
            raise
        finally:
            after = self._look(handed)
            self.changes += [
                (rule, f"{implementation.hook} changes {what}")
                for (rule, what), state in after.items()
                if state != before[rule, what]
            ]
        if implementation.hook == "collect_provenance":
            self._look_at_facts(answer)
        return answer

    def _look(self, handed: dict[str, Any]) -> dict[tuple[str, str], Any]:
        seen: dict[tuple[str, str], Any] = {}
        for name, value in handed.items():
            seen.update(_LOOKS[name](self, value) if name in _LOOKS else {})
        if self.neutral:
            seen["random", "the global random states"] = random_states()
        return seen

    def _look_at_facts(self, facts: Any) -> None:
        if facts is None:
            return
        try:
            size = len(json.dumps(facts, allow_nan=False))
        except (TypeError, ValueError) as exc:
            self.changes.append(("facts", f"collect_provenance gives what is no JSON: {exc}"))
            return
        if not isinstance(facts, dict):
            self.changes.append(("facts", f"collect_provenance gives a {type(facts).__name__}, and no dict"))
        elif size > _LARGEST:
            self.changes.append(("facts", f"collect_provenance gives {size} bytes: keep what is large in a file"))
        else:
            self.facts |= facts

    # -- what is looked at, by the name of a hook's argument ------------------------------------

    def _experiment(self, view: Any) -> dict[tuple[str, str], Any]:
        run = view.run
        own = {"the run's seed": run.seed} if self.neutral else {}
        own |= {} if isinstance(self.plugin, StorePlugin) else {"the run's folder": (run.version, run.folder)}
        seen = {
            "the run": (run.id, run.kind, run.strategy, run.started),
            "the experiment's name": (view.name, view.description, view.strict),
            "the number of replicates": view.replicates,
            "the treatments": [(each.name, value_of(each.applied)) for each in view.treatments],
            "the hypotheses": [(each.name, value_of(each.metrics)) for each in view.hypotheses],
            "the plugins": [type(each).__qualname__ for each in view.plugins],
            "the initial context": value_of(dict(view.initial_ctx)),
            "the outputs": sorted(view.outputs),
            **own,
        }
        steps = [self._step(step) for step in view.pipeline.steps]
        return {**{("view", what): state for what, state in seen.items()}, ("step", "the pipeline's steps"): steps}

    def _step(self, step: Any) -> dict[tuple[str, str], Any]:
        return {("step", "a step"): (type(step).__qualname__, step.cacheable, value_of(dict(step.params)))}

    def _ctx(self, ctx: Any) -> dict[tuple[str, str], Any]:
        return {("view", "the context"): value_of(dict(ctx))} if self.neutral else {}

    def _data(self, data: Any) -> dict[tuple[str, str], Any]:
        return {("data", "the data that goes to the next step"): value_of(data)} if self.neutral else {}

    def _cells(self, cells: Any) -> dict[tuple[str, str], Any]:
        return {("view", "the cells"): [tuple(cell) for cell in cells]}

    def _outcome(self, outcome: Any) -> dict[tuple[str, str], Any]:
        seen = {
            "an outcome's numbers": value_of({name: list(values) for name, values in outcome.metrics.items()}),
            "an outcome's error": repr(outcome.error),
            "which cell an outcome is of": tuple(outcome.cell),
            "an outcome's seed": outcome.seed,
            "who ran a cell, and how long": (outcome.worker, outcome.duration),
        }
        if not isinstance(self.plugin, StorePlugin):
            seen["an outcome's artifacts"] = [repr(record) for record in outcome.artifacts]
        return {("outcome", what): state for what, state in seen.items()}

    def _result(self, result: Any) -> dict[tuple[str, str], Any]:
        return {("result", "the result"): (result.to_json(), [repr(error) for error in result.errors.values()])}


_RULES = ("outcome", "result", "step", "data")
"""Arguments of hooks that have a rule of their own."""


def _rule_of_refusal(exc: Exception, handed: Mapping[str, Any]) -> str | None:
    """Return the rule that a plugin was held to when it was refused to change what it was handed; else None."""
    if isinstance(exc, ContextMutationError):
        return "view"
    if not isinstance(exc, ReadOnlyError):
        return None
    if "experiment.pipeline" in str(exc):
        return "step"
    return "view" if "experiment." in str(exc) else next((rule for rule in _RULES if rule in handed), "view")


_LOOKS: dict[str, Callable[[Watch, Any], dict[tuple[str, str], Any]]] = {
    "experiment": Watch._experiment,
    "step": Watch._step,
    "ctx": Watch._ctx,
    "data": Watch._data,
    "cells": Watch._cells,
    "outcome": Watch._outcome,
    "result": Watch._result,
}


@contextmanager
def watched_hooks(plugin: Any) -> Iterator[Watch]:
    """Look at everything that a plugin's hooks are handed, within the block.

    Hooks of an instance without ``__dict__`` cannot be looked at.
    """
    watch = Watch(plugin)

    def watched(implementation: Implementation) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return watch.call(implementation, arguments, named)

        return call

    with replaced_hooks(plugin, watched):
        yield watch


@contextmanager
def replaced_hooks(
    plugin: Any, make: Callable[[Implementation], Callable[..., Any] | None], *, unchecked: frozenset[str] = _UNCHECKED
) -> Iterator[list[str]]:
    """Put other functions in the place of a plugin's hooks, within the block.

    Parameters
    ----------
    plugin : object
    make : callable
        Gets an implementation, and returns what takes its place, or None.
    unchecked : frozenset of str
        Hooks that are left alone.

    Yields
    ------
    list of str
        The methods that were replaced.
    """
    replaced: list[str] = []
    for found in find_implementations(plugin):
        if found.hook in unchecked or found.attribute in getattr(plugin, "__dict__", {found.attribute: None}):
            continue  # What an instance made itself is left alone.
        instead = make(_with_arguments(found))
        if instead is not None:
            marked = hookimpl(functools.wraps(found.function)(instead), specname=found.hook)
            vars(plugin)[found.attribute] = marked
            replaced.append(found.attribute)
    try:
        yield replaced
    finally:
        for attribute in replaced:
            del vars(plugin)[attribute]


def _with_arguments(implementation: Implementation) -> Implementation:
    from dataclasses import replace

    from crystallize.plugins.implementations import arguments_of_function

    names = tuple(parameter.name for parameter in arguments_of_function(implementation.function))
    return replace(implementation, arguments=names)


def random_states() -> tuple[object, str]:
    """Return the global random states of Python and of NumPy, if it is imported."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return random.getstate(), ""
    name, key, *rest = numpy_random.get_state()
    return random.getstate(), f"{name}{key.tobytes().hex()}{rest}"
