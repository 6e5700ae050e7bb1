"""What hooks are handed of a run: they look, and nothing that they change reaches the run or the user's objects."""

from __future__ import annotations

import copy
import copyreg
from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from crystallize.context.isolation import isolate
from crystallize.errors import ReadOnlyError
from crystallize.fingerprint import value_of
from crystallize.hooks.roles import StorePlugin
from crystallize.hooks.specs import HOOKS
from crystallize.hooks.view import ExperimentView, HandedRun
from crystallize.pipelines import Pipeline
from crystallize.results.outcome import CellOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crystallize.design import Treatment
    from crystallize.plugins.manager import HookCall
    from crystallize.results.result import Result

__all__ = [
    "HandedView",
    "handed_outcome",
    "handed_view",
    "outcome_content",
    "refresh",
    "result_content",
    "sealed_view",
    "with_copies",
]

_INSTEAD = "declare it in the Experiment, or change the experiment in init_hook"


class HandedView(ExperimentView):
    """The view of a run that hooks are handed."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ReadOnlyError(f"experiment.{name} cannot be set in a hook of a run: {_INSTEAD}")

    def __delattr__(self, name: str) -> NoReturn:
        raise ReadOnlyError(f"experiment.{name} cannot be deleted in a hook of a run: {_INSTEAD}")

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._note(**state[1])

    def admit(self, treatments: Iterable[Treatment]) -> None:
        """Show conditions that were added to a run under way."""
        copies = isinstance(self.treatments, _HandedItems)
        added = _copied_treatments(treatments) if copies else treatments
        self._note(treatments=type(self.treatments)((*self.treatments, *added)))  # type: ignore[call-arg]


class _HandedPipeline(Pipeline):
    """The steps, as a pipeline that cannot be changed."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ReadOnlyError(f"experiment.pipeline.{name} cannot be set in a hook of a run: {_INSTEAD}")


class _Handed:
    """A collection that says where its content is declared when somebody tries to change it."""

    __slots__ = ()

    def _refuse(self, *arguments: object, **named: object) -> NoReturn:
        del arguments, named
        raise ReadOnlyError(f"what a hook is handed of a run cannot be changed ({self!r:.80}): {_INSTEAD}")

    __setitem__ = __delitem__ = __iadd__ = __ior__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    update = setdefault = popitem = _refuse


class _HandedItems(_Handed, tuple[Any, ...]):
    """The items of a list."""

    __slots__ = ()


