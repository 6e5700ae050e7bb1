"""`LoggingPlugin`: what a run does, in a few lines of the ``crystallize`` logger."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from crystallize.hooks import BasePlugin
from crystallize.hooks.tools import check_choice, check_count, check_flag, printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from crystallize import FrozenContext, PipelineStep, Result
    from crystallize.hooks import ExperimentView

__all__ = ["LoggingPlugin"]

# Generic to type checkers; at run time only from Python 3.11 on.
if TYPE_CHECKING:
    from typing import TextIO

    _TextHandler = logging.StreamHandler[TextIO]
else:
    _TextHandler = logging.StreamHandler

# An object of its own: whoever gives the level "INFO" wants it whatever the program has set.
_DEFAULT = str(b"INFO", "ascii")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_HANDLER_NAME = "crystallize-stderr"
_KINDS = {"run": "Run", "trial": "Optimisation", "debug": "Debug run", "apply": "Application"}

_LOGGER = logging.getLogger("crystallize")


class LoggingPlugin(BasePlugin):
    """Log the start and the end of every run, and with ``verbose`` every finished step.

    Everything goes to the logger ``crystallize``; the root logger is never touched. Where no handler would receive the
    records, one that writes to stderr is added, once for all runs; it keeps silent as soon as the program
    configures logging of its own. Failed cells are logged by the engine itself, with or without this plugin.

    Parameters
    ----------
    verbose : bool, default False
        Whether each finished step gets a line: its name, its cell and how long it took.
    log_level : str or int, default "INFO"
        The level that the ``crystallize`` logger is set to: ``"DEBUG"``, ``"INFO"``, ``"WARNING"``, ``"ERROR"``,
        ``"CRITICAL"``, in any case, or a number. Where it is left out, a level that the program has set stays.

    Raises
    ------
    ValidationError
        The level has another name.
    ArgumentTypeError
        A parameter has another type.

    Examples
    --------
    >>> from crystallize import LoggingPlugin
    >>> LoggingPlugin(verbose=True, log_level="debug").log_level
    'DEBUG'
    """

    neutral = True
    on_error = "record"

    def __init__(self, verbose: bool = False, log_level: str | int = _DEFAULT) -> None:
        self.verbose = check_flag(verbose, what="verbose")
        self.log_level = _checked_level(log_level)
        self._insists = log_level is not _DEFAULT
        # Looked up once a run: the step loop pays nothing for lines that nobody asked for.
        self.silent_hooks = () if verbose else ("before_step", "after_step", "after_replicate")
        self._begun: dict[tuple[str, str, int], float] = {}

    def before_run(self, experiment: ExperimentView) -> None:
        """Log what is about to run."""
        self._set_level()
        _add_handler_if_needed()
        run = experiment.run
        # To debug is to run one cell; the replicates up to it are counted, and not run.
        last = experiment.replicates - 1
        parts = [
            f"replicate {last}" if run.kind == "debug" else _counted(experiment.replicates, "replicate"),
            _counted(len(experiment.treatments), "treatment"),
            _counted(len(experiment.hypotheses), "hypothesis", "hypotheses"),
            "no seed" if run.seed is None else f"seed {run.seed}",
        ]
        _LOGGER.log(_level_for(experiment), "%s: %s", _title(experiment), ", ".join(parts))

    def worker_start(self) -> None:
        """Set the level in a worker process too, whose records the coordinator's handlers receive."""
        self._set_level()

    def before_step(self, experiment: ExperimentView, ctx: FrozenContext) -> None:
        """Note when a step began."""
        self._begun[_place(experiment, ctx)] = time.perf_counter()

    def after_step(self, experiment: ExperimentView, step: PipelineStep, ctx: FrozenContext) -> None:
        """Log that a step has finished."""
        now = time.perf_counter()
        _, condition, replicate = place = _place(experiment, ctx)
        duration = now - self._begun.pop(place, now)
        _LOGGER.info("%s, replicate %d: %s finished in %s", condition, replicate, step.name, _seconds(duration))

    def after_replicate(self, experiment: ExperimentView, ctx: FrozenContext) -> None:
        """Forget a step that did not finish."""
        self._begun.pop(_place(experiment, ctx), None)

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Log how the run went."""
        run = experiment.run
        parts = [_counted(len(result.errors), "error")]
        pruned = sum(cells.get("pruned", 0) for cells in result.provenance["cells"].values())
        if pruned:
            parts.append(f"{pruned} pruned")
        if result.plugin_errors:
            parts.append(_counted(len(result.plugin_errors), "plugin error"))
        if run.folder:
            parts.append(f"stored in {run.folder}")
        duration = _seconds(time.time() - run.started)
        _LOGGER.log(_level_for(experiment), "%s ended after %s, %s", _title(experiment), duration, ", ".join(parts))

    def _set_level(self) -> None:
        if self._insists or _LOGGER.level in (logging.NOTSET, _Level.of_ours):
            _LOGGER.setLevel(self.log_level)
            _Level.of_ours = _LOGGER.level

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_begun": {}}


class _Level:
    """The level that was set here last: any other is the program's own."""

    of_ours: int = logging.NOTSET


class _StderrHandler(_TextHandler):
    """Writes to stderr as long as the program has configured no logging of its own."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.set_name(_HANDLER_NAME)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)

    def emit(self, record: logging.LogRecord) -> None:
        if _others_receive(self):
            return
        # Looked up each time: tests, notebooks and redirections put another stream in its place.
        self.stream = sys.stderr
        with _bars_put_away(self.stream):
            super().emit(record)


def _bars_put_away(stream: TextIO) -> AbstractContextManager[Any]:
    """Keep a progress bar from ending up in the line that is written to its terminal, where one is shown."""
    bars: Any = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    if not getattr(bars, "_instances", ()):  # its lock is made when it is first asked for
        return nullcontext()
    return bars.external_write_mode(file=stream)  # type: ignore[no-any-return]


def _others_receive(own: logging.Handler | None) -> bool:
    """Whether some handler besides `own` gets what is logged to the crystallize logger."""
    logger: logging.Logger | None = _LOGGER
    while logger is not None:
        if any(handler is not own for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _add_handler_if_needed() -> None:
    if not any(handler.get_name() == _HANDLER_NAME for handler in _LOGGER.handlers) and not _others_receive(None):
        _LOGGER.addHandler(_StderrHandler())


def _checked_level(level: object) -> str | int:
    if isinstance(level, str):
        return check_choice(level.upper(), _LEVELS, what="log_level")
    if isinstance(level, int):
        return check_count(level, what="log_level", minimum=0)
    return check_choice(level, _LEVELS, what="log_level")


def _title(experiment: ExperimentView) -> str:
    return f"{_KINDS.get(experiment.run.kind, 'Run')} {experiment.name or experiment.id}"


def _level_for(experiment: ExperimentView) -> int:
    # A program that serves with `apply` does so thousands of times.
    return logging.DEBUG if experiment.run.kind == "apply" else logging.INFO


def _place(experiment: ExperimentView, ctx: FrozenContext) -> tuple[str, str, int]:
    return experiment.run.id, ctx.get("condition", "baseline"), ctx.get("replicate", 0)


def _counted(count: int, singular: str, plural: str | None = None) -> str:
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"


def _seconds(duration: float) -> str:
    return f"{duration * 1e3:.3g} ms" if duration < 0.01 else f"{duration:.2f} s"  # noqa: PLR2004 - a hundredth
