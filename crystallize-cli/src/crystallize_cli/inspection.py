"""Looking at installed plugins in a process of their own: what they print, break or end is not the command's.

One process looks at all that is asked for, one after the other. Where a plugin ends that process, or keeps it for too
long, it is named, and another process goes on with the rest.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from crystallize_cli.kinds import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crystallize.hooks import PluginRecord

__all__ = ["JsonLines", "describe_installed", "inspect_installed", "run_apart"]

_SECONDS = 60.0
_PROGRAM = """
import sys
if sys.path[:1] == [""]:
    del sys.path[0]
import json
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
from importlib import import_module
import_module(asked["module"]).{function}(asked["task"])
"""


def run_apart(function: str, module: str, task: Any, *, seconds: float = _SECONDS) -> tuple[list[Any], str]:
    """Call a function in a new interpreter with this one's import path.

    Parameters
    ----------
    function, module : str
        It is called with `task`, and writes one JSON document a line to standard output; see `JsonLines`.
    task : object
        Plain data.
    seconds : float
        After which the process is ended.

    Returns
    -------
    answers : list
        What was written until the process ended.
    ending : str
        How it ended, in words; empty where it came to its end.
    """
    given = json.dumps({"path": sys.path, "module": module, "task": task})
    process = subprocess.Popen(  # noqa: S603 - this interpreter, with a program of ours
        [sys.executable, "-c", _PROGRAM.format(function=function)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    ending = ""
    try:
        written, _ = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        written, _ = process.communicate()
        ending = f"it was not done after {seconds:.0f} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    lines = [line for line in written.splitlines() if line.endswith("}")]
    if not ending and process.returncode != 0:
        ending = f"it ended the process with exit code {process.returncode}"
    return [json.loads(line) for line in lines], ending


class JsonLines:
    """Standard output of such a process, kept for what is asked: what anybody else prints goes to standard error."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def write(self, answer: Any) -> None:
        """Write one answer."""
        self._stream.write(f"{json.dumps(answer, allow_nan=False)}\n")
        self._stream.flush()


def inspect_installed(found: Iterable[tuple[str, PluginRecord]]) -> Iterator[dict[str, Any]]:
    """Return what can be said of installed plugins, each loaded once, in a process of their own.

    Parameters
    ----------
    found : iterable of (str, PluginRecord)
        Kinds and records.

    Yields
    ------
    dict
        ``name``, ``kind``, ``distribution``, ``version``, ``entry_point``; ``error``, why it cannot be used, and
        whether that is because of an extra, ``optional``; ``import_ms``, what loading it took after those before it;
        ``summary``; ``settings``, and their JSON Schema, ``schema``; of a plugin ``hooks`` and what it declares.
    """
    waiting = list(found)
    while waiting:
        task = [[GROUPS[kind], record.name] for kind, record in waiting]
        answers, ending = run_apart("describe_installed", __name__, task)
        for (kind, record), answer in zip(waiting, answers, strict=False):
            yield {**_identity(kind, record), **answer}
        done, waiting = waiting[: len(answers)], waiting[len(answers) :]
        if waiting:
            kind, record = waiting.pop(0)
            text = f"plugin {record.name!r} ({record.origin}) cannot be loaded: {ending}"
            yield {**_identity(kind, record), **_EMPTY, "error": text}
        elif not done:
            return


_EMPTY: dict[str, Any] = {"error": None, "optional": False, "import_ms": None, "summary": None, "settings": {}}


def _identity(kind: str, record: PluginRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "kind": kind,
        "distribution": record.distribution,
        "version": record.version,
        "entry_point": record.value,
    }


# -- in the other process -------------------------------------------------------------------------


def describe_installed(task: Sequence[Sequence[str]]) -> None:
    """Load plugins, given as group and name, and write what can be said of each; ends the process."""
    import crystallize.hooks

    crystallize.hooks.BasePlugin  # noqa: B018 - what every plugin imports is not its own time
    answers = JsonLines()
    for group, name in task:
        answers.write(_described(group, name))
    sys.stderr.flush()
    os._exit(0)  # Threads that a plugin has started do not keep the command.


def _described(group: str, name: str) -> dict[str, Any]:
    from crystallize.errors import MissingExtraError, PluginError
    from crystallize.hooks import load_plugin
    from crystallize.hooks.tools import settings_schema

    described = dict(_EMPTY)
    since = time.process_time()  # what other processes do meanwhile is not the plugin's time
    try:
        target = load_plugin(name, group)
    except PluginError as error:
        return {**described, "error": str(error), "optional": isinstance(error, MissingExtraError)}
    described["import_ms"] = round((time.process_time() - since) * 1000, 1)
    described["summary"] = (inspect.getdoc(target) or "").partition("\n\n")[0].replace("\n", " ") or None
    try:
        described["settings"] = _settings(target)
        described["schema"] = settings_schema(target)
        if group == GROUPS["plugin"]:
            described |= _declared(target, name)
        else:
            described["error"] = _mistaken(group, target, name)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises is what is wrong with it
        shown = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        described["error"] = shown
    return described


def _settings(target: Any) -> dict[str, Any]:
    from crystallize.hooks import settings_of

    shown = ("type", "default", "required", "help", "choices")
    return {name: {key: setting[key] for key in shown} for name, setting in settings_of(target).items()}


def _declared(target: Any, name: str) -> dict[str, Any]:
    """Return hooks and declarations, as they are checked when the plugin is used; no constructor runs."""
    from crystallize.hooks import ActivePlugins

    (info,) = ActivePlugins.resolve([_instance(target, name)], complete=False).infos
    plugin = info.plugin
    return {
        "hooks": list(info.hooks),
        "neutral": info.neutral,
        "on_error": info.on_error,
        "contract": info.contract,
        **{relation: _names(getattr(plugin, relation, ())) for relation in ("before", "after", "requires")},
    }


def _instance(target: Any, name: str) -> Any:
    """Return what the hooks can be read from: of a class an instance that nothing was done to."""
    from crystallize.hooks import build_plugin

    return object.__new__(target) if isinstance(target, type) else build_plugin(name)


def _mistaken(group: str, target: Any, name: str) -> str | None:
    """Say why something of another kind than a plugin cannot be what its entry-point group is for."""
    if group == GROUPS["command"]:
        import click

        fits, wanted = isinstance(target, click.Command), "what @click.command or @click.group made"
    elif group == GROUPS["config"]:
        fits, wanted = hasattr(target, "load_folder"), "an object with load_folder"
    else:
        fits, wanted = callable(target), "something that can be called"
    return None if fits else f"{name!r} leads to a {type(target).__name__}: its entry point has to lead to {wanted}"


def _names(named: Any) -> list[str]:
    several = (named,) if isinstance(named, (str, type)) else named
    return sorted(each if isinstance(each, str) else each.__name__ for each in several)
