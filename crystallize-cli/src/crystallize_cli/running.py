"""Running what the command line asks for, and saying how it went."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crystallize_cli.events import following
from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.live import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from crystallize import Experiment, ExperimentGraph, Result
    from crystallize_cli.events import EventFile
    from crystallize_cli.output import Output
    from crystallize_cli.targets import Target

__all__ = [
    "Asked",
    "carry_out",
    "check_without",
    "kept_treatments",
    "plan_option",
    "refuse_graph",
    "run_options",
    "settled_cache",
    "step_options",
    "stop_options",
]

F = TypeVar("F", bound="Callable[..., Any]")


def stop_options(command: F) -> F:
    """Return a command ``--until`` and ``--batch``, which `carry_out` takes."""
    for option in (
        click.option(
            "--batch", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
            help="How many replicates run before --until looks again.",
        ),
        click.option(
            "--until", metavar="NAME", help="Stop once the hypothesis of this name is decided; it has to be sequential."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def plan_option(command: F) -> F:
    """Return a command ``--preregistration``, which `carry_out` takes."""
    option = click.option(
        "--preregistration",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Carry out a plan that `crystallize preregister` wrote; ends with 6 where it, or what it is of, changed.",
    )
    return option(command)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks of a run.

    Attributes
    ----------
    strategy : str or None
        None means the experiment's own.
    check : bool
        Whether a hypothesis that is not supported is a failure.
    until : str or None
        The hypothesis by which the run stops, looked at after each `batch` of replicates.
    batch : int
    preregistration : Path or None
        The file of the plan that is carried out.
    events : Path or None
        Where to write what happens, as lines of JSON.
    cache : tuple of str
        ``STEP=on`` or ``STEP=off`` each.
    no_cache : bool
        Whether no step uses the step cache.
    without : tuple of str
        Treatments that are left out.
    rerun : tuple of str
        Experiments of a graph of which every cell runs, whatever the strategy of the others.
    """

    strategy: str | None = None
    check: bool = False
    until: str | None = None
    batch: int = 10
    preregistration: Path | None = None
    events: Path | None = None
    cache: tuple[str, ...] = ()
    no_cache: bool = False
    without: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()

    @classmethod
    def among(cls, options: dict[str, Any]) -> Asked:
        """Take what `run_options` have given out of a command's options.

        Raises
        ------
        Failure
            A seed is given beside a plan, which has its own.
        """
        if options["preregistration"] is not None and options["seed"] is not None:
            raise Failure("a plan has a seed of its own, so that its data are new: leave --seed out")
        return cls(**{each.name: options.pop(each.name) for each in fields(cls) if each.name in options})


def settled_cache(cache: Iterable[str], *, none: bool) -> bool | dict[str, bool] | None:
    """Return what ``--cache`` and ``--no-cache`` mean, as `Experiment.run` takes it.

    Raises
    ------
    Failure
        They contradict each other, or one cannot be read.

    Examples
    --------
    >>> settled_cache(["fit=off"], none=False)
    {'fit': False}
    """
    found = {}
    for text in cache:
        step, _, word = text.rpartition("=")
        if not step or word not in ("on", "off"):
            raise Failure(f"--cache takes STEP=on or STEP=off, not {text!r}")
        found[step] = word == "on"
    if none and found:
        raise Failure("--no-cache is for all steps: leave out --cache")
    return False if none else found or None


def kept_treatments(experiment: Experiment, without: Collection[str]) -> dict[str, Any]:
    """Return the arguments of `Experiment.run` that leave treatments out; without any, hypotheses go, too.

    Raises
    ------
    Failure
        The experiment has no treatment of such a name.
    """
    if not without:
        return {}
    check_without([experiment], without)
    kept = [treatment for treatment in experiment.treatments if treatment.name not in without]
    return {"treatments": kept, **({} if any(each.name != "baseline" for each in kept) else {"hypotheses": ()})}


def check_without(experiments: Iterable[Experiment], without: Iterable[str]) -> None:
    """Refuse names that no treatment has."""
    from crystallize.hooks.tools import did_you_mean

    known = list(dict.fromkeys(each.name for experiment in experiments for each in experiment.treatments))
    for name in without:
        if name not in known:
            raise Failure(f"--without {name}: there is no treatment of that name.{did_you_mean(name, known)}")


