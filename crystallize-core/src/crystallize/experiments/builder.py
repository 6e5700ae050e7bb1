"""`ExperimentBuilder`: an experiment put together part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.pipelines import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crystallize.datasources.artifact import Artifact
    from crystallize.design import Hypothesis, Treatment
    from crystallize.experiments.experiment import Experiment

__all__ = ["ExperimentBuilder"]


class ExperimentBuilder:
    """Collects the parts of an experiment; every method gives the builder back.

    Examples
    --------
    >>> from crystallize import ExperimentBuilder, data_source
    >>> @data_source
    ... def numbers(ctx):
    ...     return [3, 1, 2]
    >>> builder = ExperimentBuilder(name="sorted").datasource(numbers()).add_step(sorted).replicates(2)
    >>> builder.default_plugins(False).build().replicates
    2
    """

    def __init__(self, kind: type[Experiment] | None = None, name: str | None = None) -> None:
        if kind is None:
            from crystallize.experiments.experiment import Experiment

            kind = Experiment
        if isinstance(kind, str):
            raise ArgumentTypeError(f"the name is given by keyword: ExperimentBuilder(name={kind!r})")
        self._kind = kind
        self._parts: dict[str, Any] = {"name": name}
        self._steps: list[Any] = []

    def _set(self, key: str, value: Any) -> ExperimentBuilder:
        self._parts[key] = value
        return self

    def datasource(self, datasource: Any) -> ExperimentBuilder:
        """Say where the data comes from."""
        return self._set("datasource", datasource)

    def pipeline(self, pipeline: Any) -> ExperimentBuilder:
        """Return all steps at once, as a `Pipeline` or a list."""
        self._steps = list(pipeline.steps if isinstance(pipeline, Pipeline) else Pipeline(pipeline).steps)
        return self

    def add_step(self, step: Any) -> ExperimentBuilder:
        """Add one step to the end."""
        self._steps.append(step)
        return self

    def plugins(self, plugins: Iterable[Any]) -> ExperimentBuilder:
        """Return the plugins; the defaults are ensured beside them."""
        return self._set("plugins", plugins)

    def treatments(self, treatments: Iterable[Treatment]) -> ExperimentBuilder:
        """Say what is compared with the baseline."""
        return self._set("treatments", treatments)

    def hypotheses(self, hypotheses: Iterable[Hypothesis]) -> ExperimentBuilder:
        """Say what is to be verified."""
        return self._set("hypotheses", hypotheses)

    def replicates(self, replicates: int) -> ExperimentBuilder:
        """Say how often every condition is run."""
        return self._set("replicates", replicates)

    def description(self, description: str) -> ExperimentBuilder:
        """Say what the experiment is about."""
        return self._set("description", description)

    def initial_ctx(self, initial_ctx: Mapping[str, Any]) -> ExperimentBuilder:
        """Return what every cell's context starts with."""
        return self._set("initial_ctx", initial_ctx)

    def outputs(self, outputs: Iterable[Artifact]) -> ExperimentBuilder:
        """Declare the files that steps write for other experiments."""
        return self._set("outputs", outputs)

    def default_plugins(self, default_plugins: bool | Iterable[str]) -> ExperimentBuilder:
        """Say which default plugins are added."""
        return self._set("default_plugins", default_plugins)

    def retries(
        self,
        retries: int,
        *,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
        backoff: float = 0.0,
    ) -> ExperimentBuilder:
        """Say how often a cell that failed is tried again, after which failures, and how soon."""
        return self._set("retries", retries)._set("retry_on", retry_on)._set("backoff", backoff)

    def timeout(self, timeout: float | None) -> ExperimentBuilder:
        """Say how many seconds each attempt at a cell may take."""
        return self._set("timeout", timeout)

    def max_failures(self, max_failures: int | None) -> ExperimentBuilder:
        """Say how many cells may fail before the run is stopped."""
        return self._set("max_failures", max_failures)

    def fail_fast(self, fail_fast: bool = True) -> ExperimentBuilder:
        """Have the first failed cell stop the run."""
        return self._set("fail_fast", fail_fast)

    def build(self) -> Experiment:
        """Make the experiment.

        Raises
        ------
        ValidationError
            If there is no data source or no step.
        """
        if self._parts.get("datasource") is None:
            raise ValidationError("the experiment has no datasource: call .datasource(my_source()) before .build()")
        if not self._steps:
            raise ValidationError("the experiment has no pipeline: call .add_step(my_step()) before .build()")
        return self._kind(pipeline=Pipeline(self._steps), **self._parts)
