"""``crystallize schema``: the JSON Schema of config.yaml, for editors and other programs."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Write the JSON Schema of config.yaml, with which editors complete and check.

    Save it (crystallize schema > config.schema.json), and let the first line of a config.yaml be
    `# yaml-language-server: $schema=config.schema.json`, with the path from there.
    """
    from crystallize.config import schema as published
    from crystallize.results.export import dump_json

    click.echo(dump_json(published()))
