"""`Experiment.from_yaml` and `Experiment.to_yaml`: the doors to the room `config`, which lies above this one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["InFolders", "config_room"]


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
            The extra ``yaml`` is not installed: ``pip install "crystallize-core[yaml]"``.

        Examples
        --------
        >>> from crystallize import Experiment
        >>> Experiment.from_yaml("experiments/wines", overrides=["replicates=5"])  # doctest: +SKIP
        Experiment('wines')
        """
        loaded: Self = config_room().load_folder(path, overrides=overrides, kind=cls).experiment
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
            The extra ``yaml`` is not installed: ``pip install "crystallize-core[yaml]"``.

        Examples
        --------
        >>> experiment.to_yaml("experiments/wines_again")  # doctest: +SKIP
        PosixPath('experiments/wines_again/config.yaml')
        """
        written: Path = config_room().write_config(self, path)
        return written


def config_room() -> Any:
    """Give the room `config`."""
    # That room builds experiments. An import statement would make a circle of rooms.
    return importlib.import_module("crystallize.config")
