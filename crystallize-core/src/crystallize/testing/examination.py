"""Examining an installed plugin in a process of its own, without running an experiment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.discovery.metadata import PluginRecord
from crystallize.testing.importing import CHANGES, changes_of_import, global_state
from crystallize.testing.rules import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Examination", "examine_here", "examine_plugin", "main"]

_NOTED_MS, _TOO_SLOW_MS = 300, 1000
_SECONDS = 120
_TEXT = 200


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found about one entry point.

    Attributes
    ----------
    record : PluginRecord
    import_ms : float or None
        How long its import takes, beyond that of the core; None where it cannot be imported.
    findings : tuple of Finding
    """

    record: PluginRecord
    import_ms: float | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; notes are none."""
        return all(finding.state != "problem" for finding in self.findings)


def examine_plugin(
    record: PluginRecord, *, path: Sequence[str] = (), requirements: Iterable[str] | None = None
) -> Examination:
    """Examine an entry point: import it in a process of its own, and look at what it leads to.

    Parameters
    ----------
    record : PluginRecord
        As `crystallize.hooks.find_plugins` gives it, or made of a distribution that is not installed.
    path : sequence of str, default ()
        Folders that come before ``sys.path``, such as the sources of a distribution that is not installed.
    requirements : iterable of str, optional
        What its distribution requires; by default what the installed distribution's metadata say.

    Returns
    -------
    Examination

    Examples
    --------
    >>> from crystallize.hooks import find_plugin
    >>> examine_plugin(find_plugin("seed")).ok
    True
    """
    from crystallize.testing.static import distribution_findings, name_findings

    findings = list(name_findings(record))
    if requirements is None:
        requirements = _requirements(record.distribution)
    if requirements is not None:
        findings += distribution_findings(record, requirements)
    if not record.module:
        return Examination(record, None, tuple(findings))
    found = _in_process(record, path)
    import_ms = found["import_ms"]
    if import_ms is not None and import_ms > _NOTED_MS:
        # The first import may have compiled it.
        again = _in_process(record, path)["import_ms"]
        import_ms = min(import_ms, import_ms if again is None else again)
    findings += [Finding(**finding) for finding in found["findings"]]
    if import_ms is not None and import_ms > _NOTED_MS:
        text = f"importing {record.module} takes {import_ms:.0f} ms beyond the core: import what is heavy in functions"
        findings.append(Finding("import-slow", "problem" if import_ms > _TOO_SLOW_MS else "note", text))
    if found["changed"]:
        for rule, where in dict.fromkeys(map(tuple, _in_process(record, path, trace=True)["changes"])):
            printed = found["printed"] if rule == "import-output" else ""
            text = f"importing {record.module} {CHANGES[rule]}" + (f" (printed: {printed})" if printed else "")
            findings.append(Finding(rule, "problem", text, where))
    return Examination(record, import_ms, tuple(findings))


def _requirements(distribution: str) -> list[str] | None:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        return None


def _in_process(record: PluginRecord, path: Sequence[str], *, trace: bool = False) -> dict[str, Any]:
    """Start a process that examines the plugin, and return what it found."""
    folders = [*map(str, path), *(folder for folder in sys.path if folder)]
    request = {"record": asdict(record), "path": folders, "trace": trace}
    nothing: dict[str, Any] = {"import_ms": None, "findings": [], "changed": [], "changes": [], "printed": ""}
    with tempfile.TemporaryDirectory(prefix="crystallize-", ignore_cleanup_errors=True) as folder:
        answer, printed, work = (Path(folder, name) for name in ("answer.json", "printed", "work"))
        work.mkdir()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        code = "from crystallize.testing.examination import main; main()"
        with printed.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-c", code, str(answer)],
                stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=work, env=environment,
            )  # fmt: skip
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode())  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
            try:
                code_of_exit = str(process.wait(_SECONDS))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code_of_exit = f"nothing for {_SECONDS} seconds"
        said = printed.read_text(encoding="utf-8", errors="replace").strip()[-_TEXT:]
        if not answer.exists():
            text = f"importing {record.module} ends the process ({code_of_exit}): {said or 'it says nothing'}"
            return {**nothing, "findings": [asdict(Finding("import-fails", "problem", text))]}
        return {**nothing, "printed": said, **json.loads(answer.read_text(encoding="utf-8"))}


def main() -> None:
    """Examine the plugin that is asked for on standard input; the answer goes to the file that is the argument."""
    request = json.load(sys.stdin)
    record = PluginRecord(**request["record"])
    sys.path[:] = request["path"]
    if request["trace"]:
        answer: dict[str, Any] = {"changes": changes_of_import(record.module)}
    else:
        busy = _Stopwatch()
        _import_the_core()
        answer = examine_here(record, *busy.read())
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # Whatever the plugin has started.


class _Stopwatch:
    """Measures seconds by the clock, and seconds of the processor."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._clock, time.process_time() - self._processor


