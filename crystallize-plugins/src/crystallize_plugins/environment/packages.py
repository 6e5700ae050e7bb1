"""Which distributions are installed: read from the names of their folders, where those tell."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["installed_packages"]

_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info")
_SEPARATORS = re.compile(r"[-_.]+")


def installed_packages(path: Iterable[str] | None = None) -> dict[str, str]:
    """Return all installed distributions with their versions.

    Reading every distribution's metadata takes ten times as long as looking at the names of the folders that hold it,
    and both say the same; metadata is read where a folder's name does not tell.

    Parameters
    ----------
    path : iterable of str, optional
        Where to look; by default ``sys.path``. Of two of one name, the first counts, as for ``import``.

    Returns
    -------
    dict of str to str
        By name, sorted. A version is followed by ``(editable)`` where the code may change without it, and by what was
        installed where that came from a repository or a file: ``"1.2 (git 1d3f…)"``.

    Examples
    --------
    >>> "crystallize-core" in installed_packages()
    True
    """
    found: dict[str, str] = {}
    for folder in sys.path if path is None else path:
        for name, version in _in_folder(folder or "."):
            found.setdefault(_normalized(name), version)
    return dict(sorted(found.items()))


def _in_folder(folder: str) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except NotADirectoryError:
        yield from _by_metadata(folder)  # a zip file, say
        return
    except OSError:
        return
    unclear = False
    for entry in entries:
        if entry.name.endswith(".dist-info"):
            match = _INFO.fullmatch(entry.name)
            if match is None:
                unclear = True
            else:
                yield match["name"], match["version"] + _origin(entry.path)
        elif entry.name.endswith((".egg-info", ".egg")):
            unclear = True
    if unclear:
        yield from _by_metadata(folder)


def _by_metadata(folder: str) -> Iterator[tuple[str, str]]:
    from importlib import metadata

    for distribution in metadata.distributions(path=[folder]):
        try:
            name, version = distribution.metadata["Name"], distribution.version
        except Exception:  # noqa: BLE001, S112 - a stranger's broken metadata: what has no name cannot be listed
            continue
        if name and version:
            yield str(name), str(version)


def _origin(info: str) -> str:
    """Return where a distribution came from, unless it came from an index."""
    try:
        with open(os.path.join(info, "direct_url.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - hundreds
            direct = json.load(file)
        if direct.get("dir_info", {}).get("editable"):
            return " (editable)"
        commit = direct.get("vcs_info", {}).get("commit_id")
        if commit:
            return f" ({direct['vcs_info'].get('vcs', 'git')} {commit})"
        digests = direct.get("archive_info", {}).get("hashes", {})
        return f" (file sha256:{digests['sha256']})" if "sha256" in digests else " (local)"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return " (origin unknown)"


def _normalized(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()
