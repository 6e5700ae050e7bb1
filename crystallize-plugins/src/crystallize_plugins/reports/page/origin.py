"""How the numbers came about: seeds, code, git, packages, plugins, data, durations, and the commands to do it again."""

from __future__ import annotations

import shlex
import statistics
from datetime import datetime, timezone
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import counted, dump_json
from crystallize_plugins.reports.page.elements import MOST_ROWS, Markup, element, section, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crystallize import Result

__all__ = ["origin_section", "started"]

_SHORT = 12
"""Characters of a digest that people compare by eye; the whole is in the embedded JSON."""


def origin_section(result: Result) -> Markup:
    """Return the section of what is known of a run's origin; what was not recorded is left out."""
    known = result.provenance
    return section(
        "How it came about",
        _commands(known, tested=bool(result.metrics.hypotheses)),
        _facts(known),
        _cells(result),
        _details("Seeds", _seeds(result)),
        _details("Code", _code(known.get("code", {}))),
        _details("Plugins", _plugins(known.get("plugins", ()))),
        _details("Packages", _packages(known.get("packages", {}))),
    )


def started(run: Mapping[str, Any]) -> str | None:
    """Return when a run was started, in UTC; None where that is unknown."""
    moment = run.get("started")
    if not isinstance(moment, (int, float)):
        return None
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _details(title: str, content: Markup | None) -> Markup | None:
    return None if content is None else element("details", element("summary", title), content)


def _commands(known: Mapping[str, Any], *, tested: bool) -> Markup:
    run, command, definition = (known.get(name) or {} for name in ("run", "command", "definition"))
    lines: list[tuple[str, str, str]] = []
    if command.get("command"):
        lines.append(("It was started with", f"in {command.get('cwd')}", shlex.join(map(str, command["command"]))))
    if run.get("folder"):
        where = shlex.quote(str(run["folder"]))
        lines.append(("To do it again and compare bit by bit", "", f"crystallize reproduce {where}"))
    if tested and not known.get("preregistration"):
        plan = "\n".join(_confirming(definition, known["replicates_requested"]))
        lines.append(("To confirm it on fresh seeds", "a plan first, then the run", plan))
    return element(
        "div",
        *(
            element(
                "div",
                element("p", element("strong", title), element("span", f" {more}", class_="note") if more else None),
                element("pre", element("code", text), tabindex="0", role="region", aria_label=title),
                class_="command",
            )
            for title, more, text in lines
        ),
        class_="commands",
    )


def _confirming(definition: Mapping[str, Any], replicates: int) -> list[str]:
    """Give what preregisters the experiment, as a command where one can name it and else as code."""
    path = definition.get("config")
    file = definition.get("file")
    if path is None and file and definition.get("variables") and definition.get("function") == "<module>":
        path = file
    if path is None:
        return [
            f'experiment.preregister("plan.json", replicates={replicates})',
            'experiment.run(preregistration="plan.json")',
        ]
    named = shlex.quote(str(path))
    return [
        f"crystallize preregister {named} -o plan.json --replicates {replicates}",
        f"crystallize run {named} --preregistration plan.json",
    ]


def _facts(known: Mapping[str, Any]) -> Markup | None:
    run, environment = (known.get(name) or {} for name in ("run", "environment"))
    data, definition = (known.get(name) or {} for name in ("data", "definition"))
    made = definition.get("config") or definition.get("file")
    facts = [
        ("Seed", run.get("seed")),
        ("Run", f"{run['id']}, {run.get('strategy')}" if run.get("id") else None),
        ("Folder", run.get("folder")),
        ("Experiment", f"{made}, line {definition['line']}" if made and definition.get("line") else made),
        ("Data", _data(data)),
        ("Git", _git(known.get("git") or {})),
        ("Took", _seconds(run["duration"]) if run.get("duration") is not None else None),
        ("Python", _python(environment)),
        ("Machine", ", ".join(str(environment[name]) for name in ("cpu", "machine") if environment.get(name))),
        ("Plan", _plan(known.get("preregistration"))),
    ]
    told = [[element("dt", name), element("dd", fact)] for name, fact in facts if fact not in (None, "")]
    return element("dl", *told) if told else None


def _plan(plan: Any) -> str | None:
    digest = plan.get("digest") if isinstance(plan, dict) else plan
    return f"preregistered, {digest}" if digest else None


