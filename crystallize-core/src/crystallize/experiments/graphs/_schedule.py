"""Which experiment of a graph can run next, and which no more."""

from __future__ import annotations

import logging
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from crystallize.errors import GraphRunError, UnknownNameError

if TYPE_CHECKING:
    from crystallize.experiments.graphs._planning import GraphPlan, PlannedRun
    from crystallize.results import Result

__all__ = ["GraphResults", "Schedule"]

_LOGGER = logging.getLogger("crystallize")


class GraphResults(dict[str, "Result"]):
    """The results of a graph's experiments, by name, in the order in which they depend on each other.

    Attributes
    ----------
    skipped : dict of str to str
        The experiments that were not run, each with the reason.

    Examples
    --------
    >>> GraphResults().skipped
    {}
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}

    def __missing__(self, name: object) -> Result:
        why = self.skipped.get(str(name))
        told = f"was not run ({why})" if why else "is not in the graph"
        raise UnknownNameError(f"the experiment {name!r} {told}; results are there of: {', '.join(self) or 'none'}")


class Schedule:
    """The state of a graph that is running; for the use of one thread.

    Parameters
    ----------
    plan : GraphPlan

    Attributes
    ----------
    failures : dict of str to Exception
        What was raised, by experiment.
    """

    def __init__(self, plan: GraphPlan) -> None:
        self._runs = plan.runs
        self._found: dict[str, Result] = {}
        self._stopped: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self.failures: dict[str, Exception] = {}
        self._sorter: TopologicalSorter[str] = TopologicalSorter(
            {name: run.upstream for name, run in plan.runs.items()}
        )
        self._sorter.prepare()

    def startable(self) -> list[PlannedRun]:
        """Give the runs whose time has come, each once; what waits for something that failed is passed over."""
        found: list[PlannedRun] = []
        while True:
            ready = self._sorter.get_ready()
            if not ready:
                return found
            for name in ready:
                blocking = [above for above in self._runs[name].upstream if above in self._stopped]
                if blocking:
                    self._skip(name, blocking[0])
                else:
                    found.append(self._runs[name])

    def finished(self, name: str, result: Result) -> None:
        """Take in a result."""
        self._found[name] = result
        if not any(cells["completed"] for cells in result.provenance["cells"].values()):
            self._stopped[name] = "no cell of it succeeded"
        self._sorter.done(name)

    def raised(self, name: str, error: Exception) -> None:
        """Take in that an experiment gave no result."""
        self.failures[name] = error
        partial = getattr(error, "result", None)
        if partial is not None:
            self._found[name] = partial
        self._stopped[name] = f"it raised {type(error).__name__}: {error}"
        self._sorter.done(name)

    def results(self) -> GraphResults:
        """Give what there is so far."""
        found = GraphResults()
        for name in self._runs:
            if name in self._found:
                found[name] = self._found[name]
        found.skipped.update(self._skipped)
        return found

    def done(self) -> GraphResults:
        """Give the results, or raise what experiments raised."""
        if not self.failures:
            return self.results()
        first = next(iter(self.failures.values()))
        raise GraphRunError(self.failures, self.results()) from first

    def _skip(self, name: str, above: str) -> None:
        root = self._skipped.get(above) or f"{above!r}: {self._stopped[above]}"
        self._stopped[name] = root
        self._skipped[name] = root
        _LOGGER.warning("experiment %r is not run, since it depends on experiment %s", name, root)
        self._sorter.done(name)
