"""`Experiment.from_yaml` and `Experiment.to_yaml`: what is installed for ``config.yaml`` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.errors import MissingExtraError, PluginNotFoundError
from crystallize.hooks import load_plugin

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, MutableMapping

    from crystallize.experiments.experiment import Experiment

__all__ = ["ConfigFormat", "experiments_of", "yaml_format"]

_CONFIG = "config.yaml"


class ConfigFormat(Protocol):
    """What an entry point of the group ``crystallize.configs`` leads to."""

    def load_folder(
        self,
        path: str | os.PathLike[str],
        *,
        overrides: Iterable[str] = (),
        kind: type[Experiment] | None = None,
        known: MutableMapping[Path, Any] | None = None,
    ) -> Any:
        """Load a folder's experiment, and those that it reads from, into `known`; give what has it as `experiment`."""

    def write_config(self, experiment: Experiment, path: str | os.PathLike[str]) -> Path:
        """Write an experiment as a folder; give the file that was written."""


def yaml_format() -> ConfigFormat:
    """Return what reads and writes config.yaml.

    Raises
    ------
    MissingExtraError
        Nothing that is installed does; the message says what to install.
    """
    try:
        found: ConfigFormat = load_plugin("yaml", "crystallize.configs")
    except PluginNotFoundError:
        raise MissingExtraError(
            "experiments are read from and written as config.yaml by crystallize-plugins, which is not installed, or "
            'is of another version. Install it: pip install "crystallize-plugins[yaml]"',
            distribution="crystallize-plugins",
        ) from None
    return found


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
