"""What plugin authors write; checked by mypy, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from crystallize import BasePlugin, Experiment, FrozenContext, PipelineStep, hookimpl
from crystallize.hooks import Setting, TypedPlugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, Event, ExperimentView, RunCell


class Everything(BasePlugin):
    neutral = True
    on_error = "record"
    after = ("seed",)
    contract = ">=1,<2"

    def init_hook(self, experiment: Experiment) -> None:
        experiment.description = "seen"

    def before_run(self, experiment: ExperimentView) -> None:
        print(experiment.name, experiment.replicates, experiment.run.kind)

    def before_replicate(self, ctx: FrozenContext) -> None:
        print(ctx["replicate"])

    def before_step(self, step: PipelineStep) -> None:
        print(step.name)

    def after_step(self, data: Any, ctx: FrozenContext) -> None:
        print(data, ctx.get("condition"))

    def on_event(self, event: Event) -> None:
        print(event.name, event.fields)

    def collect(self, outcome: CellOutcome) -> None:
        print(outcome.cell.key, outcome.duration)

    def collect_provenance(self) -> dict[str, Any]:
        return {"machine": "here"}

    def after_run(self, result: Result) -> None:
        result.print_tree()


class Backwards(BasePlugin):
    neutral = True

    def run_experiment_loop(self, cells: Sequence[Cell], run_cell: RunCell) -> Iterator[CellOutcome]:
        for cell in reversed(cells):
            yield run_cell(cell)


class Waiting(BasePlugin):
    neutral = True

    async def run_experiment_loop(self, cells: Sequence[Cell], run_cell: RunCell) -> AsyncIterator[CellOutcome]:
        for cell in cells:
            yield await run_cell.aio(cell)


class ByReplicate(BasePlugin):
    def run_experiment_loop(
        self, experiment: ExperimentView, replicate_fn: Callable[[int], list[CellOutcome]]
    ) -> list[list[CellOutcome]]:
        return [replicate_fn(replicate) for replicate in range(experiment.replicates)]


class Marked:
    @hookimpl
    def before_run(self, experiment: ExperimentView) -> None:
        print(experiment.id)


class Compared(TypedPlugin):
    neutral = True

    def __init__(self, every: Annotated[float, Setting("Seconds", minimum=0)] = 1.0) -> None:
        self.every = every

    def after_step(self, experiment: ExperimentView, step: PipelineStep, data: Any, ctx: FrozenContext) -> None:
        print(experiment.name, step.name, data, ctx["replicate"], self.every)

    def completed_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> list[CellOutcome] | None:
        return None
