"""Which plugins a command runs with: `-p NAME`, `-p no:NAME`, `--no-plugins`, and the variable CRYSTALLIZE_PLUGINS.

The nearer wins: what the command line says counts more than the variable, and the variable more than the experiment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crystallize_cli.exits import Failure, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize import Experiment

__all__ = [
    "VARIABLE",
    "Choice",
    "choices",
    "configure",
    "named",
    "refuse_unused",
    "select",
    "select_from",
    "selected",
    "selection_options",
]

F = TypeVar("F", bound="Callable[..., Any]")

VARIABLE = "CRYSTALLIZE_PLUGINS"
"""Read by the command line alone: a program that uses the library says in its code what it uses."""

_OPTION = "-p"
_LEAVE_OUT = "no:"


@dataclass(frozen=True, slots=True)
class Choice:
    """A plugin that is asked for, or is to be left out.

    Attributes
    ----------
    name : str
    wanted : bool
    asked_by : str
        ``"-p"``, or the variable's name; kept in the lock.
    contradicts : bool
        Whether it takes back what the variable asks for: it need not be about anything else.
    """

    name: str
    wanted: bool
    asked_by: str
    contradicts: bool = False


def selection_options(command: F) -> F:
    """Return a command ``-p`` and ``--no-plugins``, which `choices` takes."""
    for option in (
        click.option("--no-plugins", is_flag=True, help="Leave out every plugin that -p does not ask for."),
        click.option(
            _OPTION,
            "chosen",
            multiple=True,
            metavar="NAME",
            help=f"Use a plugin; {_LEAVE_OUT}NAME leaves one out. Counts more than {VARIABLE}, a list with commas.",
        ),
    ):
        command = option(command)
    return command


def choices(chosen: Sequence[str], *, no_plugins: bool = False) -> list[Choice]:
    """Return what the variable and the command line ask for, what counts more last.

    Parameters
    ----------
    chosen : sequence of str
        What follows each ``-p``.
    no_plugins : bool, default False
        Whether the variable is left out, too.

    Examples
    --------
    >>> [(choice.name, choice.wanted) for choice in choices(["tally", "no:logging"], no_plugins=True)]
    [('tally', True), ('logging', False)]
    """
    listed = "" if no_plugins else os.environ.get(VARIABLE, "")
    far = [_choice(text, VARIABLE) for text in map(str.strip, listed.split(",")) if text]
    asked = {choice.name for choice in far}
    near = [replace(choice, contradicts=choice.name in asked) for choice in (_choice(text, _OPTION) for text in chosen)]
    named = {choice.name for choice in near}
    return [*(choice for choice in far if choice.name not in named), *near]


def select(experiments: Sequence[Experiment], chosen: Sequence[str], *, no_plugins: bool = False) -> None:
    """Give experiments the plugins that the command line and the variable ask for, beside or without their own.

    Raises
    ------
    Failure
        A plugin that is asked for cannot be used, or one that is to be left out is in none of them.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.declarations import use_plugins

    asked = choices(chosen, no_plugins=no_plugins)
    if not asked and not no_plugins:
        return
    unused: list[set[Choice]] = []
    for experiment in experiments:
        plugins, left = selected(experiment.plugins, asked, no_plugins=no_plugins)
        unused.append(left)
        try:
            use_plugins(experiment, plugins)
        except CrystallizeError as error:
            raise Failure(str(error), code_of(error)) from error
    refuse_unused(set.intersection(*unused), [name for each in experiments for name, _ in named(each.plugins)])


def select_from(plugins: Sequence[object], chosen: Sequence[str], *, no_plugins: bool = False) -> list[Any]:
    """Return plugins with and without what is asked for, where there is no experiment.

    Raises
    ------
    Failure
        As `select`.
    """
    kept, unused = selected(plugins, choices(chosen, no_plugins=no_plugins), no_plugins=no_plugins)
    refuse_unused(unused, [name for name, _ in named(kept)])
    return kept


