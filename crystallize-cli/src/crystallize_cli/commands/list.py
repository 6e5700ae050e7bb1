"""``crystallize list``: the folder experiments below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.folders import find_folders
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["list_"]


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--all", "everything", is_flag=True, help="Show hidden ones, too.")
@with_output
def list_(folder: Path, everything: bool, output: Output) -> int:
    """List the folder experiments below FOLDER, by default the current one.

    No code of theirs is run: it is what each config.yaml says.
    """
    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}", ExitCode.NOTHING)
    rows = [_row(found) for found in find_folders(folder)]
    shown = [row for row in rows if everything or not row["hidden"]]
    if not shown:
        hidden = f" ({len(rows)} are hidden: --all shows them)" if rows else ""
        where = "the current folder" if folder == Path() else folder
        message = f"there is no folder experiment below {where}{hidden}. `crystallize new NAME` makes one"
        raise Failure(message, ExitCode.NOTHING)
    shown.sort(key=lambda row: (row["group"] or "", row["priority"], row["name"]))
    output.table(shown, ["name", "group", "folder", "reads", "description", "problem"])
    return ExitCode.DONE


def _row(folder: Path) -> dict[str, Any]:
    from crystallize.errors import ConfigurationError
    from crystallize_plugins.config import read_description

    row: dict[str, Any] = {"name": folder.name, "folder": str(folder), "group": None, "priority": 999, "hidden": False}
    try:
        found = read_description(folder)
    except ConfigurationError as error:
        return {**row, "problem": str(error).partition("\n")[0]}
    return {
        **row,
        "name": found.name,
        "description": found.description,
        **found.cli._asdict(),
        "outputs": list(found.outputs),
        "reads": [f"{experiment}#{output}" for _, experiment, output in found.references],
        "problem": None,
    }
