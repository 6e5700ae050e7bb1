"""`FailurePolicy`: how often to try again, after what, how soon, and how long anything may take."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.checks import check_count, check_seconds
from crystallize.errors import PRUNING, ArgumentTypeError, PluginHookError, PrunedError, ValidationError

if TYPE_CHECKING:
    from crystallize.pipelines.step import PipelineStep

__all__ = ["FailurePolicy", "check_policy", "check_version", "policy_of"]

LONGEST_BACKOFF = 300.0
"""Seconds beyond which a delay is not doubled any more."""

_NEVER = (KeyboardInterrupt, GeneratorExit, PrunedError)


class FailurePolicy(NamedTuple):
    """What to do when something fails.

    Attributes
    ----------
    retries : int
        How many failures are followed by another attempt.
    retry_on : tuple of exception classes
        After which failures.
    backoff : float
        Seconds before the second attempt. The delay doubles with each further one, up to five minutes; a first delay
        that is longer stays as it is.
    timeout : float or None
        Seconds that it may take, each time.
    """

    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff: float = 0.0
    timeout: float | None = None

    def covers(self, exc: BaseException) -> bool:
        """Return whether to try again after an exception; that of a plugin's hook counts as what the hook raised."""
        if isinstance(exc, _NEVER) or type(exc).__name__ in PRUNING:
            return False
        if isinstance(exc, self.retry_on):
            return True
        return isinstance(exc, PluginHookError) and isinstance(exc.__cause__, self.retry_on)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures.

        Examples
        --------
        >>> [FailurePolicy(backoff=0.5).delay(failures) for failures in (1, 2, 3, 20)]
        [0.5, 1.0, 2.0, 300.0]
        """
        if not self.backoff:
            return 0.0
        # A shift of more bits would only make a number that no one waits for.
        return min(self.backoff * (1 << min(failures - 1, 60)), max(self.backoff, LONGEST_BACKOFF))


def check_policy(retries: object, retry_on: object, backoff: object, timeout: object, *, of: str = "") -> FailurePolicy:
    """Make a policy of what somebody wrote.

    Parameters
    ----------
    retries, retry_on, backoff, timeout : object
        See `FailurePolicy`; a single exception class will do, and a time-out of None means none.
    of : str, optional
        Whose they are, for the message.

    Raises
    ------
    ArgumentTypeError
        If one is of the wrong type.
    ValidationError
        If one has a value that makes no sense.

    Examples
    --------
    >>> check_policy(3, ConnectionError, 1, None).retry_on
    (<class 'ConnectionError'>,)
    """
    place = f" of {of}" if of else ""
    return FailurePolicy(
        check_count(retries, what=f"retries{place}", minimum=0),
        _checked_classes(retry_on, f"retry_on{place}"),
        check_seconds(backoff, what=f"backoff{place}", zero=True),
        None if timeout is None else check_seconds(timeout, what=f"timeout{place}"),
    )


def policy_of(step: PipelineStep, label: str) -> FailurePolicy:
    """Return the policy that a step declares.

    Parameters
    ----------
    step : PipelineStep
    label : str
        The step, for the message.

    Raises
    ------
    ArgumentTypeError, ValidationError
        As `check_policy`.
    """
    return check_policy(step.retries, step.retry_on, step.backoff, step.timeout, of=f"the step {label}")


def check_version(version: Any, *, of: str = "") -> str | int | None:
    """Return a step's version if it is text, an integer or None.

    Raises
    ------
    ArgumentTypeError
        If it is anything else.
    """
    if version is None or (isinstance(version, (str, int)) and not isinstance(version, bool)):
        return version
    place = f" of {of}" if of else ""
    raise ArgumentTypeError(f"version{place} must be text, an integer or None, not {type(version).__name__}")


def _checked_classes(retry_on: object, what: str) -> tuple[type[BaseException], ...]:
    classes = retry_on if isinstance(retry_on, (tuple, list)) else (retry_on,)
    for kind in classes:
        if not inspect.isclass(kind) or not issubclass(kind, BaseException):
            raise ArgumentTypeError(
                f"{what} must be an exception class or a tuple of exception classes, not {kind!r:.80}: "
                "retry_on=(ConnectionError, TimeoutError)"
            )
        if issubclass(kind, _NEVER):
            raise ValidationError(
                f"{what} names {kind.__name__}, after which no cell is ever tried again: leave it out"
            )
    if not classes:
        raise ValidationError(f"{what} is empty: leave it out to try again after any Exception, or set retries=0")
    return tuple(classes)
