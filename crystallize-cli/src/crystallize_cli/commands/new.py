"""``crystallize new NAME``: a folder experiment that runs, to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.folders import CONFIG
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize_cli.output import Output

__all__ = ["FILES", "new"]

FILES = ("config.yaml", "datasources.py", "steps.py")
"""What a new experiment is made of."""

_READING = {"config.yaml": "reading.yaml", "steps.py": "reading_steps.py"}
"""What one is made of that reads from others, and the templates."""


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
@click.option(
    "--reads",
    multiple=True,
    metavar="EXPERIMENT#OUTPUT",
    help="What it reads of an experiment whose folder is in that folder, too. Can be repeated.",
)
@with_output
def new(name: str, parent: Path, reads: tuple[str, ...], output: Output) -> int:
    """Make the folder of a new experiment, which runs as it is: change it from there.

    NAME names the experiment and its folder.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.tools import check_name, folder_name

    try:
        folder = parent / folder_name(check_name(name, what="experiment"))
    except CrystallizeError as error:
        raise Failure(str(error)) from error
    templates = _READING if reads else {file: file for file in FILES}
    inputs = _inputs(reads, parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # Fails where it is there already, also if somebody makes it right now: nothing is ever overwritten.
        folder.mkdir()
        for file, template in templates.items():
            (folder / file).write_text(_filled(template, name, inputs), encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise Failure(f"{folder} is there already: choose another name, or remove it") from error
    except OSError as error:
        raise Failure(f"the experiment cannot be written: {error}") from error
    written = [str(folder / file) for file in templates]
    output.data({"name": name, "folder": str(folder), "files": written}, lambda: "\n".join(written))
    output.say(f"run it with: crystallize run {_quoted(str(folder))}")
    return ExitCode.DONE


def _inputs(reads: Sequence[str], parent: Path) -> str:
    """Return the lines of the section ``datasource``.

    Raises
    ------
    Failure
        Something is to be read that nobody writes.
    """
    from crystallize.hooks.tools import did_you_mean, dump_json
    from crystallize_plugins.config import read_description

    lines: dict[str, str] = {}
    for text in reads:
        experiment, hash_, output = text.partition("#")
        config = parent / experiment / CONFIG
        if not hash_ or not experiment or Path(experiment).name != experiment or not config.is_file():
            beside = sorted(found.parent.name for found in parent.glob(f"*/{CONFIG}"))
            raise Failure(
                f"--reads {text}: write EXPERIMENT#OUTPUT, with an experiment in {parent}."
                f"{did_you_mean(experiment, beside)} There: {', '.join(beside) or 'none'}"
            )
        outputs = read_description(config).outputs
        if output not in outputs:
            raise Failure(
                f"--reads {text}: the experiment {experiment!r} has no output {output!r}."
                f"{did_you_mean(output, outputs)} Its outputs: {', '.join(outputs) or 'none'}"
            )
        alias = output if output not in lines else f"{experiment}_{output}"
        lines[alias] = f"  {dump_json(alias)}: {dump_json(text)}"
    return "\n".join(lines.values())


def _filled(file: str, name: str, inputs: str) -> str:
    from crystallize.hooks.tools import dump_json

    template = resources.files("crystallize_cli") / "templates" / "experiment" / f"{file}.tmpl"
    text = template.read_text(encoding="utf-8")
    # Text in JSON's quotes is text in YAML, whatever is in it.
    return text.replace("{name}", dump_json(name)).replace("{reads}", inputs) if file.endswith(".yaml") else text


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
