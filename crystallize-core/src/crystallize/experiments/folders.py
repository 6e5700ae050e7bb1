"""`Experiment.from_yaml` and `Experiment.to_yaml`: what is installed for ``config.yaml`` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from crystallize.errors import MissingExtraError, PluginNotFoundError
from crystallize.hooks import load_plugin

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, MutableMapping
    from pathlib import Path

    from typing_extensions import Self

    from crystallize.experiments.experiment import Experiment

__all__ = ["ConfigFormat", "InFolders", "yaml_format"]


class InFolders:
    """What `Experiment` has to do with folders."""

    # What was put in place of values of config.yaml when it was read.
    _overrides: tuple[str, ...] = ()

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Self:
        """Load the experiment of a folder with a config.yaml.

        Parameters
        ----------
        path : path
            The folder, or its config.yaml.
        overrides : iterable of str, optional
            ``"key.path=value"`` replaces what config.yaml says, or sets a key that it leaves out;
            ``"+key.path=value"`` adds what is not there, ``"~key.path"`` removes what is. Values are YAML.

        Returns
        -------
        Experiment

        Raises
        ------
        ConfigurationError
            With everything that is wrong, each with file, line and column, as ``problems``.
        ConfigurationMissingError
            There is no such folder, or no config.yaml in it; a `FileNotFoundError` too.
        MissingExtraError
            The extra ``yaml`` is not installed: ``pip install "crystallize-plugins[yaml]"``.

        Examples
        --------
        >>> from crystallize import Experiment
        >>> Experiment.from_yaml("experiments/wines", overrides=["replicates=5"])  # doctest: +SKIP
        Experiment('wines')
        """
        loaded: Self = (
            yaml_format().load_folder(path, overrides=overrides, kind=cast("type[Experiment]", cls)).experiment
        )
        return loaded

    def to_yaml(self, path: str | os.PathLike[str]) -> Path:
        """Write the experiment as a folder that `from_yaml` loads; nothing that is there is overwritten.

        Parameters
        ----------
        path : path
            The folder, or the file to write in it. The experiment's functions have to lie in ``datasources.py``,
            ``steps.py``, ``outputs.py`` and ``verifiers.py`` of one folder; from another folder its Python files are
            copied.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        ConfigurationError
            There is such a file already, or something cannot be written; the message names all of it.
        MissingExtraError
            The extra ``yaml`` is not installed: ``pip install "crystallize-plugins[yaml]"``.

        Examples
        --------
        >>> experiment.to_yaml("experiments/wines_again")  # doctest: +SKIP
        PosixPath('experiments/wines_again/config.yaml')
        """
        return yaml_format().write_config(cast("Experiment", self), path)


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
