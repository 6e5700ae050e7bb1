"""``crystallize doctor``: whether what is installed fits together, and what to do where it does not."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli import __version__
from crystallize_cli.exits import ExitCode
from crystallize_cli.kinds import installed
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize_cli.output import Output

__all__ = ["Finding", "doctor", "examine"]

_OURS = ("crystallize-core", "crystallize-plugins", "crystallize-cli")
_SLOW_MS = 300
_MARKS = {"ok": "ok      ", "note": "note    ", "problem": "PROBLEM "}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    state : {"ok", "note", "problem"}
        A note is about something optional that is absent.
    what : str
    text : str
        How it is, and what to do about it.
    """

    state: str
    what: str
    text: str


@click.command()
@with_output
def doctor(output: Output) -> int:
    """Say whether what is installed fits together.

    Looks at versions, at names that two distributions claim, at extras that are missing, and loads every plugin once,
    in a process of its own: it names those that cannot be imported, are no plugins, break the contract or are slow.
    """
    from crystallize_cli.inspection import inspect_installed

    plugins = list(inspect_installed(installed()))
    findings = [*examine(), *_of_plugins(plugins)]
    shown = [
        {**{key: plugin[key] for key in ("name", "kind", "import_ms")}, "problem": plugin["error"]}
        for plugin in plugins
    ]
    record = {"findings": [asdict(finding) for finding in findings], "plugins": shown}
    output.data(record, lambda: "\n".join(f"{_MARKS[f.state]}{f.what}: {f.text}" for f in findings))
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        output.say(f"{problems} {'problem' if problems == 1 else 'problems'} found")
    return ExitCode.USAGE if problems else ExitCode.DONE


def examine() -> Iterator[Finding]:
    """Look at the three distributions and their extras; a broken part is a finding, and hides none of the others."""
    yield Finding("ok", "Python", f"{platform.python_version()} ({sys.executable})")
    yield from _versions()
    yield from _extras()


def _versions() -> Iterator[Finding]:
    from importlib import metadata

    for name in _OURS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding("problem", name, f"not installed: pip install {name}")
            continue
        if version == __version__:
            yield Finding("ok", name, version)
        else:
            yield Finding(
                "problem", name,
                f"{version}, and crystallize-cli is {__version__}: the three belong together. "
                f"pip install {name}=={__version__}",
            )  # fmt: skip


def _extras() -> Iterator[Finding]:
    """Say which optional parts are there."""
    from importlib import metadata

    for name in _OURS:
        try:
            about: Any = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        requirements = metadata.requires(name) or []
        for extra in sorted(set(about.get_all("Provides-Extra") or ()) - {"all", "dev"}):
            missing = [need for need in _needs(requirements, extra) if not _is_installed(need)]
            if missing:
                text = f'not installed ({", ".join(missing)}): pip install "{name}[{extra}]" where you need it'
                yield Finding("note", f"{name}[{extra}]", text)
            else:
                yield Finding("ok", f"{name}[{extra}]", "installed")


def _needs(requirements: list[str], extra: str) -> list[str]:
    import re

    wanted = re.compile(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]")
    names = (re.match(r"[\w.-]+", requirement) for requirement in requirements if wanted.search(requirement))
    return [name.group() for name in names if name is not None]


def _is_installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _of_plugins(plugins: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    for plugin in plugins:
        what = f"{plugin['kind']} {plugin['name']} ({plugin['distribution']} {plugin['version']})"
        if plugin["error"] is not None:
            yield Finding("note" if plugin["optional"] else "problem", what, plugin["error"])
        elif plugin["import_ms"] > _SLOW_MS:
            text = f"importing it took {plugin['import_ms']:.0f} ms: it should import what is heavy inside functions"
            yield Finding("note", what, text)
        else:
            yield Finding("ok", what, plugin["entry_point"])
