"""The command group: built-in and installed subcommands, each imported when it is used."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli import __version__
from crystallize_cli.exits import ExitCode
from crystallize_cli.installed import installed_commands, load_command
from crystallize_cli.lazy import LazyGroup
from crystallize_cli.output import EXITS, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.hooks import PluginRecord

__all__ = ["BUILT_IN", "CommandGroup", "cli", "run"]

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "run": ("crystallize_cli.commands.run:run", "Run an experiment and show its results."),
    "ui": ("crystallize_cli.commands.ui:ui", "Open the terminal UI in FOLDER, by default the current one."),
    "completion": (
        "crystallize_cli.commands.completion:completion",
        "Write the script that makes a shell complete `crystallize`.",
    ),
    "doctor": ("crystallize_cli.commands.doctor:doctor", "Say whether what is installed fits together."),
    "plugins": (
        "crystallize_cli.commands.plugins:plugins",
        "Look at plugins, verifiers, optimisers, seeders, commands: what is installed, and what runs had.",
    ),
    "compare": (
        "crystallize_cli.commands.compare:compare",
        "Show several runs as a table, one column for each thing in which they differ.",
    ),
    "export": (
        "crystallize_cli.commands.export:export",
        "Write every recorded value of a run as one row: condition, replicate, metric, value.",
    ),
    "runs": ("crystallize_cli.commands.runs:runs", "List the stored runs."),
    "show": (
        "crystallize_cli.commands.show:show",
        "Show what a stored run gave: its table, its errors, how it came about.",
    ),
    "report": (
        "crystallize_cli.commands.report:report",
        "Write a stored run as one HTML file: verdicts, plots, failures, how it came about.",
    ),
    "diff": ("crystallize_cli.commands.diff:diff", "Say what differs between two stored runs."),
    "reproduce": (
        "crystallize_cli.commands.reproduce:reproduce",
        "Do a stored run again from its record, and compare it bit for bit.",
    ),
    "verify": (
        "crystallize_cli.commands.verify:verify",
        "Read everything that is stored and name what is damaged.",
    ),
    "gc": ("crystallize_cli.commands.gc:gc", "Remove old runs with all their files, by a rule that is given."),
    "new": (
        "crystallize_cli.commands.new:new",
        "Make the folder of a new experiment, which runs as it is: change it from there.",
    ),
    "check": (
        "crystallize_cli.commands.check:check",
        "Load every experiment below PATHS and say all that is wrong, with file, line and column.",
    ),
    "list": (
        "crystallize_cli.commands.list:list_",
        "List the folder experiments below FOLDER, by default the current one.",
    ),
    "debug": (
        "crystallize_cli.commands.debug:debug",
        "Run one cell in this process and show what every step did.",
    ),
    "plan": (
        "crystallize_cli.commands.plan:plan",
        "Say which cells would run, and why, without running or writing anything.",
    ),
    "preregister": (
        "crystallize_cli.commands.preregister:preregister",
        "Write down what will be run and tested, before it is.",
    ),
    "resume": (
        "crystallize_cli.commands.resume:resume",
        "Run the cells that are missing, failed or changed, and keep all others.",
    ),
    "schema": (
        "crystallize_cli.commands.schema:schema",
        "Write the JSON Schema of config.yaml, with which editors complete and check.",
    ),
}
"""Name to (where the command is, its short help): the list of commands imports none of them."""


class CommandGroup(LazyGroup):
    """A group whose subcommands come from `BUILT_IN` and from installed distributions.

    Nothing is imported to list them, so that one broken distribution breaks only its own commands.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands, the built-in ones first."""
        return [*super().list_commands(ctx), *sorted(set(installed_commands()) - set(self.table))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and give the subcommand of a name, or None where there is none."""
        found = super().get_command(ctx, cmd_name)
        record = None if found is not None else installed_commands().get(cmd_name)
        return found if record is None else load_command(record)

    def rows(self, ctx: click.Context) -> Iterable[tuple[str, str]]:
        """Return the name of each subcommand, and its short help or where it comes from."""
        installed = installed_commands()
        names = self.list_commands(ctx)
        return [(name, self.table[name][1] if name in self.table else _origin(installed[name])) for name in names]


def _origin(record: PluginRecord) -> str:
    """Say where an installed command comes from, or why it cannot be used."""
    return f"From {record.origin}." if record.problem is None else f"Cannot be used: {record.problem}."


@click.group(
    cls=CommandGroup,
    table=BUILT_IN,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="crystallize", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> int | None:
    """Run experiments that can be trusted. Alone in a terminal it opens the terminal UI.

    Results are written to stdout, messages to stderr. Exit codes: 0 done, 1 a cell failed, 2 usage or
    configuration, 3 the run broke down, 4 a hypothesis does not hold where --check asks, 5 nothing to do or to
    show, 6 what is stored is damaged, or differs from its plan, 75 another process runs it, 130 interrupted.
    """
    if context.invoked_subcommand is not None:
        return None
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise click.exceptions.NoArgsIsHelpError(context)
    from crystallize_cli.commands.ui import open_ui

    return open_ui(Path())


def run(arguments: Sequence[str], *, exits: bool = False) -> int:
    """Run the command line with these arguments.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``crystallize`` on the command line.
    exits : bool, default False
        Whether the process ends afterwards. Then, with ``--json``, what is printed at exit goes to stderr, too.

    Returns
    -------
    int
        The exit code, an `ExitCode`.

    Examples
    --------
    >>> run(["--version"])
    crystallize 0.1.0
    0
    """
    try:
        outcome = cli.main(
            args=list(arguments), prog_name="crystallize", standalone_mode=False, obj=EXITS if exits else None
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.Abort:
        click.echo("crystallize: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(shown(told.getvalue()), err=True, nl=False)
        return error.exit_code
    except Exception:  # noqa: BLE001 - whatever it is, it ends as a traceback and an exit code of its own
        import traceback

        click.echo(shown(traceback.format_exc()), err=True, nl=False)
        click.echo("crystallize: internal error (the traceback is above)", err=True)
        return ExitCode.INTERNAL
    return int(outcome or 0)
