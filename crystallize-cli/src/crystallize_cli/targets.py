"""From what stands on the command line to what is run: a Python file, a folder experiment, or the graph it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.folders import CONFIG, ExperimentPath, find_experiment
from crystallize_cli.locks import apply_lock, lock_option, read_lock_file
from crystallize_cli.selection import configure, select, selection_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from crystallize import Experiment, ExperimentGraph

__all__ = ["Target", "load_experiment", "load_target", "target_options"]


def load_experiment(path: Path) -> Experiment:
    """Return the experiment that a Python file defines, as `crystallize_plugins.loading.load_experiment` does.

    Raises
    ------
    Failure
        There is no such file, it cannot be imported, or it is unclear which experiment is meant.

    Examples
    --------
    >>> from pathlib import Path
    >>> load_experiment(Path("absent.py"))
    Traceback (most recent call last):
    ...
    crystallize_cli.exits.Failure: there is no file absent.py
    """
    from crystallize.errors import ConfigurationError
    from crystallize_plugins import loading

    try:
        return loading.load_experiment(path)
    except ConfigurationError as error:
        raise Failure(str(error)) from error


F = TypeVar("F", bound="Callable[..., Any]")

_SETTING = re.compile(r"""plugins\.(?P<name>"[^"]*"|'[^']*'|[^.="']+)\.[^=]+=""")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be run.

    Attributes
    ----------
    path : Path
        As it was given.
    experiment : Experiment
        The one that was asked for.
    graph : ExperimentGraph or None
        That experiment and all that it reads from, where it reads from others.
    replicates : int or None
        What the command line asks for.
    """

    path: Path
    experiment: Experiment
    graph: ExperimentGraph | None = None
    replicates: int | None = None

    @property
    def experiments(self) -> list[Experiment]:
        """All that run."""
        return [self.experiment] if self.graph is None else list(self.graph.experiments.values())


def target_options(command: F) -> F:
    """Return a command what says which experiment is meant, with which plugins, and how it is to run."""
    for option in (
        selection_options,
        lock_option,
        click.option("--seed", type=int, metavar="N", help="The seed, any integer, for this run only."),
        click.option(
            "--replicates", type=click.IntRange(min=1), metavar="N", help="How many replicates, for this run only."
        ),
        click.option("--only", is_flag=True, help="Leave out the experiments that this one reads from."),
        click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
        click.argument("path", type=ExperimentPath()),
    ):
        command = option(command)
    return command


def load_target(
    path: Path,
    overrides: Sequence[str],
    *,
    only: bool = False,
    replicates: int | None = None,
    seed: int | None = None,
    chosen: Sequence[str] = (),
    no_plugins: bool = False,
    locked: Path | None = None,
) -> Target:
    """Load what is meant.

    Parameters
    ----------
    path : Path
        A Python file that defines an experiment, a folder with a config.yaml, that file, or the name of a folder
        experiment below the current folder.
    overrides : sequence of str
        ``key.path=value``; of a Python file ``replicates`` and the settings of plugins.
    only : bool, default False
        Whether to leave out what it reads from.
    replicates, seed : int, optional
    chosen : sequence of str, optional
        Plugins, as `crystallize_cli.selection.choices` takes them.
    no_plugins : bool, default False
        Whether to leave out all plugins but those.
    locked : Path, optional
        A lock that says exactly which plugins there are, whatever else asks for some.

    Raises
    ------
    Failure
        Nothing can be loaded from there; with everything that is wrong.
    """
    place = find_experiment(path)
    if place.is_dir() or place.suffix in (".yaml", ".yml"):
        document, settings = _split(overrides, place)
        target = _from_folder(path, place, document, only=only, replicates=replicates)
    elif place.suffix == ".py":
        values, settings = _split(overrides, None)
        target = _from_file(place, values, replicates)
    else:
        raise Failure(f"{path} is neither a Python file, nor a folder with a {CONFIG}")
    if locked is not None:
        if chosen or no_plugins or settings:
            raise Failure("--locked says exactly which plugins run, with which settings: leave out what changes them")
        apply_lock(target.experiments, read_lock_file(locked))
    else:
        select(target.experiments, chosen, no_plugins=no_plugins)
        configure(target.experiments, _values(settings).get("plugins", {}))
    if seed is not None:
        for experiment in target.experiments:
            _reseed(experiment, seed)
    return target


def _split(overrides: Sequence[str], folder: Path | None) -> tuple[list[str], list[str]]:
    """Return the overrides for the experiment, and those for settings of plugins that its config.yaml does not name."""
    of_plugins = {text: match["name"] for text in overrides if (match := _SETTING.match(text))}
    written: set[str] = set()
    if of_plugins and folder is not None:
        from crystallize_plugins.config import named_plugins

        written = named_plugins(folder)
    settings = [text for text, name in of_plugins.items() if name.strip("\"'") not in written]
    return [text for text in overrides if text not in settings], settings


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    if not overrides:
        return {}
    from crystallize.errors import ConfigurationError, MissingExtraError
    from crystallize_plugins.config import values_of

    try:
        return values_of(overrides)
    except (ConfigurationError, MissingExtraError) as error:
        raise Failure(str(error)) from error


def _from_file(path: Path, overrides: Sequence[str], replicates: int | None) -> Target:
    count = replicates
    for override in overrides:
        key, equals, value = override.partition("=")
        if key != "replicates" or not equals or not value.isdecimal():
            raise Failure(
                f"{override!r} cannot be applied to a Python file, of which only replicates=N and "
                "plugins.NAME.KEY=VALUE can be overridden: put the experiment into a folder with a config.yaml "
                "(crystallize new), or change the file"
            )
        count = int(value)
    return Target(path, load_experiment(path), None, count)


def _from_folder(given: Path, path: Path, overrides: Sequence[str], *, only: bool, replicates: int | None) -> Target:
    from crystallize import ExperimentGraph
    from crystallize.errors import ConfigurationError, MissingExtraError
    from crystallize_plugins.config import load_folder

    known: dict[Path, Any] = {}
    try:
        loaded = load_folder(path, overrides=overrides, known=known)
    except ConfigurationError as error:
        missing = path.is_dir() and not (path / CONFIG).exists()
        raise Failure(str(error), ExitCode.NOTHING if missing else ExitCode.USAGE) from error
    except MissingExtraError as error:
        raise Failure(str(error)) from error
    graph = None
    if loaded.references and not only:
        graph = ExperimentGraph.from_experiments([each.experiment for each in known.values()])
    return Target(given, loaded.experiment, graph, replicates)


def _reseed(experiment: Experiment, seed: int) -> None:
    """Build the experiment's SeedPlugin again with this seed and the rest of its settings."""
    from crystallize import SeedPlugin
    from crystallize.hooks.declarations import rebuild_plugin

    for position, plugin in enumerate(experiment.plugins):
        if isinstance(plugin, SeedPlugin):
            # Anew, not by setting an attribute: the run's record shows what a plugin was built with.
            experiment.plugins[position] = rebuild_plugin(plugin, {"seed": seed})
            return
    message = "--seed has nothing to act on: the experiment has no SeedPlugin. Add one, or leave the option out"
    raise Failure(message)
