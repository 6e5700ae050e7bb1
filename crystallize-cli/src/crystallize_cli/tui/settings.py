"""``ui.yaml`` in the user's configuration folder: the theme, and keys of one's own."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from crystallize_cli.exits import Failure

__all__ = ["Settings", "keep_theme", "read_settings", "settings_file"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is said in ui.yaml.

    Attributes
    ----------
    theme : str or None
    keys : dict of str to str
        By action, such as ``{"run": "f5"}``.
    """

    theme: str | None = None
    keys: dict[str, str] = field(default_factory=dict)


def settings_file() -> Path:
    """Return where the settings are kept on this system."""
    if base := os.environ.get("XDG_CONFIG_HOME"):
        return Path(base, "crystallize", "ui.yaml")
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home(), "crystallize", "ui.yaml")
    home = Path.home()
    folder = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".config"
    return folder / "crystallize" / "ui.yaml"


def read_settings() -> Settings:
    """Read the settings; where there are none, the defaults.

    Raises
    ------
    Failure
        The file is damaged.
    """
    file = settings_file()
    try:
        found = _document(file)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read, and the defaults hold: {error}") from error
    theme, keys = found.get("theme"), found.get("keys") or {}
    if not isinstance(theme, (str, type(None))) or not isinstance(keys, dict):
        raise Failure(f"{file} is damaged, and the defaults hold: write `theme: NAME` and `keys: {{ACTION: KEY}}`")
    return Settings(theme, {str(action): str(key) for action, key in keys.items()})


def keep_theme(theme: str) -> None:
    """Write the theme into the settings, whose other lines stay as they are.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from crystallize.hooks.tools import write_atomically

    file = settings_file()
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    line = f"theme: {theme}"
    after, count = re.subn(r"(?m)^theme:.*$", line, before, count=1)
    write_atomically(file, after if count else f"{line}\n{before}")


def _document(file: Path) -> dict[str, object]:
    """Return the mapping of a YAML file.

    Raises
    ------
    ValueError
        It is none.
    """
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(found or {}, dict):
        raise ValueError("it is no mapping of keys to values")  # noqa: TRY004 - of what was read, not of an argument
    return found or {}
