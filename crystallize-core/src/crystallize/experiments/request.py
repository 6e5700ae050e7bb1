"""What a call of `run`, `apply` or `debug` asks for: checked, filled in, and made into what a run takes."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_choice, check_count, check_flag, check_integer, check_mapping
from crystallize.context.frozen import RESERVED_KEYS
from crystallize.datasources.artifact import Artifact
from crystallize.datasources.base import DataSource, as_data_source
from crystallize.datasources.stored import StoredFileSource, steps_that_take
from crystallize.design import Hypothesis, Treatment
from crystallize.engine.plan import BASELINE, check_treatment_keys
from crystallize.engine.policies import NO_POLICY, Policies, policies_of
from crystallize.errors import ArgumentTypeError, DuplicateNameError, ValidationError
from crystallize.experiments.definition import definition_of
from crystallize.fingerprint import combine, value_of
from crystallize.hooks import ActivePlugins, ExperimentView, RunInfo, build_plugins
from crystallize.names import check_distinct, check_name, did_you_mean, fresh_id
from crystallize.pipelines import Pipeline, PipelineStep
from crystallize.pipelines.policy import check_policy

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from crystallize.design.preregistration import Preregistration
    from crystallize.engine.stopping import Stopping
    from crystallize.experiments.experiment import Experiment

__all__ = [
    "ABSENT",
    "Request",
    "Settled",
    "active_plugins",
    "as_pipeline",
    "as_source",
    "check_parts",
    "checked_cache",
    "checked_hypotheses",
    "checked_limit",
    "checked_outputs",
    "checked_replicates",
    "checked_treatments",
    "compiled_conditions",
    "experiment_id",
    "frozen_context",
    "initial_plugins",
    "label_of",
    "most_failures",
    "one_treatment",
    "policies_for",
    "resolve_appended",
    "run_view",
    "use_plugins",
    "validate",
]


class _Absent:
    def __repr__(self) -> str:
        return "<not given>"


ABSENT: Any = _Absent()
"""Stands for data that was not given, since any value may be data."""

STRATEGIES = ("rerun", "resume")

_A_TREATMENT = 'Treatment("name", {"parameter": value})'


@dataclass(frozen=True, slots=True)
class Request:
    """What a call of `run`, `apply` or `debug` asks for; None means the experiment's own."""

    treatments: Iterable[Treatment] | None = None
    hypotheses: Iterable[Hypothesis] | None = None
    replicates: int | None = None
    strategy: str | None = None
    kind: str = "run"
    data: Any = ABSENT
    seed: int | None = None
    until: Hypothesis | str | None = None
    batch: int = 10
    cache: bool | Mapping[str, bool] | None = None
    preregistration: Preregistration | str | os.PathLike[str] | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A request with everything filled in and checked."""

    treatments: list[Treatment]
    hypotheses: list[Hypothesis]
    replicates: int
    strategy: str
    kind: str
    data: Any
    seed: int | None
    stopping: Stopping | None
    preregistration: Preregistration | None
    cache: tuple[bool, ...]


def as_source(candidate: Any) -> Any:
    """Call a factory of data sources that was not called; leave anything else for `validate` to judge."""
    return candidate if candidate is None or isinstance(candidate, DataSource) else as_data_source(candidate)


def as_pipeline(candidate: Any) -> Any:
    """Make a pipeline of a list of steps; leave anything else for `validate` to judge."""
    return Pipeline(candidate) if isinstance(candidate, (list, tuple)) else candidate


def checked_outputs(outputs: Iterable[Artifact] | None, pipeline: Any) -> dict[str, Artifact]:
    """Return declared outputs by name, and as ``"<step>/<name>"`` where steps write files of one name."""
    if outputs is None:
        return {}
    declared = _listed(outputs, Artifact, what="outputs", hint='Artifact("name.json")')
    times = Counter(artifact.name.casefold() for artifact in declared)
    names = [
        artifact.name if times[artifact.name.casefold()] == 1 else _place_of(artifact, pipeline)
        for artifact in declared
    ]
    check_distinct(names, what="output")
    return dict(zip(names, declared, strict=True))


def _place_of(artifact: Artifact, pipeline: Any) -> str:
    steps = steps_that_take(pipeline, artifact)
    return f"{steps[0]}/{artifact.name}" if len(steps) == 1 else artifact.name


def checked_treatments(treatments: Iterable[Treatment] | None) -> list[Treatment]:
    """Check treatments and that their names are distinct."""
    if treatments is None:
        return []
    found = _listed(treatments, Treatment, what="treatments", hint=_A_TREATMENT)
    check_distinct([treatment.name for treatment in found], what="treatment")
    return found


def one_treatment(experiment: Experiment, treatment: Treatment | None) -> list[Treatment]:
    """Return the treatment of a single cell for a request: without one, what adjusts the experiment's own baseline."""
    if treatment is None:
        return [own for own in checked_treatments(experiment.treatments) if own.name == BASELINE]
    _check_kind(treatment, Treatment, what="treatment", hint=_A_TREATMENT)
    return [treatment]


