"""The user's key, with which entries are authenticated: what this user did not write is never unpickled."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import ConfigurationError

if TYPE_CHECKING:
    from crystallize.pipelines.cache.settings import CacheSettings

__all__ = ["load_key"]

_LENGTH = 32


def load_key(settings: CacheSettings) -> bytes:
    """Give the user's key; it is made where there is none.

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
            _make(path)
        return _checked(path, strict=not settings.key_is_given)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"the key of the step cache cannot be read or made in {path}: {reason}; let CRYSTALLIZE_CACHE_KEY_FILE "
            "name a file elsewhere"
        ) from error


def _make(path: Path) -> None:
    """Make a key under its final name at once: of several processes one wins, and none sees half a key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_hex(_LENGTH).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Neither takes the place of a file that is there: rename on Windows, link elsewhere.
        with suppress(FileExistsError):
            if os.name == "nt":
                temporary.rename(path)
            else:
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(path: Path, *, strict: bool) -> bytes:
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
    if len(key) < _LENGTH:
        raise ConfigurationError(
            f"{path} holds no key of the step cache, which is {2 * _LENGTH} hexadecimal digits: remove the file, and "
            "one is made"
        )
    return key
