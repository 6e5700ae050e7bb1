"""`Result`: what a run gives back."""

from __future__ import annotations

import copy
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import isolate
from crystallize.discovery.loading import load_plugin
from crystallize.errors import MissingExtraError, PluginNotFoundError, UnknownNameError
from crystallize.names import counted, did_you_mean
from crystallize.results.collected import collected
from crystallize.results.export import result_to_dict, write_json
from crystallize.results.metrics import (
    BASELINE,
    ExperimentMetrics,
    HypothesisResult,
    by_condition,
    metrics_of,
)
from crystallize.results.provenance import (
    ArtifactsView,
    ByCondition,
    ByReplicate,
    ConditionLog,
    ConditionRecord,
    Conditions,
)
from crystallize.results.secrets import mask_secrets
from crystallize.results.tabular import Tabular
from crystallize.results.tree import print_text, tree_text

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from crystallize.results.columns import CellColumns, LazyOutcomes
    from crystallize.results.outcome import ArtifactRecord, CellOutcome, PluginFailure

__all__ = ["FRAMEWORK_FACTS", "Result", "build_result", "result_of_columns"]

_DEFAULT_TREE = "treatment > replicate > step"
# Facts in which a name such as ``get_token`` is that of a function or a package, and no secret stands beside it.
_NAMES_OF_CODE = frozenset({"code", "git", "packages"})


FRAMEWORK_FACTS = frozenset(
    {
        "replicates", "replicates_requested", "cells", "seeds", "durations", "workers", "ctx_changes", "before_steps",
        "artifacts", "artifacts_of_failed_cells", "attempts", "plugin_failures", "plugin_cost", "plugins", "policies",
        "preregistration", "run", "stopping", "unread",
    }
)  # fmt: skip
"""Entries of provenance that are the framework's own."""


