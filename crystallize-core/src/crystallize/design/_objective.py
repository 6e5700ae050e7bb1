"""`Objective`: the metric that an optimisation looks at."""

from __future__ import annotations

from dataclasses import dataclass

from crystallize.checks import check_choice
from crystallize.errors import ArgumentTypeError, ValidationError

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """What an optimiser is told about each trial.

    Parameters
    ----------
    metric : str
        Name of a metric that the steps record; its values are averaged over the replicates.
    direction : {"minimize", "maximize"}
        Which way is better. It informs the optimiser, the core does nothing with it.

    Raises
    ------
    TypeError
        `metric` or `direction` is no text.
    ValueError
        `metric` is empty, or `direction` is neither of the two.

    Examples
    --------
    >>> Objective("loss").direction
    'minimize'
    """

    metric: str
    direction: str = "minimize"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str):
            raise ArgumentTypeError(f"metric must be the name of a metric, not {type(self.metric).__name__}")
        if not self.metric:
            raise ValidationError("metric must be the name of a metric, not an empty text")
        check_choice(self.direction, ("minimize", "maximize"), what="direction")
