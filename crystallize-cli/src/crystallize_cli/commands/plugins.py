"""``crystallize plugins``: what is installed, and whether it can be used."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize.hooks import PluginRecord
    from crystallize_cli.output import Output

__all__ = ["GROUPS", "plugins"]

GROUPS = {
    "plugin": "crystallize.plugins",
    "verifier": "crystallize.verifiers",
    "optimizer": "crystallize.optimizers",
    "seeder": "crystallize.seeders",
    "config": "crystallize.configs",
    "command": "crystallize.commands",
}
"""What can be installed, and its entry-point group."""


@click.group()
def plugins() -> None:
    """Show what is installed: plugins, verifiers, optimisers, seeders, commands.

    Works with any of them broken: each is found by its distribution's metadata alone.
    """


@plugins.command("list")
@click.option("--kind", type=click.Choice(list(GROUPS)), help="Only what is of this kind.")
@with_output
def _list(kind: str | None, output: Output) -> int:
    """List what is installed, importing nothing."""
    from crystallize.hooks import find_plugins

    rows = [
        {
            "name": record.name,
            "kind": found,
            "distribution": record.distribution,
            "version": record.version,
            "entry_point": record.value,
            "problem": record.problem,
        }
        for found, group in GROUPS.items()
        if kind in (None, found)
        for record in find_plugins(group)
    ]
    output.table(rows, ["name", "kind", "distribution", "version", "problem"])
    return ExitCode.DONE


@plugins.command("show")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(GROUPS)), help="Only look among what is of this kind.")
@with_output
def _show(name: str, kind: str | None, output: Output) -> int:
    """Show one of them: where it comes from, its settings and the hooks in which it is called."""
    found = [(label, record) for label, record in _named(name) if kind in (None, label)]
    if not found:
        raise Failure(_unknown(name), ExitCode.NOTHING)
    records = [_described(label, record) for label, record in found]
    output.data(records, lambda: "\n\n".join(map(_text, records)))
    return ExitCode.DONE if all(record["error"] is None for record in records) else ExitCode.USAGE


def _named(name: str) -> list[tuple[str, PluginRecord]]:
    from crystallize.hooks import find_plugins

    return [(label, record) for label, group in GROUPS.items() for record in find_plugins(group) if record.name == name]


def _unknown(name: str) -> str:
    from crystallize.hooks import find_plugins
    from crystallize.hooks.tools import did_you_mean

    names = [record.name for group in GROUPS.values() for record in find_plugins(group)]
    return (
        f"nothing that is installed is called {name!r}.{did_you_mean(name, names)} "
        "`crystallize plugins list` shows what is there"
    )


def _described(kind: str, record: PluginRecord) -> dict[str, Any]:
    from crystallize.errors import PluginError
    from crystallize.hooks import load_plugin

    described: dict[str, Any] = {
        "name": record.name,
        "kind": kind,
        "distribution": record.distribution,
        "version": record.version,
        "entry_point": record.value,
        "error": record.problem,
        "summary": None,
        "settings": {},
    }
    try:
        target = load_plugin(record.name, record.group)
    except PluginError as error:
        return {**described, "error": str(error)}
    described["summary"] = (inspect.getdoc(target) or "").partition("\n\n")[0].replace("\n", " ") or None
    described["settings"] = _settings(target)
    if kind == "plugin":
        described |= _declared(target)
    return described


def _settings(target: Any) -> dict[str, str | None]:
    """Return what it can be built with: names, and defaults as text; None where a value has to be given."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {
        parameter.name: None if parameter.default is parameter.empty else repr(parameter.default)
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _declared(target: Any) -> dict[str, Any]:
    from crystallize.hooks import HOOKS, BasePlugin

    return {
        "hooks": [name for name in HOOKS if getattr(target, name, None) not in (None, getattr(BasePlugin, name, None))],
        "neutral": getattr(target, "neutral", None),
        "on_error": getattr(target, "on_error", None),
        "before": list(getattr(target, "before", ())),
        "after": list(getattr(target, "after", ())),
        "requires": list(getattr(target, "requires", ())),
        "contract": getattr(target, "contract", None),
    }


def _text(record: dict[str, Any]) -> str:
    lines = [f"{record['name']} ({record['kind']}, {record['distribution']} {record['version']})"]
    if record["summary"]:
        lines.append(f"  {record['summary']}")
    lines.append(f"  entry point  {record['entry_point']}")
    if record["error"]:
        lines.append(f"  cannot be used: {record['error']}")
    for name, default in record["settings"].items():
        lines.append(f"  setting      {name}" + ("" if default is None else f" = {default}"))
    if record.get("hooks"):
        lines.append(f"  hooks        {', '.join(record['hooks'])}")
    declared = {name: record.get(name) for name in ("neutral", "on_error", "contract")}
    lines += [f"  {name:<12} {value}" for name, value in declared.items() if value is not None]
    relations = {name: ", ".join(record.get(name, ())) for name in ("before", "after", "requires")}
    lines += [f"  {name:<12} {value}" for name, value in relations.items() if value]
    return "\n".join(lines)
