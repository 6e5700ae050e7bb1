"""``crystallize plugins new NAME``: the distribution of a plugin that works, to start from."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, NamedTuple

import click

from crystallize_cli import __version__
from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["KINDS", "Kind", "new"]

_GROUP = "crystallize.plugins"
_ASKED = 'Ask for it by its name: `plugins=["{name}"]` in code, or `{name}:` under `plugins` in `config.yaml`.'


class Kind(NamedTuple):
    """A kind of plugin: what it does, its entry-point group, how it is used, and whether it is a class."""

    summary: str
    group: str = _GROUP
    usage: str = _ASKED
    is_class: bool = True


KINDS = {
    "observer": Kind("Logs the cells of Crystallize experiments as they finish"),
    "transformer": Kind("Gives the steps of Crystallize experiments a value of each replicate"),
    "executor": Kind("Runs the cells of Crystallize experiments in a pool of threads"),
    "store": Kind("Keeps the numbers of Crystallize experiments as lines of JSON"),
    "verifier": Kind(
        "Tests hypotheses of Crystallize experiments by the signs of differences",
        "crystallize.verifiers",
        'Ask for it by its name: `Hypothesis("{name}")` in code, or `verifier: {name}` in `config.yaml`.',
        is_class=False,
    ),
    "optimizer": Kind(
        "Searches for the best treatment of Crystallize experiments at random, and near the best so far",
        "crystallize.optimizers",
        "Give it to an experiment: `experiment.optimize({attribute}(...), num_trials=20)`.",
    ),
    "command": Kind(
        "Lists the installed distributions of Crystallize",
        "crystallize.commands",
        "Call it: `crystallize {name}`.",
        is_class=False,
    ),
}
"""The kinds of plugins that can be begun."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_OURS = {"core", "plugins", "cli"}
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    ".github/workflows/test.yml": "test.yml",
    "src/{module}/__init__.py": "{kind}.py",
    "src/{module}/py.typed": "",
    "tests/test_{key}.py": "test_{kind}.py",
}
"""What a distribution is made of, and the template of each file."""


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="What the plugin is.")
@click.option(
    "--in",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder in which its folder is made; by default this one.",
)
@with_output
def new(name: str, kind: str, parent: Path, output: Output) -> int:
    """Make the distribution of a new plugin, with tests that pass: change it from there.

    NAME is what people will ask for it by: small letters and digits, with hyphens or underscores between them.
    """
    _check_name(name, kind)
    values = _values(name, kind)
    folder = parent / values["distribution"]
    written = []
    texts = {file.format(**values): _filled(template.format(**values), values) for file, template in _FILES.items()}
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # Fails where it is there already, also if somebody makes it right now: nothing is ever overwritten.
        folder.mkdir()
        for file, text in texts.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            written.append(str(path))
    except FileExistsError as error:
        raise Failure(f"{folder} is there already: choose another name, or remove it") from error
    except OSError as error:
        raise Failure(f"the plugin cannot be written: {error}") from error
    record = {
        "name": name,
        "kind": kind,
        "distribution": values["distribution"],
        "module": values["module"],
        "folder": str(folder),
        "files": written,
    }
    output.data(record, lambda: "\n".join(written))
    output.say(f'try it with: cd {folder} && pip install -e ".[test]" && pytest')
    return ExitCode.DONE


def _check_name(name: str, kind: str) -> None:
    from crystallize.hooks import find_plugins
    from crystallize_cli.main import BUILT_IN

    if not _NAME.fullmatch(name):
        raise Failure(
            f"{name!r} is no name of a plugin: write small letters and digits, with hyphens or underscores between "
            "them, such as 'tidy-csv'"
        )
    if name in _OURS or (kind == "command" and name in BUILT_IN):
        raise Failure(f"the name {name!r} is one of Crystallize's own: choose another")
    if keyword.iskeyword(name):
        raise Failure(f"{name!r} is a word of Python: choose another name")
    if KINDS[kind].group == _GROUP and name in {"artifacts", "seed", "logging"}:
        raise Failure(f"the name {name!r} is reserved to crystallize-plugins: choose another")
    taken = next((record for record in find_plugins(KINDS[kind].group) if record.name == name), None)
    if taken is not None:
        raise Failure(f"the name {name!r} is taken by {taken.origin}: choose another, since a name is used once")


def _values(name: str, kind: str) -> dict[str, str]:
    key = name.replace("-", "_")
    attribute = "".join(part.capitalize() for part in key.split("_")) if KINDS[kind].is_class else key
    needs = ["click>=8.2"] if kind == "command" else []
    values = {
        "name": name,
        "kind": kind,
        "key": key,
        "attribute": attribute,
        "distribution": f"crystallize-{key.replace('_', '-')}",
        "module": f"crystallize_{key}",
        "group": KINDS[kind].group,
        "summary": KINDS[kind].summary,
        "dependencies": _listed([_bounded("crystallize-core"), *needs]),
        "tests_need": _listed(["mypy>=1.10", "pytest>=8.4", _bounded("crystallize-cli")]),
    }
    return {**values, "usage": KINDS[kind].usage.format(**values)}


def _bounded(distribution: str) -> str:
    """Return a requirement of this version and the later ones that keep what it publishes."""
    major, minor = map(int, __version__.split(".")[:2])
    end = f"{major + 1}" if major else f"0.{minor + 1}"
    return f"{distribution}>={__version__},<{end}"


def _listed(requirements: list[str]) -> str:
    return ", ".join(f'"{requirement}"' for requirement in requirements)


def _filled(template: str, values: dict[str, str]) -> str:
    if not template:
        return ""
    home = resources.files("crystallize_cli") / "templates" / "plugin"
    return Template((home / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)
