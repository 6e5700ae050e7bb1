"""What a plugin does to an experiment: the same cells with it and without it, in two orders, twice, in every worker."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, PluginInfo

__all__ = ["EXECUTORS", "NeighbourPlugin", "OutcomesPlugin", "nothing_written", "prove_plugin", "run_on_sample"]

EXECUTORS: dict[str, Any] = {
    "serial": "serial",
    "thread": ("parallel", {"max_workers": 2, "executor_type": "thread"}),
    "process": ("parallel", {"max_workers": 2, "executor_type": "process"}),
}
"""Under which a plugin is tried, and what to put into ``plugins=[...]`` for each."""


class NeighbourPlugin(BasePlugin):
    """Stands before or after the plugin that is tried, and puts something of its own into the context."""

    contract = ">=1,<2"

    def before_replicate(self, experiment: Any, ctx: Any) -> None:  # noqa: ARG002 - the hook's own names
        """Add a key."""
        ctx.add("of_another_plugin", 1)


class OutcomesPlugin(BasePlugin):
    """Keeps the outcomes of a run."""

    contract = ">=1,<2"
    neutral = True

    def __init__(self) -> None:
        self.outcomes: dict[Cell, CellOutcome] = {}

    def collect(self, experiment: Any, outcome: CellOutcome) -> None:  # noqa: ARG002 - the hook's own names
        """Keep one."""
        self.outcomes[outcome.cell] = outcome

    def __getstate__(self) -> dict[str, Any]:
        return {"outcomes": {}}


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run gave."""

    outcomes: dict[Cell, CellOutcome] = field(default_factory=dict)
    error: str | None = None


def run_on_sample(plugins: Sequence[object], *, strict: bool) -> Result:
    """Run the conformance kit's small experiment with these plugins, seeded."""
    from crystallize.hooks import SeederPlugin
    from crystallize.testing import run_sample

    seeded = any(isinstance(plugin, SeederPlugin) for plugin in plugins)
    return run_sample(*([] if seeded else [("seed", {"seed": 1})]), *plugins, strict=strict)


@contextmanager
def nothing_written(*, elsewhere: bool) -> Iterator[Path]:
    """Let the cache of steps, and where that is wanted the working folder, be one that is gone afterwards.

    Parameters
    ----------
    elsewhere : bool
        Whether the working folder is that one.

    Yields
    ------
    Path
        The folder.
    """
    variable = "CRYSTALLIZE_CACHE_DIR"
    before, cwd = os.environ.get(variable), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="crystallize-prove-", ignore_cleanup_errors=True) as name:
        os.environ[variable] = str(Path(name, "cache"))
        try:
            if elsewhere:
                os.chdir(name)
            yield Path(name)
        finally:
            os.chdir(cwd)
            os.environ.pop(variable)
            if before is not None:
                os.environ[variable] = before


def prove_plugin(build: Callable[[], Any], run_with: Callable[..., Result], executors: Sequence[str]) -> dict[str, Any]:
    """Run an experiment with and without a plugin, and compare all that each cell gave, bit for bit.

    Parameters
    ----------
    build : callable
        Builds the plugin anew for every run.
    run_with : callable
        Runs an experiment with these plugins beside its own; `strict` says whether each hook may be held to leave the
        random state alone, which other threads change as well.
    executors : sequence of str
        Of `EXECUTORS`; a plugin that runs the cells itself is tried as what it is.

    Returns
    -------
    dict
        ``holds``, ``comparisons`` and ``findings``.
    """
    from crystallize.hooks import ActivePlugins

    (info,) = ActivePlugins.resolve([build()], complete=False).infos
    runs_cells = "run_experiment_loop" in info.hooks
    labels = {info.name: None} if runs_cells else {name: EXECUTORS[name] for name in executors}
    findings: dict[tuple[str, str], dict[str, Any]] = {}
    comparisons, before = [], {}

    for label, spec in labels.items():
        strict = label in ("serial", "process")

        def run(*plugins: object, spec: Any = spec, strict: bool = strict) -> _Run:
            listed = [*plugins, *([] if spec is None else [spec])]
            return _run(lambda added: run_with(added, strict=strict), listed, info, findings)

        without = run(NeighbourPlugin())
        first = run(build(), NeighbourPlugin())
        last = run(NeighbourPlugin(), build())
        again = run(build(), NeighbourPlugin())
        for what, one, other in (("without", without, first), ("order", first, last), ("again", first, again)):
            comparisons.append(_compared(what, label, one, other))
        before[label] = first
    serial = next(iter(before))
    comparisons += [
        _compared("executor", label, before[serial], run) for label, run in before.items() if label != serial
    ]
    expected = {"without"} if info.neutral is not True else set()
    holds = not findings and all(each["identical"] or each["what"] in expected for each in comparisons)
    return {"holds": holds, "comparisons": comparisons, "findings": list(findings.values())}


def _run(
    run_with: Callable[[Sequence[object]], Result],
    plugins: Sequence[object],
    info: PluginInfo,
    findings: dict[tuple[str, str], dict[str, Any]],
) -> _Run:
    """Run once; what goes wrong in the plugin is a finding."""
    kept = OutcomesPlugin()

    def found(error: BaseException | str, rule: str | None) -> None:
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        rule = rule or "errors"
        findings[rule, text] = {"rule": rule, "state": "problem", "text": text, "where": None}

    try:
        result = run_with([*plugins, kept])
    except Exception as error:  # noqa: BLE001 - whatever stops the run is what is looked for
        found(error, getattr(error, "rule", None) or ("pickle" if "pickle" in str(error) else None))
        return _Run(kept.outcomes, f"{type(error).__name__}: {error}")
    for failure in result.plugin_errors:
        if failure.plugin == info.name:
            found(f"in {failure.hook}: {failure.error}", getattr(failure, "rule", None))
    return _Run(dict(kept.outcomes))


def _compared(what: str, executor: str, recorded: _Run, now: _Run) -> dict[str, Any]:
    from crystallize_plugins.runs.reproducing import drift

    differences = [
        each.to_dict() for cell, outcome in recorded.outcomes.items() for each in drift(outcome, now.outcomes.get(cell))
    ]
    differences += [
        {"condition": cell.condition, "replicate": cell.replicate, "what": "outcome", "recorded": None, "now": "ran"}
        for cell in now.outcomes
        if cell not in recorded.outcomes
    ]
    if recorded.error != now.error:
        ran = {"condition": None, "replicate": None, "what": "run", "recorded": recorded.error, "now": now.error}
        differences.append(ran)
    return {"what": what, "executor": executor, "identical": not differences, "differences": differences}
