"""`Pipeline`: the steps that the data goes through, in order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.pipelines.step import PipelineStep, as_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Pipeline", "pipeline"]


class Pipeline:
    """Steps in the order in which the data goes through them.

    Parameters
    ----------
    steps : iterable
        Steps, factories of steps, or plain functions of ``(data)`` or ``(data, ctx)``.

    Attributes
    ----------
    steps : tuple of PipelineStep
    labels : tuple of str
        The name of each step's folder: its class name, numbered from the second of one name on.
    addresses : tuple of tuple of str
        The names by which ``name.parameter`` means a parameter of each step: its label and, where no other step has
        it, the name of its function.

    Raises
    ------
    ValidationError
        If there is no step.
    ArgumentTypeError
        If something is no step.

    Examples
    --------
    >>> Pipeline([sorted, len]).labels
    ('SortedStep', 'LenStep')
    """

    def __init__(self, steps: Iterable[Any]) -> None:
        if isinstance(steps, (str, bytes)) or not hasattr(steps, "__iter__"):
            raise ArgumentTypeError(f"a pipeline needs a list of steps, not {type(steps).__name__}: {steps!r}")
        self.steps: tuple[PipelineStep, ...] = tuple(
            as_step(step, position=position) for position, step in enumerate(steps)
        )
        if not self.steps:
            raise ValidationError("a pipeline needs at least one step: Pipeline([step_one(), step_two()])")
        self.labels: tuple[str, ...] = _labels(self.steps)
        self.addresses: tuple[tuple[str, ...], ...] = _addresses(self.steps, self.labels)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[PipelineStep]:
        return iter(self.steps)

    def __repr__(self) -> str:
        return f"Pipeline({list(self.steps)!r})"


def pipeline(*steps: Any) -> Pipeline:
    """Make a pipeline of the steps given: ``pipeline(clean(), train())``.

    Examples
    --------
    >>> len(pipeline(sorted, len))
    2
    """
    return Pipeline(steps)


def _labels(steps: tuple[PipelineStep, ...]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    labels: list[str] = []
    for step in steps:
        label = step.name
        # Names that differ only in case are one folder on macOS and Windows.
        while seen[label.casefold()]:
            seen[step.name.casefold()] += 1
            label = f"{step.name}_{seen[step.name.casefold()]}"
        seen[label.casefold()] += 1
        labels.append(label)
    return tuple(labels)


def _addresses(steps: tuple[PipelineStep, ...], labels: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    names = [step._written_name() for step in steps]
    counts = Counter([*names, *labels])
    return tuple((label, name) if counts[name] == 1 else (label,) for name, label in zip(names, labels, strict=True))