def step_options(command: F) -> F:
    """Return a command ``--cache``, ``--no-cache`` and ``--without``."""
    for option in (
        click.option(
            "--without", multiple=True, metavar="TREATMENT",
            help="Leave a treatment out; without any, hypotheses go, too. Can be repeated.",
        ),
        click.option("--no-cache", is_flag=True, help="Run every step: read no entries of the step cache, write none."),
        click.option(
            "--cache", multiple=True, metavar="STEP=on|off",
            help="Use the step cache for this step, or not; in a graph EXPERIMENT.STEP. Can be repeated.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Return a command the options that `Asked` holds."""
    for option in (
        click.option(
            "--events", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
            help="Write what happens to FILE, as lines of JSON.",
        ),
        plan_option,
        stop_options,
        step_options,
        click.option("--check", is_flag=True, help="End with 4 where a hypothesis is not supported."),
    ):  # fmt: skip
        command = option(command)
    return command


def carry_out(target: Target, output: Output, asked: Asked) -> int:
    """Run an experiment or a graph, show the results and give the exit code.

    Parameters
    ----------
    target : Target
    output : Output
    asked : Asked

    Raises
    ------
    Failure
        The run could not be begun, or broke down; what was finished is kept.
    """
    with following(asked.events, target.experiments) as file:
        code = _carry_out(target, output, asked, file)
        if file is not None:
            file.code = int(code)
        return code


def _carry_out(target: Target, output: Output, asked: Asked, file: EventFile | None) -> int:
    results, problem = _run(target, output, asked, file)
    if output.json:
        output.data(
            {name: result.to_dict() for name, result in results.items()} if target.graph else _only(results), str
        )
    else:
        output.write("\n\n".join(result.summary() for result in results.values()))
    for name, reason in getattr(results, "skipped", {}).items():
        output.say(f"{name} was not run, since it depends on {reason}")
    _say_what_failed(target, results, output)
    if problem is not None:
        raise problem
    changed = [text for result in results.values() for text in _changed(result)]
    if changed:
        output.say("; ".join(changed))
        return ExitCode.INTEGRITY
    if any(result.errors for result in results.values()) or getattr(results, "skipped", None):
        return ExitCode.FAILED
    if asked.check and (unsupported := [text for result in results.values() for text in _unsupported(result)]):
        output.say("not supported: " + "; ".join(unsupported))
        return ExitCode.UNSUPPORTED
    if asked.strategy == "resume" and not any(_ran(result) for result in results.values()):
        output.say("nothing to do: every cell is stored")
        return ExitCode.NOTHING
    return ExitCode.DONE


def _run(
    target: Target, output: Output, asked: Asked, file: EventFile | None
) -> tuple[Mapping[str, Result], Failure | None]:
    """Return the results by name; of a graph that broke down those that there are, and what to raise."""
    from crystallize.errors import CrystallizeError, GraphRunError

    go = _alone(target, asked) if target.graph is None else _as_graph(target, target.graph, asked)
    board = None if output.quiet or output.json else show_progress(target.experiments)
    try:
        with nullcontext() if file is None else file.listening():
            return go(), None
    except KeyboardInterrupt as interrupt:
        _say_what_is_kept(interrupt, target)
        raise
    except GraphRunError as error:
        return error.results, Failure(str(error), code_of(next(iter(error.failures.values()))))
    except CrystallizeError as error:
        _say_what_is_kept(error, target)
        raise Failure(str(error), code_of(error)) from error
    finally:
        if board is not None:
            board.close()


def refuse_graph(target: Target, what: str) -> None:
    """Refuse what is for one experiment where others run before it.

    Raises
    ------
    Failure
    """
    if target.graph is not None:
        raise Failure(f"{what} is for one experiment, and {target.path} runs others first: run those, then add --only")


def _changed(result: Result) -> list[str]:
    """Say which hypotheses were not tested as they were planned, or on other code than was planned."""
    changed = ("changed hypothesis", "changed code")
    return [f"{tested.name}: {tested.reason}" for tested in result.metrics.hypotheses if tested.state in changed]


def _alone(target: Target, asked: Asked) -> Callable[[], Mapping[str, Result]]:
    if asked.rerun:
        raise Failure("--rerun names experiments of a graph, and this one runs alone: write --strategy rerun")
    experiment = target.experiment
    how = {
        "replicates": target.replicates,
        "cache": settled_cache(asked.cache, none=asked.no_cache),
        **kept_treatments(experiment, asked.without),
        **{name: getattr(asked, name) for name in ("strategy", "until", "batch", "preregistration")},
    }
    return lambda: {experiment.name or experiment.id: experiment.run(**how)}


def _as_graph(target: Target, graph: ExperimentGraph, asked: Asked) -> Callable[[], Mapping[str, Result]]:
    for option in ("until", "preregistration"):
        if getattr(asked, option) is not None:
            refuse_graph(target, f"--{option}")
    check_without(target.experiments, asked.without)
    strategy: Any = asked.strategy
    if asked.rerun:
        others = {} if strategy is None else dict.fromkeys(graph.order, strategy)
        strategy = {**others, **dict.fromkeys(asked.rerun, "rerun")}
    how: dict[str, Any] = {
        "replicates": target.replicates,
        "strategy": strategy,
        "cache": settled_cache(asked.cache, none=asked.no_cache),
        "without": asked.without,
    }
    return lambda: graph.run(**how)


def _only(results: Mapping[str, Result]) -> Any:
    (result,) = results.values()
    return result.to_dict()


def _say_what_failed(target: Target, results: Mapping[str, Result], output: Output) -> None:
    """Say how many cells failed, and what runs just those again."""
    counts = [cells for result in results.values() for cells in result.provenance["cells"].values()]
    failed, requested = (sum(each[what] for each in counts) for what in ("failed", "requested"))
    if failed:
        output.say(f"{failed} of {requested} cells failed. To run just those again: {_resume(target)}")


def _say_what_is_kept(stopped_by: BaseException, target: Target) -> None:
    """Say how much of a run that was stopped is kept; the engine attaches it to what stopped the run."""
    results = getattr(stopped_by, "results", None)
    result = getattr(stopped_by, "result", None)
    found = list(results.values()) if isinstance(results, Mapping) else [] if result is None else [result]
    if found:
        counts = [cells for each in found for cells in each.provenance["cells"].values()]
        completed, requested = (sum(each[what] for each in counts) for what in ("completed", "requested"))
        click.echo(
            f"stopped: {completed} of {requested} cells had finished, and are kept. To go on: {_resume(target)}",
            err=True,
        )


def _resume(target: Target) -> str:
    return f"crystallize resume {shlex.quote(str(target.path))}"


def _unsupported(result: Result) -> list[str]:
    return [
        text
        for tested in result.metrics.hypotheses
        for text in [
            *(f"{tested.name} for {each.treatment} ({each})" for each in tested.verdicts if each.holds is not True),
            *(f"{tested.name} for {name} (not tested: {error})" for name, error in tested.errors.items()),
        ]
    ]


def _ran(result: Result) -> bool:
    """Whether any cell had to be run."""
    resumed = result.provenance.get("resume")
    return resumed is None or bool(resumed["ran"])
