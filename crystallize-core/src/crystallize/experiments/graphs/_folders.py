"""`ExperimentGraph.from_yaml`: from folders that refer to each other to the experiments of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.experiments.folders import yaml_format

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from crystallize.experiments.experiment import Experiment

__all__ = ["experiments_of"]

_CONFIG = "config.yaml"


def experiments_of(path: str | os.PathLike[str], overrides: Iterable[str]) -> list[Experiment]:
    """Load an experiment's folder and all that it reads from, or every experiment in a folder of folders.

    Raises
    ------
    ConfigurationError
        With everything that is wrong, each with its place, as ``problems``.
    """
    installed = yaml_format()
    given = Path(path)
    known: dict[Path, Any] = {}
    folders = [] if (given / _CONFIG).exists() else sorted(file.parent for file in given.glob(f"*/{_CONFIG}"))
    for folder in folders or [given]:
        installed.load_folder(folder, overrides=overrides if not folders else (), known=known)
    return [loaded.experiment for loaded in known.values()]
