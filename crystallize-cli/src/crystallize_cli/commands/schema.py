"""``crystallize schema``: the JSON Schema of config.yaml, for editors and other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.kinds import installed
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["schema"]


@click.command()
@click.option("--plugins", is_flag=True, help="With the settings of every plugin that is installed here.")
@with_output
def schema(plugins: bool, output: Output) -> None:
    """Write the JSON Schema of config.yaml, with which editors complete and check.

    Save it (crystallize schema > config.schema.json) and let a config.yaml begin with
    `# yaml-language-server: $schema=../config.schema.json`, the path as seen from there.
    """
    from crystallize.hooks.tools import dump_json
    from crystallize_plugins.config import schema as published

    record = published()
    if plugins:
        _add_plugins(record["properties"], output)
    output.data(record, lambda: dump_json(record))


def _add_plugins(properties: dict[str, Any], output: Output) -> None:
    """Add the settings of installed plugins under ``plugins``, and those of executors under ``execution``."""
    from crystallize_cli.inspection import inspect_installed
    from crystallize_plugins.config.parts import DEFAULTS

    named = properties["plugins"].setdefault("properties", {})
    executors = properties["execution"].setdefault("properties", {})
    for plugin in inspect_installed(installed("plugin")):
        if plugin["error"] is not None:
            output.say(f"left out: {plugin['error']}")
            continue
        settings = plugin["schema"]
        forms = [settings, *([] if settings.get("required") else [{"type": "null"}])]
        about = {} if plugin["summary"] is None else {"description": plugin["summary"]}
        left_out = [{"const": False}] if plugin["name"] in DEFAULTS else []
        named[plugin["name"]] = {**about, "anyOf": [*forms, *left_out]}
        if "run_experiment_loop" in plugin["hooks"]:
            executors[plugin["name"]] = {**about, "anyOf": forms}
