"""Every exception of Crystallize: one family, each message saying what to do next.

All of them are `CrystallizeError`. A wrong type is a `TypeError` too, a wrong value a `ValueError` too,
a missing key a `KeyError` too and a missing distribution an `ImportError` too, so that code that knows
nothing of Crystallize still catches what it expects. Errors carry data in attributes, not only text.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crystallize.results.result import Result

__all__ = [
    "ArgumentTypeError", "ArtifactMissingError", "CellTimeoutError", "ConfigurationError",
    "ConfigurationMissingError", "ContextMutationError", "CrystallizeError", "DamagedStoreError",
    "DeliveryError", "DuplicateNameError", "ExperimentNotFoundError", "GraphError", "GraphRunError", "HypothesisError",
    "MissingDistributionError", "MissingExtraError", "MissingKeyError", "MissingMetricError", "MissingParameterError",
    "NeutralityError", "OptimizationError", "PipelineExecutionError", "PluginConflictError", "PluginContractError",
    "PluginDefinitionError", "PluginDeprecationWarning", "PluginError", "PluginHookError", "PluginImportError",
    "PluginNotFoundError", "PluginOrderError", "PluginSettingError", "PreregistrationError",
    "PreregistrationExistsError", "PrunedError", "RandomnessError",
    "ReadOnlyError", "ReplayError", "ReproductionError", "RunLockedError", "RunStateError", "SerializationError",
    "StepTimeoutError", "StoreError", "TooManyFailuresError", "TrialFailedError", "UnknownNameError",
    "UnreadKeyError", "ValidationError", "WorkerCrashError", "WorkerMismatchError", "WorkerStartError",
]  # fmt: skip


class CrystallizeError(Exception):
    """The base of everything that Crystallize raises on purpose."""

    _carried: ClassVar[tuple[str, ...]] = ()
    # Arguments by keyword that a pickle has to carry; without any, what exceptions do of their own is enough.

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self._carried:
            return super().__reduce__()
        return _rebuilt, (type(self), str(self), {name: getattr(self, name) for name in self._carried})


def _rebuilt(kind: Callable[..., CrystallizeError], message: str, carried: dict[str, Any]) -> CrystallizeError:
    return kind(message, **carried)


class ValidationError(CrystallizeError, ValueError):
    """A value that cannot be used: the message names it and says what is expected."""


class UnreadKeyError(ValidationError):
    """A treatment sets a key that changes nothing, since nothing reads it or an explicit parameter counts more.

    Attributes
    ----------
    treatment : str
    key : str
    nearest : str or None
        The nearest key that is read.
    overruled_by : tuple of str
        The steps and data sources that were made with an explicit value for it.
    """

    _carried = ("treatment", "key", "nearest", "overruled_by")

    def __init__(
        self,
        message: str,
        *,
        treatment: str = "",
        key: str = "",
        nearest: str | None = None,
        overruled_by: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.treatment = treatment
        self.key = key
        self.nearest = nearest
        self.overruled_by = tuple(overruled_by)


class DuplicateNameError(ValidationError):
    """One name was given to two things that must be told apart."""


class ArgumentTypeError(CrystallizeError, TypeError):
    """An argument of the wrong type: the message names it and says which types are expected."""


class ConfigurationError(CrystallizeError, ValueError):
    """Settings that contradict each other or that a file gets wrong.

    Attributes
    ----------
    problems : tuple of Problem
        Of a configuration file: each mistake with ``file``, ``line``, ``column``, ``message`` and ``advice``.
    """

    _carried = ("problems",)

    def __init__(self, message: str, *, problems: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class ConfigurationMissingError(ConfigurationError, FileNotFoundError):
    """There is no such folder, or no ``config.yaml`` in it."""


class RunStateError(CrystallizeError, RuntimeError):
    """Something was asked for at a moment at which it cannot be done."""


class _TextKeyError(KeyError):
    """A `KeyError` that prints its message as text instead of as a quoted key."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingKeyError(CrystallizeError, _TextKeyError):
    """A key that the context does not have."""


class UnknownNameError(CrystallizeError, _TextKeyError):
    """A name that no registry knows; the message lists the names that exist."""