def selected(
    plugins: Sequence[object], asked: Sequence[Choice], *, no_plugins: bool = False
) -> tuple[list[Any], set[Choice]]:
    """Return the plugins that are left and added, and the choices that were about none of them.

    Parameters
    ----------
    plugins : sequence of object
        Instances.
    asked : sequence of Choice
    no_plugins : bool, default False
        Whether to begin without those.

    Raises
    ------
    Failure
        A plugin that is asked for cannot be used.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks import build_plugin
    from crystallize.hooks.declarations import note_asked_by

    kept: dict[int, tuple[str, Any]] = {} if no_plugins else dict(enumerate(named(plugins)))
    unused = set()
    for choice in asked:
        places = [place for place, (name, _) in kept.items() if name == choice.name]
        if not choice.wanted:
            for place in places:
                del kept[place]
            if not places and not choice.contradicts:
                unused.add(choice)
        elif places:
            note_asked_by(kept[places[0]][1], choice.asked_by)
        else:
            try:
                plugin = build_plugin(choice.name, asked_by=choice.asked_by)
            except (CrystallizeError, TypeError, ValueError) as error:
                raise Failure(f"{choice.asked_by}: {error}") from error
            kept = {place: each for place, each in kept.items() if not _same_kind(each[1], plugin)}
            kept[max(kept, default=-1) + 1] = (choice.name, plugin)
    return [plugin for _, plugin in kept.values()], unused


def refuse_unused(unused: set[Choice], known: Sequence[str]) -> None:
    """Refuse choices that leave out what is not there.

    Raises
    ------
    Failure
    """
    from crystallize.hooks.tools import did_you_mean

    for choice in sorted(unused, key=lambda each: each.name):
        raise Failure(
            f"{choice.asked_by}: {_LEAVE_OUT}{choice.name} leaves nothing out, since no such plugin is active."
            f"{did_you_mean(choice.name, known)} Active: {', '.join(dict.fromkeys(known)) or 'none'}"
        )


def named(plugins: Sequence[object]) -> list[tuple[str, Any]]:
    """Return plugins with their names."""
    from crystallize.hooks import ActivePlugins

    names = {id(info.plugin): info.name for info in ActivePlugins.resolve(plugins, complete=False).infos}
    return [(names[id(plugin)], plugin) for plugin in plugins]


def configure(experiments: Sequence[Experiment], settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Build plugins again with other settings: ``plugins.NAME.KEY=VALUE``.

    Parameters
    ----------
    experiments : sequence of Experiment
    settings : mapping
        By plugin and setting.

    Raises
    ------
    Failure
        No experiment has such a plugin, or it does not take the setting.
    """
    for name, values in settings.items():
        configured = [_configure(experiment, name, values) for experiment in experiments]
        if not any(configured):
            from crystallize.hooks.tools import did_you_mean

            known = [known for each in experiments for known, _ in named(each.plugins)]
            raise Failure(
                f"plugins.{name}: no such plugin is active.{did_you_mean(name, known)} Active: "
                f"{', '.join(dict.fromkeys(known)) or 'none'}. {_OPTION} {name} adds it"
            )


def _configure(experiment: Experiment, name: str, values: Mapping[str, Any]) -> bool:
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.declarations import rebuild_plugin, use_plugins

    found = named(experiment.plugins)
    if name not in dict(found):
        return False
    try:
        use_plugins(experiment, [rebuild_plugin(plugin, values) if each == name else plugin for each, plugin in found])
    except (CrystallizeError, TypeError, ValueError) as error:
        raise Failure(f"plugins.{name}: {error}") from error
    return True


def _choice(text: str, asked_by: str) -> Choice:
    name = text.strip().removeprefix(_LEAVE_OUT)
    if not name:
        raise Failure(f"{asked_by}: {text!r} names no plugin: write NAME, or {_LEAVE_OUT}NAME")
    return Choice(name, not text.strip().startswith(_LEAVE_OUT), asked_by)


def _same_kind(plugin: object, other: object) -> bool:
    """Whether an experiment has one or the other: a seeder, a store, a logger."""
    from crystallize import LoggingPlugin
    from crystallize.hooks import SeederPlugin, StorePlugin

    return any(
        isinstance(plugin, kind) and isinstance(other, kind) for kind in (SeederPlugin, StorePlugin, LoggingPlugin)
    )