class Result(Tabular):
    """The metrics of a run, what failed, what was written, and how it all came about.

    Runs give it; `build_result` makes one from outcomes.

    Attributes
    ----------
    metrics : ExperimentMetrics
        ``.baseline``, ``.treatments[name]`` and ``.hypotheses``.
    errors : dict of str to BaseException
        What failed, in three kinds of keys: ``"<condition>_rep_<n>"`` for a cell, ``"hypothesis:<name>"`` for a
        hypothesis, and what the engine could not place elsewhere, such as the teardown of a step.
    plugin_errors : list of PluginFailure
        Errors of plugins that were kept as data.
    conditions : tuple of ConditionRecord
        Baseline and treatments as they ran, in order; ``conditions["fast"]`` is the one of that name. `unread` of each
        lists the keys of its treatment that nothing has read.
    logs : dict of str to ConditionLog
        What the cells of each condition left behind: that of which metrics and provenance are made.
    facts : dict
        The part of `provenance` that was not made of the cells: what a store keeps beside them.
    provenance : dict
        How the numbers came about:

        ``replicates``
            Number of replicates of which at least one cell ran.
        ``replicates_requested``
            Number that was asked for.
        ``cells``
            For each condition how many cells were ``requested``, ``completed``, ``failed`` and are ``missing``; in an
            optimisation also how many were ``pruned``, where some were.
        ``seeds``, ``durations`` (seconds), ``workers``
            For each condition a list, one entry a cell, in replicate order.
        ``ctx_changes``
            For each condition and replicate a list of what each step did: ``step``, ``params``, ``cache_hit``,
            ``reads``, ``writes``, ``metrics`` and ``duration`` (seconds; None for the step that failed).
        ``before_steps``
            For each condition and replicate what treatment, seeding and data source read, wrote and recorded.
        ``artifacts``
            For each file its ``condition``, ``replicate``, ``step``, ``name``, ``path``, ``sha256`` and ``size``
            (bytes).
        ``artifacts_of_failed_cells``
            The same for what cells wrote that failed, in their last attempts: to be looked at, and handed on to nobody.
        ``attempts``
            For each condition and replicate that did not succeed at once a list of the attempts that failed and were
            followed by another: ``number`` (from 1), ``step``, ``error_type``, ``error`` and ``duration`` (seconds).
        ``plugin_failures``
            The plugins' errors, as mappings.
        ``unread``
            For each condition of which there are some the keys of its treatment that none of its cells has read.
        ``stopping``
            Of a run with ``until``: the ``hypothesis``, the ``looks`` (how many replicates there were at each), and the
            ``reason`` for its end, ``"decided"`` or ``"budget"``; empty where something else ended it.
        ``preregistration``
            Of a run that carries out a plan: its ``digest``, and when it was ``created``.
        ``plugin_cost``
            Of an experiment with ``account=True``, by plugin: ``import_ms``, ``seconds``, ``share``, and ``hooks`` with
            the ``calls`` and ``seconds`` of each.
        ``plugins``, ``run`` and others
            Facts about the run: the lock of the plugins, identity, folder and start of the run, and what
            plugins collected. Of a stored run ``code`` (digests and source of everything of the project that it ran),
            ``data``, ``definition`` (where the experiment was made), ``environment``, ``libraries`` (BLAS and OpenMP),
            ``packages``, ``git`` and ``command`` are among them.

        Secrets are masked: values under names such as ``api_key`` or ``password``, and in texts what `mask_text`
        of `crystallize.hooks.tools` finds.

    Examples
    --------
    >>> from crystallize.hooks import Cell, CellOutcome
    >>> result = build_result(
    ...     conditions=[ConditionRecord("baseline"), ConditionRecord("fast")],
    ...     outcomes=[
    ...         CellOutcome(Cell("fast", 0), {"loss": [0.25]}, seed=7),
    ...         CellOutcome(Cell("baseline", 0), {"loss": [0.5]}, seed=7),
    ...     ],
    ...     replicates=1,
    ...     facts={},
    ... )
    >>> result.metrics.treatments["fast"].metrics["loss"], result.provenance["seeds"]["fast"]
    ([0.25], [7])
    >>> result
    <Result: baseline and 1 treatment, 1 replicate, 2 cells, metrics: loss>
    """

    def __init__(
        self,
        metrics: ExperimentMetrics,
        *,
        logs: Mapping[str, ConditionLog],
        replicates: int,
        facts: Mapping[str, Any],
        errors: Mapping[str, BaseException],
        plugin_errors: Sequence[PluginFailure],
    ) -> None:
        self.metrics = metrics
        self.errors = dict(errors)
        self.plugin_errors = list(plugin_errors)
        unread = facts.get("unread", {})
        self.conditions = Conditions(
            replace(log.record, unread=tuple(unread[name])) if name in unread else log.record
            for name, log in logs.items()
        )
        self.logs = dict(logs)
        masked = mask_secrets({name: value for name, value in facts.items() if name not in _NAMES_OF_CODE})
        self.facts: dict[str, Any] = {name: masked.get(name, value) for name, value in facts.items()}
        self.provenance = _provenance(self.logs, replicates, self.plugin_errors)
        self.provenance.update(self.facts)

    @property
    def record_complete(self) -> bool:
        """Whether every plugin did its part; False once one's error was kept as data."""
        return not self.plugin_errors

    @property
    def metric_names(self) -> list[str]:
        """The names of all recorded metrics, whichever condition recorded them."""
        conditions = (self.metrics.baseline, *self.metrics.treatments.values())
        return list(dict.fromkeys(name for condition in conditions for name in condition.names))

    @property
    def artifacts(self) -> dict[str, dict[str, Path]]:
        """The stored files: by file name and condition the path that the first replicate wrote."""
        found: dict[str, dict[str, Path]] = {}
        for condition, _, record in self.artifact_records():
            if record.path is not None:
                found.setdefault(record.name, {}).setdefault(condition, Path(record.path))
        return found

    def get_artifact(self, file: str, *, step: str | None = None) -> dict[str, Path]:
        """Return where each condition stored a file.

        Parameters
        ----------
        file : str
            Name of the file.
        step : str, optional
            Name of the step's folder, such as ``"PublishStep"``: needed where two steps write files of one name,
            of which otherwise the first one's is given.

        Returns
        -------
        dict of str to Path
            By condition the file of the first replicate that has it; empty where none was stored. The files of
            all replicates are listed in ``provenance["artifacts"]``.
        """
        found: dict[str, Path] = {}
        for condition, _, record in self.artifact_records():
            if record.name == file and record.path is not None and step in (None, record.step):
                found.setdefault(condition, Path(record.path))
        return found

    def get_hypothesis(self, name: str) -> HypothesisResult:
        """Return what testing the hypothesis of that name gave.

        Raises
        ------
        UnknownNameError
            A `KeyError`: no hypothesis of that name was tested; with the nearest name.
        """
        known = {tested.name: tested for tested in self.metrics.hypotheses}
        if name not in known:
            listed = f"its hypotheses: {', '.join(map(repr, known))}" if known else "no hypothesis was tested in it"
            raise UnknownNameError(f"the result has no hypothesis {name!r}.{did_you_mean(name, known)} {listed}")
        return known[name]

    def summary(
        self,
        metrics: str | Sequence[str] | None = None,
        *,
        hypotheses: str | Sequence[str] | None = None,
        confidence: float = 0.95,
    ) -> str:
        """Return what a person should know of the result: what ran, a table, the verdicts, what failed.

        Parameters
        ----------
        metrics : str or list of str, optional
            Those in the table; by default every metric whose values are numbers.
        hypotheses : str or list of str, optional
            Names of the hypotheses that are told of; by default all.
        confidence : float, default 0.95
            Of the interval for the difference to the baseline, which the table has where nothing was tested.

        Returns
        -------
        str
            Plain text of several lines, the same for two runs with one seed: no times, no folders. Each verdict is a
            sentence, with its warnings; where a claim is not shown, another says which effects the interval still
            allows, and how many replicates would halve it. The number of comparisons, the correction of their p-values
            and how far the verdicts may be believed follow.

        Raises
        ------
        KeyError
            There is no hypothesis of a name.
        MissingMetricError
            No condition recorded a metric that was asked for.
        TypeError
            A value of a metric that was asked for is no number.

        Examples
        --------
        >>> print(experiment.run().summary())  # doctest: +SKIP
        """
        from crystallize.results.summary import summary_text  # a run does not wait for it

        return summary_text(self, metrics, hypotheses=hypotheses, confidence=confidence)

    def _repr_html_(self) -> str:
        from crystallize.results.summary import summary_html

        return summary_html(self)

    def tree_text(self, fmt: str = _DEFAULT_TREE) -> str:
        """Return what `print_tree` prints, as text."""
        return tree_text(self.logs, fmt)

    def print_tree(self, fmt: str = _DEFAULT_TREE) -> None:
        """Print what happened, as a tree, to standard output.

        Parameters
        ----------
        fmt : str, default "treatment > replicate > step"
            The levels, from the root: any of ``treatment``, ``replicate``, ``step`` and ``action`` in any order,
            each at most once and ``action`` last. Actions are what a step read, wrote and recorded. The seeds that
            were used are always shown; how long a cell and its steps took, in which worker and after which attempts,
            where a line stands for one cell.

        Raises
        ------
        TypeError
            `fmt` is no text.
        ValueError
            `fmt` is none of these formats.
        """
        print_text(self.tree_text(fmt))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that any JSON writer takes.

        Returns
        -------
        dict
            ``metrics`` (``baseline`` and ``treatments``), ``hypotheses``, ``errors`` (texts) and ``provenance``. NaN
            and infinities are None, NumPy numbers are numbers, arrays are nested lists, and what JSON cannot hold
            is text.
        """
        return result_to_dict(self.metrics, self.errors, self.provenance)

    def to_json(self, path: str | os.PathLike[str] | None = None, *, indent: int | None = 2) -> str:
        """Give, and write if asked to, the result as JSON.

        Parameters
        ----------
        path : path, optional
            A file to write to. It appears whole or not at all; folders on the way are made.
        indent : int or None, default 2
            Spaces per level; None for a single line.

        Returns
        -------
        str
            JSON by the letter of the standard: no ``NaN``, no ``Infinity``.
        """
        return write_json(self.to_dict(), path, indent=indent)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a report for people: one HTML file with verdicts, plots, failures, and how it all came about.

        Parameters
        ----------
        path : path
            The file. It appears whole or not at all, in place of one that is there; folders on the way are made.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        MissingExtraError
            An `ImportError`: crystallize-plugins, which makes the page, is not installed.
        TypeError
            `path` is no path.
        ValueError
            `path` is a folder.

        Examples
        --------
        >>> experiment.run().report("report.html")  # doctest: +SKIP
        PosixPath('report.html')
        """
        try:
            write: Callable[[Result, str | os.PathLike[str]], Path] = load_plugin("html", "crystallize.reports")
        except PluginNotFoundError:
            raise MissingExtraError(
                "reports are made by crystallize-plugins, which is not installed, or is of another version. "
                "Install it: pip install crystallize-plugins",
                distribution="crystallize-plugins",
            ) from None
        return write(self, path)

    def copied(self) -> Result:
        """Return a result that is equal to this one, and shares nothing with it that can be changed."""
        metrics = self.metrics
        copied = Result(
            ExperimentMetrics(
                metrics.baseline.copied(),
                {name: part.copied() for name, part in metrics.treatments.items()},
                [
                    replace(
                        tested,
                        results=isolate(tested.results),
                        ranking=isolate(tested.ranking),
                        errors=dict(tested.errors),
                    )
                    for tested in metrics.hypotheses
                ],
            ),
            logs={name: copy.copy(log) for name, log in self.logs.items()},
            replicates=self.provenance["replicates_requested"],
            facts={},
            errors=self.errors,
            plugin_errors=self.plugin_errors,
        )
        copied.conditions = self.conditions
        copied.facts = isolate(self.facts)
        copied.provenance.update(copied.facts)
        return copied

    def note_plugin_errors(self, failures: Iterable[PluginFailure]) -> None:
        """Add errors of plugins that came after the result was made, as those of ``after_run`` do."""
        for failure in failures:
            self.plugin_errors.append(failure)
            self.provenance["plugin_failures"].append(_failure_entry(failure))

    def __repr__(self) -> str:
        treatments = sum(name != BASELINE for name in self.logs)
        cells = sum(len(log.replicates) for log in self.logs.values())
        failed = sum(len(log.failed) for log in self.logs.values())
        pruned = sum(len(log.pruned) for log in self.logs.values())
        counts = ", ".join(f"{count} {what}" for count, what in ((failed, "failed"), (pruned, "pruned")) if count)
        parts = [
            " and ".join([BASELINE] * (BASELINE in self.logs) + [counted(treatments, "treatment")] * (treatments > 0)),
            counted(self.provenance["replicates"], "replicate"),
            counted(cells, "cell") + (f" ({counts})" if counts else ""),
            f"metrics: {', '.join(self.metric_names) or 'none'}",
        ]
        if self.metrics.hypotheses:
            parts.append(f"hypotheses: {', '.join(tested.name for tested in self.metrics.hypotheses)}")
        return f"<Result: {', '.join(filter(None, parts))}>"

    @property
    def succeeded(self) -> set[str]:
        """The conditions of which a cell succeeded; not from `provenance`, whose entries plugins may replace."""
        return {name for name, log in self.logs.items() if log.succeeded}

    def artifact_records(self) -> Iterator[tuple[str, int, ArtifactRecord]]:
        """Yield condition, replicate and record of each file that a successful cell wrote."""
        return ArtifactsView(self.logs).records()


