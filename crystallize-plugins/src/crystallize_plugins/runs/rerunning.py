"""Running the cells of a stored run again: the same conditions, seeds and replicates, in a store of its own."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crystallize import ArtifactPlugin, SeedPlugin, Treatment
from crystallize.errors import ReproductionError
from crystallize.hooks import BASELINE, ActivePlugins
from crystallize.hooks.declarations import resolve_appended, run_part
from crystallize.hooks.tools import arguments_of
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.artifacts.database.schema import ASKED
from crystallize_plugins.artifacts.recorded import RecordedTreatment, recorded_treatments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crystallize import Experiment
    from crystallize.hooks import Cell
    from crystallize_plugins.runs.experiment_lookup import FoundExperiment

__all__ = ["conditions_again", "run_again"]

_CACHE = "CRYSTALLIZE_CACHE_DIR"


def conditions_again(
    run: StoredRun, conditions: Sequence[str], found: FoundExperiment
) -> tuple[list[Treatment], list[str]]:
    """Make the treatments of a run again: with their recorded values, where those were stored exactly.

    Parameters
    ----------
    run : StoredRun
    conditions : sequence of str
        Those that are to be run.
    found : FoundExperiment
        Whose own treatments stand in for what the record cannot give.

    Returns
    -------
    treatments : list of Treatment
    notes : list of str
        Which of them are the experiment's own, and why.

    Raises
    ------
    ReproductionError
        Neither the record nor the experiment has a treatment.
    """
    recorded = {**recorded_treatments(run._documents), **_trials(run)}
    own = {treatment.name: treatment for treatment in found.treatments}
    treatments, notes = [], []
    for name in conditions:
        record = recorded.get(name)
        if record is None and name == BASELINE:
            continue
        if record is not None and record.is_exact:
            treatments.append(Treatment(name, record.values))
            continue
        why = _why_not_exact(record)
        if name not in own:
            raise ReproductionError(
                f"treatment {name!r} of {run.path} cannot be made again: {why}, and the experiment has no treatment of "
                "that name. Add it to the experiment's treatments, or give an experiment that has it"
            )
        treatments.append(own[name])
        notes.append(f"treatment {name!r} is the experiment's own, since {why}")
    return treatments, notes


def _trials(run: StoredRun) -> dict[str, RecordedTreatment]:
    """Return the treatments that an optimiser asked for, by the names of their conditions."""
    if run.metadata.get("kind") != "trial":
        return {}
    return {
        trial.condition: RecordedTreatment(
            trial.condition,
            trial.is_callable,
            dict(trial.value) if trial.is_exact and not trial.is_callable else {},
            () if trial.is_exact else ("its values",),
        )
        for entry in run.journal()
        if entry.name == ASKED
        for trial in entry.fields["trials"]
    }


def _why_not_exact(record: RecordedTreatment | None) -> str:
    if record is None:
        return "the run did not record its values"
    if record.is_callable:
        return "it is a function, of which only the code is recorded"
    return f"what it sets could not be stored exactly ({', '.join(record.inexact)})"


def run_again(
    experiment: Experiment, run: StoredRun, treatments: list[Treatment], cells: Sequence[Cell], root: Path
) -> StoredRun:
    """Run cells of a stored run again.

    Parameters
    ----------
    experiment : Experiment
        Left as it is: a copy runs.
    run : StoredRun
        Gives the seed and the number of replicates.
    treatments : list of Treatment
    cells : sequence of Cell
    root : Path
        Where the new run is stored, and the steps' cache lies: what is in the user's would prove nothing.

    Returns
    -------
    StoredRun
        The new one.

    Raises
    ------
    CrystallizeError
        The experiment is not in order, or a plugin stops the run before anything of it is stored.
    """
    plugins = list(experiment.plugins)
    resolve_appended(plugins)
    plugins = [*_kept(plugins, run.seed), ArtifactPlugin(root_dir=root / "data")]
    with _cache_in(root / "cache"):
        again = run_part(experiment, cells, plugins=plugins, treatments=treatments, replicates=run.replicates)
    return StoredRun(str(again.folder))


def _kept(plugins: Sequence[Any], seed: int | None) -> list[Any]:
    """Return the plugins that change results, with the recorded seed, and those that execute.

    What only looks (loggers, trackers, the store) is left out: nobody wants a reproduction in the records of the runs
    that it checks. What another plugin requires stays.
    """
    active = {id(info.plugin): info for info in ActivePlugins.resolve(plugins, complete=False).infos}
    others = [plugin for plugin in plugins if not isinstance(plugin, ArtifactPlugin)]
    kept = [
        plugin
        for plugin in others
        if active[id(plugin)].neutral is not True or "run_experiment_loop" in active[id(plugin)].hooks
    ]
    wanted = {str(getattr(name, "__name__", name)) for plugin in kept for name in _listed(plugin)}
    for plugin in others:
        names = {active[id(plugin)].name, *(cls.__name__ for cls in type(plugin).__mro__)}
        if plugin not in kept and wanted & names:
            kept.append(plugin)
    return [_seeded(plugin, seed) for plugin in kept]


def _listed(plugin: Any) -> tuple[Any, ...]:
    required = getattr(plugin, "requires", ())
    return (required,) if isinstance(required, (str, type)) else tuple(required)


def _seeded(plugin: Any, seed: int | None) -> Any:
    if isinstance(plugin, SeedPlugin) and seed is not None and plugin.seed != seed:
        return type(plugin)(**{**arguments_of(plugin), "seed": seed})
    return plugin


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE]
        else:
            os.environ[_CACHE] = before
