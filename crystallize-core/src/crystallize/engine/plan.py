"""Which cells a run has: conditions x replicates."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Container, Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, cast

from crystallize.errors import ContextMutationError, DuplicateNameError
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.design import Treatment

__all__ = [
    "BASELINE",
    "PlannedCells",
    "check_treatment_keys",
    "condition_names",
    "outstanding",
    "plan_cells",
    "treatments_by_condition",
    "values_of",
]

BASELINE = "baseline"


def condition_names(treatments: Sequence[Treatment], *, baseline: bool = True) -> list[str]:
    """Give the conditions in order: the baseline, then the treatments as listed.

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
    """Give each condition's treatment."""
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
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        replicate, number = divmod(place if self._chosen is None else self._chosen[place], len(self._conditions))
        return Cell(self._conditions[number], replicate)

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

    __slots__ = ("_cells", "_left", "_waits")

    def __init__(self, cells: PlannedCells) -> None:
        self._cells = cells
        self._left = len(cells)
        self._waits = bytearray(b"\x01" * (cells._replicates * len(cells._conditions)))

    def remove(self, cell: Cell) -> None:
        """Take a cell out.

        Raises
        ------
        KeyError
            It is not there.
        """
        place = self._cells._place(cell)
        if place is None or not self._waits[place]:
            raise KeyError(cell)
        self._waits[place] = 0
        self._left -= 1

    def __contains__(self, cell: object) -> bool:
        place = self._cells._place(cell)
        return place is not None and bool(self._waits[place])

    def __len__(self) -> int:
        return self._left


def outstanding(cells: Sequence[Cell]) -> OutstandingCells | set[Cell]:
    """Return the cells from which each is taken out once its outcome has come."""
    return OutstandingCells(cells) if isinstance(cells, PlannedCells) else set(cells)


def values_of(treatment: Treatment) -> Mapping[str, Any]:
    """Return what a treatment sets, as it holds it; nothing where a function sets it."""
    return {} if treatment.is_callable else cast("dict[str, Any]", treatment._apply_value)


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