def _import_the_core() -> None:
    """Import what costs nobody anything who runs an experiment."""
    from crystallize import hooks
    from crystallize.testing import sample  # noqa: F401 - for what it imports

    for name in hooks.__all__:
        getattr(hooks, name)


def examine_here(record: PluginRecord, core_clock: float = 1, core_processor: float = 1) -> dict[str, Any]:
    """Import a plugin into this process, and look at what it leads to.

    Parameters
    ----------
    record : PluginRecord
    core_clock, core_processor : float, default 1
        The seconds that importing the core took. Their ratio says how busy the machine is, and waiting for the
        processor is left out of the time that the plugin's import takes.

    Returns
    -------
    dict
        ``findings``, as dictionaries; where it could be imported, ``import_ms``, and under ``changed`` the rules of
        `CHANGES` that concern the import.
    """
    import importlib

    from crystallize.discovery.loading import import_error
    from crystallize.testing.static import target_findings, typed_findings

    before = global_state()
    stopwatch = _Stopwatch()
    try:
        target: Any = importlib.import_module(record.module)
        clock, processor = stopwatch.read()
        now = global_state()
        for part in record.attribute.split("."):
            target = getattr(target, part)
    except AttributeError as exc:
        text = f"the entry point {record.name} = {record.value} leads nowhere: {exc}"
        return _answer([Finding("entry-point", "problem", text)])
    except BaseException as exc:  # noqa: BLE001 - a stranger's module may raise anything while it is imported
        error = import_error(record, exc)
        missing = type(error).__name__ == "MissingExtraError"
        return _answer([Finding("import-fails", "note" if missing else "problem", str(error), _raised_at(exc, record))])
    changed = [rule for rule, state in now.items() if state != before[rule]]
    findings = list(typed_findings(record.module))
    threads, opened = threading.active_count(), set(Path().iterdir())
    findings += target_findings(record, target)
    if threading.active_count() > threads:
        text = "its constructor starts a thread: start it in before_run or worker_start, and end it in after_run"
        findings.append(Finding("leak-thread", "problem", text))
    written = sorted(file.name for file in set(Path().iterdir()) - opened)
    if written:
        text = f"its constructor writes {', '.join(written)}: write in before_run"
        findings.append(Finding("leak-file", "problem", text))
    taken = processor + max(0, clock - processor * max(1, core_clock / max(core_processor, 1e-3)))
    return _answer(findings, import_ms=round(taken * 1000, 1), changed=changed)


def _answer(findings: Iterable[Finding], **more: Any) -> dict[str, Any]:
    return {"findings": [asdict(finding) for finding in findings], **more}


def _raised_at(exc: BaseException, record: PluginRecord) -> str | None:
    """Return the last line of the plugin's own package in a traceback."""
    package = record.module.partition(".")[0]
    found, traceback = None, exc.__traceback__
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            found = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    if found is None and isinstance(exc, SyntaxError):
        found = f"{exc.filename}:{exc.lineno}"
    return found
