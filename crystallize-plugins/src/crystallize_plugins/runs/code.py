"""The code of two runs, side by side: which steps differ, and the text of what differs."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, Any

from crystallize_plugins.runs.differences import Difference
from crystallize_plugins.runs.pairs import recorded, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize_plugins.runs.subjects import Subject

__all__ = ["code"]

_DIGEST = 12


def code(first: Subject, second: Subject) -> Iterator[Difference]:
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
