"""`reproduce`: a stored run, done again from its record and compared bit by bit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ReproductionError, RunStateError
from crystallize.hooks.declarations import active_plugins
from crystallize.hooks.tools import printable, to_plain
from crystallize_plugins.artifacts.database.connection import making_sense
from crystallize_plugins.runs.compared_run import compared_run, stored_run
from crystallize_plugins.runs.comparing import compare_records
from crystallize_plugins.runs.differences import PARTS, Difference, RunDiff, by_part, shown
from crystallize_plugins.runs.experiment_lookup import FoundExperiment, find_experiment, find_in
from crystallize_plugins.runs.rerunning import conditions_again, run_again
from crystallize_plugins.runs.value_differences import same_value

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from crystallize import Experiment
    from crystallize.hooks import Cell, CellOutcome
    from crystallize_plugins.artifacts import StoredRun
    from crystallize_plugins.runs.compared_run import ComparedRun

__all__ = ["Drift", "Reproduction", "drift", "reproduce"]

_MOST_CELLS = 20
# A reproduction is started in its own way, stores where it likes, and does without the plugins that only look.
_EXPECTED = {
    "environment": ("argv", "command", "how", "file", "module"),
    "parameters": ("experiment", "kind", "replicates"),
}


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that a cell gave differently.

    Attributes
    ----------
    condition, replicate : str, int
        The cell.
    what : str
        ``"metric loss"``, ``"artifact FitStep/model.bin"``, ``"outcome"`` or ``"seed"``.
    recorded, now : object
        What is stored, and what came out.
    """

    condition: str
    replicate: int
    what: str
    recorded: Any
    now: Any

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "condition": self.condition,
            "replicate": self.replicate,
            "what": self.what,
            "recorded": to_plain(self.recorded),
            "now": to_plain(self.now),
        }

    def __str__(self) -> str:
        return f"{self.what}: {shown(self.recorded)} → {shown(self.now)}"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What doing a run again has shown.

    Attributes
    ----------
    run : str
        The stored run.
    cells : int
        How many cells were run again and compared.
    drift : tuple of Drift
        What differs; empty where every metric is the same bit for bit, every file has the same hash, and every cell
        that failed fails with the same type of error.
    skipped : dict of str to str
        Cells that cannot be compared, and why.
    notes : tuple of str
        What was not taken from the record.
    changes : RunDiff
        What is not as it was: code, packages, plugins, data, machine, commit.
    """

    run: str
    cells: int
    drift: tuple[Drift, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    changes: RunDiff = field(default_factory=lambda: RunDiff("", ""))

    @property
    def identical(self) -> bool:
        """Whether nothing has drifted."""
        return not self.drift

    @property
    def drifted(self) -> dict[tuple[str, int], list[Drift]]:
        """What has drifted, by condition and replicate."""
        found: dict[tuple[str, int], list[Drift]] = {}
        for each in self.drift:
            found.setdefault((each.condition, each.replicate), []).append(each)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "run": self.run,
            "identical": self.identical,
            "cells": self.cells,
            "drift": [each.to_dict() for each in self.drift],
            "skipped": dict(self.skipped),
            "notes": list(self.notes),
            "changes": [each.to_dict() for each in self.changes.differences],
        }

    def text(self) -> str:
        """Return it as text: what has drifted, beside what has changed."""
        return "\n".join(printable(line, lines=True) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        drifted = self.drifted
        if not drifted:
            yield f"{self.run}: {self.cells} of {self.cells} cells are the same, bit for bit"
        else:
            yield f"{self.run}: {len(drifted)} of {self.cells} cells have drifted"
        for (condition, replicate), found in list(drifted.items())[:_MOST_CELLS]:
            yield f"  {condition}, replicate {replicate}"
            yield from (f"    {each}" for each in found)
        if len(drifted) > _MOST_CELLS:
            yield f"  … {len(drifted) - _MOST_CELLS} more cells"
        for key, why in self.skipped.items():
            yield f"not compared: {key}, {why}"
        yield from (f"note: {note}" for note in self.notes)
        if not self.changes.identical:
            yield "changed since:"
            yield from (f"  {line}" for line in by_part(self.changes.differences))

    def __str__(self) -> str:
        return self.text()


def reproduce(
    run: str | os.PathLike[str] | StoredRun,
    experiment: Experiment | str | os.PathLike[str] | None = None,
    *,
    confirm: Callable[[Path, Sequence[str]], bool] | None = None,
    prepare: Callable[[Experiment], object] | None = None,
) -> Reproduction:
    """Do a stored run again from what it recorded, and compare every metric bit for bit and every file by its hash.

    Seed, replicates, conditions and their values are the recorded ones; data source, steps and plugins are those of
    the experiment as it is now, and what changed in them is reported beside the drift. The run itself, the store that
    it lies in and the steps' cache are left alone.

    Parameters
    ----------
    run : path or StoredRun
        One that was cut short is done again as far as it had come; of an optimisation, its trials.
    experiment : Experiment or path, optional
        The experiment, or the Python file or folder with a config.yaml that defines it. By default the one that the
        run recorded, where this process has it. A script is executed up to where it runs an experiment, and no further.
    confirm : callable, optional
        What is to be asked before code is loaded from the path that the run recorded, since a run may come from
        anybody: it is given that path and the recorded overrides of its configuration, and says whether to load it. By
        default nothing is loaded that was not given. What lies in the run's own folder never is.
    prepare : callable of Experiment, optional
        Is given the experiment before it runs, to change its plugins, say.

    Returns
    -------
    Reproduction

    Raises
    ------
    ExperimentNotFoundError
        The experiment cannot be found again; the message says what to pass.
    ReproductionError
        The record is not enough, or there is nothing to do again.
    RunStateError
        The run is still being written.
    StoreError
        There is no run, or it is damaged.

    Examples
    --------
    >>> found = reproduce("data/quickstart/v0")  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    quickstart@v0: 40 of 40 cells are the same, bit for bit
    """
    stored = stored_run(run)
    if stored.status == "running":
        raise RunStateError(f"{stored.path} is still being written: reproduce it when it is complete")
    before = compared_run(stored)
    recorded = {outcome.cell: outcome for outcome in stored.outcomes()}
    skipped = {
        cell.key: "its optimiser pruned it"
        for cell, outcome in recorded.items()
        if outcome.error is not None and outcome.error.pruned
    }
    cells = [cell for cell in recorded if cell.key not in skipped]
    if not cells:
        raise ReproductionError(f"{stored.path} holds no cell that could be run again (it is {stored.status})")
    found = _experiment_of(experiment, stored, confirm)
    if prepare is not None:
        prepare(found.experiment)
    ran = {cell.condition for cell in cells}
    conditions = [record.name for record in before.result.conditions if record.name in ran]
    with making_sense(stored.path):
        treatments, notes = conditions_again(stored, conditions, found)
    with tempfile.TemporaryDirectory(prefix="crystallize-reproduce-", ignore_cleanup_errors=True) as root:
        again = run_again(found.experiment, stored, treatments, _in_order(cells, conditions), Path(root))
        outcomes = {outcome.cell: outcome for outcome in again.outcomes()}
        after = compared_run(again)
        with making_sense(stored.path):
            names = {entry["name"] for entry in before.facts.get("plugins", ())}
            after.facts["plugins"] = _whole_lock(found.experiment, names, after.facts.get("plugins", ()))
            changes = _changes(before, after, stored.path)
    drifted = [each for cell in cells for each in drift(recorded[cell], outcomes.get(cell))]
    ordered = tuple(sorted(changes, key=lambda each: PARTS.index(each.part)))
    return Reproduction(
        before.name, len(cells), tuple(drifted), skipped, tuple(notes), RunDiff(before.name, "now", ordered)
    )


def _changes(before: ComparedRun, after: ComparedRun, run: Path) -> list[Difference]:
    """Return what has changed since a run, but for what differs in every reproduction."""
    # Hypotheses are not tested again.
    judging = {name for facts in (before.facts, after.facts) for name in facts.get("code", {}).get("judging", ())}
    return [
        difference
        for difference in compare_records(before, after)
        if not _is_expected(difference, judging) and not _is_store(difference, before.facts, run)
    ]


def _experiment_of(
    experiment: Any, run: StoredRun, confirm: Callable[[Path, Sequence[str]], bool] | None
) -> FoundExperiment:
    from crystallize import Experiment

    if experiment is None:
        return find_experiment(run, confirm)
    if isinstance(experiment, Experiment):
        return FoundExperiment(experiment, list(experiment.treatments))
    try:
        return find_in(Path(experiment), run)
    except TypeError:
        raise ArgumentTypeError(
            f"experiment must be an Experiment or the path that defines it, not {type(experiment).__name__}"
        ) from None


def _in_order(cells: list[Cell], conditions: list[str]) -> list[Cell]:
    """Return cells as a run has them: replicate by replicate."""
    place = {name: position for position, name in enumerate(conditions)}
    return sorted(cells, key=lambda cell: (cell.replicate, place[cell.condition]))


def drift(recorded: CellOutcome, now: CellOutcome | None) -> Iterator[Drift]:
    """Yield all in which what a cell gave differs from what it had given before; None where it did not run."""
    cell = recorded.cell

    def found(what: str, before: Any, after: Any) -> Drift:
        return Drift(cell.condition, cell.replicate, what, before, after)

    before, after = _state(recorded), "did not run" if now is None else _state(now)
    if before != after:
        yield found("outcome", before, after)
    if now is None:
        return
    if recorded.seed != now.seed:
        yield found("seed", recorded.seed, now.seed)
    if recorded.error is not None or now.error is not None:
        return
    for name in (*recorded.metrics, *(name for name in now.metrics if name not in recorded.metrics)):
        values = [list(outcome.metrics.get(name, ())) for outcome in (recorded, now)]
        if not same_value(*values):
            yield found(f"metric {name}", *(each[0] if len(each) == 1 else each or None for each in values))
    hashes = [{f"{each.step}/{each.name}": each.sha256 for each in outcome.artifacts} for outcome in (recorded, now)]
    for name in (*hashes[0], *(name for name in hashes[1] if name not in hashes[0])):
        if hashes[0].get(name) != hashes[1].get(name):
            yield found(f"artifact {name}", *(each.get(name) for each in hashes))


def _state(outcome: CellOutcome) -> str:
    return "ok" if outcome.error is None else f"{outcome.error.error_type} in {outcome.error.step_name}"


def _is_store(difference: Difference, facts: dict[str, Any], run: Path) -> bool:
    """Whether it is the folder of the runs themselves that git does not know."""
    untracked = difference.name.removeprefix("untracked ")
    if difference.part != "git" or untracked == difference.name:
        return False
    place = Path(facts["git"].get("root", "/"), untracked)
    return place in run.parents or run.parent.parent in place.parents


def _whole_lock(
    experiment: Experiment, recorded: Collection[str], ran: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the lock of all the experiment's plugins: a reproduction does without those that only look.

    Executors that the run did not have are left out: whatever runs the cells, they have to give the same.
    """
    took_part = {entry["name"]: entry for entry in ran if not entry.get("neutral")}
    active = active_plugins(experiment.plugins)
    return [
        {**took_part.get(entry["name"], entry), "order": entry["order"]}
        for entry, info in zip(active.lock(), active.infos, strict=True)
        if entry["name"] in recorded or "run_experiment_loop" not in info.hooks
    ]


def _is_expected(difference: Difference, judging: set[str]) -> bool:
    """Whether something differs only because this is a reproduction."""
    if difference.part == "code" and difference.name in judging:
        return True
    return difference.name in _EXPECTED.get(difference.part, ())
