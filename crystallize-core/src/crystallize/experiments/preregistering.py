"""Fixing what an experiment will test before it runs, and making a run of such a plan."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.design import Hypothesis, Treatment
from crystallize.design.preregistration import PlannedHypothesis, PlannedTreatment, Preregistration
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.results.secrets import mask_secrets

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.request import Request

__all__ = ["checked_plan", "preregister", "request_of"]

T = TypeVar("T", Treatment, Hypothesis)
_SEEDS = 2**32


def preregister(experiment: Experiment, path: str | os.PathLike[str], request: Request) -> Preregistration:
    """Write down what a request would run; see `Experiment.preregister`."""
    run = experiment._run_of(request, noted=False)
    view = run.view
    if not view.hypotheses:
        raise ValidationError("a plan says what is tested, and there is no hypothesis: give hypotheses=[...]")
    seed = secrets.randbelow(_SEEDS)
    view.run._note(seed=seed)
    identities = run.identities()
    stopping = run.stopping
    plan = Preregistration(
        experiment=view.name or view.id,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        seed=seed,
        replicates=view.replicates,
        until=None if stopping is None else stopping.hypothesis.name,
        batch=None if stopping is None else stopping.batch,
        hypotheses=tuple(
            PlannedHypothesis.of(each, own=any(each is own for own in experiment.hypotheses))
            for each in view.hypotheses
        ),
        treatments=tuple(
            PlannedTreatment.of(
                each,
                own=any(each is own for own in experiment.treatments),
                secret=mask_secrets(dict(each.apply_map)) != dict(each.apply_map),
            )
            for each in view.treatments
        ),
        identities=identities.without_seed(run.conditions),
        untracked=tuple(identities.untracked),
        given=(*view.treatments, *view.hypotheses),
    )
    plan.write(path)
    return plan


def checked_plan(preregistration: Any) -> Preregistration:
    """Return a plan that was given as itself, or as the path of its file."""
    if isinstance(preregistration, Preregistration):
        return preregistration
    if isinstance(preregistration, str) or hasattr(preregistration, "__fspath__"):
        return Preregistration.read(preregistration)
    raise ArgumentTypeError(
        f"preregistration must be a Preregistration or the path of one, not {type(preregistration).__name__}"
    )


def request_of(experiment: Experiment, plan: Preregistration, request: Request) -> Request:
    """Return what a run has to be asked for to carry out a plan.

    Treatments and hypotheses are the experiment's own where they were so when the plan was made, and those that are
    given now, so that what has changed is seen; others are made again from what is written in the plan.

    Raises
    ------
    ValidationError
        Something is asked for that the plan fixes, is not in it, or cannot be made again.
    """
    fixed = {"replicates": request.replicates, "until": request.until}
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise ValidationError(f"{' and '.join(given)} cannot be given beside a preregistration, which fixes it")
    if experiment.name not in (None, plan.experiment):
        raise ValidationError(f"the plan is of experiment {plan.experiment!r}, and this is {experiment.name!r}")
    treatments, more = _chosen(Treatment, plan.treatments, request.treatments, experiment.treatments, plan.given)
    if more:
        raise ValidationError(f"the plan has no treatment {more[0].name!r}, and its runs have none but those it has")
    hypotheses, beside = _chosen(Hypothesis, plan.hypotheses, request.hypotheses, experiment.hypotheses, plan.given)
    return replace(
        request,
        treatments=treatments,
        hypotheses=[*hypotheses, *beside],
        replicates=plan.replicates,
        until=plan.until,
        batch=request.batch if plan.batch is None else plan.batch,
    )


def _chosen(
    kind: type[T],
    planned: Iterable[PlannedTreatment] | Iterable[PlannedHypothesis],
    given: Any,
    own: Iterable[T],
    known: Iterable[Any],
) -> tuple[list[T], list[T]]:
    """Return what stands for each part of a plan, and what is given beside that."""
    asked: dict[str, Any] = {each.name: each for each in _of_kind(kind, given)}
    ours: dict[str, Any] = {each.name: each for each in own}
    remembered = {each.name: each for each in known if isinstance(each, kind)}
    chosen: list[Any] = []
    for each in planned:
        found = asked.pop(each.name, None) or (ours.get(each.name) if each.own else None)
        found = found or remembered.get(each.name) or each.made() or ours.get(each.name)
        if found is None:
            what = kind.__name__.lower()
            raise ValidationError(
                f"the {what} {each.name!r} of the plan has code or values that its file cannot hold: give it to the "
                "run again, or add it to the experiment"
            )
        chosen.append(found)
    return chosen, [*asked.values()]


def _of_kind(kind: type[T], given: Any) -> list[T]:
    if given is None:
        return []
    listed = list(given) if hasattr(given, "__iter__") else [given]
    for each in listed:
        if not isinstance(each, kind):
            raise ArgumentTypeError(f"a list of {kind.__name__} is expected, not one with {type(each).__name__} in it")
    return listed
