"""A condition made ready to run: its context, and one call for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from crystallize.context.frozen import keys_of
from crystallize.context.isolation import isolate
from crystallize.errors import ContextMutationError
from crystallize.results.trace import StepShape, TraceShape, intern_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from crystallize.datasources.artifact import Artifact
    from crystallize.design import Treatment
    from crystallize.pipelines import Pipeline, PipelineStep
    from crystallize.pipelines.cache.session import CacheSession

    StepCall: TypeAlias = tuple[int, Callable[..., Any], bool, Callable[..., Any] | None]

__all__ = ["Program", "compile_condition", "injected_keys", "steps_are_async"]


class Program:
    """What every cell of a condition does.

    Attributes
    ----------
    base : dict
        The context that all its cells start with.
    apply : callable of ctx or None
        A treatment that is a function.
    calls : tuple of tuple
        Of each step: its position from 1, its call, whether that takes the context, and what to call instead once the
        context holds one of `late_names`. Plain tuples: unpacking named ones takes several times as long, and it is
        done for every step of every cell.
    labels : tuple of str
        The steps' names.
    late_names : frozenset of str
        Parameters that keep their defaults unless a cell's own context sets them.
    shared : tuple of object
        Objects that the steps of all its cells are given by reference, as parameters.
    """

    __slots__ = ("_reads", "_shapes", "apply", "base", "calls", "labels", "late_names", "shared")

    def __init__(
        self,
        base: dict[str, Any],
        apply: Callable[[Any], Any] | None,
        calls: tuple[StepCall, ...],
        labels: tuple[str, ...],
        reads: tuple[tuple[str, ...], ...],
        late_names: frozenset[str],
        shapes: dict[Any, TraceShape] | None = None,
        shared: tuple[Any, ...] = (),
    ) -> None:
        self.base = base
        self.apply = apply
        self.calls = calls
        self.labels = labels
        self._reads = reads
        self.late_names = late_names
        self.shared = shared
        self._shapes: dict[Any, TraceShape] = {} if shapes is None else shapes

    def shape(self, begun: int, journal: Sequence[Any], order: Sequence[Any]) -> TraceShape:
        """Return the shape of a cell from the number of steps that it began, and its journals.

        Those of the context and of the metrics are pairs of a position and what was touched there.
        """
        key = (begun, tuple(journal), tuple(order))
        known = self._shapes.get(key)
        if known is None:
            if len(self._shapes) > 256:  # noqa: PLR2004 - cells that never look alike gain nothing from a cache
                self._shapes.clear()
            known = intern_shape(self._parse(*key))
            if len(journal) + len(order) < 2000:  # noqa: PLR2004 - long journals would be kept twice
                self._shapes[key] = known
        return known

    def _parse(self, begun: int, journal: tuple[Any, ...], order: tuple[Any, ...]) -> TraceShape:
        touched, recorded = _by_position(begun, journal), _by_position(begun, order)
        parts = []
        for index, (marks, names) in enumerate(zip(touched, recorded, strict=True)):
            bound = self._reads[index - 1] if index else ()
            parts.append(
                StepShape(
                    self.labels[index - 1] if index else "",
                    tuple(dict.fromkeys([*bound, *(mark for mark in marks if isinstance(mark, str))])),
                    tuple(mark[0] for mark in marks if isinstance(mark, tuple)),
                    tuple(_counted(names)),
                    any(mark is True for mark in marks),
                )
            )
        return TraceShape(parts[0], tuple(parts[1:]))


def compile_condition(
    treatment: Treatment | None,
    *,
    base: Mapping[str, Any],
    pipeline: Pipeline,
    outputs: Mapping[str, Artifact],
    shapes: dict[Any, dict[Any, TraceShape]] | None = None,
    cache: CacheSession | None = None,
    cached: Sequence[bool] = (),
) -> Program:
    """Bind the steps of a pipeline to one condition.

    Conditions of one pipeline that read alike share what `shapes` holds: an optimisation has thousands of them.
    With a `cache`, the calls of the steps that are `cached` look there first.
    """
    context = dict(base)
    objects: list[Any] = []
    apply: Callable[[Any], Any] | None = None
    if treatment is not None:
        if treatment.is_callable:
            apply = cast("Callable[[Any], Any]", treatment.applied)
        else:
            values = cast("dict[str, Any]", treatment.applied)
            for key in values:
                if key in context:
                    raise ContextMutationError(
                        f"treatment {treatment.name!r} sets the context key {key!r}, which a step's setup has written "
                        "already, and a key is written once: use another key in one of them"
                    )
            context.update(isolate(values))
    calls: list[StepCall] = []
    reads: list[tuple[str, ...]] = []
    late_names: set[str] = set()
    for position, step in enumerate(pipeline.steps, 1):
        addresses = pipeline.addresses[position - 1]
        bound = step._bind(context, outputs, addresses, cell_may_address=apply is not None)
        reads.append(bound.reads)
        objects += bound.shared
        if cache is not None and cached[position - 1]:
            call = _cached(cache, step, pipeline.labels[position - 1], position, bound, outputs)
            calls.append((position, call, True, None))
        else:
            calls.append((position, bound.call, bound.wants_ctx, bound.late))
            late_names.update(bound.late_names)
    read = tuple(reads)
    alike = None if shapes is None else shapes.setdefault(read, {})
    once = tuple({id(each): each for each in objects}.values())
    return Program(context, apply, tuple(calls), pipeline.labels, read, frozenset(late_names), alike, once)


def _cached(cache: CacheSession, *arguments: Any) -> Callable[..., Any]:
    from crystallize.pipelines.cache.call import CachedCall

    return CachedCall(cache, *arguments)


def injected_keys(step: PipelineStep, addresses: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the keys with which the context supplies parameters of a step, of each the one that counts most last."""
    return tuple(key for each in step._open_parameters() for key in reversed(keys_of(each.name, addresses)))


def steps_are_async(pipeline: Pipeline) -> bool:
    """Return whether some step is ``async def``, so that its cells need an event loop."""
    return any(step._is_awaited() for step in pipeline.steps)


def _by_position(begun: int, pairs: tuple[Any, ...]) -> list[list[Any]]:
    parts: list[list[Any]] = [[] for _ in range(begun + 1)]
    for position, mark in zip(pairs[::2], pairs[1::2], strict=True):
        parts[position].append(mark)
    return parts


def _counted(names: Sequence[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return list(counts.items())
