"""How the program was started: what was typed, from where, and which file or module it is."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import MASK, looks_secret, mask_text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["command_facts", "masked_arguments"]

_LONGEST = 4000
_MOST = 1000


def command_facts() -> dict[str, Any]:
    """Describe how this program was started.

    Returns
    -------
    dict
        ``how`` (``"script"``, ``"module"``, ``"command"`` for ``-c``, ``"notebook"``, ``"interactive"``, ``"stdin"``
        or ``"embedded"``), ``file`` and ``module`` where it is one, ``argv`` and ``command`` (with the interpreter
        and its options), both with secrets masked, and ``cwd``.
    """
    return _facts(tuple(sys.argv), _cwd())


@lru_cache(maxsize=8)
def _facts(argv: tuple[str, ...], cwd: str | None) -> dict[str, Any]:
    """Return everything: the same object as long as nothing has changed, so that it is encoded once."""
    how, file, module = _how()
    return {
        "how": how,
        "file": file,
        "module": module,
        "argv": masked_arguments(argv),
        "command": masked_arguments(getattr(sys, "orig_argv", ())),
        "cwd": cwd,
    }


def masked_arguments(arguments: Iterable[str]) -> list[str]:
    """Return arguments of a command line with secrets masked.

    Parameters
    ----------
    arguments : iterable of str

    Returns
    -------
    list of str
        What follows an option whose name sounds like a secret is masked, and what `mask_text` finds; long ones are
        cut.

    Examples
    --------
    >>> masked_arguments(["fit.py", "--api-key", "sk-1", "--rate=0.1", "db.password=x", "-v"])
    ['fit.py', '--api-key', '***', '--rate=0.1', 'db.password=***', '-v']
    """
    masked: list[str] = []
    follows_secret = False
    for argument in list(arguments)[:_MOST]:
        name, equals, _ = argument.partition("=")
        if follows_secret and not argument.startswith("-"):
            masked.append(MASK)
            follows_secret = False
            continue
        secret = "://" not in name and looks_secret(name)
        follows_secret = secret and not equals and argument.startswith("-")
        masked.append(f"{name}={MASK}" if secret and equals else _short(mask_text(argument)))
    return masked


def _how() -> tuple[str, str | None, str | None]:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    absolute = None if not isinstance(file, str) else str(Path(file).absolute())
    if "ipykernel" in sys.modules:
        notebook = getattr(main, "__session__", None) or getattr(main, "__vsc_ipynb_file__", None)
        return "notebook", notebook if isinstance(notebook, str) else None, None
    if spec is not None:
        return "module", absolute, spec.name.removesuffix(".__main__")
    if absolute is not None:
        return "script", absolute, None
    first = sys.argv[0] if getattr(sys, "argv", None) else ""
    if first == "-c":
        return "command", None, None
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return "interactive", None, None
    return ("stdin" if first in ("", "-") else "embedded"), None, None


def _cwd() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - asked for every run
    except FileNotFoundError:  # it was removed under the program
        return None


def _short(argument: str) -> str:
    return argument if len(argument) <= _LONGEST else f"{argument[:_LONGEST]}… ({len(argument)} characters)"
