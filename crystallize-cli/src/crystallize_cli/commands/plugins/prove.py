"""``crystallize plugins prove``: whether an experiment gives the same with a plugin and without it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.folders import ExperimentPath
from crystallize_cli.kinds import find_installed
from crystallize_cli.output import with_output
from crystallize_cli.streams import reserved_stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from crystallize import Result
    from crystallize.hooks import PluginInfo
    from crystallize_cli.output import Output

__all__ = ["prove"]

_EXECUTORS = ("serial", "thread", "process")
_MOST_SHOWN = 5


@click.command()
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the plugin.")
@click.option("--on", "path", type=ExperimentPath(), metavar="PATH", help="The experiment; by default a small one.")
@click.option(
    "--executor", "executors", multiple=True, type=click.Choice(_EXECUTORS), help="Only under this.  [default: all]"
)
@with_output
def prove(name: str, settings: tuple[str, ...], path: Path | None, executors: tuple[str, ...], output: Output) -> int:
    """Say whether an experiment gives the same with a plugin and without it.

    It is run without and with the plugin, with it before and after another plugin, twice, in this process, in threads
    and in processes; every number and file is compared bit for bit. Nothing is stored. A plugin that is not neutral may
    differ from the run without it, and nowhere else. Ends with 1 where that does not hold, and with 5 where nothing has
    this name.
    """
    from crystallize.hooks import ActivePlugins, SeederPlugin, build_plugin
    from crystallize_cli.proving import nothing_written, prove_plugin

    find_installed(name, "plugin")
    given = _settings(settings)
    with _quietly(output), reserved_stdout():
        with _failures():
            (info,) = ActivePlugins.resolve([build_plugin((name, given))], complete=False).infos
            if isinstance(info.plugin, SeederPlugin) and info.arguments.get("seed", 1) is None:
                given["seed"] = 1  # no two runs are alike that take their seeds from the system
                (info,) = ActivePlugins.resolve([build_plugin((name, given))], complete=False).infos
        with nothing_written(elsewhere=path is None) as folder:
            stored = {**given, "root_dir": str(folder / "runs")} if _stores(info) else given
            with _failures():
                proof = prove_plugin(lambda: build_plugin((name, dict(stored))), _runner(path), executors or _EXECUTORS)
    record = {
        "plugin": name,
        "distribution": info.distribution,
        "version": info.version,
        "neutral": info.neutral,
        "settings": info.settings,
        "on": "sample" if path is None else str(path),
        **proof,
    }
    output.data(record, lambda: "\n".join(_lines(record)))
    return ExitCode.DONE if proof["holds"] else ExitCode.FAILED


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    from crystallize.errors import ConfigurationError
    from crystallize_plugins.config import values_of

    try:
        return values_of(texts) if texts else {}
    except ConfigurationError as error:
        raise Failure(f"--set: {error}") from error


def _stores(info: PluginInfo) -> bool:
    """Whether the plugin is a store, which is to write where nothing stays."""
    from crystallize.hooks import StorePlugin

    return isinstance(info.plugin, StorePlugin) and "root_dir" in info.arguments


def _runner(path: Path | None) -> Callable[..., Result]:
    """Return what runs an experiment with these plugins beside its own: those that neither store nor run cells."""
    from crystallize_cli.proving import run_on_sample

    if path is None:
        return run_on_sample

    def run(plugins: Sequence[object], *, strict: bool) -> Result:
        from crystallize.hooks import ActivePlugins, StorePlugin, build_plugins
        from crystallize.hooks.declarations import rebuild_plugin, use_plugins
        from crystallize_cli.targets import load_target

        experiment = load_target(path, (), only=True).experiment
        added = build_plugins(plugins, default_plugins=False)
        names = {info.name for info in ActivePlugins.resolve(added, complete=False).infos}
        own = [
            rebuild_plugin(info.plugin, {"seed": 1}) if info.arguments.get("seed", 1) is None else info.plugin
            for info in ActivePlugins.resolve(experiment.plugins, complete=False).infos
            if info.name not in names
            and "run_experiment_loop" not in info.hooks
            and not isinstance(info.plugin, StorePlugin)
        ]
        use_plugins(experiment, [*own, *added])
        experiment.strict = experiment.strict and strict
        return experiment.run()

    return run


@contextmanager
def _failures() -> Iterator[None]:
    from crystallize.errors import CrystallizeError

    try:
        yield
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error


@contextmanager
def _quietly(output: Output) -> Iterator[None]:
    """Leave out what the runs log, such as that a cell failed which is meant to."""
    before = logging.root.manager.disable
    if not output.verbose:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _lines(record: dict[str, Any]) -> Iterator[str]:
    kind = "neutral" if record["neutral"] else "not neutral"
    says = "holds" if record["holds"] else "does not hold"
    yield f"{record['plugin']} ({record['distribution']} {record['version']}, {kind}) on {record['on']}: {says}"
    for each in record["comparisons"]:
        found = each["differences"]
        yield f"  {each['what']:<9} {each['executor']:<8} {'the same' if not found else f'{len(found)} differences'}"
        for one in found[:_MOST_SHOWN]:
            cell = "" if one["condition"] is None else f"{one['condition']}, replicate {one['replicate']}: "
            yield f"    {cell}{one['what']}: {one['recorded']} → {one['now']}"
    for finding in record["findings"]:
        yield f"  {finding['state']:<8} [{finding['rule']}] {finding['text']}"