def build_result(
    *,
    conditions: Sequence[ConditionRecord],
    outcomes: Iterable[CellOutcome] | LazyOutcomes,
    replicates: int,
    facts: Mapping[str, Any],
    errors: Mapping[str, BaseException] | None = None,
    plugin_errors: Sequence[PluginFailure] = (),
    hypotheses: Sequence[HypothesisResult] = (),
    metrics: ExperimentMetrics | None = None,
) -> Result:
    """Make a result of outcomes.

    Parameters
    ----------
    conditions : sequence of ConditionRecord
        In the order in which they are to appear.
    outcomes : iterable of CellOutcome, or LazyOutcomes
        In any order; nothing of the result depends on it. Only their columns are kept, read when somebody looks.
    replicates : int
        Number of replicates that was asked for.
    facts : mapping of str to object
        Facts about the run; they become entries of `Result.provenance`.
    errors : mapping of str to exception, optional
        Errors beside those of cells, such as those of hypotheses.
    plugin_errors : sequence of PluginFailure, optional
        Those beside what the outcomes carry; one that is also in an outcome counts once.
    hypotheses : sequence of HypothesisResult, optional
        What judging gave.
    metrics : ExperimentMetrics, optional
        What `collect_metrics` gave for the same outcomes, if that was called already.

    Returns
    -------
    Result
    """
    return result_of_columns(
        by_condition(collected(outcomes), conditions),
        conditions=conditions,
        replicates=replicates,
        facts=facts,
        errors=errors,
        plugin_errors=plugin_errors,
        hypotheses=hypotheses,
        metrics=metrics,
    )


