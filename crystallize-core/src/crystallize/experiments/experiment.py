"""`Experiment`: a data source, a pipeline and plugins, to be run for a baseline and its treatments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.checks import check_count, check_flag
from crystallize.context.frozen import isolated_mapping
from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.design import Treatment
from crystallize.engine.plan import BASELINE
from crystallize.engine.run import Run
from crystallize.errors import ArgumentTypeError
from crystallize.experiments.definition import call_site, note_run
from crystallize.experiments.folders import yaml_format
from crystallize.experiments.request import (
    ABSENT,
    Request,
    as_pipeline,
    as_source,
    checked_hypotheses,
    checked_limit,
    checked_outputs,
    checked_replicates,
    checked_treatments,
    compiled_conditions,
    experiment_id,
    initial_plugins,
    label_of,
    most_failures,
    one_treatment,
    policies_for,
    resolve_appended,
    run_view,
    validate,
)
from crystallize.experiments.treatment_keys import check_keys, read_elsewhere
from crystallize.hooks import ActivePlugins
from crystallize.hooks.view import first_plugin
from crystallize.names import check_name
from crystallize.pipelines.policy import check_policy
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from crystallize.design import Hypothesis, Objective
    from crystallize.design.preregistration import Preregistration
    from crystallize.engine.plan import Plan
    from crystallize.experiments.builder import ExperimentBuilder
    from crystallize.experiments.optimizers import BaseOptimizer
    from crystallize.optimization.loop import Optimization
    from crystallize.optimization.result import OptimizationResult
    from crystallize.results.outcome import CellOutcome
    from crystallize.results.result import Result

__all__ = ["Experiment"]

PluginT = TypeVar("PluginT")
_LOGGER = logging.getLogger("crystallize")


class Experiment:
    """An experiment: what is run, compared and verified.

    Parameters
    ----------
    datasource : DataSource
        Where the data comes from; an `Artifact`, an `ExperimentInput` or a factory made by ``@data_source`` too.
    pipeline : Pipeline
        What happens to it; a list of steps too.
    plugins : iterable, optional
        Plugins as instances, classes, names of installed plugins, or ``(name, settings)`` pairs.
    name : str, optional
        Names the folder of stored runs; by default that is `id`.
    description : str, optional
    initial_ctx : mapping, optional
        What every cell's context starts with.
    outputs : iterable of Artifact, optional
        Files that steps write and other experiments may read.
    treatments : iterable of Treatment, optional
    hypotheses : iterable of Hypothesis, optional
    replicates : int, optional
        By default the data source's, else 1.
    default_plugins : bool or iterable of str, default True
        Whether the defaults (``artifacts``, ``seed``, ``logging``) are added where they are installed and
        not replaced in `plugins`; a list of names keeps just those.
    strict : bool, default False
        Whether neutral plugins are held to change nothing, and a treatment's key that nothing reads is an error.
    account : bool, default False
        Whether ``provenance["plugin_cost"]`` says how often each plugin's hooks were called, and how long they took.
    retries : int, default 0
        How many failures of a cell, in whatever step, are followed by another attempt with the same seed.
    retry_on : exception class or tuple of them, default Exception
        After which failures.
    backoff : float, default 0
        Seconds before the second attempt; the delay doubles with each further one, up to five minutes.
    timeout : float, optional
        Seconds that each attempt at a cell may take.
    max_failures : int, optional
        How many cells may fail; one more stops the run.
    fail_fast : bool, default False
        Whether the first failed cell stops the run.

    Attributes
    ----------
    config : str or None
        The folder, or the file, that the experiment was read from.
    config_overrides : tuple of str
        What was put in place of values there.

    Raises
    ------
    ArgumentTypeError, ValidationError
        If an argument is of the wrong type or has a value that cannot be used.
    PluginError
        If a plugin cannot be found, loaded or used.

    Examples
    --------
    >>> from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step
    >>> @data_source
    ... def numbers(ctx):
    ...     return [1, 2, 3]
    >>> @pipeline_step()
    ... def total(data, ctx, *, delta=0):
    ...     return data, {"total": sum(data) + delta}
    >>> experiment = Experiment(numbers(), Pipeline([total()]), default_plugins=False)
    >>> result = experiment.run(treatments=[Treatment("more", {"delta": 10})], replicates=2)
    >>> result.metrics.baseline.metrics["total"], result.metrics.treatments["more"].metrics["total"]
    ([6, 6], [16, 16])
    """

    def __init__(
        self,
        datasource: Any,
        pipeline: Any,
        plugins: Iterable[Any] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        initial_ctx: Mapping[str, Any] | None = None,
        outputs: Iterable[Artifact] | None = None,
        treatments: Iterable[Treatment] | None = None,
        hypotheses: Iterable[Hypothesis] | None = None,
        replicates: int | None = None,
        default_plugins: bool | Iterable[str] = True,
        strict: bool = False,
        account: bool = False,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
        backoff: float = 0.0,
        timeout: float | None = None,
        max_failures: int | None = None,
        fail_fast: bool = False,
    ) -> None:
        self.name = name if name is None else check_name(name, what="experiment")
        if description is not None and not isinstance(description, str):
            raise ArgumentTypeError(f"description must be text, not {type(description).__name__}")
        self.description = description
        self.datasource: Any = as_source(datasource)
        self.pipeline: Any = as_pipeline(pipeline)
        self.initial_ctx: dict[str, Any] = isolated_mapping(initial_ctx, what="initial context")
        self.outputs: dict[str, Artifact] = checked_outputs(outputs, self.pipeline)
        for artifact in self.outputs.values():
            artifact._producer = self
        self.treatments: list[Treatment] = checked_treatments(treatments)
        self.hypotheses: list[Hypothesis] = checked_hypotheses(hypotheses)
        self._replicates = None if replicates is None else checked_replicates(replicates)
        self.strategy = "rerun"
        self.strict = strict
        self.account = check_flag(account, what="account")
        self.retries, self.retry_on, self.backoff, self.timeout = check_policy(retries, retry_on, backoff, timeout)
        self.max_failures = checked_limit(max_failures)
        self.fail_fast = check_flag(fail_fast, what="fail_fast")
        self.last_optimization: OptimizationResult | None = None
        self._id: tuple[Any, str] | None = None
        self._call_site = call_site()
        self.config: str | None = None
        self.config_overrides: tuple[str, ...] = ()
        self._programs: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._context_before: Mapping[str, Any] | None = None
        self._active: ActivePlugins | None = None
        self.plugins: list[Any] = initial_plugins(plugins, default_plugins)
        # What a plugin requires may be appended until the run; the order is that of now.
        for call in ActivePlugins.resolve(self.plugins, complete=False).calls("init_hook"):
            call.fn(self)

    # -- folders ----------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Self:
        """Load the experiment of a folder with a config.yaml.

        Parameters
        ----------
        path : path
            The folder, or its config.yaml.
        overrides : iterable of str, optional
            ``"key.path=value"`` replaces what config.yaml says, or sets a key that it leaves out;
            ``"+key.path=value"`` adds what is not there, ``"~key.path"`` removes what is. Values are YAML.

        Returns
        -------
        Experiment

        Raises
        ------
        ConfigurationError
            With everything that is wrong, each with file, line and column, as ``problems``.
        ConfigurationMissingError
            There is no such folder, or no config.yaml in it; a `FileNotFoundError` too.
        MissingExtraError
            The extra ``yaml`` is not installed: ``pip install "crystallize-plugins[yaml]"``.

        Examples
        --------
        >>> from crystallize import Experiment
        >>> Experiment.from_yaml("experiments/wines", overrides=["replicates=5"])  # doctest: +SKIP
        Experiment('wines')
        """
        loaded: Self = yaml_format().load_folder(path, overrides=overrides, kind=cls).experiment
        return loaded

    def to_yaml(self, path: str | os.PathLike[str]) -> Path:
        """Write the experiment as a folder that `from_yaml` loads; nothing that is there is overwritten.

        Parameters
        ----------
        path : path
            The folder, or the file to write in it. The experiment's functions have to lie in ``datasources.py``,
            ``steps.py``, ``outputs.py`` and ``verifiers.py`` of one folder; from another folder its Python files are
            copied.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        ConfigurationError
            There is such a file already, or something cannot be written; the message names all of it.
        MissingExtraError
            The extra ``yaml`` is not installed: ``pip install "crystallize-plugins[yaml]"``.

        Examples
        --------
        >>> experiment.to_yaml("experiments/wines_again")  # doctest: +SKIP
        PosixPath('experiments/wines_again/config.yaml')
        """
        return yaml_format().write_config(self, path)

    # -- looking ----------------------------------------------------------------------------------

    @classmethod
    def builder(cls, name: str | None = None) -> ExperimentBuilder:
        """Start building an experiment part by part.

        Examples
        --------
        >>> from crystallize import Experiment, data_source
        >>> @data_source
        ... def one(ctx):
        ...     return 1
        >>> Experiment.builder("small").datasource(one()).add_step(abs).default_plugins(False).build().name
        'small'
        """
        from crystallize.experiments.builder import ExperimentBuilder

        return ExperimentBuilder(cls, name)

    @property
    def replicates(self) -> int:
        """How many replicates the experiment was given, else 1; where none were given, a run has the data source's."""
        return 1 if self._replicates is None else self._replicates

    @replicates.setter
    def replicates(self, value: int | None) -> None:
        self._replicates = None if value is None else checked_replicates(value)

    @property
    def declared_replicates(self) -> int | None:
        """How many replicates the experiment was given; None where a run has the data source's."""
        return self._replicates

    @property
    def id(self) -> str:
        """The experiment's identity: the same as long as its data source, steps and parameters are."""
        parts = (self.datasource, self.pipeline)
        if self._id is None or self._id[0] != parts:
            self._id = (parts, experiment_id(self))
        return self._id[1]

    def get_plugin(self, cls: type[PluginT]) -> PluginT | None:
        """Return the first plugin that is an instance of `cls`, or None."""
        resolve_appended(self.plugins)
        return first_plugin(self.plugins, cls)

    def plugin_order(self) -> list[str]:
        """Return the names of the active plugins in the order in which their hooks are called."""
        return list(self._active_plugins().names)

    def validate(self, *, alone: bool = True) -> None:
        """Check that the experiment can be run; every run does so first.

        Parameters
        ----------
        alone : bool, default True
            Whether it is to run by itself. In a graph, treatments come from what it reads too, and its own may be there
            for what reads from it.

        Raises
        ------
        ArgumentTypeError, ValidationError
            Naming what is missing, wrong or given twice.
        ConfigurationError
            If a time-out cannot be kept.
        PluginError
            If the plugins cannot be used together.
        """
        if alone:
            self._run_of(Request(), noted=False)
        else:
            validate(self, Request(hypotheses=()))
            policies_for(self, self._active_plugins())

    def artifact_datasource(
        self,
        step: Any,
        name: str = "data.json",
        condition: str = "baseline",
        *,
        require_metadata: bool = False,
    ) -> ArtifactSource:
        """Return a data source of the files that a step of this experiment wrote, one per replicate.

        Parameters
        ----------
        step : str, PipelineStep or factory of steps
            Who wrote it.
        name : str, default "data.json"
            The file's name.
        condition : str, default "baseline"
        require_metadata : bool, default False
            Whether a run without its record is refused.

        Returns
        -------
        DataSource
            Of `pathlib.Path`; resolved when it is used, with `ArtifactMissingError` (a `FileNotFoundError`)
            where nothing is.
        """
        return ArtifactSource(self, step, name, condition, require_metadata=require_metadata)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled conditions are made of closures; another process makes its own.
        return {**self.__dict__, "_programs": ((), {}), "_context_before": None, "_active": None}

    def __repr__(self) -> str:
        return f"Experiment({label_of(self)!r})"

    # -- running ----------------------------------------------------------------------------------

    def run(
        self,
        *,
        treatments: Iterable[Treatment] | None = None,
        hypotheses: Iterable[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str | None = None,
        until: Hypothesis | str | None = None,
        batch: int = 10,
        preregistration: Preregistration | str | os.PathLike[str] | None = None,
        cache: bool | Mapping[str, bool] | None = None,
    ) -> Result:
        """Run the experiment and wait for its result.

        Parameters
        ----------
        treatments, hypotheses, replicates, strategy : optional
            For this run only; None means the experiment's own. `strategy` is ``"rerun"`` or ``"resume"``.
        until : Hypothesis or str, optional
            Stop once this hypothesis, or the one of this name, is decided: each of its verdicts holds, or says that the
            effect lies within the verifier's margin. `replicates` is the budget then, after which the run ends in any
            case. Its verifier has to be ``"sequential"``, or another that may be looked at again and again.
        batch : int, default 10
            How many replicates run before `until` is looked at again.
        preregistration : Preregistration or path, optional
            Carry out this plan, with its seed, its number of replicates and its rule to stop; see `preregister`.
            Treatments and hypotheses need not be given, unless they have code or values that no file can hold.
        cache : bool or mapping of str to bool, optional
            Whether steps use the step cache in this run: all of them, none, or those that are named, as in
            ``{"train": False}``; the others, and by default all, as they are declared. A step whose cache is off
            neither reads entries nor writes any. What was asked is in the provenance, and no part of any identity.

        Returns
        -------
        Result

        Raises
        ------
        ArgumentTypeError, ValidationError, PreregistrationError
            Before the first cell runs.
        ConfigurationError
            Before the first cell runs, if a time-out cannot be kept.
        PluginError
            If a plugin stops the run; what was collected is the exception's ``result``.
        TooManyFailuresError
            If more cells fail than may; what was collected is its ``result``.
        """
        request = Request(
            treatments,
            hypotheses,
            replicates,
            strategy,
            until=until,
            batch=batch,
            preregistration=preregistration,
            cache=cache,
        )
        return self._run_of(request).execute()

    async def arun(
        self,
        *,
        treatments: Iterable[Treatment] | None = None,
        hypotheses: Iterable[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str | None = None,
        until: Hypothesis | str | None = None,
        batch: int = 10,
        preregistration: Preregistration | str | os.PathLike[str] | None = None,
        cache: bool | Mapping[str, bool] | None = None,
    ) -> Result:
        """Run the experiment in the running event loop; see `run`."""
        request = Request(
            treatments,
            hypotheses,
            replicates,
            strategy,
            until=until,
            batch=batch,
            preregistration=preregistration,
            cache=cache,
        )
        return await self._run_of(request).aexecute()

    def stream(
        self,
        *,
        treatments: Iterable[Treatment] | None = None,
        hypotheses: Iterable[Hypothesis] | None = None,
        replicates: int | None = None,
        strategy: str | None = None,
        until: Hypothesis | str | None = None,
        batch: int = 10,
        preregistration: Preregistration | str | os.PathLike[str] | None = None,
        cache: bool | Mapping[str, bool] | None = None,
    ) -> Iterator[CellOutcome]:
        """Run the experiment, giving each cell's outcome as it completes and is stored; see `run`.

        Closing the iterator early ends the run; what was finished is kept.
        """
        request = Request(
            treatments,
            hypotheses,
            replicates,
            strategy,
            until=until,
            batch=batch,
            preregistration=preregistration,
            cache=cache,
        )
        return self._run_of(request).stream()

    def plan(
        self,
        *,
        treatments: Iterable[Treatment] | None = None,
        replicates: int | None = None,
        strategy: str = "resume",
        cache: bool | Mapping[str, bool] | None = None,
    ) -> Plan:
        """Say what a run would do with each cell, and why, without running or writing anything.

        Parameters
        ----------
        treatments, replicates, strategy, cache : optional
            As for `run`, and for ``"resume"`` by default. The cache changes nothing of a plan.

        Raises
        ------
        RunLockedError
            Another process is working on the run that would be resumed.
        """
        return self._run_of(Request(treatments, (), replicates, strategy, cache=cache)).plan()

    def preregister(
        self,
        path: str | os.PathLike[str],
        *,
        hypotheses: Iterable[Hypothesis] | None = None,
        treatments: Iterable[Treatment] | None = None,
        replicates: int | None = None,
        until: Hypothesis | str | None = None,
        batch: int = 10,
    ) -> Preregistration:
        """Write down what will be run and tested, before it is: only then a verdict confirms anything.

        A run that carries out the plan, ``run(preregistration=...)``, has a seed that is drawn here, so that its data
        are new. Its verdicts are ``"valid"`` if hypotheses, code, data and parameters are as they are now, and nothing
        went wrong; otherwise their state and reason say what did.

        Parameters
        ----------
        path : path
            Of the JSON file to write; none is ever overwritten.
        hypotheses, treatments, replicates, until, batch : optional
            As for `run`; None means the experiment's own.

        Returns
        -------
        Preregistration

        Raises
        ------
        PreregistrationExistsError
            There is a file of that name; a `FileExistsError` too.
        ArgumentTypeError, ValidationError
            The run could not be begun, or there is no hypothesis.

        Examples
        --------
        >>> plan = experiment.preregister("plan.json", replicates=30)  # doctest: +SKIP
        >>> result = experiment.run(preregistration="plan.json")  # doctest: +SKIP
        """
        from crystallize.experiments.preregistering import preregister

        return preregister(self, path, Request(treatments, hypotheses, replicates, until=until, batch=batch))

    def debug(self, treatment: Treatment | None = None, replicate: int = 0) -> CellOutcome:
        """Run one cell in the calling thread and let its own exception through.

        Parameters
        ----------
        treatment : Treatment, optional
            By default the baseline, as a treatment of that name among the experiment's own adjusts it.
        replicate : int, default 0

        Returns
        -------
        CellOutcome
            Its metrics, its provenance and, as `payload`, its data.
        """
        request = Request(
            one_treatment(self, treatment),
            (),
            checked_replicates(replicate, what="replicate", minimum=0) + 1,
            kind="debug",
        )
        return self._run_cell(request, replicate)

    def apply(self, treatment: Treatment | None = None, *, data: Any = ABSENT, seed: int | None = None) -> Any:
        """Run the pipeline once, with all hooks, and give the final data.

        Parameters
        ----------
        treatment : Treatment, optional
            By default the baseline, as a treatment of that name among the experiment's own adjusts it.
        data : object, optional
            Used in place of what the data source would fetch, whatever it is.
        seed : int, optional
            Replaces the computed seed; it goes through the seeding plugin's ``seed_fn``.

        Returns
        -------
        object
            The last step's data; its metrics, where it returned a pair, are left out.

        Raises
        ------
        Exception
            Whatever a step raised.
        """
        request = Request(one_treatment(self, treatment), (), 1, kind="apply", data=data, seed=seed)
        return self._run_cell(request, 0).payload

    def optimize(
        self,
        optimizer: BaseOptimizer,
        num_trials: int,
        replicates_per_trial: int = 1,
        *,
        strategy: str | None = None,
    ) -> Treatment:
        """Let an optimiser look for the best treatment.

        `num_trials` times: ask the optimiser for treatments, run them, tell it what they gave. Every
        trial sees the same seeds. The experiment's own treatments and hypotheses are left out.

        Parameters
        ----------
        optimizer : BaseOptimizer
        num_trials : int
            How often the optimiser is asked, trials that are resumed included.
        replicates_per_trial : int, default 1
        strategy : {"rerun", "resume"}, optional
            By default the experiment's own. ``"resume"`` goes on with the newest stored optimisation as if it had never
            stopped: a new optimiser is asked and told the same again, and what is stored is not run.

        Returns
        -------
        Treatment
            What ``optimizer.get_best_treatment()`` gives; `last_optimization` has the trials behind it.

        Raises
        ------
        ArgumentTypeError, ValidationError
            If an argument cannot be used, or `ask` returns none or no treatments.
        MissingMetricError
            If the trial recorded no metric of the objective's name.
        TrialFailedError
            If no replicate of a trial succeeded and the optimiser has only `tell`.
        ReplayError
            If the optimiser of a resumed optimisation proposes something else than what is recorded.
        RunLockedError
            If another process is at work on the optimisation that is to be resumed.
        """
        optimization = self._optimization(optimizer, num_trials, replicates_per_trial, strategy)
        try:
            return optimization.execute()
        finally:
            self.last_optimization = optimization.outcome(self)

    async def aoptimize(
        self,
        optimizer: BaseOptimizer,
        num_trials: int,
        replicates_per_trial: int = 1,
        *,
        strategy: str | None = None,
    ) -> Treatment:
        """Let an optimiser look for the best treatment, in the running event loop; see `optimize`.

        The optimiser's methods are called in a thread of their own, the same for all of them, so that one that thinks
        for long does not hold up the loop.
        """
        optimization = self._optimization(optimizer, num_trials, replicates_per_trial, strategy)
        try:
            return await optimization.aexecute()
        finally:
            self.last_optimization = optimization.outcome(self)

    def _optimization(self, optimizer: Any, num_trials: int, replicates: int, strategy: str | None) -> Optimization:
        from crystallize.optimization.loop import Optimization, check_optimizer

        check_optimizer(optimizer)
        check_count(num_trials, what="num_trials")
        check_count(replicates, what="replicates_per_trial")
        needs_baseline = getattr(optimizer, "needs_baseline", False)
        run = self._run_with([], replicates, strategy=strategy, kind="trial", baseline=needs_baseline)
        space = getattr(optimizer, "space", None)
        if isinstance(space, Mapping):  # what is asked is checked, too, but only once the baseline has run
            check_keys(self, [Treatment(f"the space of {type(optimizer).__name__}", space)])
        if type(self)._extract_objective_from_result is Experiment._extract_objective_from_result:
            return Optimization(run, optimizer, num_trials)  # the trials' own means are the same numbers

        def extract(result: Result) -> Mapping[str, Any]:
            return self._extract_objective_from_result(result, optimizer.objective)

        return Optimization(run, optimizer, num_trials, extract)

    def _run_with(
        self,
        treatments: Iterable[Treatment],
        replicates: int,
        *,
        baseline: bool,
        strategy: str | None = None,
        kind: str = "run",
    ) -> Run:
        """Return a run of other treatments; of the experiment's own, only one that adjusts the baseline stays."""
        adjusting = [treatment for treatment in self.treatments if treatment.name == BASELINE]
        request = Request([*adjusting, *treatments], (), replicates, strategy, kind)
        return self._run_of(request, baseline=baseline)

    def _extract_objective_from_result(self, result: Result, objective: Objective) -> Mapping[str, Any]:
        """Return what an optimiser is told of a trial; override it to tell something else.

        Parameters
        ----------
        result : Result
            Of this trial alone: its treatments, without the baseline.
        objective : Objective
            The optimiser's.

        Returns
        -------
        mapping of str to object
            By default the objective's metric and its mean over the replicates of the one treatment.
        """
        from crystallize.optimization.loop import extract_objective

        return extract_objective(result, objective)

    def _run_of(self, request: Request, *, baseline: bool = True, noted: bool = True) -> Run:
        if noted:
            note_run(self, request)
        settled = validate(self, request)
        active = self._active_plugins()
        view = run_view(self, settled)
        unattended = request.kind in ("run", "trial")  # whoever debugs or applies wants to see a failure, at once
        return Run(
            view,
            active,
            baseline=baseline,
            gives_data=settled.data is not ABSENT,
            data=None if settled.data is ABSENT else settled.data,
            # The conditions of an optimisation come once: to remember them would only fill the memory.
            programs=None
            if request.kind == "trial"
            else compiled_conditions(self, settled.treatments, view.initial_ctx),
            policies=policies_for(self, active) if unattended else None,
            most_failures=most_failures(self) if unattended else None,
            elsewhere=read_elsewhere(self),
            account=self.account,
            stopping=settled.stopping,
            preregistration=settled.preregistration,
        )

    def _run_cell(self, request: Request, replicate: int) -> CellOutcome:
        """Run one cell of the last condition; its error reaches the caller."""
        run = self._run_of(request)
        cell = Cell(run.conditions[-1], replicate)
        run.conditions = [cell.condition]
        result = run.execute([cell])
        outcome = run.outcomes[cell]
        if request.kind == "debug":
            _LOGGER.info("%s", result.tree_text("treatment > replicate > step > action"))
        if request.seed is not None and outcome.seed is None:
            _LOGGER.warning(
                "seed=%d had no effect: no plugin seeds this experiment; add SeedPlugin() to its plugins", request.seed
            )
        if outcome.error is not None:
            raise outcome.error.original_exception or outcome.error
        return outcome

    def _active_plugins(self) -> ActivePlugins:
        """Resolve the plugins, unless they are those of the last time."""
        resolve_appended(self.plugins)
        active = self._active
        if active is None or not active.fits(self.plugins):
            active = self._active = ActivePlugins.resolve(self.plugins)
        return active
