"""The hook specifications: the contract with plugin authors.

`CONTRACT` is its version. A new hook, or a new argument, is a minor change; removing or renaming one
goes through a deprecation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence

    from crystallize.context import FrozenContext
    from crystallize.hooks.view import ExperimentView
    from crystallize.pipelines import PipelineStep
    from crystallize.results.outcome import Cell, CellOutcome, Event
    from crystallize.results.result import Result

CONTRACT = "1.0"
PROJECT = "crystallize"

hookspec = pluggy.HookspecMarker(PROJECT)


class HookSpecs:
    """Signatures of every hook (full docstrings to come)."""

    @hookspec
    def init_hook(self, experiment: Any) -> None: ...
    @hookspec
    def before_run(self, experiment: ExperimentView) -> None: ...
    @hookspec(firstresult=True)
    def completed_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> Iterable[CellOutcome] | None: ...
    @hookspec(firstresult=True)
    def run_experiment_loop(
        self,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        run_cell: Any,
        replicate_fn: Callable[[int], list[CellOutcome]],
    ) -> Iterable[CellOutcome] | AsyncIterable[CellOutcome] | None: ...
    @hookspec
    def worker_start(self, experiment: ExperimentView) -> None: ...
    @hookspec
    def worker_stop(self, experiment: ExperimentView) -> None: ...
    @hookspec
    def before_replicate(self, experiment: ExperimentView, ctx: FrozenContext) -> None: ...
    @hookspec
    def before_step(self, experiment: ExperimentView, step: PipelineStep, ctx: FrozenContext) -> None: ...
    @hookspec
    def after_step(self, experiment: ExperimentView, step: PipelineStep, data: Any, ctx: FrozenContext) -> None: ...
    @hookspec
    def after_replicate(self, experiment: ExperimentView, ctx: FrozenContext, outcome: CellOutcome) -> None: ...
    @hookspec
    def on_event(self, experiment: ExperimentView, event: Event) -> None: ...
    @hookspec
    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> Any: ...
    @hookspec
    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any] | None: ...
    @hookspec
    def after_run(self, experiment: ExperimentView, result: Result) -> None: ...
