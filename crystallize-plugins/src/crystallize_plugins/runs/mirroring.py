"""Stored runs, copied to another place and fetched from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError, DeliveryError, StoreError
from crystallize.hooks.tools import check_mapping, mask_text
from crystallize_plugins.artifacts.copies import RunCopy, check_url, fetch

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["pull", "push"]


def push(folder: str | os.PathLike[str], url: str, *, storage_options: Mapping[str, Any] | None = None) -> str:
    """Copy a stored run to another place, or bring its copy there up to date.

    Parameters
    ----------
    folder : path
        The run's folder, ``<root>/<experiment>/v<N>``.
    url : str
        Where all copies lie, as for `MirrorPlugin`.
    storage_options : mapping, optional
        What fsspec's file system for the URL takes.

    Returns
    -------
    str
        The URL of the copy, which `pull` takes.

    Raises
    ------
    StoreError
        There is no run, the place is the copy of another one, or the copy there has more cells: it went on elsewhere.
    DeliveryError
        It could not be copied; what there was before still opens.
    MissingExtraError
        fsspec is not installed: ``pip install 'crystallize-plugins[mirror]'``.

    Examples
    --------
    >>> from crystallize_plugins.runs import push
    >>> push("data/tuning/v3", "s3://lab/runs")  # doctest: +SKIP
    's3://lab/runs/tuning/v3-5e9c1d20'
    """
    if not Path(folder).is_dir():
        raise StoreError(f"there is no run at {folder}")
    copy = _tried(RunCopy, Path(folder).absolute(), check_url(url), _checked(storage_options))
    place: str = _tried(copy.update)
    if not place:
        raise StoreError(f"{folder} was cut short before anything was stored: there is nothing to copy")
    return place


def pull(
    url: str, root: str | os.PathLike[str] = "data", *, storage_options: Mapping[str, Any] | None = None
) -> list[Path]:
    """Fetch stored runs from another place, so that they can be read, and resumed, here.

    Parameters
    ----------
    url : str
        Of one copy, of an experiment's, or of all.
    root : path, default "data"
        The folder of all experiments, as for ``ArtifactPlugin(root_dir=...)``.
    storage_options : mapping, optional
        What fsspec's file system for the URL takes.

    Returns
    -------
    list of Path
        The folders that were fetched. A run that is here already, as it is there, is left alone.

    Raises
    ------
    StoreError
        There is no copy, or another run, or the same one with other content, has its place here. What was fetched
        before that is whole.
    DeliveryError
        It could not be fetched.
    MissingExtraError
        fsspec is not installed: ``pip install 'crystallize-plugins[mirror]'``.

    Examples
    --------
    >>> from crystallize_plugins.runs import pull
    >>> pull("s3://lab/runs/tuning")  # doctest: +SKIP
    [PosixPath('/home/ada/data/tuning/v3')]
    """
    return _tried(fetch, check_url(url), Path(root), _checked(storage_options))  # type: ignore[no-any-return]


def _checked(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return check_mapping(options or {}, what="storage_options")


def _tried(function: Any, *arguments: Any) -> Any:
    """Call what uses libraries of others, whose errors are of any class."""
    try:
        return function(*arguments)
    except CrystallizeError:
        raise
    except Exception as error:
        raise DeliveryError(f"{type(error).__name__}: {mask_text(str(error))}") from error
