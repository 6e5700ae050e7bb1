"""Where entries lie, how much they may take, and the user's key, with which they are authenticated.

What was not written with the key is never unpickled.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from crystallize.errors import ConfigurationError
from crystallize.names import fresh_id
from crystallize.pipelines.cache import files

__all__ = ["DEFAULT_SIZE", "CacheSettings", "current_settings", "load_key"]

DEFAULT_SIZE = 10_000_000_000
"""Bytes that the entries of a cache folder may take together, unless told."""

_DIRECTORY = "CRYSTALLIZE_CACHE_DIR"
_SIZE = "CRYSTALLIZE_CACHE_SIZE"
_KEY_FILE = "CRYSTALLIZE_CACHE_KEY_FILE"
_KEY_LENGTH = 32
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class CacheSettings(NamedTuple):
    """What a run needs to know of the cache; it travels to worker processes.

    Attributes
    ----------
    folder : str
        Absolute.
    limit : int
        Bytes.
    key_file : str
        Absolute.
    key_is_named : bool
        Whether the user named the file of the key.
    """

    folder: str
    limit: int
    key_file: str
    key_is_named: bool


def current_settings() -> CacheSettings:
    """Read the settings from the environment, as it is now.

    Raises
    ------
    ConfigurationError
        A variable makes no sense, or the file of the key lies in the cache folder.
    """
    folder = Path(os.environ.get(_DIRECTORY) or ".cache").absolute()
    named = os.environ.get(_KEY_FILE)
    key_file = Path(named).absolute() if named else _configuration_folder() / "cache.key"
    if Path(os.path.realpath(key_file)).is_relative_to(os.path.realpath(folder)):
        raise ConfigurationError(
            f"the key of the step cache, {key_file}, lies in the cache folder {folder}, where whoever can write "
            f"entries can read it: let {_KEY_FILE} name a file elsewhere"
        )
    return CacheSettings(str(folder), _parsed(os.environ.get(_SIZE)), str(key_file), bool(named))


def _parsed(text: str | None) -> int:
    if not text:
        return DEFAULT_SIZE
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)\s*", text.upper())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ConfigurationError(f"{_SIZE} must be a size such as 500MB, 2.5 GB or 1GiB, not {text!r}")
    return int(float(match[1]) * unit)


def _configuration_folder() -> Path:
    """Return the folder in which this user's programs keep their settings, on this system."""
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigurationError(
            f"the key of the step cache has no place, since this user has no home folder: let {_KEY_FILE} name a file"
        ) from error
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or "")
        # A relative path there is to be ignored, by the specification.
        base = base if base.is_absolute() else home / ".config"
    return base / "crystallize"


def load_key(settings: CacheSettings) -> bytes:
    """Return the user's key; it is made where there is none.

    Parameters
    ----------
    settings : CacheSettings

    Raises
    ------
    ConfigurationError
        The file cannot be read or made, holds no key, or others can read or change it.
    """
    path = Path(settings.key_file)
    try:
        if not path.exists():
            _make_key(path)
        return _checked_key(path, strict=not settings.key_is_named)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"the key of the step cache cannot be read or made in {path}: {reason}; let CRYSTALLIZE_CACHE_KEY_FILE "
            "name a file elsewhere"
        ) from error


def _make_key(path: Path) -> None:
    """Make a key under its final name at once: of several processes one wins, and none sees half a key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{fresh_id()}")
    try:
        files.fill(temporary, [os.urandom(_KEY_LENGTH).hex().encode() + b"\n"])
        # Neither takes the place of a file that is there: rename on Windows, link elsewhere.
        with suppress(FileExistsError):
            if os.name == "nt":
                temporary.rename(path)
            else:
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked_key(path: Path, *, strict: bool) -> bytes:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        text = file.read(1024)
    if os.name != "nt":
        # A file that the user named may be handed to a container readable, and owned by another.
        forbidden = 0o077 if strict else 0o022
        if strict and found.st_uid != os.geteuid():
            raise ConfigurationError(f"the key of the step cache, {path}, belongs to another user: remove the file")
        if stat.S_IMODE(found.st_mode) & forbidden:
            raise ConfigurationError(
                f"the key of the step cache, {path}, can be {'read or ' if strict else ''}changed by others: "
                f"chmod 600 it, or remove it and have a new one made"
            )
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < _KEY_LENGTH:
        raise ConfigurationError(
            f"{path} holds no key of the step cache, which is {2 * _KEY_LENGTH} hexadecimal digits: remove the file, "
            "and one is made"
        )
    return key
