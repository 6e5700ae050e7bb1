"""Which cells a run has, conditions x replicates, and what it would do with each where it resumes."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Container, Sequence
from dataclasses import dataclass
from operator import eq
from typing import TYPE_CHECKING, Any, Literal, cast

from crystallize.errors import ContextMutationError, DuplicateNameError
from crystallize.hooks.roles import SeederPlugin, StorePlugin
from crystallize.names import counted
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.design import Treatment
    from crystallize.hooks import ExperimentView

__all__ = [
    "BASELINE",
    "OutstandingCells",
    "Plan",
    "PlannedCell",
    "PlannedCells",
    "check_treatment_keys",
    "condition_names",
    "outstanding",
    "plan_cells",
    "plan_for",
    "settle_seed",
    "treatments_by_condition",
    "values_of",
]

BASELINE = "baseline"
_COMPLETE = "complete"
_MOST_SHOWN = 5


def condition_names(treatments: Sequence[Treatment], *, baseline: bool = True) -> list[str]:
    """Return the conditions in order: the baseline, then the treatments as listed.

    A treatment of the name ``baseline`` adjusts the baseline, and is no condition of its own.

    Raises
    ------
    DuplicateNameError
        A treatment's name differs from the baseline's in case alone.
    """
    names = [treatment.name for treatment in treatments if treatment.name != BASELINE]
    if not baseline:
        return names
    for name in names:
        if name.casefold() == BASELINE:
            raise DuplicateNameError(
                f"treatment {name!r} and the baseline would be one folder on macOS and Windows: use another name, or "
                f"{BASELINE!r} to adjust the baseline"
            )
    return [BASELINE, *names]


def treatments_by_condition(treatments: Sequence[Treatment]) -> dict[str, Treatment]:
    """Return each condition's treatment."""
    return {treatment.name: treatment for treatment in treatments}


def plan_cells(conditions: Sequence[str], replicates: int) -> PlannedCells:
    """Return all cells, replicate by replicate, so that comparisons can be paired early."""
    return PlannedCells(conditions, replicates)


class PlannedCells(Sequence[Cell]):
    """Conditions x replicates, or some of them, each made when somebody looks: a million would take 100 MB.

    Parameters
    ----------
    conditions : sequence of str
    replicates : int
    chosen : array of int, optional
        The positions of those that are meant, in ascending order; by default all.
    """

    __slots__ = ("_chosen", "_conditions", "_numbers", "_replicates")

    def __init__(self, conditions: Sequence[str], replicates: int, chosen: array[int] | None = None) -> None:
        self._conditions = tuple(conditions)
        self._replicates = replicates
        self._chosen = chosen
        self._numbers = {name: number for number, name in enumerate(self._conditions)}

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        count = len(self)
        place = index + count if index < 0 else index
        if not 0 <= place < count:
            raise IndexError(index)
        conditions = self._conditions
        replicate, number = divmod(place if self._chosen is None else self._chosen[place], len(conditions))
        return tuple.__new__(Cell, (conditions[number], replicate))  # see `__iter__`

    def __iter__(self) -> Iterator[Cell]:
        # Past the constructor of a named tuple, which is written in Python.
        new, conditions = tuple.__new__, self._conditions
        if self._chosen is None:
            for replicate in range(self._replicates):
                for condition in conditions:
                    yield new(Cell, (condition, replicate))
        else:
            for place in self._chosen:
                replicate, number = divmod(place, len(conditions))
                yield new(Cell, (conditions[number], replicate))

    def __len__(self) -> int:
        return self._replicates * len(self._conditions) if self._chosen is None else len(self._chosen)

    def __contains__(self, cell: object) -> bool:
        return self._place(cell) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return PlannedCells, (self._conditions, self._replicates, self._chosen)

    def __repr__(self) -> str:
        return f"<{len(self)} cells of {', '.join(self._conditions)}>"

    def without(self, known: Container[Cell]) -> PlannedCells:
        """Return those that are not among others."""
        places = range(len(self)) if self._chosen is None else self._chosen
        left = array("q", (place for place, cell in zip(places, self, strict=True) if cell not in known))
        return PlannedCells(self._conditions, self._replicates, left)

    def _place(self, cell: object) -> int | None:
        """Return the position of a cell among all."""
        if not (isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[1], int)):  # noqa: PLR2004 - a cell
            return None
        number = self._numbers.get(cell[0])
        if number is None or not 0 <= cell[1] < self._replicates:
            return None
        place: int = cell[1] * len(self._conditions) + number
        if self._chosen is None:
            return place
        at = bisect_left(self._chosen, place)
        return place if at < len(self._chosen) and self._chosen[at] == place else None


class OutstandingCells:
    """Those of a run's cells of which no outcome has come yet: a byte each.

    Parameters
    ----------
    cells : PlannedCells
    """

    __slots__ = ("_left", "_waits")

    def __init__(self, cells: PlannedCells) -> None:
        self._left = len(cells)
        all_wait = cells._chosen is None
        self._waits = {name: bytearray([all_wait]) * cells._replicates for name in cells._conditions}
        if not all_wait:
            for condition, replicate in cells:
                self._waits[condition][replicate] = True

    def remove(self, cell: Cell) -> None:
        """Take a cell out.

        Raises
        ------
        KeyError
            It is not there.
        """
        condition, replicate = cell
        waits = self._waits[condition]
        if not 0 <= replicate < len(waits) or not waits[replicate]:
            raise KeyError(cell)
        waits[replicate] = False
        self._left -= 1

    def __contains__(self, cell: Cell) -> bool:
        condition, replicate = cell
        waits = self._waits.get(condition, b"")
        return 0 <= replicate < len(waits) and bool(waits[replicate])

    def __len__(self) -> int:
        return self._left