def checked_hypotheses(hypotheses: Iterable[Hypothesis] | None) -> list[Hypothesis]:
    """Check hypotheses and that their names are distinct."""
    if hypotheses is None:
        return []
    found = _listed(hypotheses, Hypothesis, what="hypotheses", hint='Hypothesis(verifier, "metric")')
    check_distinct([hypothesis.name for hypothesis in found], what="hypothesis")
    return found


def checked_replicates(value: Any, *, what: str = "replicates", minimum: int = 1) -> int:
    """Check a number of replicates."""
    return check_count(value, what=what, minimum=minimum)


def _listed(values: Any, kind: type[Any], *, what: str, hint: str) -> list[Any]:
    if isinstance(values, (kind, str, bytes)) or not hasattr(values, "__iter__"):
        raise ArgumentTypeError(f"{what} must be a list of {kind.__name__}, not {type(values).__name__}: [{hint}]")
    found = []
    for position, value in enumerate(values):
        _check_kind(value, kind, what=f"{what}[{position}]", hint=hint)
        found.append(value)
    return found


def _check_kind(value: Any, kind: type[Any], *, what: str, hint: str) -> None:
    if not isinstance(value, kind):
        name = kind.__name__
        article = "an" if name[0] in "AEIOU" else "a"
        raise ArgumentTypeError(f"{what} must be {article} {name}, not {type(value).__name__}: write {hint}")


def label_of(experiment: Experiment) -> str | None:
    """Return what to call an experiment: its name, else the start of its identity, None while parts are missing."""
    if experiment.name is not None:
        return experiment.name
    whole = isinstance(experiment.datasource, DataSource) and isinstance(experiment.pipeline, Pipeline)
    return experiment.id[:12] if whole else None


def initial_plugins(plugins: Iterable[Any] | None, default_plugins: bool | Iterable[str]) -> list[Any]:
    """Make instances of what was given, and add the defaults that are to be there."""
    if plugins is not None:
        _check_list(plugins)
    return list(build_plugins(list(plugins or ()), default_plugins=default_plugins))


def _check_list(plugins: Any) -> None:
    if isinstance(plugins, (str, bytes)) or not hasattr(plugins, "__iter__"):
        raise ArgumentTypeError(f"plugins must be a list, not {type(plugins).__name__}: write plugins=[{plugins!r}]")


def resolve_appended(plugins: list[Any]) -> None:
    """Turn names and classes that were appended after the experiment was built into instances, in place."""
    _check_list(plugins)
    if any(isinstance(plugin, (str, tuple, type)) for plugin in plugins):
        plugins[:] = build_plugins(plugins, default_plugins=False)


