"""Copies of runs elsewhere, at whatever URL fsspec knows: made so that each of them opens, and fetched again.

A copy is ``<url>/<experiment>/v<N>-<first 8 letters of the run's id>/``, with the files of the run's folder and
``mirror.json``, which says whose copy it is and what of it is there. The files come first, then the database: what is
in that has its files. Nothing but these two functions knows of this layout.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, MissingExtraError, StoreError, ValidationError
from crystallize.hooks.tools import mask_text
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.facts import facts_from_file
from crystallize_plugins.artifacts.files import layout
from crystallize_plugins.artifacts.files.inside import files_below, open_file, read_file
from crystallize_plugins.artifacts.files.synced import file_digest, store_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from crystallize_plugins.artifacts.database.facts import RunFacts
    from crystallize_plugins.tracking.helper import EndOfRun

__all__ = ["MARKER", "RunCopy", "check_url", "fetch", "keep_copying"]

MARKER = "mirror.json"
"""Says whose copy a folder is."""

_RENAMES = frozenset({"file", "local", "sftp", "ssh", "smb", "ftp", "hdfs", "arrow_hdfs", "webhdfs"})
"""Where files lie in folders, and are there in part while they are written, so that they get their names afterwards."""
_UNFINISHED = ".part"
_ID = 8
_UNTIL_IT_BEGINS = 0.2


def check_url(url: str) -> str:
    """Return the URL of a mirror without its last slash.

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for such a URL, is not installed.
    ArgumentTypeError, ValidationError
        It is none.
    """
    if not isinstance(url, str):
        raise ArgumentTypeError(f"url must be text, such as 's3://bucket/runs', not {type(url).__name__}: {url!r:.80}")
    if not url.strip("/"):
        raise ValidationError("url is empty: give where the copies are to lie, such as 's3://bucket/runs'")
    if find_spec("fsspec") is None:
        raise MissingExtraError("a mirror needs fsspec: pip install 'crystallize-plugins[mirror]'")
    from fsspec.core import split_protocol
    from fsspec.registry import known_implementations, registry

    protocol = split_protocol(url.rpartition("::")[2])[0] or "file"
    known = known_implementations.get(protocol)
    if known is None and protocol not in registry:
        raise ValidationError(
            f"fsspec knows no URLs that begin with {protocol}://: {mask_text(url)!r}; "
            f"it knows {', '.join(sorted(known_implementations))}"
        )
    if known is not None and find_spec(known["class"].partition(".")[0]) is None:
        raise MissingExtraError(f"a mirror at {protocol}:// needs more than fsspec: {known.get('err', protocol)}")
    return url.rstrip("/")


class RunCopy:
    """The copy of one run, brought up to date again and again.

    Parameters
    ----------
    folder : Path
        The run's folder.
    url : str
        Where all copies lie.
    options : mapping
        What fsspec's file system takes.
    """

    def __init__(self, folder: Path, url: str, options: Mapping[str, Any]) -> None:
        self._folder = folder
        self._url = url
        self._files = _Elsewhere(url, options)
        self._marker: dict[str, Any] = {}
        self._database: Any = None
        self._document = b""
        self.place = ""

    def update(self) -> str:
        """Copy what is new, and return the URL of the copy; an empty text where the run has not begun to be stored.

        Raises
        ------
        StoreError
            The place is that of another run, or its copy has more cells.
        """
        begun = facts_from_file(self._folder)
        if begun is None:
            return ""
        if not self._marker:
            self._begin(begun[0])
        document = self._read_document()
        changed = document != self._document
        with tempfile.TemporaryDirectory(prefix="crystallize-") as scratch:
            # Before the files are listed: whatever is in the copy of the database has its files by now.
            snapshot = self._snapshot(Path(scratch))
            for path in files_below(self._folder):
                name = path.relative_to(self._folder).as_posix()
                if not (name.startswith(layout.DATABASE) or name == layout.RUN or layout.is_temporary(path.name)):
                    changed |= self._copy_file(path, name)
            if snapshot is not None:
                self._files.write(f"{self.place}/{layout.DATABASE}", snapshot)
                changed = True
        if document != self._document:
            self._files.write_bytes(f"{self.place}/{layout.RUN}", document)
            self._document = document
        if changed:
            self._say()
        return self.place

    def _begin(self, run: RunFacts) -> None:
        self.place = f"{self._url}/{self._folder.parent.name}/{self._folder.name}-{run.id[:_ID]}"
        marker = self._files.marker(self.place)
        if marker is not None and marker["run"] != run.id:
            raise StoreError(
                f"{mask_text(self.place)} is the copy of another run ({marker['run']}), and is not overwritten: "
                "give another URL"
            )
        self._marker = marker or {
            "run": run.id,
            "experiment": run.experiment,
            "version": self._folder.name,
            "cells": 0,
            "files": {},
        }
        if self._marker["cells"] > (cells := _cells(self._folder)):
            raise StoreError(
                f"{mask_text(self.place)} has {self._marker['cells']} cells of this run, and {self._folder} has "
                f"{cells}: it went on elsewhere. Fetch it with crystallize_plugins.runs.pull()"
            )
        if marker is None:
            self._say()

    def _read_document(self) -> bytes:
        try:
            return read_file(self._folder / layout.RUN)
        except FileNotFoundError:
            return b""

    def _snapshot(self, scratch: Path) -> Path | None:
        """Return a copy of the database as it is; None where it has not changed since the last one."""
        path = self._folder / layout.DATABASE
        state = database.state_of(path)
        if not path.exists() or state == self._database:
            return None
        target = scratch / layout.DATABASE
        if not any(self._folder.glob(f"{layout.DATABASE}-*")):
            shutil.copy(path, target)  # of a run that is over: the very bytes, whose hash run.json has
        if not target.exists() or database.state_of(path) != state:
            target.unlink(missing_ok=True)
            with database.reading(self._folder, whole=False) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
        self._marker["cells"], self._marker["database"] = _cells(scratch), file_digest(target)
        self._database = state
        return target

    def _copy_file(self, path: Path, name: str) -> bool:
        """Copy a file, and return whether that had to be done."""
        try:
            found = path.lstat()
            state = [found.st_size, found.st_mtime_ns]
            if self._marker["files"].get(name) == state:
                return False
            self._files.write(f"{self.place}/{name}", path)
        except FileNotFoundError:  # removed meanwhile
            return False
        self._marker["files"][name] = state
        return True

    def _say(self) -> None:
        self._files.write_bytes(f"{self.place}/{MARKER}", json.dumps(self._marker).encode())


def keep_copying(end: EndOfRun, folder: str, url: str, every: float, options: Mapping[str, Any]) -> str:
    """Copy a run again and again until it ends, and once more; what fails is tried again.

    Parameters
    ----------
    end : EndOfRun
    folder : str
        The run's folder.
    url : str
        Where all copies lie.
    every : float
        Seconds from one copy to the next.
    options : mapping
        What fsspec's file system takes.

    Returns
    -------
    str
        The URL of the copy.
    """
    copy = None
    ended = False
    while True:
        begun = time.monotonic()
        try:
            copy = copy or RunCopy(Path(folder), url, options)
            place = copy.update()
        except Exception:
            if ended:
                raise
            place = ""
        if ended:
            return place
        left = every - (time.monotonic() - begun) if place else min(every, _UNTIL_IT_BEGINS)
        ended = end.wait(max(0.0, left))


def fetch(url: str, root: Path, options: Mapping[str, Any]) -> list[Path]:
    """Fetch all copies below a URL; see `crystallize_plugins.runs.pull`."""
    files = _Elsewhere(url, options)
    places = [name.rpartition("/")[0] for name in files.names(url) if name.endswith(f"/{MARKER}")]
    if not places:
        raise StoreError(f"there is no copy of a run at {mask_text(url)}: {MARKER} is missing")
    wanted = []
    for place in places:
        marker = files.marker(place) or {}
        version = Path(str(marker.get("version")))
        if not layout.is_version(version) or version.name != str(version):
            raise StoreError(f"{mask_text(place)}/{MARKER} names no version of a run")
        target = layout.experiment_folder(root, str(marker.get("experiment"))) / version
        if not target.exists():
            wanted.append((place, target))
        elif not _is_same(target, marker):
            raise StoreError(
                f"{target} is there already, and is not overwritten: fetch into another folder with "
                "pull(url, root=...), or move it away"
            )
    for place, target in wanted:
        files.fetch_run(place, target)
    return [target for _, target in wanted]


class _Elsewhere:
    """The file system of a URL; all that is done there."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        from fsspec.core import url_to_fs

        self._system, self._root = url_to_fs(url, use_listings_cache=False, **options)
        self._url = url
        protocols = self._system.protocol
        self._renames = not _RENAMES.isdisjoint([protocols] if isinstance(protocols, str) else protocols)

    def _path(self, url: str) -> str:
        return f"{self._root.rstrip('/')}{url.removeprefix(self._url)}"

    def write(self, url: str, source: Path) -> None:
        with open(open_file(source), "rb") as file:  # noqa: PTH123 - of a descriptor
            self._write(self._path(url), file)

    def write_bytes(self, url: str, data: bytes) -> None:
        self._write(self._path(url), io.BytesIO(data))

    def _write(self, path: str, source: BinaryIO) -> None:
        part = path
        if self._renames:  # elsewhere there are no folders, and what looks like one may become a bucket
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            part += _UNFINISHED
        with self._system.open(part, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        if self._renames:
            self._system.mv(part, path)

    def marker(self, place: str) -> dict[str, Any] | None:
        """Return what the marker of a copy says; None where there is none."""
        try:
            text = self._system.cat_file(self._path(f"{place}/{MARKER}"))
        except FileNotFoundError:
            return None
        try:
            marker = json.loads(text)
            return {**marker, "run": str(marker["run"]), "cells": int(marker["cells"]), "files": dict(marker["files"])}
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{mask_text(place)}/{MARKER} is damaged: {error}") from error

    def names(self, url: str) -> list[str]:
        """Return the URLs of the files below one."""
        path = self._path(url)
        found = self._system.find(path)
        return [url + name[name.index(path) + len(path) :] for name in found]

    def fetch_run(self, place: str, target: Path) -> None:
        """Fetch a copy: whole, or not at all."""
        scratch = target.with_name(layout.temporary_name())
        try:
            scratch.mkdir(parents=True)
            # The database first: the files of what is in it were there before it.
            names = [f"{place}/{layout.DATABASE}", *(name for name in self.names(place))]
            for name in dict.fromkeys(names):
                inside = PurePosixPath(name.removeprefix(f"{place}/"))
                if inside.name == MARKER or inside.name.endswith(_UNFINISHED):
                    continue
                if inside.is_absolute() or ".." in inside.parts:
                    raise StoreError(f"{mask_text(name)} would lie outside the run's folder")
                path = scratch / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                self._system.get_file(self._path(name), str(path))
            with suppress(FileNotFoundError):
                # Whoever wrote it may have been at work on another machine: here nobody is.
                os.utime(scratch / layout.RUN, (0, 0))
            operations.rename(scratch, target)
        except FileNotFoundError as error:
            raise StoreError(
                f"{mask_text(place)} has no {layout.DATABASE} yet: its first copy was cut short"
            ) from error
        except OSError as error:
            raise store_error("cannot fetch the run to", target, error) from error
        finally:
            if scratch.exists():
                operations.remove_tree(scratch)


def _cells(folder: Path) -> int:
    """Count the cells that are stored of a run."""
    with database.reading(folder, whole=False) as source:
        return int(source.execute("SELECT count(*) FROM cell").fetchone()[0])


def _is_same(folder: Path, marker: Mapping[str, Any]) -> bool:
    """Whether a run that lies here is what was copied there."""
    path = folder / layout.DATABASE
    return path.exists() and file_digest(path) == marker.get("database")
