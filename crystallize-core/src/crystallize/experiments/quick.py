"""`quick_experiment`: a function, some configurations, a table of values."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, cast

from crystallize.checks import check_count, check_flag, check_integer
from crystallize.context.isolation import isolate
from crystallize.datasources.base import DataSource
from crystallize.design import Treatment
from crystallize.engine.plan import BASELINE
from crystallize.errors import ArgumentTypeError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.request import Request
from crystallize.hooks import find_plugins
from crystallize.names import check_name
from crystallize.pipelines import Pipeline, PipelineStep
from crystallize.signatures import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from crystallize.context import FrozenContext
    from crystallize.results.outcome import CellOutcome

__all__ = ["quick_experiment"]

_METRIC = "value"


class _Nothing(DataSource):
    """The data source of an experiment that needs no data."""

    def fetch(self, ctx: FrozenContext) -> None:  # noqa: ARG002 - the contract's signature
        return None


class _Call(PipelineStep):
    """The one step: calls the function with its configuration."""

    def __init__(self, fn: Callable[..., Any], configs: Mapping[str, Any], wanted: int) -> None:
        self._fn = fn
        self._configs = configs
        self._wanted = wanted

    @property
    def name(self) -> str:
        return getattr(self._fn, "__name__", type(self._fn).__name__)

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        arguments = (isolate(self._configs.get(ctx["condition"]), ctx._copies), ctx)[: self._wanted]
        value = self._fn(*arguments)
        if inspect.isawaitable(value):
            return self._awaited(value, ctx)
        ctx.metrics.add(_METRIC, value)
        return data

    @staticmethod
    async def _awaited(value: Any, ctx: FrozenContext) -> None:
        ctx.metrics.add(_METRIC, await value)


def quick_experiment(
    fn: Callable[..., Any],
    configs: Mapping[str, Any] | None = None,
    replicates: int = 1,
    *,
    seed: int | None = None,
    verbose: bool = False,
) -> dict[str, list[Any]]:
    """Call a function for every configuration and replicate, seeded, and give its values.

    Parameters
    ----------
    fn : callable
        ``fn()``, ``fn(config)`` or ``fn(config, ctx)``.
    configs : mapping of str to object, optional
        Configurations by name; any value, None included, is the function's argument. By default there
        is one, ``"baseline"``, of None.
    replicates : int, default 1
    seed : int, optional
        Any integer; by default one is drawn. Replicate *r* has the same seed in every configuration.
    verbose : bool, default False
        Whether progress is logged.

    Returns
    -------
    dict of str to list
        What the function returned, in replicate order.

    Raises
    ------
    Exception
        Whatever the function raised.

    Examples
    --------
    >>> quick_experiment(lambda config: config["x"] * 2, {"a": {"x": 1}, "b": {"x": 4}}, replicates=2)
    {'a': [2, 2], 'b': [8, 8]}
    """
    check_count(replicates, what="replicates")
    check_flag(verbose, what="verbose")
    if not callable(fn):
        raise ArgumentTypeError(f"quick_experiment needs a function, not {type(fn).__name__}")
    if configs is None:
        configs = {BASELINE: None}
    if not hasattr(configs, "items"):
        raise ArgumentTypeError(f"configs must be a mapping of names to configurations, not {type(configs).__name__}")
    for name in configs:
        check_name(name, what="configuration")
    if not configs:
        return {}
    experiment = Experiment(
        _Nothing(),
        Pipeline([_Call(fn, configs, _wanted_arguments(fn))]),
        plugins=_plugins(seed, verbose=verbose),
        default_plugins=False,
        treatments=[Treatment(name, {}) for name in configs if name != BASELINE],
        replicates=replicates,
    )
    values: dict[str, list[Any]] = {name: [] for name in configs}
    outcomes = {}
    run = experiment._run_of(Request(), baseline=BASELINE in configs)
    # Closed here: an exception would keep the stream, and with it the end of the run, waiting in its traceback.
    with contextlib.closing(cast("Generator[CellOutcome, None, None]", run.stream())) as stream:
        for outcome in stream:
            if outcome.error is not None:
                raise outcome.error.original_exception or outcome.error
            outcomes[outcome.cell] = outcome
    for cell in sorted(outcomes, key=lambda cell: cell.replicate):
        values[cell.condition].extend(outcomes[cell].metrics[_METRIC])
    return values


def _wanted_arguments(fn: Callable[..., Any]) -> int:
    try:
        parameters = signature_of(fn).parameters.values()
    except (ValueError, TypeError):
        return 1
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 2
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [parameter for parameter in parameters if parameter.kind in kinds]
    # A second parameter with a default of its own, and another name, is no place for the context.
    second = len(found) > 1 and (found[1].name == "ctx" or found[1].default is inspect.Parameter.empty)
    return min(len(found), 2 if second else 1)


def _plugins(seed: int | None, *, verbose: bool) -> list[Any]:
    if seed is not None:
        check_integer(seed, what="seed")
    plugins: list[Any] = []
    if seed is not None or any(record.name == "seed" for record in find_plugins()):
        plugins.append(("seed", {"seed": seed}))
    if verbose:
        plugins.append(("logging", {"verbose": True}))
    return plugins