def active_plugins(plugins: list[Any]) -> ActivePlugins:
    """Validate and order plugins; names among them are resolved in place."""
    resolve_appended(plugins)
    return ActivePlugins.resolve(plugins)


def use_plugins(experiment: Experiment, plugins: Iterable[Any]) -> None:
    """Give an experiment other plugins, and those that are new to it their ``init_hook``.

    Parameters
    ----------
    experiment : Experiment
    plugins : iterable
        As in ``Experiment(plugins=...)``; no defaults are added.

    Raises
    ------
    PluginError, ArgumentTypeError
        As ``Experiment`` does.
    """
    before = list(experiment.plugins)
    experiment.plugins[:] = build_plugins(plugins, default_plugins=False)
    for call in ActivePlugins.resolve(experiment.plugins, complete=False).calls("init_hook"):
        if not any(call.info.plugin is known for known in before):
            call.fn(experiment)


def validate(experiment: Experiment, request: Request) -> Settled:
    """Check an experiment and what is asked of it; give what will run.

    Raises
    ------
    ArgumentTypeError, ValidationError
        Naming what is missing or wrong.
    """
    check_parts(experiment)
    plan = None
    if request.preregistration is not None:
        from crystallize.experiments.preregistering import checked_plan, request_of

        plan = checked_plan(request.preregistration)
        request = request_of(experiment, plan, request)
    treatments = experiment.treatments if request.treatments is None else request.treatments
    checked = checked_treatments(treatments)
    hypotheses = checked_hypotheses(experiment.hypotheses if request.hypotheses is None else request.hypotheses)
    until = None if request.until is None else _stopping_hypothesis(request.until, hypotheses)
    if hypotheses and all(treatment.name == BASELINE for treatment in checked):
        raise ValidationError(
            "hypotheses compare treatments with the baseline, and there is no treatment: "
            'give treatments=[Treatment("name", {...})], or no hypotheses'
        )
    for treatment in checked:
        check_treatment_keys(treatment, experiment.initial_ctx)
    strategy = check_choice(
        experiment.strategy if request.strategy is None else request.strategy, STRATEGIES, what="strategy"
    )
    check_flag(experiment.strict, what="strict")
    replicates = _replicates(experiment, request)
    batch = check_count(request.batch, what="batch")
    return Settled(
        checked,
        hypotheses,
        replicates,
        strategy,
        request.kind,
        request.data,
        None if request.seed is None else check_integer(request.seed, what="seed"),
        None if until is None else _stopping(until, batch, replicates),
        plan,
        checked_cache(experiment.pipeline, request.cache),
    )


def _stopping(until: Hypothesis, batch: int, replicates: int) -> Stopping:
    from crystallize.engine.stopping import Stopping

    return Stopping(until, batch, replicates)


def _stopping_hypothesis(until: Any, hypotheses: list[Hypothesis]) -> Hypothesis:
    """Return the hypothesis by which a run stops; one that is not among those that are tested joins them."""
    known = {hypothesis.name: hypothesis for hypothesis in hypotheses}
    if isinstance(until, Hypothesis):
        if known.get(until.name, until) is not until:
            raise DuplicateNameError(
                f"until is a hypothesis {until.name!r}, and another one of that name is tested: give one of them "
                "another name, or until its name"
            )
        if until.name not in known:
            hypotheses.append(until)
    elif not isinstance(until, str):
        raise ArgumentTypeError(f"until must be a Hypothesis, or the name of one, not {type(until).__name__}")
    elif until not in known:
        listed = f"tested: {', '.join(map(repr, known))}" if known else "none is tested: give hypotheses=[...]"
        raise ValidationError(f"until names no hypothesis: {until!r}.{did_you_mean(until, known)} Hypotheses {listed}")
    found = until if isinstance(until, Hypothesis) else known[until]
    if not found.is_always_valid:
        raise ValidationError(
            f"a run cannot stop by hypothesis {found.name!r}: {getattr(found.verifier, '__name__', 'its verifier')} "
            "shows an effect sooner or later if one looks often enough, also where there is none. Take the verifier "
            '"sequential", or one made with @verifier(always_valid=True)'
        )
    return found


