"""Which cells a run has: conditions x replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from crystallize.errors import ContextMutationError, DuplicateNameError
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from crystallize.design import Treatment

__all__ = ["BASELINE", "check_treatment_keys", "condition_names", "plan_cells", "treatments_by_condition", "values_of"]

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


def plan_cells(conditions: Sequence[str], replicates: int) -> list[Cell]:
    """Give all cells, replicate by replicate, so that comparisons can be paired early."""
    # Past the constructor of a named tuple, which is written in Python: there may be a million of them.
    new = tuple.__new__
    return [new(Cell, (condition, replicate)) for replicate in range(replicates) for condition in conditions]


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
