"""``crystallize schema``: the JSON Schema of config.yaml, for editors and other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["schema"]


@click.command()
@with_output
def schema(output: Output) -> None:
    """Write the JSON Schema of config.yaml, with which editors complete and check.

    Save it (crystallize schema > config.schema.json) and let a config.yaml begin with
    `# yaml-language-server: $schema=../config.schema.json`, the path as seen from there.
    """
    from crystallize.hooks.tools import dump_json
    from crystallize_plugins.config import schema as published

    record = published()
    output.data(record, lambda: dump_json(record))