def check_parts(experiment: Experiment) -> None:
    """Refuse an experiment with a part that is missing or none.

    Raises
    ------
    ArgumentTypeError, ValidationError
        Naming it.
    """
    if experiment.datasource is None:
        raise ValidationError("the experiment has no datasource: give datasource=my_source()")
    # All of these may have been set since the experiment was built.
    experiment.datasource = as_source(experiment.datasource)
    if experiment.pipeline is None:
        raise ValidationError("the experiment has no pipeline: give pipeline=Pipeline([step_one(), step_two()])")
    if not isinstance(experiment.pipeline, Pipeline):
        raise ArgumentTypeError(
            f"pipeline must be a Pipeline, not {type(experiment.pipeline).__name__}: "
            "give Pipeline([step_one(), step_two()])"
        )
    if experiment.name is not None:
        check_name(experiment.name, what="experiment")
    for step in experiment.pipeline.steps:
        _check_params(step)
    for output in check_mapping(experiment.outputs, what="outputs").values():
        if not isinstance(output, Artifact):
            raise ArgumentTypeError(f"outputs must hold artifacts, not {type(output).__name__}: {output!r:.80}")
    check_mapping(experiment.initial_ctx, what="initial_ctx", text_keys=False)
    # Asked key by key: `intersection` would walk through the whole context.
    reserved = [key for key in RESERVED_KEYS if key in experiment.initial_ctx]
    if reserved:
        raise ValidationError(
            f"initial_ctx uses the reserved key {min(reserved)!r}, which the framework writes: use another name"
        )


def _check_params(step: Any) -> None:
    if not isinstance(step, PipelineStep):
        raise ArgumentTypeError(f"the pipeline holds {step!r:.80}, which is no step: give Pipeline([step_one(), ...])")
    if step.declared_as() is not None:
        return  # they were looked at when the step was made
    try:
        params = step.params
    except Exception as exc:
        raise ValidationError(
            f"params of the step {step.name} raised {type(exc).__name__}: {exc}; "
            "it must give a mapping of names to values"
        ) from exc
    if not isinstance(params, Mapping):
        raise ArgumentTypeError(
            f"params of the step {step.name} must be a mapping of names to values, not {type(params).__name__}: "
            "write it as a property"
        )


def _replicates(experiment: Experiment, request: Request) -> int:
    if request.replicates is not None:
        return checked_replicates(request.replicates)
    if experiment._replicates is not None:
        return experiment._replicates
    offered = getattr(experiment.datasource, "replicates", None)
    return 1 if offered is None else checked_replicates(offered, what="replicates of the data source")


def run_view(experiment: Experiment, settled: Settled) -> ExperimentView:
    """Make what hooks are shown of a run."""
    return ExperimentView(
        name=experiment.name,
        description=experiment.description,
        datasource=experiment.datasource,
        pipeline=experiment.pipeline,
        plugins=tuple(experiment.plugins),
        treatments=settled.treatments,
        hypotheses=settled.hypotheses,
        replicates=settled.replicates,
        outputs=dict(experiment.outputs),
        # Conditions that were compiled before are used again: no hook may change what they were compiled with.
        initial_ctx=frozen_context(experiment),
        strict=experiment.strict,
        declared=tuple([own.name for own in checked_treatments(experiment.treatments)]),
        run=RunInfo(
            id=fresh_id(), kind=settled.kind, strategy=settled.strategy, seed_override=settled.seed, cache=settled.cache
        ),
        identity=lambda: experiment.id,
        definition=lambda: definition_of(experiment),
    )


