"""Where entries lie, how much they may take, and where the user's key is."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from crystallize.errors import ConfigurationError

__all__ = ["DEFAULT_SIZE", "CacheSettings", "current_settings"]

DEFAULT_SIZE = 10_000_000_000
"""Bytes that the entries of a cache folder may take together, unless told."""

_DIRECTORY = "CRYSTALLIZE_CACHE_DIR"
_SIZE = "CRYSTALLIZE_CACHE_SIZE"
_KEY_FILE = "CRYSTALLIZE_CACHE_KEY_FILE"
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
    key_is_given : bool
        Whether the user named the file of the key.
    """

    folder: str
    limit: int
    key_file: str
    key_is_given: bool


def current_settings() -> CacheSettings:
    """Read the settings from the environment, as it is now.

    Raises
    ------
    ConfigurationError
        A variable makes no sense, or the file of the key lies in the cache folder.
    """
    folder = Path(os.environ.get(_DIRECTORY) or ".cache").absolute()
    given = os.environ.get(_KEY_FILE)
    key_file = Path(given).absolute() if given else _configuration_folder() / "cache.key"
    if Path(os.path.realpath(key_file)).is_relative_to(os.path.realpath(folder)):
        raise ConfigurationError(
            f"the key of the step cache, {key_file}, lies in the cache folder {folder}, where whoever can write "
            f"entries can read it: let {_KEY_FILE} name a file elsewhere"
        )
    return CacheSettings(str(folder), _parsed(os.environ.get(_SIZE)), str(key_file), bool(given))


def _parsed(text: str | None) -> int:
    if not text:
        return DEFAULT_SIZE
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)\s*", text.upper())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ConfigurationError(f"{_SIZE} must be a size such as 500MB, 2.5 GB or 1GiB, not {text!r}")
    return int(float(match[1]) * unit)


def _configuration_folder() -> Path:
    """Give the folder in which this user's programs keep their settings, on this system."""
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
