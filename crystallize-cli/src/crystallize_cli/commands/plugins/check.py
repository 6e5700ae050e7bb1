"""``crystallize plugins check``: whether plugins keep the contract, without running an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.kinds import installed, kind_of
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.hooks import PluginRecord
    from crystallize_cli.output import Output

__all__ = ["check"]


@click.command()
@click.argument("target", metavar="NAME|DISTRIBUTION|FOLDER")
@click.option("--strict", is_flag=True, help="End with 2 where there are notes, too.")
@with_output
def check(target: str, strict: bool, output: Output) -> int:
    """Say whether a plugin, or all that a distribution brings, keeps the contract; no experiment runs.

    Each is imported in a process of its own. FOLDER holds the pyproject.toml of a distribution, which need not be
    installed. `crystallize plugins prove` tries a plugin in runs. Ends with 2 where there are problems, and with 5
    where nothing has this name.
    """
    from dataclasses import asdict

    from crystallize.testing import examine_plugin

    plugins, findings = [], []
    for kind, record, options in _meant(target):
        examined = examine_plugin(record, **options)
        found = [asdict(finding) for finding in examined.findings]
        findings += [
            finding for finding in found if finding not in findings
        ]  # one of the distribution is each plugin's
        plugins.append(
            {
                "name": record.name,
                "kind": kind,
                "distribution": record.distribution,
                "version": record.version,
                "entry_point": record.value,
                "ok": examined.ok,
                "import_ms": examined.import_ms,
                "findings": found,
            }
        )
    ok = all(plugin["ok"] for plugin in plugins)
    answer = {"target": target, "ok": ok, "findings": findings, "plugins": plugins}
    output.data(answer, lambda: "\n".join(_lines(plugins)))
    return ExitCode.DONE if ok and not (strict and findings) else ExitCode.USAGE


def _meant(target: str) -> list[tuple[str, PluginRecord, dict[str, Any]]]:
    """Return kind, record and how to examine it, of everything that is meant: a name counts more than a folder."""
    from crystallize.hooks.tools import did_you_mean

    known = installed()
    found = [(kind, record) for kind, record in known if record.name == target]
    if not found and (folder := Path(target)).is_dir():
        from crystallize_cli.source_distributions import read_distribution

        source = read_distribution(folder)
        options = {"path": [str(path) for path in source.path], "requirements": source.requirements}
        return [(kind_of(record), record, options) for record in source.records]
    found = found or [
        (kind, record) for kind, record in known if _normalized(record.distribution) == _normalized(target)
    ]
    if not found:
        nearest = did_you_mean(target, [name for _, record in known for name in (record.name, record.distribution)])
        raise Failure(
            f"nothing that is installed is called {target!r}, and there is no such folder.{nearest} "
            "`crystallize plugins list` shows what is there",
            ExitCode.NOTHING,
        )
    return [(kind, record, {}) for kind, record in found]


def _normalized(name: str) -> str:
    import re

    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(plugins: list[dict[str, Any]]) -> Iterator[str]:
    for plugin in plugins:
        took = "" if plugin["import_ms"] is None else f", imported in {plugin['import_ms']:.0f} ms"
        origin = f"{plugin['kind']} {plugin['name']} ({plugin['distribution']} {plugin['version']}{took})"
        yield f"{'ok      ' if plugin['ok'] else 'PROBLEM '}{origin}"
        for finding in plugin["findings"]:
            where = f" ({finding['where']})" if finding["where"] else ""
            yield f"  {finding['state']:<8} [{finding['rule']}] {finding['text']}{where}"
