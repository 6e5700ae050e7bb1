"""What is recorded of a run beside its cells, from its first commit on: so that it can be explained, and done again.

What is quickly known is written with the first commit, of the first run of a process just after it; what takes its time
(git, the installed packages) is asked in the background, and written as soon as it is known. Nothing of it is looked at
before the first cell has run, and nothing of it can make a run fail: where something cannot be found out, the record
says why.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError
from crystallize.hooks.tools import isolate, looks_secret, mask_secrets, mask_text, to_plain
from crystallize_plugins.artifacts.database.typed_json import encode, encode_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.hooks import CellIdentities, ExperimentView
    from crystallize_plugins.artifacts.database.writer import RunWriter
    from crystallize_plugins.environment.background import PendingFacts

__all__ = [
    "RECORDED",
    "TREATMENTS",
    "RecordedTreatment",
    "Recorder",
    "newest_of",
    "recorded_facts",
    "recorded_treatments",
]

_QUICK = ("plugins", "environment", "command", "definition", "code", "data")
_SLOW = ("git", "packages", "libraries")
RECORDED = (*_QUICK, *_SLOW)
"""The entries of a result's provenance that are documents of their own."""

TREATMENTS = "treatments"
"""The document that holds the values of the treatments, exactly where that can be."""

_SHARED = ("code", "command", "environment", "libraries", "packages")
_LARGEST = 1 << 20
_MOST_ITEMS = 100_000
_MOST_REMEMBERED = 32

_encoded: dict[int, tuple[Any, str]] = {}


class Recorder:
    """Records what surrounds one run.

    Parameters
    ----------
    view : ExperimentView
    root : Path
        The store's folder: what it writes is no change to the code.
    identities : CellIdentities
        What is known of the cells' identities already.
    """

    def __init__(self, view: ExperimentView, root: Path, identities: CellIdentities) -> None:
        self._view = view
        self._root = root
        self._identities = identities
        self._writer: RunWriter | None = None
        self._lock = threading.Lock()
        self._quick: dict[str, Any] | None = None
        self._answer: PendingFacts | None = None
        self._slow: dict[str, Any] | None = None
        self._begun = False
        self._facts_sent = False

    def begin(self, writer: RunWriter | None = None) -> dict[str, str]:
        """Give the documents of the first commit; what is not known by then is given to the writer later.

        Parameters
        ----------
        writer : RunWriter, optional
        """
        self._writer = writer
        if writer is not None and "crystallize_plugins.environment.code" not in sys.modules:
            # The first run of a process: what finds it all out has to be imported, and no commit waits for that.
            # Where no thread can be had any more, it does.
            with suppress(RuntimeError):
                threading.Thread(target=self._begin_beside, name="crystallize-record", daemon=True).start()
                return {}
        answer = self._ask()
        documents = self._first()
        self._begun = True
        if answer.known:
            documents.update(self.rest())
        else:
            answer.then(self._late)
        return documents

    def _begin_beside(self) -> None:
        answer = self._ask()
        documents = self._first()
        with self._lock:
            if self._begun or self._writer is None:
                return
            # Where the run cannot be written, whoever hands in its outcomes learns of it.
            with suppress(CrystallizeError):
                self._writer.add_documents(documents)
                self._begun = True
        answer.then(self._late)

    def _first(self) -> dict[str, str]:
        documents = {name: _encode(name, value) for name, value in self._known().items()}
        documents[TREATMENTS] = encode(_exact_treatments(self._view)).text
        return documents

    def facts(self) -> dict[str, Any]:
        """Give what belongs to the result's provenance; waits for what is still being found out."""
        known, found = self._known(), self._found_out()
        # The result copies what it masks; of these it would hand out what other runs share.
        own = {"code": isolate(known["code"]), "git": dict(found["git"]), "packages": dict(found["packages"])}
        return {**known, **found, **own}

    def rest(self) -> dict[str, str]:
        """Give the documents that no writer was given yet; waits for what is still being found out."""
        found, first = self._found_out(), {} if self._begun else self._first()
        with self._lock:
            begun, given = self._begun, self._facts_sent
            self._begun = self._facts_sent = True
        documents = {} if begun else first
        return documents if given else {**documents, **{name: _encode(name, value) for name, value in found.items()}}

    def _ask(self) -> PendingFacts:
        with self._lock:
            if self._answer is None:
                from crystallize_plugins.environment.background import find_out

                self._answer = find_out(_code_folder(self._view.definition()))
            return self._answer

    def _known(self) -> dict[str, Any]:
        with self._lock:
            if self._quick is None:
                from crystallize_plugins.environment.code import code_facts, data_facts
                from crystallize_plugins.environment.command import command_facts
                from crystallize_plugins.environment.machine import environment_facts

                view, identities = self._view, self._identities
                self._quick = {
                    "plugins": mask_secrets(_tried(view.lock)),
                    "environment": _tried(environment_facts),
                    "command": _tried(command_facts),
                    "definition": _tried(lambda: _masked(view.definition())),
                    "code": _tried(lambda: code_facts(view, identities)),
                    "data": _tried(lambda: data_facts(view, identities)),
                }
            return self._quick

    def _found_out(self) -> dict[str, Any]:
        answer = self._ask().wait()
        with self._lock:
            if self._slow is None:
                self._slow = {**answer, "git": _without(answer["git"], self._root)}
            return self._slow

    def _late(self, _: Mapping[str, Any]) -> None:
        found = self._found_out()
        # The lock is held meanwhile: whoever ends the run must not come between the two.
        with self._lock:
            if self._facts_sent or self._writer is None:
                return
            # Where the run cannot be written, whoever hands in its outcomes learns of it.
            with suppress(CrystallizeError):
                self._writer.add_documents({name: _encode(name, value) for name, value in found.items()})
                self._facts_sent = True


