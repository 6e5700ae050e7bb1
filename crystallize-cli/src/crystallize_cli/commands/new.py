"""``crystallize new NAME``: a folder experiment that runs, to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["FILES", "new"]

FILES = ("config.yaml", "datasources.py", "steps.py")
"""What a new experiment is made of."""


@click.command()
@click.argument("name")
@click.option(
    "--in",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("experiments"),
    show_default=True,
    help="The folder in which its folder is made.",
)
@with_output
def new(name: str, parent: Path, output: Output) -> int:
    """Make the folder of a new experiment, which runs as it is: change it from there.

    NAME names the experiment and its folder.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.tools import check_name, folder_name

    try:
        folder = parent / folder_name(check_name(name, what="experiment"))
    except CrystallizeError as error:
        raise Failure(str(error)) from error
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # Fails where it is there already, also if somebody makes it right now: nothing is ever overwritten.
        folder.mkdir()
        for file in FILES:
            (folder / file).write_text(_filled(file, name), encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise Failure(f"{folder} is there already: choose another name, or remove it") from error
    except OSError as error:
        raise Failure(f"the experiment cannot be written: {error}") from error
    written = [str(folder / file) for file in FILES]
    output.data({"name": name, "folder": str(folder), "files": written}, lambda: "\n".join(written))
    output.say(f"run it with: crystallize run {_quoted(str(folder))}")
    return ExitCode.DONE


def _filled(file: str, name: str) -> str:
    from crystallize.hooks.tools import dump_json

    template = resources.files("crystallize_cli") / "templates" / "experiment" / f"{file}.tmpl"
    text = template.read_text(encoding="utf-8")
    # Text in JSON's quotes is text in YAML, whatever is in it.
    return text.replace("{name}", dump_json(name)) if file == "config.yaml" else text


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
