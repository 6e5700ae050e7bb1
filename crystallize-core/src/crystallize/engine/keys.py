"""Keys of treatments that nothing can read, and those that no cell has read, as the reads in every outcome show."""

from __future__ import annotations

import logging
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from crystallize.context.frozen import RESERVED_KEYS
from crystallize.engine.plan import BASELINE, treatments_by_condition, values_of
from crystallize.errors import UnreadKeyError
from crystallize.pipelines import PipelineStep
from crystallize.pipelines.readers import Readers
from crystallize.plugins.info import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crystallize.design import Treatment
    from crystallize.hooks import ActivePlugins, ExperimentView
    from crystallize.plugins.info import PluginInfo
    from crystallize.results.columns import CellColumns, LazyOutcomes
    from crystallize.results.outcome import CellOutcome
    from crystallize.results.trace import TraceShape

__all__ = ["TreatmentKeys", "may_influence", "nowhere", "plugins_may_read", "reads_at_the_end"]

_LOGGER = logging.getLogger("crystallize")
_ENOUGH = 3
"""After how many cells of a condition something is said, while the others still run."""


def nowhere(key: str) -> bool:  # noqa: ARG001 - the signature of what is asked
    """Return False: no other experiment reads a key."""
    return False


class TreatmentKeys:
    """What the treatments of a run set: refused where nothing can read it, told of where no cell has read it.

    Parameters
    ----------
    view : ExperimentView
    active : ActivePlugins
    elsewhere : callable of str
        Says whether another experiment reads a key, so that it may well be read by nobody here.
    """

    def __init__(self, view: ExperimentView, active: ActivePlugins, elsewhere: Callable[[str], bool]) -> None:
        self._view = view
        self._active = active
        self._elsewhere = elsewhere
        # The conditions of an optimisation have the same keys.
        self._once = view.run.kind == "trial"
        # None where a function sets the keys, so that its first cell tells them.
        self._left: dict[str, set[str] | None] = {}
        self._cells: dict[str, int] = {}
        self._looked_at: dict[str, TraceShape] = {}
        self._of_baseline: set[str] = set()
        self._by_function: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    @cached_property
    def _readers(self) -> Readers:
        view = self._view
        return Readers(view.datasource, view.pipeline, view.initial_ctx, anything=plugins_may_read(self._active))

    @property
    def listens(self) -> bool:
        """Whether `note` has anything to learn from outcomes, now or once there are more conditions."""
        return self._once or bool(self._left)

    def check(self, conditions: Iterable[str]) -> None:
        """Refuse what the run's treatments set and nothing can read, and conditions that lack data.

        Raises
        ------
        UnreadKeyError, MissingParameterError
            Naming it.
        """
        self.admit(self._view.treatments)
        self._check_source(conditions)

    def admit(self, treatments: Iterable[Treatment]) -> None:
        """Take in conditions that are about to run.

        Raises
        ------
        UnreadKeyError
            A treatment sets a key that nothing can read.
        """
        for treatment in treatments:
            values = {key: value for key, value in values_of(treatment).items() if not self._elsewhere(key)}
            if values:
                self._readers.check(treatment.name, values, strict=self._view.strict)
            if self._view.run.kind == "apply" or reads_at_the_end(self._active):
                continue
            if treatment.is_callable:
                self._left[treatment.name] = None
                self._by_function.add(treatment.name)
            elif values:
                self._left[treatment.name] = set(values)

    def _check_source(self, conditions: Iterable[str]) -> None:
        """Refuse to run where a condition surely lacks a parameter that the data source needs."""
        view = self._view
        if view.run.kind == "trial" or not any(source.required_parameters for source, _ in view.datasource.addressed()):
            return
        if plugins_may_read(self._active) or any(type(step).setup is not PipelineStep.setup for step in view.pipeline):
            return  # they may write it into the context
        treatments = treatments_by_condition(view.treatments)
        for condition in conditions:
            treatment = treatments.get(condition)
            if treatment is None or not treatment.is_callable:
                values = {} if treatment is None else values_of(treatment)
                for error in self._readers.missing((RESERVED_KEYS, values, view.initial_ctx)):
                    raise error

    def note(self, outcome: CellOutcome) -> None:
        """Take in what a cell has read; say so where the first cells of a condition have left a key unread."""
        condition, trace = outcome.cell.condition, outcome.provenance
        if condition == BASELINE and self._by_function and trace is not None:
            self._of_baseline.update(trace.shape.before.writes)
        if condition not in self._left or outcome.error is not None or trace is None:
            return
        cells = self._cells[condition] = self._cells.get(condition, 0) + 1
        if self._looked_at.get(condition) is not trace.shape:
            self._looked_at[condition] = trace.shape
            self._take_off(condition, trace.shape)
        if cells == _ENOUGH and condition in self._left:
            # What the code reads by name may be read in a later one.
            self._tell(condition, [key for key in self._unread(condition) if not self._readers.reads_by_name(key)])

    def _take_off(self, condition: str, shape: TraceShape) -> None:
        left = self._left[condition]
        if left is None:
            # What plugins and the data source write comes after the seed, and in the baseline, too.
            first = takewhile(lambda key: key != "seed_used", shape.before.writes)
            left = {key for key in first if key not in RESERVED_KEYS and not self._elsewhere(key)}
        left = left.difference(shape.before.reads, *(step.reads for step in shape.steps))
        if left:
            self._left[condition] = left
        else:
            del self._left[condition]

    def settle(self, conditions: Iterable[str], kept: LazyOutcomes | None = None) -> dict[str, dict[str, list[str]]]:
        """Return which keys no cell has read; of cells that were kept from an earlier run, too, what they read counts.

        Returns
        -------
        dict
            ``{"unread": {condition: keys}}``, or nothing where there are none. Conditions without a success, and
            those all of whose keys were read, are left out.
        """
        if kept is not None:
            for condition in kept.conditions:
                if condition in self._left:
                    self._note_kept(condition, kept.columns(condition))
        found: dict[str, list[str]] = {}
        for condition in conditions:
            if condition in self._left and condition in self._cells and (keys := self._unread(condition)):
                self._tell(condition, keys)
                found[condition] = keys
        return {"unread": found} if found else {}

    def _unread(self, condition: str) -> list[str]:
        left = self._left[condition] or set()
        return sorted(left - self._of_baseline if condition in self._by_function else left)

    def _note_kept(self, condition: str, kept: CellColumns) -> None:
        shapes = kept.trace_shapes()
        if shapes:
            self._cells[condition] = self._cells.get(condition, 0) + kept.succeeded
        for shape in shapes:
            if condition in self._left:
                self._take_off(condition, shape)

    def _tell(self, condition: str, keys: Iterable[str]) -> None:
        for key in keys:
            said = ("" if self._once else condition, key)
            if said not in self._told:
                self._told.add(said)
                cells = self._cells[condition]
                counted = (
                    "its one successful cell has not" if cells == 1 else f"none of its {cells} successful cells has"
                )
                _LOGGER.warning(
                    "treatment %r sets %r, which %s read so far: it changes nothing.%s",
                    condition, key, counted, self._readers.advice(key),
                )  # fmt: skip

    def error(self, found: Mapping[str, Mapping[str, Sequence[str]]]) -> UnreadKeyError | None:
        """Return what a strict run raises at its end; `found` is what `settle` returned."""
        if not found or not self._view.strict:
            return None
        condition, keys = next(iter(found["unread"].items()))
        advice = self._readers.advice(keys[0])
        return UnreadKeyError(
            f"treatment {condition!r} sets {keys[0]!r}, and no cell has read it, so that it changed nothing.{advice}",
            treatment=condition,
            key=keys[0],
        )


def may_influence(info: PluginInfo) -> bool:
    """Return whether a plugin may change results in a way that the contexts of cells do not show."""
    return info.neutral is not True and not declared(info.plugin, "seen_by_cache")


def plugins_may_read(active: ActivePlugins) -> bool:
    """Return whether a plugin that may change results is given the contexts of cells, and so may read any key."""
    return any(may_influence(call.info) for hook in _IN_A_CELL for call in active.calls(hook))


def reads_at_the_end(active: ActivePlugins) -> bool:
    """Return whether such a plugin is given the context once the outcome, with what was read, is complete."""
    return any(may_influence(call.info) for call in active.calls("after_replicate"))


_IN_A_CELL = ("before_replicate", "before_step", "after_step", "after_replicate")