def result_of_columns(
    columns_of: Mapping[str, CellColumns],
    *,
    conditions: Sequence[ConditionRecord],
    replicates: int,
    facts: Mapping[str, Any],
    errors: Mapping[str, BaseException] | None = None,
    plugin_errors: Sequence[PluginFailure] = (),
    hypotheses: Sequence[HypothesisResult] = (),
    metrics: ExperimentMetrics | None = None,
) -> Result:
    """Make a result of the cells of each condition by column; as `build_result`."""
    if metrics is None:
        metrics = metrics_of(columns_of)
    metrics = ExperimentMetrics(metrics.baseline, metrics.treatments, [*metrics.hypotheses, *hypotheses])
    records = {condition.name: condition for condition in conditions}
    # Without an optimiser nobody prunes: there it is a failure like any other.
    optimised = facts.get("run", {}).get("kind") == "trial"
    logs = {}
    failures: dict[int, PluginFailure] = {}
    all_errors: dict[str, BaseException] = {}
    for name, columns in columns_of.items():
        log = logs[name] = ConditionLog(records.get(name) or ConditionRecord(name), columns)
        if optimised:
            log.part_pruned()
        for outcome in columns.rare:
            if outcome.error is not None and outcome.cell.replicate not in log.pruned:
                all_errors[outcome.cell.key] = outcome.error
            for failure in outcome.plugin_failures:
                failures[id(failure)] = failure
    failures.update((id(failure), failure) for failure in plugin_errors)
    return Result(
        metrics,
        logs=logs,
        replicates=replicates,
        facts=facts,
        errors={**all_errors, **(errors or {})},
        plugin_errors=list(failures.values()),
    )


