"""``crystallize completion``: what a shell needs to complete commands, options and paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

    from crystallize_cli.output import Output

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_CRYSTALLIZE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@with_output
def completion(shell: str | None, output: Output) -> int:
    """Write the script that makes a shell complete `crystallize`.

    SHELL is bash, zsh or fish; by default the one you use. To try it: eval "$(crystallize completion)". To keep it, put
    that line into ~/.bashrc or ~/.zshrc, or for fish write the script to ~/.config/fish/completions/crystallize.fish.
    """
    from click.shell_completion import get_completion_class

    from crystallize_cli.main import cli

    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - a name, not a file
    found: type[ShellComplete] | None = get_completion_class(name) if name in _SHELLS else None
    if found is None:
        known = ", ".join(_SHELLS)
        raise Failure(f"it is not known which shell this is ({name or 'SHELL is not set'}): name one of {known}")
    script = found(cli, {}, "crystallize", _VARIABLE).source()
    output.data({"shell": name, "script": script}, lambda: script)
    return ExitCode.DONE
