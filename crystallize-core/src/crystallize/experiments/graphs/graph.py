"""`ExperimentGraph`: experiments, and which of them reads what which other wrote."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.datasources.inputs import producers
from crystallize.errors import ArgumentTypeError, GraphError, ValidationError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment_keys import among
from crystallize.names import check_distinct, did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

    from crystallize.design import Treatment
    from crystallize.experiments.graphs.running import GraphResults

__all__ = ["ExperimentGraph"]


class ExperimentGraph:
    """Experiments that build on each other.

    An experiment that reads an `Artifact` of another, or an `Experiment.artifact_datasource`, depends on it. Further
    dependencies can be added by hand.

    Parameters
    ----------
    *experiments : Experiment
        All of them; or none, and `add_experiment` later. Each needs a name of its own.
    name : str, optional
        What the graph is called in pictures and messages.

    Raises
    ------
    ArgumentTypeError
        One of them is no experiment.
    ValidationError
        One has no name, or two have the same.
    GraphError
        One reads what no experiment of the graph writes, or they read from each other in a cycle.

    Examples
    --------
    >>> import json
    >>> from crystallize import Artifact, Experiment, ExperimentGraph, data_source, pipeline_step
    >>> table = Artifact("table.json", loader=lambda path: json.loads(path.read_text()))
    >>> @data_source
    ... def numbers(ctx):
    ...     return [1, 2, 3]
    >>> @pipeline_step()
    ... def publish(data, ctx, *, table: Artifact):
    ...     table.write(json.dumps(data))
    >>> @pipeline_step()
    ... def total(data, ctx):
    ...     return data, {"total": sum(data)}
    >>> make = Experiment(numbers(), [publish(table=table)], name="make", outputs=[table])
    >>> use = Experiment(table, [total()], name="use")
    >>> graph = ExperimentGraph(use, make)
    >>> graph.order
    ('make', 'use')
    >>> print(graph.to_mermaid())
    flowchart LR
        n0["make"]
        n1["use"]
        n0 -- "table.json" --> n1
    """

    def __init__(self, *experiments: Experiment, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise ArgumentTypeError(f"the name of a graph must be text, not {type(name).__name__}")
        self.name = name
        self._experiments: dict[str, Experiment] = {}
        self._added: dict[str, list[str]] = {}
        for experiment in experiments:
            self._take(experiment)
        if experiments:
            self.validate()

    @classmethod
    def from_experiments(cls, experiments: Iterable[Experiment], *, name: str | None = None) -> ExperimentGraph:
        """Make a graph of a list of experiments.

        Parameters
        ----------
        experiments : iterable of Experiment
            At least one.
        name : str, optional
        """
        if isinstance(experiments, Experiment) or not hasattr(experiments, "__iter__"):
            raise ArgumentTypeError(
                f"experiments must be a list of experiments, not {type(experiments).__name__}: [first, second]"
            )
        listed = list(experiments)
        if not listed:
            raise ValidationError("a graph needs at least one experiment: give ExperimentGraph.from_experiments([...])")
        return cls(*listed, name=name)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> ExperimentGraph:
        """Load the graph of a folder experiment: all that it reads from by ``experiment#output``, and itself.

        Parameters
        ----------
        path : path
            The folder of the last experiment, or its config.yaml; or a folder that holds the folders of all.
        overrides : iterable of str, optional
            For the last experiment, as for `Experiment.from_yaml`; not with a folder that holds several.

        Raises
        ------
        ConfigurationError
            With everything that is wrong, each with file, line and column, as ``problems``.
        ValidationError, GraphError
            The experiments do not make a graph.
        MissingExtraError
            The extra ``yaml`` is not installed: ``pip install "crystallize-plugins[yaml]"``.

        Examples
        --------
        >>> ExperimentGraph.from_yaml("experiments/report")  # doctest: +SKIP
        ExperimentGraph(preparation, training, report)
        """
        from crystallize.experiments.folders import experiments_of

        return cls.from_experiments(experiments_of(path, overrides))

    # -- what there is ----------------------------------------------------------------------------

    def add_experiment(self, experiment: Experiment) -> None:
        """Add an experiment; what it reads from others is found out by itself.

        Raises
        ------
        ArgumentTypeError
            It is no experiment.
        ValidationError
            It has no name, or one that is there already.
        """
        self._take(experiment)

    def add_dependency(self, downstream: Experiment | str, upstream: Experiment | str) -> None:
        """Have one experiment wait for another that it does not read from.

        Parameters
        ----------
        downstream, upstream : Experiment or str
            Experiments of the graph, or their names.

        Raises
        ------
        GraphError
            One of them is not in the graph, or waits for the other already, so that neither could start.
        """
        below, above = self._known(downstream), self._known(upstream)
        added = self._added.setdefault(below, [])
        if above in added:
            return
        added.append(above)
        try:
            self._sorted()
        except GraphError:
            added.remove(above)
            raise

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """The experiments by name, in the order in which they were given."""
        return MappingProxyType(self._experiments)

    @property
    def order(self) -> tuple[str, ...]:
        """The names in an order in which each comes after all that it depends on."""
        return self._sorted()

    def upstream(self, experiment: Experiment | str) -> tuple[str, ...]:
        """Return the names of the experiments that one depends on directly."""
        return tuple(self.edges()[self._known(experiment)])

    def edges(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return all dependencies.

        Returns
        -------
        dict
            Downstream name to upstream name to the files that are read: none for a dependency added by hand.
        """
        names = {id(experiment): name for name, experiment in self._experiments.items()}
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for name, experiment in self._experiments.items():
            reads: dict[str, tuple[str, ...]] = {}
            for producer in producers(experiment.datasource):
                above = names.get(id(producer))
                if above is not None:
                    files = _files_read(experiment.datasource, producer)
                    reads[above] = tuple(dict.fromkeys((*reads.get(above, ()), *files)))
            for above in self._added.get(name, ()):
                reads.setdefault(above, ())
            found[name] = reads
        return found

    def validate(self) -> None:
        """Check that everything that is read is written by an experiment of the graph, and that there is no cycle.

        Raises
        ------
        GraphError
            Naming the experiments and what is missing.
        """
        if not self._experiments:
            raise GraphError("the graph has no experiments: add_experiment(experiment)")
        present = {id(experiment) for experiment in self._experiments.values()}
        for name, experiment in self._experiments.items():
            for producer in producers(experiment.datasource):
                if producer is None:
                    raise GraphError(
                        f"experiment {name!r} reads {_orphan(experiment.datasource)}, which no experiment writes: list "
                        "it in the outputs=[...] of the experiment that does",
                        experiment=name,
                    )
                if id(producer) not in present:
                    raise GraphError(
                        f"experiment {name!r} reads from experiment {producer.name or producer.id!r}, which is not in "
                        "the graph: add it, so that it runs first",
                        experiment=name,
                    )
        self._sorted()

    # -- running ----------------------------------------------------------------------------------

    def run(
        self,
        treatments: Iterable[Treatment] | None = None,
        replicates: int | None = None,
        strategy: str | Mapping[str, str] | None = None,
        *,
        max_parallel: int | None = None,
        cache: bool | Mapping[str, bool] | None = None,
        without: Collection[str] = (),
    ) -> GraphResults:
        """Run every experiment after those that it depends on, and wait for all of them.

        Experiments that do not depend on each other run at the same time, each in a thread.

        Parameters
        ----------
        treatments : iterable of Treatment, optional
            For every experiment, in place of its own. By default each has its own and, by name, those of the
            experiments it depends on; where two have one name, its own counts.
        replicates : int, optional
            For every experiment. By default each has its own, else those of what it reads.
        strategy : str or mapping of str to str, optional
            ``"rerun"`` or ``"resume"``, for every experiment or, by name, for some.
        max_parallel : int, optional
            How many experiments may run at the same time; by default all that can.
        cache : bool or mapping of str to bool, optional
            As for `Experiment.run`; steps are named ``"experiment.step"``.
        without : collection of str, optional
            Names of treatments that are left out, wherever they come from. An experiment that has none left tests no
            hypotheses.

        Returns
        -------
        GraphResults
            A dict of each experiment's name and `Result`. Where no cell of an experiment succeeded, what depends on it
            is not run, and stands in its `skipped`.

        Raises
        ------
        ArgumentTypeError, ValidationError, GraphError
            Before the first cell runs: the graph, an experiment in it, or an argument cannot be used.
        GraphRunError
            An experiment raised instead of giving a result; all that does not depend on it has run, and is in the
            error's `results`.
        """
        from crystallize.experiments.graphs.planning import planned
        from crystallize.experiments.graphs.running import run_plan

        with among(self.experiments.values()):
            plan = planned(self, treatments, replicates, strategy, cache=cache, without=without)
            return run_plan(plan, max_parallel)

    async def arun(
        self,
        treatments: Iterable[Treatment] | None = None,
        replicates: int | None = None,
        strategy: str | Mapping[str, str] | None = None,
        *,
        max_parallel: int | None = None,
        cache: bool | Mapping[str, bool] | None = None,
        without: Collection[str] = (),
    ) -> GraphResults:
        """Run the graph without blocking the running event loop; see `run`.

        Experiments with asynchronous steps run in the loop, the others in threads.
        """
        from crystallize.experiments.graphs.planning import planned
        from crystallize.experiments.graphs.running import arun_plan

        with among(self.experiments.values()):
            plan = planned(self, treatments, replicates, strategy, cache=cache, without=without)
            return await arun_plan(plan, max_parallel)

    # -- pictures ---------------------------------------------------------------------------------

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart, which many sites and editors draw."""
        from crystallize.experiments.graphs.drawing import mermaid

        return mermaid(self)

    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """Draw the graph.

        Parameters
        ----------
        path : path, optional
            Where to write the picture, too.

        Returns
        -------
        str
            A whole SVG document, which shows text and boxes and needs nothing else.
        """
        from crystallize.experiments.graphs.drawing import svg

        text = svg(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __repr__(self) -> str:
        named = f", name={self.name!r}" if self.name else ""
        return f"ExperimentGraph({', '.join(self._experiments)}{named})"

    # -- inside -----------------------------------------------------------------------------------

    def _take(self, experiment: Any) -> None:
        if not isinstance(experiment, Experiment):
            how = ": ExperimentGraph.from_experiments takes a list" if isinstance(experiment, (list, tuple)) else ""
            raise ArgumentTypeError(f"a graph is made of experiments, not of {type(experiment).__name__}{how}")
        if experiment.name is None:
            raise ValidationError(
                f"{experiment!r} has no name, and a graph tells its experiments apart by their names: "
                'Experiment(..., name="...")'
            )
        if self._experiments.get(experiment.name) is experiment:
            return
        check_distinct([*self._experiments, experiment.name], what="experiment")
        self._experiments[experiment.name] = experiment

    def _known(self, experiment: Any) -> str:
        name = experiment if isinstance(experiment, str) else getattr(experiment, "name", None)
        ours = self._experiments.get(name) if isinstance(name, str) else None
        if ours is None or (not isinstance(experiment, str) and ours is not experiment):
            shown = name if isinstance(name, str) else repr(experiment)
            raise GraphError(
                f"experiment {shown!r} is not in the graph: add_experiment(experiment) puts it there."
                f"{did_you_mean(shown, self._experiments)}"
            )
        return ours.name  # type: ignore[return-value]

    def _sorted(self) -> tuple[str, ...]:
        sorter: TopologicalSorter[str] = TopologicalSorter({name: list(above) for name, above in self.edges().items()})
        try:
            return tuple(sorter.static_order())
        except CycleError as exc:
            cycle = exc.args[1]
            raise GraphError(
                f"the experiments depend on each other in a cycle: {' -> '.join(map(repr, cycle))}, each for the one "
                "before it; remove one of these dependencies"
            ) from exc


def _files_read(source: Any, producer: Any) -> list[str]:
    parts = getattr(source, "sources", None)
    if parts is not None:
        return [file for part in parts.values() for file in _files_read(part, producer)]
    return [source.name] if getattr(source, "producer", None) is producer and producer is not None else []


def _orphan(source: Any) -> str:
    parts = getattr(source, "sources", None)
    if parts is not None:
        return next((_orphan(part) for part in parts.values() if producers(part) == (None,)), "an artifact")
    return f"the artifact {source.name!r}"
