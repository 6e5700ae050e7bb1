"""What two runs recorded of themselves, side by side: code, data, plugins, packages, environment and git."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from crystallize_plugins.loading import FILE_MODULE
from crystallize_plugins.runs.differences import Difference
from crystallize_plugins.runs.value_differences import flat, mappings, recorded, unknown, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize_plugins.runs.compared_run import ComparedRun

__all__ = ["code", "data", "environment", "git", "packages", "plugins"]

_DIGEST = 12


def code(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare the code of two runs."""
    facts = recorded("code", first, second)
    if facts is None:
        yield from unknown("code", "code", first, second)
        return
    steps, others = map(_step_codes, facts)
    for key, digest in steps.items():
        if key in others and others[key] != digest:
            yield Difference("code", f"step {key[0]}", "changed", digest[:_DIGEST], others[key][:_DIGEST])
    yield from _functions(*facts)
    yield from _constants(facts[0]["values"], facts[1]["values"])


def _functions(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    ours, theirs = first["functions"], second["functions"]
    for name in sorted({*ours, *theirs}):
        if name not in theirs:
            yield Difference("code", name, "removed", detail=_text_diff(name, _text(first, name), ""))
        elif name not in ours:
            yield Difference("code", name, "added", detail=_text_diff(name, "", _text(second, name)))
        elif ours[name]["digest"] != theirs[name]["digest"]:
            texts = _text(first, name), _text(second, name)
            # What refers to something that changed has changed as well, and its text has nothing to show.
            if texts[0] != texts[1]:
                yield Difference("code", name, "changed", detail=_text_diff(name, *texts))
            elif not texts[0]:
                yield Difference("code", name, "changed", detail="its source was not available")


def _constants(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*ours, *theirs}):
        if name not in theirs:
            yield Difference("code", name, "removed", ours[name]["value"])
        elif name not in ours:
            yield Difference("code", name, "added", None, theirs[name]["value"])
        elif ours[name]["digest"] != theirs[name]["digest"]:
            first, second = ours[name]["value"], theirs[name]["value"]
            detail = "other content of the same form" if first == second else ""
            yield Difference("code", name, "changed", first, second, detail)


