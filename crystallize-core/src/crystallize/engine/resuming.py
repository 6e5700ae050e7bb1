"""Before a run is resumed: the seed that it adopts, and what it would do with each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crystallize.hooks.roles import SeederPlugin, StorePlugin
from crystallize.names import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.hooks import ActivePlugins, ExperimentView
    from crystallize.results.outcome import Cell

__all__ = ["Plan", "PlannedCell", "plan_of", "settle_seed"]

COMPLETE = "complete"
_MOST_SHOWN = 5


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
    >>> from crystallize.results import Cell
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
        """Give the plan in a few lines: how many cells are kept and run, and the latter's reasons."""
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


def settle_seed(view: ExperimentView, *, draw: bool = True) -> None:
    """Set a run's base seed before anything else happens: what the seeder says, or has recorded, or draws.

    Parameters
    ----------
    view : ExperimentView
        Its ``run.seed`` is set.
    draw : bool, default True
        False leaves a seed that would be drawn open: a plan has nothing to say of it, since no stored cell can have it.
    """
    run = view.run
    if run.strategy == "resume" and run.seed is None and run.kind in ("run", "trial"):
        stores = (plugin for plugin in view.plugins if isinstance(plugin, StorePlugin))
        recorded = (store.recorded_seed(view) for store in stores)
        run.seed = next((seed for seed in recorded if isinstance(seed, int) and not isinstance(seed, bool)), None)
    seeder = next((plugin for plugin in view.plugins if isinstance(plugin, SeederPlugin)), None)
    if seeder is not None:
        run.seed = seeder.base_seed(view)
        if run.seed is None and draw:
            run.seed = seeder.draw_seed(view)


def plan_of(view: ExperimentView, active: ActivePlugins, cells: Sequence[Cell]) -> Plan:
    """Say what a run would do with each cell, without running or writing anything.

    Parameters
    ----------
    view : ExperimentView
    active : ActivePlugins
    cells : sequence of Cell
        Every cell of the run.

    Returns
    -------
    Plan
    """
    if view.run.strategy != "resume":
        return Plan(tuple(PlannedCell(cell, "run", "rerun") for cell in cells))
    settle_seed(view, draw=False)
    reasons = _asked(view, active, cells)
    planned = []
    for cell in cells:
        reason = reasons.get(cell, "missing")
        planned.append(PlannedCell(cell, "keep" if reason == COMPLETE else "run", reason))
    asked = set(cells)
    planned += [PlannedCell(cell, "leave", reason) for cell, reason in reasons.items() if cell not in asked]
    return Plan(tuple(planned))


def _asked(view: ExperimentView, active: ActivePlugins, cells: Sequence[Cell]) -> Mapping[Cell, str]:
    for call in active.calls("plan_cells"):
        answer = call.fn(view, cells)
        if answer is not None and answer is not NotImplemented:
            return answer  # type: ignore[no-any-return]
    return {}
