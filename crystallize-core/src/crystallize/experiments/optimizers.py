"""What optimisers are: they propose treatments and are told what these gave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from crystallize.design import Objective
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks.settings import NOTES_ARGUMENTS, remember_arguments
from crystallize.optimization.trial import Report, TrialResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.design import Treatment

__all__ = ["BaseOptimizer", "Objective", "Report", "TrialResult"]


class BaseOptimizer(ABC):
    """A strategy that proposes treatments (`ask`) and learns what they gave (`tell`).

    Parameters
    ----------
    objective : Objective or sequence of Objective
        What is to be optimised.

    Notes
    -----
    These are optional, and looked for by name:

    ``tell_trials(trials)``
        Gets the `TrialResult` of every treatment of a batch, failed and pruned ones too, in place of
        `tell`. With it, `ask` may return several treatments, which run together.
    ``tell_baseline(trial)``
        Gets the baseline's `TrialResult` before the first `ask`, where `needs_baseline` is true.
    ``should_prune(condition, report)``
        Is asked at every ``ctx.report`` of a step; True ends the trial of that condition early.
    ``exhausted``
        True once there is nothing left to propose: the optimisation ends there with what it has, though `num_trials`
        allow more.
    ``adopt_seed(seed)``
        Gets, before the first `ask` of an optimisation that is resumed, the seed that the stored one had drawn; for
        optimisers that draw one where they are given none, and have it in an attribute ``drawn_seed``.

    An optimisation goes on where it was stopped (``strategy="resume"``) because a new optimiser is asked and told the
    same again. So what is proposed may depend on the settings, the seed and what was told before, and on nothing else:
    not on the clock, on global random state, or on the order of a set of text.
    `crystallize.testing.OptimizerConformance` tries that. The methods are called one after the other, by `aoptimize` in
    a thread beside the event loop; ``should_prune`` comes from whatever thread a report arrives in, one call at a time.

    Examples
    --------
    >>> from crystallize import Treatment
    >>> class TryAll(BaseOptimizer):
    ...     def __init__(self, rates, objective):
    ...         super().__init__(objective)
    ...         self.rates, self.losses = rates, []
    ...     def ask(self):
    ...         rate = self.rates[len(self.losses)]
    ...         return [Treatment(f"rate_{rate}", {"rate": rate})]
    ...     def tell(self, objective_values):
    ...         self.losses.append(objective_values["loss"])
    ...     def get_best_treatment(self):
    ...         return Treatment("best", {"rate": self.rates[self.losses.index(min(self.losses))]})
    >>> TryAll([0.1, 0.2], Objective("loss")).ask()[0].name
    'rate_0.1'
    """

    needs_baseline: bool = False
    """Whether the baseline is run, once, before the first trial."""

    if not TYPE_CHECKING:

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            """Note the constructor's arguments: the settings that are stored with the trials."""
            optimizer = super().__new__(cls)
            remember_arguments(optimizer, args, kwargs)
            return optimizer

        setattr(__new__, NOTES_ARGUMENTS, True)

    def __init__(self, objective: Objective | Sequence[Objective]) -> None:
        objectives = objective if isinstance(objective, (list, tuple)) else (objective,)
        if not objectives:
            raise ValidationError('an optimiser needs an objective: Objective("loss", "minimize")')
        for found in objectives:
            if not isinstance(found, Objective):
                raise ArgumentTypeError(
                    f'objective must be an Objective, not {type(found).__name__}: Objective("loss", "minimize")'
                )
        self.objective: Any = objective

    @abstractmethod
    def ask(self) -> list[Treatment]:
        """Propose what to try next: one treatment, or several with ``tell_trials``."""

    @abstractmethod
    def tell(self, objective_values: Mapping[str, float]) -> None:
        """Learn what the treatment gave.

        Parameters
        ----------
        objective_values : mapping of str to float
            For each objective's metric its mean over the replicates that succeeded.
        """

    @abstractmethod
    def get_best_treatment(self) -> Treatment:
        """Return the best treatment so far; called once, after the last `tell`."""