def _step_codes(facts: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    met: Counter[str] = Counter()
    found = {}
    for step in facts["steps"]:
        found[step["step"], met[step["step"]]] = step["code"]
        met[step["step"]] += 1
    return found


def _text(facts: Mapping[str, Any], name: str) -> str:
    text: str = facts["sources"].get(facts["functions"][name]["source"], "")
    return text


def _text_diff(name: str, first: str, second: str) -> str:
    lines = difflib.unified_diff(first.splitlines(), second.splitlines(), name, name, lineterm="", n=2)
    return "\n".join(lines)


def data(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare where the data comes from: source, its parameters, the files that it declares."""
    facts = recorded("data", first, second)
    if facts is None:
        yield from unknown("data", "data", first, second)
        return
    ours, theirs = facts
    yield from values("data", "source", ours["source"], theirs["source"])
    yield from mappings("data", "", ours["params"], theirs["params"])
    shown = {
        name for name in {*ours["params"], *theirs["params"]} if ours["params"].get(name) != theirs["params"].get(name)
    }
    for found in mappings("data", "", ours["identity"], theirs["identity"]):
        if found.name.endswith(" params") and shown:
            continue  # which of them differ has been said
        digests = [value and value[:_DIGEST] for value in (found.first, found.second)]
        yield Difference("data", found.name, found.kind, *digests)


def plugins(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare the plugin locks: who was there, in which version and order, with which settings."""
    ours, theirs = (
        {entry["name"]: _named_alike(entry, run) for entry in run.facts.get("plugins", ())} for run in (first, second)
    )
    if bool(ours) != bool(theirs):
        yield Difference("plugins", "plugins", "unknown", detail="not recorded by both runs")
        return
    for name in (*ours, *(name for name in theirs if name not in ours)):
        if name not in theirs:
            yield Difference("plugins", name, "removed", _origin(ours[name]))
        elif name not in ours:
            yield Difference("plugins", name, "added", None, _origin(theirs[name]))
        else:
            yield from _plugin(name, ours[name], theirs[name])
    orders = [[name for name in entries if name in ours and name in theirs] for entries in (ours, theirs)]
    if orders[0] != orders[1]:
        yield Difference("plugins", "order", "changed", ", ".join(orders[0]), ", ".join(orders[1]))


def _named_alike(entry: Mapping[str, Any], run: ComparedRun) -> Mapping[str, Any]:
    """Return the lock of a plugin with a class name that is the same whether its file was run or loaded."""
    module, colon, name = str(entry.get("class")).partition(":")
    if module == "__main__":
        command = run.facts.get("command") or {}
        module = command.get("module") or PurePath(command.get("file") or module).stem
    return {**entry, "class": f"{module.removeprefix(FILE_MODULE)}{colon}{name}"}


def _plugin(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    yield from values("plugins", name, _origin(ours), _origin(theirs))
    for key in ("class", "entry_point", "neutral", "editable"):
        yield from values("plugins", f"{name}: {key}", ours.get(key), theirs.get(key))
    yield from mappings("plugins", f"{name}: ", ours.get("settings", {}), theirs.get("settings", {}))
    digests = [entry.get("digests") or {} for entry in (ours, theirs)]
    if digests[0] != digests[1] and _origin(ours) == _origin(theirs):
        files = sorted(
            file for file in {*digests[0], *digests[1]} - {"*"} if digests[0].get(file) != digests[1].get(file)
        )
        yield Difference("plugins", f"{name}: files", detail=", ".join(files) or "outside its module")


def _origin(entry: Mapping[str, Any]) -> str:
    return f"{entry['distribution']} {entry['version']}" if entry.get("distribution") else str(entry.get("class"))


def packages(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare what was installed."""
    facts = recorded("packages", first, second)
    if facts is None:
        yield from unknown("packages", "packages", first, second)
    else:
        yield from mappings("packages", "", *facts)


def environment(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare interpreter, machine, variables, libraries and command line."""
    for name in ("environment", "command"):
        facts = recorded(name, first, second)
        if facts is None:
            yield from unknown("environment", name, first, second)
        else:
            yield from mappings("environment", "", *map(flat, facts))
    ours, theirs = (_libraries(run.facts.get("libraries")) for run in (first, second))
    for api in sorted(ours.keys() & theirs.keys()):
        yield from _other_libraries(ours[api], theirs[api])


def _libraries(listed: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the loaded BLAS and OpenMP libraries by what they are for; one environment may have several of a kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in listed if isinstance(listed, list) else ():
        found.setdefault(str(each.get("user_api")), []).append(each)
    return found


def _other_libraries(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[Difference]:
    """Compare the libraries of one kind, whatever their order.

    Nothing is said where all that one process had loaded the other had, too: what had been imported at the moment of
    recording says nothing of what the cells used.
    """
    first = [each for each in ours if each not in theirs]
    second = [each for each in theirs if each not in ours]
    if not (first and second):
        return
    named = [{_library_name(each, listed): each for each in sorted(listed, key=repr)} for listed in (first, second)]
    yield from mappings("environment", "", *map(flat, named))


def _library_name(library: Mapping[str, Any], among: list[dict[str, Any]]) -> str:
    name = f"{library.get('user_api')} {library.get('internal_api')}"
    alike = [each for each in among if each.get("internal_api") == library.get("internal_api")]
    return f"{name} {library.get('version')}" if len(alike) > 1 else name


def git(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare commits, and what was changed without being committed."""
    ours, theirs = first.facts.get("git"), second.facts.get("git")
    if ours is None or theirs is None:
        yield from unknown("git", "git", first, second)
        return
    for name in ("reason", "root", "commit", "branch", "dirty"):
        yield from values("git", name, ours.get(name), theirs.get(name))
    if ours.get("diff", "") != theirs.get("diff", ""):
        texts = [git_facts.get("diff", "") for git_facts in (ours, theirs)]
        yield Difference("git", "uncommitted changes", detail=_changes(*texts))
    elif not (ours.get("diff_complete", True) and theirs.get("diff_complete", True)):
        detail = "not kept whole: too long, or of files that hold secrets"
        yield Difference("git", "uncommitted changes", "unknown", detail=detail)
    names = [set(facts.get("untracked", ())) for facts in (ours, theirs)]
    for name in sorted(names[0] ^ names[1]):
        yield Difference("git", f"untracked {name}", "removed" if name in names[0] else "added")


def _changes(first: str, second: str) -> str:
    """Show uncommitted changes: as they are where only one run has some, else how they differ."""
    if not first or not second:
        return f"{'only in the second' if second else 'only in the first'} run:\n{second or first}".rstrip()
    return "\n".join(
        difflib.unified_diff(first.splitlines(), second.splitlines(), "first run", "second run", lineterm="", n=1)
    )