class _HandedMapping(_Handed, Mapping[str, Any]):
    """A mapping of which each value is a copy, made when somebody looks."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return isolate(self._values[key])

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{', '.join(map(repr, self._values))}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _HandedMapping, (dict(self._values),)


def handed_view(view: ExperimentView) -> HandedView:
    """Return a run's view as hooks are handed it.

    The data source, steps, treatments, hypotheses and outputs in it are copies, of the same classes and with the same
    attributes: setting one of these has no effect.
    """
    handed = sealed_view(view)
    pipeline = object.__new__(_HandedPipeline)
    vars(pipeline).update(vars(view.pipeline), steps=tuple(map(_copy, view.pipeline.steps)))
    handed._note(
        datasource=_copy(view.datasource),
        pipeline=pipeline,
        treatments=_HandedItems(_copied_treatments(view.treatments)),
        hypotheses=_HandedItems(map(_copy, view.hypotheses)),
        outputs=_HandedMapping({name: _copy(output) for name, output in view.outputs.items()}),
        initial_ctx=_HandedMapping(view.initial_ctx),
        run=HandedRun(view.run),
    )
    return handed


def sealed_view(view: ExperimentView) -> HandedView:
    """Return a run's view as stores are handed it: the same, of which no attribute can be set.

    What they write down is what was run, whatever another plugin has done to what it was handed.
    """
    sealed = object.__new__(HandedView)
    sealed._note(**{field.name: getattr(view, field.name) for field in fields(view)})
    sealed._note(
        treatments=tuple(view.treatments),
        hypotheses=tuple(view.hypotheses),
        outputs=MappingProxyType(dict(view.outputs)),
        identity=lambda: view.id,
        identities=view.cell_identities,
    )
    return sealed


def _copied_treatments(treatments: Iterable[Treatment]) -> Iterator[Treatment]:
    """Yield copies of treatments."""
    for treatment in treatments:
        copied: Treatment = _copy(treatment)
        copied.applied = isolate(treatment.applied)
        yield copied


def refresh(copied: Any, of: Any) -> None:
    """Give a copy the attributes that an object has by now."""
    now, then = vars(of), vars(copied)
    then.update(now)
    if len(then) != len(now):
        for name in [name for name in then if name not in now]:
            then.pop(name, None)


def _copy(value: Any) -> Any:
    """Return an object of the same class with the same attributes, past whatever the class does when it is made."""
    kind = type(value)
    if hasattr(kind, "__del__"):  # Two of them would close the same thing twice.
        return value
    try:
        copied = object.__new__(kind)
    except TypeError:  # Made in another language.
        return value
    if hasattr(value, "__dict__"):
        vars(copied).update(vars(value))
    for name in copyreg._slotnames(kind):  # type: ignore[attr-defined]
        if hasattr(value, name):
            object.__setattr__(copied, name, getattr(value, name))
    return copied


def handed_outcome(outcome: CellOutcome) -> CellOutcome:
    """Return a copy of an outcome that shares nothing with it that can be changed."""
    error = outcome.error
    if error is not None:
        copied = copy.copy(error)
        copied.original_exception = copied.__cause__ = error.original_exception
        error = copied
    return CellOutcome(
        outcome.cell,
        {name: isolate(values) for name, values in outcome.metrics.items()},
        outcome.seed,
        error,
        [replace(record) for record in outcome.artifacts],
        copy.copy(outcome.provenance),
        outcome.duration,
        outcome.worker,
        tuple(outcome.events),
        tuple(outcome.plugin_failures),
        isolate(outcome.tags),
        isolate(outcome.payload),
        tuple(outcome.reports),
        tuple(outcome.attempts),
        outcome.started,
        outcome.host,
    )


def outcome_content(outcome: CellOutcome) -> dict[str, str]:
    """Return what identifies the content of an outcome, by attribute."""
    files = [(each.step, each.name, each.data, each.path) for each in outcome.artifacts]
    return {
        **{
            name: value_of(getattr(outcome, name)) for name in ("cell", "metrics", "seed", "tags", "worker", "duration")
        },
        "artifacts": value_of(files),
        "error": value_of(str(outcome.error)),
    }


def result_content(result: Result) -> dict[str, str]:
    """Return what identifies the content of a result, by attribute."""
    conditions = {"": result.metrics.baseline, **result.metrics.treatments}
    tested = [(each.name, each.results, each.ranking) for each in result.metrics.hypotheses]
    return {
        "metrics": value_of([{name: part.metrics for name, part in conditions.items()}, tested]),
        "errors": value_of([sorted(result.errors), len(result.plugin_errors)]),
        "provenance": value_of([sorted(result.provenance), result.facts]),
    }


def with_copies(
    call: HookCall,
    argument: str,
    made_by: Callable[[Any], Any],
    content: Callable[[Any], dict[str, str]] | None = None,
) -> HookCall:
    """Return a call that gets a copy of the hook's last argument, where it takes that and stores nothing.

    A store gets what it stores: it notes in the records of artifacts where they are, and a copy of each cell would cost
    what storing it costs. With `content`, in strict mode, a copy that is changed is refused.
    """
    fn, arguments = call.fn, HOOKS[call.hook].arguments
    if argument not in call.takes or arguments[-1] != argument or isinstance(call.info.plugin, StorePlugin):
        return call

    def with_copy(*given: Any) -> Any:
        copied = made_by(given[-1])
        before = {} if content is None else content(copied)
        returned = fn(*given[:-1], copied)
        now = before if content is None else content(copied)
        if now != before:
            changed = ", ".join(f"{argument}.{name}" for name in before if before[name] != now[name])
            raise ReadOnlyError(f"{changed} cannot be changed, and is in the run as it was: look, or record a metric")
        return returned

    return replace(call, fn=with_copy, method=with_copy, takes=arguments)
