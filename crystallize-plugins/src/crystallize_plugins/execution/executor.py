"""What the three executors have in common: neutrality, a progress bar, a word on random numbers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crystallize.hooks import ExecutorPlugin, SeederPlugin, was_pruned
from crystallize.hooks.tools import check_flag
from crystallize_plugins.execution.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, Event, ExperimentView

__all__ = ["Executor"]

_LOGGER = logging.getLogger("crystallize")


class Executor(ExecutorPlugin):
    """The base of the execution plugins.

    Parameters
    ----------
    progress : bool
        Whether to show a progress bar.

    Attributes
    ----------
    progress : bool
    """

    def __init__(self, *, progress: bool) -> None:
        self.progress = check_flag(progress, what="progress")
        self._bars: dict[str, ProgressBar] = {}
        self._warned: set[str] = set()

    wanted_events = ("cell_retried", "optimization_started", "trials_asked")

    @property
    def silent_hooks(self) -> Collection[str]:  # type: ignore[override]
        """A run without a bar has nothing to do for each outcome."""
        return () if self.progress else ("collect", "on_event")

    def on_event(self, experiment: ExperimentView, event: Event) -> None:
        """Count an attempt that is followed by another; of an optimisation learn how many cells it will have."""
        if event.name == "optimization_started":
            trials = event.fields["num_trials"] + event.fields["baseline"]
            self._bar(experiment).expect_to_come(trials * experiment.replicates)
        elif event.name == "trials_asked":
            wanted = experiment.run.optimization
            # As far as one can know: each batch is as large as this one.
            left = (0 if wanted is None else wanted.num_trials) - event.fields["batch"]
            self._bar(experiment).expect_to_come(left * len(event.fields["trials"]) * experiment.replicates)
        elif event.name == "cell_retried" and experiment.run.id in self._bars:
            self._bars[experiment.run.id].count_retry()

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Count an outcome."""
        bar = self._bars.get(experiment.run.id)
        if bar is not None:
            pruned = experiment.run.kind == "trial" and was_pruned(outcome)
            bar.count(failed=not (outcome.ok or pruned), pruned=pruned)

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Put the bar away."""
        del result
        self._warned.discard(experiment.run.id)
        bar = self._bars.pop(experiment.run.id, None)
        if bar is not None:
            bar.close()

    def _show_progress(self, experiment: ExperimentView, cells: Sequence[Cell]) -> None:
        # The cells of an optimisation are known of before its batches come.
        if self.progress and experiment.run.kind != "trial":
            self._bar(experiment).expect(len(cells))

    def _bar(self, experiment: ExperimentView) -> ProgressBar:
        bar = self._bars.get(experiment.run.id)
        if bar is None:
            bar = self._bars[experiment.run.id] = ProgressBar(experiment.name or "experiment")
        return bar

    def _warn_where_seeding_is_unsound(self, experiment: ExperimentView, what_overlaps: str, instead: str) -> None:
        """Say once in a run, which may come in batches, that cells share the global random state, if a plugin seeds it.

        Parameters
        ----------
        experiment : ExperimentView
        what_overlaps : str
            Who shares it.
        instead : str
            What to do about it, beside drawing from ``ctx.rng``.
        """
        seeders = [plugin for plugin in experiment.plugins if isinstance(plugin, SeederPlugin)]
        seeding = [type(seeder).__name__ for seeder in seeders if seeder.seeds_global_state]
        if seeding and experiment.run.id not in self._warned:
            self._warned.add(experiment.run.id)
            _LOGGER.warning(
                "%s share one global random state, and %s seeds that state for each cell: numbers that steps draw "
                "from it are not reproducible in this run. Draw from ctx.rng, which gives the same numbers under "
                "every executor, or %s",
                what_overlaps,
                " and ".join(seeding),
                instead,
            )

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process shows nothing.
        return {**vars(self), "_bars": {}, "_warned": set()}