def checked_cache(pipeline: Pipeline, cache: bool | Mapping[str, bool] | None) -> tuple[bool, ...]:
    """Settle for each step whether the step cache is used: as asked, else as the step says.

    Raises
    ------
    ArgumentTypeError, ValidationError
        What is asked is neither of that, or there is no such step.
    """
    found = [bool(step.cacheable) for step in pipeline.steps]
    if cache is None:
        return tuple(found)
    if isinstance(cache, bool):
        return (cache,) * len(found)
    if not isinstance(cache, Mapping):
        raise ArgumentTypeError(
            f"cache must be True, False or a mapping of steps to these, not {type(cache).__name__}: "
            'write cache={"step": False}'
        )
    places = {address: place for place, known in enumerate(pipeline.addresses) for address in known}
    for name, wanted in cache.items():
        if name not in places:
            hint = did_you_mean(str(name), places)
            raise ValidationError(
                f"cache names the step {name!r}, and there is none: the steps are {', '.join(pipeline.labels)}.{hint}"
            )
        found[places[name]] = check_flag(wanted, what=f"cache[{name!r}]")
    return tuple(found)


def checked_limit(value: Any) -> int | None:
    """Check how many cells may fail."""
    return None if value is None else check_count(value, what="max_failures", minimum=0)


def policies_for(experiment: Experiment, active: ActivePlugins) -> Policies | None:
    """Return when the cells of a run are tried again and how long they may take; None where nothing is declared.

    Raises
    ------
    ArgumentTypeError, ValidationError
        If something that was declared cannot be used.
    ConfigurationError
        If a time-out was declared that no plugin of this experiment can keep.
    """
    declared = (experiment.retries, experiment.retry_on, experiment.backoff, experiment.timeout)
    policies = policies_of(experiment.pipeline, NO_POLICY if declared == NO_POLICY else check_policy(*declared))
    if policies is not None:
        policies.check_executors(call.info.plugin for call in active.calls("run_experiment_loop"))
    return policies


def most_failures(experiment: Experiment) -> int | None:
    """Return how many cells may fail before the run is stopped; None for any number."""
    limit = checked_limit(experiment.max_failures)
    return 0 if check_flag(experiment.fail_fast, what="fail_fast") else limit


def frozen_context(experiment: Experiment) -> Mapping[str, Any]:
    """Return the initial context as nobody can change it; the same object as before, unless somebody changed ours."""
    known = experiment._context_before
    ours = experiment.initial_ctx
    if known is None or list(known) != list(ours) or not all(map(operator.is_, known.values(), ours.values())):
        known = experiment._context_before = MappingProxyType(dict(ours))
    return known


def compiled_conditions(
    experiment: Experiment, treatments: list[Treatment], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the conditions that the run before compiled, as far as this run has them too.

    They are forgotten once a part of the experiment is replaced; a treatment that a run no longer has is forgotten
    with all that it holds.
    """
    parts = (experiment.pipeline, *experiment.outputs.values(), context)
    known, programs = experiment._programs
    kept = {}
    if len(known) == len(parts) and all(map(operator.is_, known, parts)):
        current = {id(treatment) for treatment in treatments}
        kept = {name: entry for name, entry in list(programs.items()) if entry[0] is None or id(entry[0]) in current}
    experiment._programs = (parts, kept)
    return kept


_LENGTH = 16


def experiment_id(experiment: Experiment) -> str:
    """Return the identity of an experiment's data source and pipeline: sixteen hexadecimal digits."""
    check_parts(experiment)
    datasource = experiment.datasource
    # Of stored files it is told whose they are: what is in them differs from run to run.
    stored = [dict(part.params) for part in datasource.single_sources() if isinstance(part, StoredFileSource)]
    source = combine(*(part.digest for _, part in datasource._identity_parts("datasource")))
    steps = (combine(*(part.digest for part in step._identity_parts())) for step in experiment.pipeline.steps)
    return combine(source, value_of(stored), *steps)[:_LENGTH]
