"""The small experiment in which plugins are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.datasources import data_source
from crystallize.design import Treatment
from crystallize.errors import ArgumentTypeError, MissingDistributionError
from crystallize.experiments.experiment import Experiment
from crystallize.fingerprint import value_of
from crystallize.hooks import build_plugins, find_plugins
from crystallize.names import did_you_mean
from crystallize.pipelines import Pipeline, pipeline_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.context import FrozenContext
    from crystallize.results.result import Result

__all__ = [
    "EXECUTORS",
    "REPLICATES",
    "TREATMENTS",
    "executor_named",
    "experiment_with",
    "numbers",
    "numbers_of",
    "run_sample",
    "scale",
    "summarise",
]

REPLICATES = 3
EXECUTORS = {
    "serial": ("serial", {}),
    "thread": ("parallel", {"max_workers": 2, "executor_type": "thread"}),
    "process": ("parallel", {"max_workers": 2, "executor_type": "process"}),
    "async": ("async", {"max_concurrency": 2}),
}
"""What crystallize-plugins runs cells with: the name and the settings of each."""
_FRAMEWORKS = {"condition", "replicate", "factor", "fails"}


@data_source
def numbers(ctx: FrozenContext) -> list[float]:
    """Give the replicate's numbers."""
    return [float(ctx["replicate"] + position) for position in range(4)]


@pipeline_step()
def scale(data: list[float], ctx: FrozenContext, *, factor: float = 1.0, fails: bool = False) -> list[float]:
    """Multiply; fail where a treatment says so."""
    ctx.emit("scaled", factor=factor)
    if fails:
        raise ArithmeticError("this cell is meant to fail")
    return [factor * number for number in data]


@pipeline_step()
def summarise(data: list[float], ctx: FrozenContext) -> tuple[list[float], dict[str, Any]]:
    """Record what a change of data or context would show in."""
    added = {key: value_of(ctx[key]) for key in ctx if key not in _FRAMEWORKS}
    return data, {"total": sum(data), "size": len(data), "keys": sorted(ctx), "added": added}


TREATMENTS = (Treatment("doubled", {"factor": 2.0}), Treatment("failing", {"fails": True}))


def experiment_with(plugins: Sequence[object], *, strict: bool = False) -> Experiment:
    """Return the experiment with these plugins and no others."""
    return Experiment(
        numbers(),
        Pipeline([scale(), summarise()]),
        plugins=list(plugins),
        name="conformance",
        default_plugins=False,
        strict=strict,
    )


def executor_named(name: str) -> Any | None:
    """Return an executor of crystallize-plugins, or None where that is not installed.

    Raises
    ------
    ArgumentTypeError
        There is none of that name.
    """
    if name not in EXECUTORS:
        listed = ", ".join(map(repr, EXECUTORS))
        raise ArgumentTypeError(f"executor={name!r}: write one of {listed}.{did_you_mean(name, EXECUTORS)}")
    usable = [record.name for record in find_plugins() if record.is_official and record.problem is None]
    if EXECUTORS[name][0] not in usable:
        return None
    return build_plugins([EXECUTORS[name]], default_plugins=False)[0]


def run_sample(*plugins: object, executor: str = "serial", strict: bool = True, replicates: int = REPLICATES) -> Result:
    """Run a small experiment with plugins and no others: a baseline, a treatment, and one whose cells fail.

    Parameters
    ----------
    *plugins : object
        Instances, classes, names of installed plugins, and pairs ``(name, settings)``.
    executor : {"serial", "thread", "process", "async"}, default "serial"
        What runs the cells, unless a plugin among `plugins` does. All but the first need crystallize-plugins.
    strict : bool, default True
        Whether neutral plugins are held to changing nothing.
    replicates : int, default 3

    Returns
    -------
    Result
        Of the conditions ``baseline``, ``doubled`` and ``failing``, with the metrics ``total``, ``size``, ``keys`` (of
        the context) and ``added`` (to the context by plugins).

    Examples
    --------
    >>> from crystallize import BasePlugin
    >>> class Counts(BasePlugin):
    ...     neutral = True
    ...     cells = 0
    ...
    ...     def collect(self, outcome):
    ...         self.cells += 1
    >>> counts = Counts()
    >>> result = run_sample(counts)
    >>> counts.cells, list(result.metrics.treatments["doubled"].metrics["total"])
    (9, [12.0, 20.0, 28.0])
    """
    built = build_plugins(plugins, default_plugins=False)
    if executor != "serial":
        chosen = executor_named(executor)
        if chosen is None:
            raise MissingDistributionError(
                f"executor={executor!r} is part of crystallize-plugins: pip install crystallize-plugins",
                distribution="crystallize-plugins",
            )
        built.insert(0, chosen)  # The last in the list that answers runs the cells.
    return experiment_with(built, strict=strict).run(treatments=TREATMENTS, replicates=replicates)


def numbers_of(result: Result) -> dict[str, dict[str, list[Any]]]:
    """Return every metric by condition."""
    conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    return {
        condition: {name: list(values) for name, values in found.metrics.items()}
        for condition, found in conditions.items()
    }
