"""What is chosen for an experiment's next run, and kept in ``config.state.json`` beside its config.yaml."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize_cli.exits import Failure

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE", "Choices", "read_choices", "write_choices"]

FILE = "config.state.json"


@dataclass(slots=True)
class Choices:
    """What is chosen for an experiment's next run.

    Attributes
    ----------
    inactive : set of str
        Treatments that are left out.
    steps : dict of str to bool
        Whether a step is cached, where that is not as it was declared.
    cached : bool or None
        Whether stored cells are kept; None for what the config.yaml says.
    replicates : int or None
        How many; None for what the config.yaml says.
    """

    inactive: set[str] = field(default_factory=set)
    steps: dict[str, bool] = field(default_factory=dict)
    cached: bool | None = None
    replicates: int | None = None


def read_choices(folder: Path) -> Choices:
    """Read what was chosen before.

    Raises
    ------
    Failure
        The file is damaged.
    """
    file = folder / FILE
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError) as error:
        raise _damaged(file) from error
    caching = told.get("caching", {}) if isinstance(told, dict) else None
    inactive = told.get("inactive_treatments", []) if isinstance(told, dict) else None
    if not isinstance(caching, dict) or not isinstance(inactive, list):
        raise _damaged(file)
    steps, cached, replicates = caching.get("steps", {}), caching.get("experiment"), told.get("replicates")
    sound = (
        all(isinstance(name, str) for name in inactive)
        and isinstance(steps, dict)
        and all(isinstance(value, bool) for value in steps.values())
        and isinstance(cached, (bool, type(None)))
        and (replicates is None or (type(replicates) is int and replicates > 0))
    )
    if not sound:
        raise _damaged(file)
    return Choices(set(inactive), dict(steps), cached, replicates)


def write_choices(folder: Path, choices: Choices) -> None:
    """Keep what is chosen; nothing chosen keeps no file.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    from crystallize.hooks.tools import write_atomically

    told: dict[str, Any] = {"inactive_treatments": sorted(choices.inactive), "caching": {}}
    if choices.cached is not None:
        told["caching"]["experiment"] = choices.cached
    if choices.steps:
        told["caching"]["steps"] = dict(sorted(choices.steps.items()))
    if choices.replicates is not None:
        told["replicates"] = choices.replicates
    file = folder / FILE
    if choices == Choices():
        file.unlink(missing_ok=True)
    else:
        write_atomically(file, json.dumps(told, indent=2) + "\n")


def _damaged(file: Path) -> Failure:
    return Failure(f"{file} is damaged, and what it said is left out: change something, and it is written anew")
