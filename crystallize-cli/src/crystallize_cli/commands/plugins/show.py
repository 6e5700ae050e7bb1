"""``crystallize plugins show``: one plugin, with its settings, its hooks and what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode
from crystallize_cli.kinds import find_installed, kind_option
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_cli.output import Output

__all__ = ["show"]

_INTERNAL = ("optional", "schema")


@click.command()
@click.argument("name")
@kind_option
@with_output
def show(name: str, kind: str | None, output: Output) -> int:
    """Show one of them: where it comes from, its settings and the hooks in which it is called.

    Ends with 2 where it cannot be used, and with 5 where nothing has this name.
    """
    from crystallize_cli.inspection import inspect_installed

    records = [
        {key: value for key, value in record.items() if key not in _INTERNAL}
        for record in inspect_installed(find_installed(name, kind))
    ]
    output.data(records, lambda: "\n\n".join("\n".join(_lines(record)) for record in records))
    return ExitCode.DONE if all(record["error"] is None for record in records) else ExitCode.USAGE


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield f"{record['name']} ({record['kind']}, {record['distribution']} {record['version']})"
    if record["summary"]:
        yield f"  {record['summary']}"
    yield f"  entry point  {record['entry_point']}"
    if record["error"]:
        yield f"  cannot be used: {record['error']}"
    for name, setting in record["settings"].items():
        yield f"  setting      {name}{_setting(setting)}"
    for name in ("hooks", "neutral", "on_error", "contract", "before", "after", "requires"):
        value = record.get(name)
        if value not in (None, []):
            yield f"  {name:<12} {', '.join(value) if isinstance(value, list) else value}"


def _setting(setting: dict[str, Any]) -> str:
    shown = "  (required)" if setting["required"] else f" = {setting['default']!r}"
    shown += "" if setting["type"] in (None, "any") else f"  ({setting['type']})"
    if setting["choices"]:
        shown += f"  one of {', '.join(map(repr, setting['choices']))}"
    return shown + (f"  {setting['help']}" if setting["help"] else "")
