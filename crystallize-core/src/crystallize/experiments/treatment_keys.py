"""Whether the keys that treatments set can change anything, in an experiment and in those that it belongs with.

Experiments that belong together run the same treatments by name, so that the data of each condition comes from the same
condition above: a key changes something where any of them reads it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from crystallize.datasources.inputs import producers
from crystallize.engine.keys import plugins_may_read
from crystallize.engine.plan import values_of
from crystallize.pipelines.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crystallize.design import Treatment
    from crystallize.experiments.experiment import Experiment

__all__ = ["among", "check_keys", "read_elsewhere"]

_together: ContextVar[tuple[Experiment, ...]] = ContextVar("crystallize_together", default=())


@contextmanager
def among(experiments: Iterable[Experiment]) -> Iterator[None]:
    """Have each run that begins inside count as one of several experiments that are run together."""
    token = _together.set(tuple(experiments))
    try:
        yield
    finally:
        _together.reset(token)


def read_elsewhere(experiment: Experiment) -> Callable[[str], bool]:
    """Return what says whether another experiment that this one belongs with may read a key.

    These are the ones that it is run together with, and all those that its data comes from.
    """
    together = _together.get()
    known: dict[str, bool] = {}
    others: list[Readers] | None = None

    def elsewhere(key: str) -> bool:
        nonlocal others
        if others is None:
            others = [_readers(other) for other in _others(experiment, together)]
        if key not in known:
            known[key] = any(readers.may_read(key) for readers in others)
        return known[key]

    return elsewhere


def check_keys(experiment: Experiment, treatments: Iterable[Treatment], *, strict: bool | None = None) -> None:
    """Refuse treatments that set a key which nothing can read.

    Parameters
    ----------
    experiment : Experiment
    treatments : iterable of Treatment
    strict : bool, optional
        Whether a key is refused, too, of which nothing in the code shows that it is read; by default the experiment's.

    Raises
    ------
    UnreadKeyError
        Naming the key.
    """
    elsewhere = read_elsewhere(experiment)
    readers = _readers(experiment)
    for treatment in treatments:
        values = {key: value for key, value in values_of(treatment).items() if not elsewhere(key)}
        readers.check(treatment.name, values, strict=experiment.strict if strict is None else strict)


def _readers(experiment: Experiment) -> Readers:
    anything = plugins_may_read(experiment._active_plugins())
    return Readers(experiment.datasource, experiment.pipeline, experiment.initial_ctx, anything=anything)


def _others(experiment: Experiment, together: Iterable[Experiment]) -> list[Experiment]:
    found = {id(experiment): experiment}
    waiting = [*together, *producers(experiment.datasource)]
    while waiting:
        other = waiting.pop()
        if other is not None and id(other) not in found:
            found[id(other)] = other
            waiting += producers(other.datasource)
    return list(found.values())[1:]
