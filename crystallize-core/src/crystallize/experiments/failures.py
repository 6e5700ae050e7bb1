"""What an experiment declares for failures, as it is checked and as a run takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.checks import check_count, check_flag
from crystallize.engine.policies import NO_POLICY, Policies, policies_of
from crystallize.pipelines.policy import check_policy

if TYPE_CHECKING:
    from crystallize.experiments.experiment import Experiment
    from crystallize.hooks import ActivePlugins

__all__ = ["checked_limit", "most_failures", "policies_for"]


def checked_limit(value: Any) -> int | None:
    """Check how many cells may fail."""
    return None if value is None else check_count(value, what="max_failures", minimum=0)


def policies_for(experiment: Experiment, active: ActivePlugins) -> Policies | None:
    """Give when the cells of a run are tried again and how long they may take; None where nothing is declared.

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
    """Give how many cells may fail before the run is stopped; None for any number."""
    limit = checked_limit(experiment.max_failures)
    return 0 if check_flag(experiment.fail_fast, what="fail_fast") else limit
