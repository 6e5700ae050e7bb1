"""The page as a whole: its head, its sections in their order, and the file that it is written to."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize import __version__
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks import BASELINE
from crystallize.hooks.tools import counted, write_atomically
from crystallize_plugins.reports.page.course import course_section
from crystallize_plugins.reports.page.elements import Markup, element, joined
from crystallize_plugins.reports.page.failures import failures_section
from crystallize_plugins.reports.page.origin import origin_section, started
from crystallize_plugins.reports.page.panels import MARKS
from crystallize_plugins.reports.page.plots import plots_section
from crystallize_plugins.reports.page.record import embedded_record
from crystallize_plugins.reports.page.samples import samples_of
from crystallize_plugins.reports.page.verdicts import verdicts_section

if TYPE_CHECKING:
    import os

    from crystallize import Result

__all__ = ["render", "write_report"]

_LARGEST = 1_990_000
"""Bytes of the page, all but what frames it."""


def write_report(result: Result, path: str | os.PathLike[str]) -> Path:
    """Write the report of a run; what `Result.report` finds through the entry-point group ``crystallize.reports``.

    Parameters
    ----------
    result : Result
    path : path
        The file. It appears whole or not at all, in place of one that is there; folders on the way are made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentTypeError
        A `TypeError`: `path` is no path.
    ValidationError
        A `ValueError`: `path` is a folder.
    """
    if not isinstance(path, str) and not hasattr(path, "__fspath__"):
        raise ArgumentTypeError(f"path must be that of a file, not {type(path).__name__}")
    target = Path(path)
    if target.is_dir():
        raise ValidationError(f"{target} is a folder: give the name of a file in it, such as {target / 'report.html'}")
    write_atomically(target, render(result))
    return target


def render(result: Result) -> str:
    """Return the report of a run as the text of an HTML file.

    Everything is in it, and it loads nothing: neither scripts, nor fonts, nor images. It reads the same without
    JavaScript. The same run gives the same text but for the line that says when it was written.
    """
    samples = samples_of(result)
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = _title(result)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · Crystallize"),
        element("style", Markup(style)),
    )
    shown = joined(
        _header(result, title),
        MARKS,
        element(
            "main",
            verdicts_section(result),
            plots_section(result, samples),
            course_section(result, samples),
            failures_section(result),
            origin_section(result),
        ),
        _footer(),
        element("script", Markup(script)),
    )
    record = embedded_record(result, _LARGEST - len(head.encode()) - len(shown.encode()))
    return f'<!DOCTYPE html>\n<html lang="en">\n{head}\n<body>{shown}\n{record}</body>\n</html>\n'


def _asset(name: str) -> str:
    return resources.files("crystallize_plugins.reports.page").joinpath(name).read_text(encoding="utf-8")


def _title(result: Result) -> str:
    return str(result.provenance.get("run", {}).get("experiment") or "A run without a name")


def _header(result: Result, title: str) -> Markup:
    run = result.provenance.get("run", {})
    names = [condition.name for condition in result.conditions]
    treatments = sum(name != BASELINE for name in names)
    trial = run.get("kind") == "trial"
    what = [BASELINE] * (BASELINE in names)
    what += [counted(treatments, "trial" if trial else "treatment")] * (treatments > 0)
    ran, requested = result.provenance["replicates"], result.provenance["replicates_requested"]
    cells = result.provenance["cells"].values()
    failed = sum(each["failed"] for each in cells)
    of_all = counted(sum(each["completed"] + each["failed"] + each.get("pruned", 0) for each in cells), "cell")
    facts = [
        " and ".join(what),
        counted(ran, "replicate") if ran == requested else f"{ran} of {requested} replicates",
        f"seed {run['seed']}" if run.get("seed") is not None else None,
        f"{failed} of {of_all} failed" if failed else f"{of_all}, none failed",
        f"run {run['version']}" if run.get("version") is not None else None,
        started(run),
    ]
    told = [element("span", fact) for fact in facts if fact]
    stopped = run.get("stopped_by")
    return element(
        "header",
        element("p", "Crystallize report", class_="kicker"),
        element("h1", title),
        element("p", *told, class_="facts"),
        element("p", f"The run was stopped before its end: {stopped}.", class_="banner", role="note")
        if stopped
        else None,
    )


def _footer() -> Markup:
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    # The one line that differs between two reports of the same run.
    line = joined(Markup("\n"), f"Written {written} by Crystallize {__version__}.", Markup("\n"))
    return element("footer", element("p", line))