class MissingMetricError(CrystallizeError, _TextKeyError):
    """A metric that was asked for and that no step recorded."""

    def __init__(self, metric: str, available: Iterable[str] = (), *, where: str = "") -> None:
        self.metric = metric
        self.available = sorted(available)
        self.where = where
        known = ", ".join(map(repr, self.available)) or "none"
        super().__init__(
            f"metric {metric!r} was not recorded{f' in {where}' if where else ''}; recorded metrics: {known}. "
            "Record it with ctx.metrics.add(name, value), or return (data, {name: value}) from a step."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(MissingMetricError, where=self.where), (self.metric, self.available)


class HypothesisError(CrystallizeError):
    """A hypothesis could not be tested, or not for every treatment.

    Attributes
    ----------
    hypothesis : str
        Its name.
    failures : dict of str to BaseException
        What went wrong, by treatment; ``__cause__`` is the first of them. Empty after a pickle.
    """

    # What user code raised may not survive a pickle; the message says what it was.
    _carried = ("hypothesis",)

    def __init__(self, message: str, *, hypothesis: str, failures: Mapping[str, BaseException] | None = None) -> None:
        super().__init__(message)
        self.hypothesis = hypothesis
        self.failures = dict(failures or {})
        self.__cause__ = next(iter(self.failures.values()), None)


class ContextMutationError(CrystallizeError, TypeError):
    """A key was written a second time, a read-only context was written to, or what several cells get was changed."""


class MissingParameterError(CrystallizeError, TypeError):
    """A required parameter was neither given nor found in the context."""


class RandomnessError(CrystallizeError, RuntimeError):
    """Random numbers were asked for where nothing seeds them."""


class ArtifactMissingError(CrystallizeError, FileNotFoundError):
    """A file of a stored run that was asked for and is not there."""


class ExperimentNotFoundError(CrystallizeError, LookupError):
    """The experiment of a stored run cannot be found again: the message says what to pass."""


class ReproductionError(CrystallizeError, RuntimeError):
    """A stored run cannot be done again from what it recorded."""


class StoreError(CrystallizeError, OSError):
    """Results could not be written to, or read from, a run folder.

    Attributes
    ----------
    path : str or None
        The file or folder concerned.
    errno : int or None
        The system's number for what went wrong, such as `errno.ENOSPC`.
    """

    path: str | None = None


class DamagedStoreError(StoreError):
    """What is stored is not what was written: the message names the file, and what of it is damaged."""


class RunLockedError(StoreError):
    """A stored run cannot go on here: another process is writing to it.

    Nothing has to be unlocked. Once that process has ended, in whatever way, the run can go on.

    Attributes
    ----------
    host : str
        The machine on which the process runs.
    pid : int
        Its number there.
    started : float
        When it began to write to the run, in seconds since the epoch.
    path : str
        The run's folder.
    """

    _carried = ("host", "pid", "started", "path")

    def __init__(self, message: str, *, host: str, pid: int, started: float, path: str) -> None:
        super().__init__(message)
        self.host = host
        self.pid = pid
        self.started = started
        self.path = path


class DeliveryError(CrystallizeError, RuntimeError):
    """What a run sends elsewhere, to a tracker or a mirror, did not all arrive: the message says what to call.

    The run itself, and what is stored of it, is not touched by that.
    """


class SerializationError(CrystallizeError, TypeError):
    """An object that has to travel to another process cannot; `path` says where it sits."""

    def __init__(self, message: str, *, path: str = "") -> None:
        self.path = path
        super().__init__(message)


class WorkerStartError(CrystallizeError, RuntimeError):
    """Worker processes could not be started, or cannot do the work asked of them."""


class WorkerMismatchError(WorkerStartError):
    """A worker on another machine has other code, plugins or libraries than the run; it gets no cells.

    Attributes
    ----------
    worker : str
        Which one.
    differences : tuple of str
        Sentences.
    """

    _carried = ("worker", "differences")

    def __init__(self, message: str, *, worker: str = "", differences: Sequence[str] = ()) -> None:
        self.worker = worker
        self.differences = tuple(differences)
        super().__init__(message)


class WorkerCrashError(CrystallizeError, RuntimeError):
    """A worker process died while it ran a cell; `signal` or `exit_code` says how."""

    def __init__(self, message: str, *, exit_code: int | None = None, signal: str | None = None) -> None:
        self.exit_code = exit_code
        self.signal = signal
        super().__init__(message)


class PreregistrationError(CrystallizeError, ValueError):
    """A plan that cannot be carried out: its file is no plan, or was changed since it was written."""


class PreregistrationExistsError(CrystallizeError, FileExistsError):
    """A plan would have taken the place of a file."""


class _TimeLimitError(CrystallizeError, TimeoutError):
    """What time-outs have in common."""

    _carried = ("step", "limit")

    def __init__(self, message: str, *, step: str = "", limit: float = 0.0) -> None:
        super().__init__(message)
        self.step = step
        self.limit = limit


class StepTimeoutError(_TimeLimitError):
    """A step took longer than its ``timeout``.

    Attributes
    ----------
    step : str
        Where it was at.
    limit : float
        The time-out in seconds.
    """


class CellTimeoutError(_TimeLimitError):
    """A cell took longer than the experiment's ``timeout``; `step` may also be ``"datasource"`` or a hook."""


class TooManyFailuresError(CrystallizeError, RuntimeError):
    """More cells failed than ``max_failures`` or ``fail_fast`` allow: no further cell was started.

    Attributes
    ----------
    failed : int
        How many cells failed in this run, after all their attempts.
    limit : int
        How many were allowed to.
    result : Result or None
        Everything that had finished by then; it is stored, too.
    """

    def __init__(self, message: str, *, failed: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.failed = failed
        self.limit = limit
        self.result: Result | None = None


class PipelineExecutionError(CrystallizeError):
    """A cell failed.

    Attributes
    ----------
    step_name : str
        The step that failed; ``"datasource"``, ``"treatment"``, ``"setup"`` or ``"before_replicate"`` where no
        step had started yet, ``"worker"`` where the worker process died.
    condition, replicate : str, int
        The cell.
    original_exception : BaseException or None
        What was raised, where it is at hand (in another process only its record travels).
    error_type : str
        The class name of what was raised.
    traceback_text : str
        The formatted traceback, always.
    stops_run : bool
        Whether a plugin that asked for it made the cell fail, and no further cell is to start.
    log : str
        What the cell printed and logged, at most its last 64 KiB; kept where an experiment stores its runs.
    """

    # Only the record travels: the original may not survive a pickle, and what cannot be rebuilt breaks its channel.
    _carried = ("step_name", "condition", "replicate", "error_type", "traceback_text", "stops_run", "log")

    def __init__(
        self,
        message: str,
        *,
        step_name: str,
        condition: str,
        replicate: int,
        error_type: str = "",
        traceback_text: str = "",
        original_exception: BaseException | None = None,
        stops_run: bool = False,
        log: str = "",
    ) -> None:
        super().__init__(message)
        self.log = log
        self.stops_run = stops_run
        self.step_name = step_name
        self.condition = condition
        self.replicate = replicate
        self.error_type = error_type
        self.traceback_text = traceback_text
        self.original_exception = original_exception
        self.__cause__ = original_exception

    @property
    def pruned(self) -> bool:
        """Whether the cell was ended because its trial is not worth going on: by the optimiser, or by a step."""
        return self.error_type in PRUNING


class GraphError(CrystallizeError, ValueError):
    """Experiments that cannot be run as a graph.

    Attributes
    ----------
    experiment : str or None
        The name of the experiment that is at fault, where it is one.
    """

    def __init__(self, message: str, *, experiment: str | None = None) -> None:
        super().__init__(message)
        self.experiment = experiment


class GraphRunError(CrystallizeError, RuntimeError):
    """Experiments of a graph raised instead of giving a result; all that does not depend on them has run.

    Attributes
    ----------
    failures : dict of str to Exception
        What was raised, by the name of the experiment.
    results : dict of str to Result
        What the others gave, and what had been collected of those that raised.
    """

    def __init__(self, failures: Mapping[str, Exception], results: Mapping[str, Any]) -> None:
        told = "; ".join(f"experiment {name!r}: {type(error).__name__}: {error}" for name, error in failures.items())
        super().__init__(f"the graph did not run to its end: {told}. What the others gave is this error's `results`")
        self.failures = dict(failures)
        self.results = results


class PrunedError(CrystallizeError):
    """Raised by ``ctx.report`` inside a cell that its optimiser wants to be stopped; let it through."""


PRUNING = frozenset({PrunedError.__name__, "TrialPruned"})
"""Names of the exception classes that prune a trial: ours, and the one that users of Optuna raise themselves."""


class OptimizationError(CrystallizeError, RuntimeError):
    """An optimisation cannot go on.

    Attributes
    ----------
    trials : sequence of TrialResult
        The trials so far.
    """

    def __init__(self, message: str, *, trials: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.trials = tuple(trials)


class TrialFailedError(OptimizationError):
    """No replicate of a trial succeeded, and the optimiser has no word for that."""


class ReplayError(OptimizationError):
    """A resumed optimisation does not go as the recorded one went, so that it cannot be continued.

    Attributes
    ----------
    trial : int or None
        The number of the trial at which they part.
    recorded, proposed : object
        What the store holds of it, and what came now.
    """

    def __init__(
        self,
        message: str,
        *,
        trial: int | None = None,
        recorded: Any = None,
        proposed: Any = None,
        trials: Iterable[Any] = (),
    ) -> None:
        super().__init__(message, trials=trials)
        self.trial = trial
        self.recorded = recorded
        self.proposed = proposed


class PluginError(CrystallizeError):
    """Something is wrong with a plugin; the attributes say with which.

    Attributes
    ----------
    plugin, distribution, version : str or None
        The plugin's name, and the distribution it was installed with.
    hook : str or None
        The hook concerned.
    rule : str or None
        The rule that it breaks, by its name in `crystallize.testing.RULES`.
    """

    _carried: ClassVar[tuple[str, ...]] = ("plugin", "distribution", "version", "hook", "rule")

    def __init__(
        self,
        message: str,
        *,
        plugin: str | None = None,
        distribution: str | None = None,
        version: str | None = None,
        hook: str | None = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.distribution = distribution
        self.version = version
        self.hook = hook
        self.rule = rule


class PluginNotFoundError(PluginError, LookupError):
    """No installed plugin has the name that was asked for."""


class PluginImportError(PluginError, ImportError):
    """A plugin is installed and cannot be imported."""


class MissingDistributionError(PluginError, ImportError):
    """A name needs a distribution that is not installed; the message says what to install."""


class MissingExtraError(PluginError, ImportError):
    """A part needs an extra that is not installed; the message says what to install."""


class PluginConflictError(PluginError, ValueError):
    """Two plugins cannot both be used: one name twice, one instance twice, two of one default kind."""


class PluginDefinitionError(PluginError, TypeError):
    """A plugin does not keep the contract: misspelt hook, unknown argument, class for instance."""


class PluginSettingError(PluginDefinitionError, ValueError):
    """A setting that a plugin cannot be built with: unknown, missing, of the wrong type or out of its limits.

    Attributes
    ----------
    setting : str or None
        Its name.
    """

    _carried = (*PluginError._carried, "setting")

    def __init__(self, message: str, *, setting: str | None = None, **origin: str | None) -> None:
        super().__init__(message, **origin)
        self.setting = setting


class PluginDeprecationWarning(DeprecationWarning):
    """A plugin uses a part of the hook contract that a later version will not have; the message says what instead."""


class PluginOrderError(PluginError, ValueError):
    """The relations that plugins declare form a cycle, or require a plugin that is not active."""


class PluginContractError(PluginError, RuntimeError):
    """A plugin needs a version of the hook contract that this core does not offer."""


class PluginHookError(PluginError, RuntimeError):
    """A plugin's hook raised; `__cause__` is what it raised."""


class ReadOnlyError(PluginDefinitionError, AttributeError):
    """A plugin tried to change what a hook was handed; the message says what, and what to do."""

    def in_hook(self, origin: object, hook: str, **fields: str | None) -> ReadOnlyError:
        """Return the same error with the plugin and the hook in it."""
        return ReadOnlyError(f"{origin} in {hook}: {self}", hook=hook, **fields).with_traceback(self.__traceback__)


class NeutralityError(PluginError, RuntimeError):
    """A plugin that calls itself neutral changed what it was only allowed to look at."""
