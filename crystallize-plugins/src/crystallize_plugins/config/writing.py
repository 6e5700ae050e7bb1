"""From an experiment to a config.yaml that gives the same experiment again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import ConfigurationError
from crystallize_plugins.config.emitting import dump, unwritable
from crystallize_plugins.config.problems import CONFIG_FILE

if TYPE_CHECKING:
    import os

    from crystallize.experiments.experiment import Experiment

__all__ = ["write_config"]


def write_config(experiment: Experiment, path: str | os.PathLike[str]) -> Path:
    """Write an experiment down as a folder.

    Parameters
    ----------
    experiment : Experiment
        One whose functions are defined in `datasources.py`, `steps.py`, `outputs.py` and `verifiers.py` of one folder.
    path : path
        The folder, which is made where it is not there, or the file to write in it.

    Returns
    -------
    Path
        The file that was written. Where the code lies in another folder, its Python files are copied beside it.

    Raises
    ------
    ConfigurationError
        There is such a file already, whose comments would be lost, or something of the experiment cannot be written;
        the message names all of it.
    """
    from crystallize_plugins.config.inverse import Inverse

    target = Path(path)
    file = target if target.suffix in (".yaml", ".yml") else target / CONFIG_FILE
    if file.exists():
        raise ConfigurationError(
            f"{file} is there already, and would lose its comments. Give another folder, or remove the file"
        )
    inverse = Inverse(experiment, file.parent)
    data = inverse.document()
    for key, value in data.items():
        if fault := unwritable(value, key):
            inverse.fault(f"{fault}, which YAML has no word for")
    if inverse.faults:
        listed = "\n".join(f"  {fault}" for fault in inverse.faults)
        raise ConfigurationError(f"the experiment cannot be written as {file}:\n{listed}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if inverse.folder is not None and inverse.folder != file.parent.resolve():
        _copy_code(inverse.folder, file.parent)
    with file.open("x", encoding="utf-8") as out:
        out.write(dump(data))
    return file


def _copy_code(source: Path, target: Path) -> None:
    """Copy the Python files of a folder, packages in it too; one that is there and differs is left, and refused."""
    files = [path for path in sorted(source.rglob("*.py")) if "__pycache__" not in path.parts]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    for path in files:
        there = target / path.relative_to(source)
        if there.exists() and there.read_bytes() != path.read_bytes():
            raise ConfigurationError(
                f"{there} is there already and differs from {path}, which the experiment's functions are in. Give "
                "another folder"
            )
    for path in files:
        there = target / path.relative_to(source)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)
