"""Resuming an optimisation: its conditions come batch by batch, and nothing is written before something is new."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from crystallize.errors import RunLockedError
from crystallize.hooks import was_pruned
from crystallize_plugins.artifacts.active import ActiveRun
from crystallize_plugins.artifacts.database.schema import ASKED
from crystallize_plugins.artifacts.reading.stored import StoredRun
from crystallize_plugins.artifacts.resume.plan import Resumption
from crystallize_plugins.artifacts.resume.previous import COMPLETE, FAILED, MISSING, PreviousRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.hooks import Cell, ExperimentView, JournalEntry, LazyOutcomes

__all__ = ["Continuation"]

_LOGGER = logging.getLogger("crystallize")
_OTHER_TRIALS = "reported to an optimiser that was told something else"
_HEARD_LATER = "reported after a cell that failed"


class Continuation(Resumption):
    """What a resumed optimisation takes over.

    Where the stored one goes on, its folder is taken over at the first thing that is new: the next question, or a cell
    that has to run. Otherwise the next version begins at once, with a journal of its own, and takes in stored cells as
    they are asked for.

    Parameters
    ----------
    experiment : ExperimentView
    previous : PreviousRun or None
        The stored optimisation.
    trust_untracked : bool, default False
        Whether cells hold although something that they refer to cannot be compared.

    Attributes
    ----------
    recorded : list of JournalEntry
        The journal of the stored optimisation, where that goes on.
    why : str
        Why the next version begins; empty where the stored optimisation goes on, or there is none.
    """

    def __init__(
        self, experiment: ExperimentView, previous: PreviousRun | None, *, trust_untracked: bool = False
    ) -> None:
        identities = experiment.cell_identities()
        super().__init__(previous, identities, trust_untracked=trust_untracked)
        self.recorded: list[JournalEntry] = []
        self._wanted = experiment.run.optimization
        self._conditions = frozenset(() if previous is None else previous.outcomes.conditions)
        self._new = 0
        self._not_asked_yet: set[str] = set()
        self.why = ""
        if previous is None or identities is None:
            return
        elsewhere = "its folder is a link, and lies elsewhere" if previous.path.is_symlink() else ""
        self.why = elsewhere or previous.why_other(identities) or (self._wanted.differs if self._wanted else "")
        if not self.why:
            self.in_place = True
            self.recorded = StoredRun(previous.path).journal()
            self._not_asked_yet = {
                trial.condition for entry in self.recorded if entry.name == ASKED for trial in entry.fields["trials"]
            }

    def take_over(self, experiment: ExperimentView) -> ActiveRun:
        """Begin to write to the stored run.

        Raises
        ------
        RunLockedError
            Another process is working on it, or has done so in the meantime.
        StoreError
            It cannot be written to.
        """
        assert self.previous is not None  # noqa: S101 - only then it goes on
        active = ActiveRun.go_on(experiment, self.previous)
        if active is None:
            session = PreviousRun(self.previous.path).session
            since = dt.datetime.fromtimestamp(session.started).astimezone().isoformat(timespec="seconds")
            raise RunLockedError(
                f"the optimisation in {self.previous.path} cannot be resumed from where it was: process "
                f"{session.owner.pid} on {session.owner.host} has worked on it since {since}. Run this again: it goes "
                "on from where that is by then",
                host=session.owner.host,
                pid=session.owner.pid,
                started=session.started,
                path=str(self.previous.path),
            )
        return active

    @property
    def lacks_an_end(self) -> bool:
        """Whether all of it was gone through, and the stored run does not know yet that it is complete."""
        return bool(
            self.previous is not None and self.in_place and not self._not_asked_yet and not self.previous.is_finished
        )

    def completed(self, cells: Sequence[Cell]) -> LazyOutcomes | tuple[()]:
        """Return the stored outcomes of the cells of a batch that hold."""
        self._not_asked_yet.difference_update(cell.condition for cell in cells)
        if self.previous is None or self.identities is None:
            self._new += len(cells)
            return ()
        kept = []
        for cell, found in self.previous.decide(cells, self.identities).items():
            reason = self._reason(cell, found)
            if reason == MISSING and cell.condition not in self._conditions:
                self._new += 1
                continue
            self.reasons[cell] = reason
            if reason == COMPLETE:
                kept.append(cell)
        kept = self._heard_before_those_that_run_again(cells, kept)
        return self.previous.outcomes.restricted(kept) if kept else ()

    def _heard_before_those_that_run_again(self, cells: Sequence[Cell], kept: list[Cell]) -> list[Cell]:
        """Leave out cells whose reports were heard after those of a failed one, which will be heard again now."""
        assert self.previous is not None  # noqa: S101 - only then something is kept
        outcomes = self.previous.outcomes
        failed = [cell for cell in cells if self.reasons.get(cell) == FAILED]
        first = min((report[0] for cell in failed for report in outcomes[cell].reports), default=None)
        if first is None:
            return kept
        later = {cell for cell in kept if any(report[0] > first for report in outcomes[cell].reports)}
        self.reasons.update(dict.fromkeys(later, _HEARD_LATER))
        return [cell for cell in kept if cell not in later]

    def _reason(self, cell: Cell, reason: str) -> str:
        if reason not in (COMPLETE, FAILED) or self.previous is None:
            return reason
        if not self.in_place:
            # Whether it would have been ended early depends on the trials before it.
            return _OTHER_TRIALS if reason == COMPLETE and self.previous.outcomes[cell].reports else reason
        settled = self._wanted.settled if self._wanted else ()
        if reason == FAILED and (cell.condition in settled or was_pruned(self.previous.outcomes[cell])):
            return COMPLETE
        return reason

    def log_beginning(self) -> None:
        """Say in one line whether the stored optimisation goes on."""
        if self.previous is None:
            _LOGGER.info("resume: no optimisation is stored, so all trials run")
        elif self.in_place:
            trials = self._wanted.told if self._wanted else 0
            _LOGGER.info("resume: the optimisation in %s goes on after %d trials", self.previous.path, trials)
        else:
            _LOGGER.info("resume: the next version of the optimisation in %s begins: %s", self.previous.path, self.why)

    def facts(self, replicates: int) -> dict[str, Any]:
        """Give what is kept of all this with the run's provenance; cells of new trials are only counted."""
        return {**super().facts(replicates), "why": self.why, "new": self._new}

    def log(self) -> None:
        """Say in one line what was kept in the end."""
        kept = sum(reason == COMPLETE for reason in self.reasons.values())
        again = len(self.reasons) - kept
        if not (self.reasons or self._new):
            return  # it ended before its first trial
        _LOGGER.info(
            "resume: of the optimisation's cells %d were kept, %d were still to run or ran again, "
            "and %d are of new trials",
            kept, again, self._new,
        )  # fmt: skip
        self._warn(kept=bool(kept))