def _data(data: Mapping[str, Any]) -> str | None:
    if not data.get("source"):
        return None
    given = (data.get("params") or {}).items()
    settings = ", ".join(f"{name}={dump_json(value, indent=None)}" for name, value in given)
    digests = ", ".join(str(value)[:_SHORT] for value in (data.get("identity") or {}).values())
    return f"{data['source']}({settings}){f', digests {digests}' if digests else ''}"


def _git(git: Mapping[str, Any]) -> str | None:
    commit = git.get("commit")
    if not commit:
        return str(git["reason"]) if git.get("reason") else None
    told = [str(commit)[:_SHORT], *(str(git[name]) for name in ("branch",) if git.get(name))]
    changed = f"; {counted(git.get('changed_count') or 1, 'file')} not committed as it ran" if git.get("dirty") else ""
    return f"{', '.join(told)}{changed}"


def _python(environment: Mapping[str, Any]) -> str | None:
    if not environment.get("python"):
        return None
    system = " ".join(str(environment[name]) for name in ("system", "release") if environment.get(name))
    return f"{environment.get('implementation', 'Python')} {environment['python']}{f' on {system}' if system else ''}"


def _seconds(value: float) -> str:
    if value < 0.001:  # noqa: PLR2004 - a millisecond
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 120:  # noqa: PLR2004 - two minutes
        return f"{value:.3g} s"
    hours, rest = divmod(round(value), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _cells(result: Result) -> Markup:
    rows = []
    for name, cells in result.provenance["cells"].items():
        known = result.logs[name].columns.durations if name in result.logs else ()
        rows.append(
            [
                name,
                cells["completed"],
                cells["failed"],
                *([cells.get("pruned", 0)] if _prunes(result) else []),
                cells["missing"],
                _seconds(statistics.median(known)) if known else "",
                _seconds(sum(known)) if known else "",
            ]
        )
    pruned = ["pruned"] if _prunes(result) else []
    heading = ["condition", "done", "failed", *pruned, "not run", "median time", "all of it"]
    return table(heading, rows, label="Cells of each condition", right=range(1, len(heading)))


def _prunes(result: Result) -> bool:
    return any(cells.get("pruned") for cells in result.provenance["cells"].values())


def _seeds(result: Result) -> Markup | None:
    by_replicate: dict[int, dict[str, int]] = {}
    for name, log in result.logs.items():
        for replicate, seed in zip(log.columns.replicates[:MOST_ROWS], log.columns.seeds[:MOST_ROWS], strict=True):
            if seed is not None:
                by_replicate.setdefault(replicate, {})[name] = seed
    if not by_replicate:
        return None
    rows = []
    for replicate in sorted(by_replicate):
        seeds = list(dict.fromkeys(by_replicate[replicate].values()))
        # Cells of one replicate share their seed, unless somebody seeds otherwise.
        rows.append([replicate, ", ".join(map(str, seeds))])
    most = max(len(log.replicates) for log in result.logs.values())
    note = element("p", f"Those of the first {MOST_ROWS} replicates.", class_="note") if most > MOST_ROWS else None
    return Markup(table(["replicate", "seed"], rows, label="Seeds", right=[1]) + (note or ""))


def _code(code: Mapping[str, Any]) -> Markup | None:
    rows = [
        [step.get("step"), step.get("name", ""), str(step.get("code", ""))[:_SHORT]] for step in code.get("steps", ())
    ]
    rows += [
        [name, f"{PurePath(str(part.get('file'))).name}:{part.get('line')}", str(part.get("digest", ""))[:_SHORT]]
        for name, part in code.get("functions", {}).items()
    ]
    return table(["what", "where", "digest"], rows, label="Code") if rows else None


def _plugins(plugins: Iterable[Mapping[str, Any]]) -> Markup | None:
    rows = [
        [
            plugin.get("name"),
            f"{plugin.get('distribution') or 'own code'} {plugin.get('version') or ''}".strip(),
            dump_json(plugin.get("settings") or {}, indent=None),
        ]
        for plugin in plugins
    ]
    return table(["plugin", "distribution", "settings"], rows, label="Plugins") if rows else None


def _packages(packages: Mapping[str, Any]) -> Markup | None:
    if not packages:
        return None
    text = "\n".join(f"{name} {version}" for name, version in packages.items())
    return element("pre", element("code", text), class_="packages", tabindex="0", role="region", aria_label="Packages")