def outstanding(cells: Sequence[Cell]) -> OutstandingCells | set[Cell]:
    """Return the cells from which each is taken out once its outcome has come."""
    return OutstandingCells(cells) if isinstance(cells, PlannedCells) else set(cells)


def values_of(treatment: Treatment) -> Mapping[str, Any]:
    """Return what a treatment sets, as it holds it; nothing where a function sets it."""
    return {} if treatment.is_callable else cast("dict[str, Any]", treatment.applied)


def check_treatment_keys(treatment: Treatment, initial_ctx: Container[str]) -> None:
    """Refuse a treatment that sets a key which every cell has already.

    Raises
    ------
    ContextMutationError
        Naming the key.
    """
    for key in values_of(treatment):
        if key in initial_ctx:
            raise ContextMutationError(
                f"treatment {treatment.name!r} sets the context key {key!r}, which initial_ctx has already, and a key "
                "is written once: leave it out of initial_ctx (a step's default value serves the baseline), or give "
                f"the baseline its own value with Treatment('baseline', {{{key!r}: ...}})"
            )


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """What a run would do with one cell.

    Attributes
    ----------
    cell : Cell
    action : {"run", "keep", "leave"}
        ``"leave"``: it is stored, is no cell of this run, and stays where it is.
    reason : str
        ``"complete"``; ``"missing"``, ``"failed"``, ``"changed: ..."`` with the parts that changed, ``"not stored
        exactly"``, ``"file gone: ..."``, ``"file damaged: ..."``; ``"rerun"`` where nothing is to be kept; ``"no
        longer declared"``.
    """

    cell: Cell
    action: Literal["run", "keep", "leave"]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, cell by cell.

    Attributes
    ----------
    cells : tuple of PlannedCell
        In the order in which they are planned; after them the stored cells that are not taken over.

    Examples
    --------
    >>> from crystallize.hooks import Cell
    >>> plan = Plan((PlannedCell(Cell("baseline", 0), "keep", "complete"),
    ...              PlannedCell(Cell("baseline", 1), "run", "missing")))
    >>> print(plan.summary())
    2 cells: 1 to keep, 1 to run
      1 missing: baseline_rep_1
    >>> [planned.cell.key for planned in plan.to_run]
    ['baseline_rep_1']
    """

    cells: tuple[PlannedCell, ...]

    @property
    def to_run(self) -> tuple[PlannedCell, ...]:
        """The cells that would run."""
        return tuple(planned for planned in self.cells if planned.action == "run")

    @property
    def to_keep(self) -> tuple[PlannedCell, ...]:
        """The cells of which the stored outcome would be kept."""
        return tuple(planned for planned in self.cells if planned.action == "keep")

    @property
    def to_leave(self) -> tuple[PlannedCell, ...]:
        """The stored cells that are not taken over, because their condition is no longer declared."""
        return tuple(planned for planned in self.cells if planned.action == "leave")

    def summary(self) -> str:
        """Return the plan in a few lines: how many cells are kept and run, and the latter's reasons."""
        running, kept = self.to_run, self.to_keep
        lines = [f"{counted(len(kept) + len(running), 'cell')}: {len(kept)} to keep, {len(running)} to run"]
        lines += _by_reason(running)
        if self.to_leave:
            lines.append("the next version begins, without stored cells of this version:")
            lines += _by_reason(self.to_leave)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def _by_reason(cells: Sequence[PlannedCell]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for planned in cells:
        reasons.setdefault(planned.reason, []).append(planned.cell.key)
    for reason, keys in reasons.items():
        more = f", … ({len(keys) - _MOST_SHOWN} more)" if len(keys) > _MOST_SHOWN else ""
        yield f"  {len(keys)} {reason}: {', '.join(keys[:_MOST_SHOWN])}{more}"


def settle_seed(view: ExperimentView, *, draw: bool = True, planned: int | None = None) -> None:
    """Set a run's base seed before anything else happens: what the seeder says, or has recorded, or draws.

    Parameters
    ----------
    view : ExperimentView
        Its ``run.seed`` is set.
    draw : bool, default True
        False leaves a seed that would be drawn open: a plan has nothing to say of it, since no stored cell can have it.
    planned : int, optional
        The seed of a preregistration, which counts more than what anybody says.
    """
    run = view.run
    if planned is not None:
        run._note(seed=planned)
        return
    if run.strategy == "resume" and run.seed is None and run.kind in ("run", "trial"):
        stores = (plugin for plugin in view.plugins if isinstance(plugin, StorePlugin))
        recorded = (store.recorded_seed(view) for store in stores)
        run._note(seed=next((seed for seed in recorded if isinstance(seed, int) and not isinstance(seed, bool)), None))
    seeder = next((plugin for plugin in view.plugins if isinstance(plugin, SeederPlugin)), None)
    if seeder is not None:
        run._note(seed=seeder.base_seed(view))
        if run.seed is None and draw:
            run._note(seed=seeder.draw_seed(view))


def plan_for(cells: Sequence[Cell], reasons: Mapping[Cell, str] | None) -> Plan:
    """Return what a run would do with each cell.

    Parameters
    ----------
    cells : sequence of Cell
        Every cell of the run.
    reasons : mapping of Cell to str, or None
        What a store says of the cells that it knows; None where nothing is to be kept.
    """
    if reasons is None:
        return Plan(tuple(PlannedCell(cell, "run", "rerun") for cell in cells))
    planned = []
    for cell in cells:
        reason = reasons.get(cell, "missing")
        planned.append(PlannedCell(cell, "keep" if reason == _COMPLETE else "run", reason))
    asked = set(cells)
    planned += [PlannedCell(cell, "leave", reason) for cell, reason in reasons.items() if cell not in asked]
    return Plan(tuple(planned))
