"""The command group: help that nothing can break, subcommands of other distributions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

import crystallize_cli
from crystallize_cli.commands import plugins
from crystallize_cli.main import BUILT_IN, cli

BROKEN = """
[crystallize.commands]
broken = absent_module_of_a_stranger:command
works = stranger_commands:works
wrong = stranger_commands:wrong
"""

COMMANDS = """
import click

@click.command()
def works():
    click.echo("a stranger's command")

wrong = "no command"
"""


@pytest.fixture
def stranger(tmp_path):
    """Install, by metadata on a path of its own, a distribution with commands; give the path."""

    def install(name="stranger", text=BROKEN):
        folder = tmp_path / "site"
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(text)
        (folder / "stranger_commands.py").write_text(COMMANDS)
        return {"PYTHONPATH": str(folder)}

    return install


def test_the_version_is_said(crystallize):
    done = crystallize("--version")
    assert (done.returncode, done.stdout) == (0, f"crystallize {crystallize_cli.__version__}\n")


def test_the_module_is_the_command(crystallize):
    done = subprocess.run(
        [sys.executable, "-m", "crystallize_cli", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == crystallize("--help").stdout.split()


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_lists_the_commands(crystallize, flag):
    done = crystallize(flag)
    assert done.returncode == 0
    assert "Run an experiment and show its results." in done.stdout


def test_a_command_has_help_of_its_own(crystallize):
    done = crystallize("run", "--help")
    assert done.returncode == 0
    for option in ("--replicates", "--seed", "PATH"):
        assert option in done.stdout


def test_the_short_help_is_that_of_the_command():
    with click.Context(cli) as ctx:
        for group, table in ((cli, BUILT_IN), (plugins.plugins, plugins.COMMANDS)):
            for name, (_, short_help) in table.items():
                command = group.get_command(ctx, name)
                assert command.get_short_help_str(limit=200) == short_help


def test_no_arguments_show_the_help_and_are_a_usage_error(crystallize):
    done = crystallize()
    assert done.returncode == 2
    assert "Commands:" in done.stderr + done.stdout


@pytest.mark.parametrize("arguments", [["walk"], ["run"], ["run", "file.py", "--sead", "3"], ["show", "a", "b"]])
def test_a_wrong_command_line_is_a_usage_error(crystallize, arguments):
    done = crystallize(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_lists_commands_of_other_distributions_without_importing_them(crystallize, stranger):
    done = crystallize("--help", **stranger())
    assert done.returncode == 0
    for name in ("broken", "works", "wrong"):
        assert name in done.stdout
    assert done.stdout.count("stranger 1.2") == 3
    assert done.stderr == ""


def test_a_command_of_another_distribution_runs(crystallize, stranger):
    done = crystallize("works", **stranger())
    assert (done.returncode, done.stdout) == (0, "a stranger's command\n")


@pytest.mark.parametrize("name", ["broken", "wrong"])
def test_a_broken_command_names_its_distribution(crystallize, stranger, name):
    done = crystallize(name, **stranger())
    assert done.returncode == 2
    assert "stranger 1.2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_command_breaks_no_other(crystallize, stranger, write):
    write()
    assert crystallize("run", "file.py", **stranger()).returncode == 0


def test_two_distributions_with_one_command_are_both_named(crystallize, stranger):
    stranger()
    environment = stranger("other", "[crystallize.commands]\nworks = stranger_commands:works\n")
    done = crystallize("works", **environment)
    assert done.returncode == 2
    assert "stranger 1.2" in done.stderr
    assert "other 1.2" in done.stderr
    assert crystallize("--help", **environment).returncode == 0


def test_a_built_in_command_cannot_be_taken_over(crystallize, stranger, write):
    write()
    environment = stranger(text="[crystallize.commands]\nrun = stranger_commands:works\n")
    assert "stranger's" not in crystallize("run", "file.py", **environment).stdout


def test_a_bug_ends_with_3_and_its_traceback(crystallize, stranger):
    environment = stranger(text="[crystallize.commands]\ncrash = stranger_crash:crash\n")
    crash = "import click\n@click.command()\ndef crash():\n    raise RuntimeError('a bug')\n"
    Path(environment["PYTHONPATH"], "stranger_crash.py").write_text(crash, encoding="utf-8")
    done = crystallize("crash", **environment)
    assert done.returncode == 3
    assert "RuntimeError: a bug" in done.stderr
    assert "internal error" in done.stderr