class RecordedTreatment:
    """A treatment as a run recorded it.

    Attributes
    ----------
    name : str
    is_callable : bool
        Whether it was a function, of which only the code is recorded.
    values : dict of str to object
        What it set; only what could be stored exactly.
    inexact : tuple of str
        The keys whose values could not, or must not, be stored: objects, secrets, what is larger than a megabyte.
    """

    __slots__ = ("inexact", "is_callable", "name", "values")

    def __init__(self, name: str, is_callable: bool, values: dict[str, Any], inexact: Sequence[str]) -> None:
        self.name = name
        self.is_callable = is_callable
        self.values = values
        self.inexact = tuple(inexact)

    @property
    def is_exact(self) -> bool:
        """Whether the treatment can be made again from the record alone."""
        return not self.is_callable and not self.inexact


def recorded_treatments(documents: Mapping[str, Any]) -> dict[str, RecordedTreatment]:
    """Give the treatments that a run recorded, by name; none for runs that were stored before that was done."""
    listed = documents.get(TREATMENTS, ())
    return {parts["name"]: RecordedTreatment(**parts) for parts in listed}


def recorded_facts(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was recorded before the end of a run: that of the process which wrote to it last.

    Parameters
    ----------
    documents : mapping of str to object
        All documents of the run, by name.
    """
    return {name: newest_of(documents, name) for name in RECORDED if newest_of(documents, name) is not None}


def newest_of(documents: Mapping[str, Any], name: str) -> Any:
    """Return the document of a name that the process which wrote last has written; None where there is none."""
    several = {full: int(full.partition("@")[2] or 1) for full in documents if full.partition("@")[0] == name}
    return documents[max(several, key=several.__getitem__)] if several else None


def _masked(definition: Mapping[str, Any]) -> dict[str, Any]:
    from crystallize_plugins.environment.command import masked_arguments

    return {**definition, "overrides": masked_arguments(definition.get("overrides", ()))}


def _code_folder(definition: Mapping[str, Any]) -> str:
    """Give where the code lies."""
    place = definition.get("config") or definition.get("file")
    if place:
        # A folder, or a file in it.
        return str(place) if definition.get("config") and Path(place).is_dir() else str(Path(place).parent)
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # removed under the program
        return os.sep


def _exact_treatments(view: ExperimentView) -> list[dict[str, Any]]:
    """Take down what treatments set; those of an optimisation are in its journal."""
    return [] if view.run.kind == "trial" else [_exact_treatment(treatment) for treatment in view.treatments]


def _exact_treatment(treatment: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    inexact = []
    for key, value in {} if treatment.is_callable else treatment.applied.items():
        if looks_secret(key) or _is_large(value) or encode(value).lossy or _holds_secret(value):
            inexact.append(key)
        else:
            values[key] = value
    return {"name": treatment.name, "is_callable": treatment.is_callable, "values": values, "inexact": inexact}


def _holds_secret(value: Any) -> bool:
    plain = to_plain(value)
    return bool(mask_secrets(plain) != plain)


def _is_large(value: Any) -> bool:
    """Whether a value is too large to be written down for every run; found out without going through all of it."""
    waiting, items, size = [value], 0, 0
    while waiting:
        each = waiting.pop()
        items += 1
        size += _size_of(each)
        if isinstance(each, (str, bytes, bytearray)):
            size += len(each)
        elif isinstance(each, (list, tuple, set, frozenset)):
            items += len(each)
            waiting += each if items < _MOST_ITEMS else ()
        elif isinstance(each, dict):
            items += len(each)
            waiting += [*each, *each.values()] if items < _MOST_ITEMS else ()
        if items >= _MOST_ITEMS or size > _LARGEST:
            return True
    return False


def _size_of(value: Any) -> int:
    """Give how many bytes an array says that it has; of anything else, those of a reference."""
    if not hasattr(type(value), "nbytes"):
        return 8
    try:
        return int(value.nbytes)
    except Exception:  # noqa: BLE001 - a sparse tensor, for one, has the attribute and refuses to tell
        return 8


def _without(git: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Leave the store's own folder out of what git does not know."""
    untracked = git.get("untracked")
    if not untracked:
        return dict(git)
    own = os.path.relpath(root, git["root"]).replace(os.sep, "/") + "/" if _same_drive(root, git["root"]) else "../"
    kept = [name for name in untracked if not f"{name.rstrip('/')}/".startswith(own)]
    return {**git, "untracked": kept, "untracked_count": git["untracked_count"] - len(untracked) + len(kept)}


def _same_drive(first: Path, second: str) -> bool:
    return first.drive == Path(second).drive


def _tried(find_out: Callable[[], Any]) -> Any:
    try:
        return find_out()
    except Exception as error:  # noqa: BLE001 - code of the user's is asked here, which may fail in any way
        return {"reason": mask_text(f"{type(error).__name__}: {error}")}


def _encode(name: str, value: Any) -> str:
    """Encode a document: what many runs of a process share, once."""
    if name not in _SHARED:
        return _encoded_plain(value)
    known = _encoded.get(id(value))
    if known is None or known[0] is not value:
        if len(_encoded) >= _MOST_REMEMBERED:
            _encoded.clear()
        known = _encoded[id(value)] = (value, _encoded_plain(value))
    return known[1]


def _encoded_plain(value: Any) -> str:
    try:
        return encode_plain(value)
    except TypeError:  # a plugin's own description of itself, say, that is not plain after all
        return encode(value).text