def _provenance(logs: Mapping[str, ConditionLog], requested: int, failures: Sequence[PluginFailure]) -> dict[str, Any]:
    ran: Collection[int] = ()
    cells = {}
    for name, log in logs.items():
        if ran != log.replicates:  # nearly always each condition has the same
            ran = {*ran, *log.replicates} if ran else log.replicates
        cells[name] = {
            "requested": requested,
            "completed": log.succeeded,
            "failed": len(log.failed),
            "missing": max(0, requested - len(log.replicates)),
        }
        if log.pruned:
            cells[name]["pruned"] = len(log.pruned)
    return {
        "replicates": len(ran),
        "replicates_requested": requested,
        "cells": cells,
        "seeds": ByCondition(logs, attrgetter("columns.seeds")),
        "durations": ByCondition(logs, attrgetter("columns.durations")),
        "workers": ByCondition(logs, attrgetter("columns.workers")),
        "ctx_changes": {name: ByReplicate(log, ConditionLog.steps_of) for name, log in logs.items()},
        "before_steps": {name: ByReplicate(log, ConditionLog.before_of) for name, log in logs.items()},
        "artifacts": ArtifactsView(logs),
        "artifacts_of_failed_cells": ArtifactsView(logs, failed=True),
        "attempts": {
            name: {replicate: [attempt._asdict() for attempt in made] for replicate, made in log.attempts.items()}
            for name, log in logs.items()
            if log.attempts
        },
        "plugin_failures": [_failure_entry(failure) for failure in failures],
    }


def _failure_entry(failure: PluginFailure) -> dict[str, Any]:
    return {
        "plugin": failure.plugin,
        "distribution": failure.distribution,
        "version": failure.version,
        "hook": failure.hook,
        "cell": None if failure.cell is None else failure.cell.key,
        "error": failure.error,
    }
