"""``crystallize ui [FOLDER]``: the terminal UI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from crystallize_cli.exits import ExitCode, Failure

__all__ = ["open_ui", "ui"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--web", is_flag=True, help="Serve it to a browser of this machine, at the address that is printed.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="With --web: where it is served."
)
def ui(folder: Path, web: bool, port: int) -> int:
    """Open the terminal UI in FOLDER, by default the current one.

    ? shows its keys, q leaves it. `crystallize` alone does the same.
    """
    if web:
        _enter(folder)
        from crystallize_cli.tui.web import serve

        serve(port)
        return ExitCode.DONE
    # A driver of Textual's own is there where it is served to a browser.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and "TEXTUAL_DRIVER" not in os.environ:
        raise Failure("the terminal UI needs a terminal: `crystallize list`, `run` and `runs` do without one")
    return open_ui(folder)


def open_ui(folder: Path) -> int:
    """Open the terminal UI in a folder, which becomes the current one of this process.

    Raises
    ------
    Failure
        There is no such folder.
    """
    _enter(folder)
    from crystallize_cli.tui.application import Application

    application = Application()
    application.run()
    return application.return_code or ExitCode.DONE


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise Failure(f"{folder} cannot be opened: {error.strerror}", ExitCode.NOTHING) from error
