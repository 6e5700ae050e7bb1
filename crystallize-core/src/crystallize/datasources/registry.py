"""Data sources by name: what was registered in this process."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any

from crystallize.datasources.base import FACTORY_MARK, DataSource, as_data_source
from crystallize.errors import ArgumentTypeError, DuplicateNameError, UnknownNameError, ValidationError
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_source_name", "get_datasource", "list_datasources", "register_datasource"]

_SOURCES: dict[str, DataSource | Callable[..., DataSource]] = {}
_LOCK = threading.Lock()


def register_datasource(name: str, source: DataSource | Callable[..., DataSource]) -> None:
    """Make a data source known under a name, in this process.

    Parameters
    ----------
    name : str
        The name to find it under. A definition that is executed again, as when a module is reloaded or a notebook's
        cell is run twice, takes the place of its former self.
    source : DataSource or callable
        A data source, or what ``@data_source`` made of a function.

    Raises
    ------
    DuplicateNameError
        Another data source has the name.
    ArgumentTypeError
        `source` is no data source, or `name` no text.

    Examples
    --------
    >>> from crystallize import data_source, get_datasource, register_datasource
    >>> @data_source
    ... def seven(ctx):
    ...     return 7
    >>> register_datasource("docs_seven", seven)
    >>> get_datasource("docs_seven")
    seven()
    """
    check_source_name(name)
    if not isinstance(source, DataSource) and not getattr(source, FACTORY_MARK, False):
        as_data_source(source, what=f"data source {name!r}")
    with _LOCK:
        known = _SOURCES.setdefault(name, source)
        if known is not source:
            if not _defined_again(known, source):
                raise DuplicateNameError(
                    f"a data source named {name!r} is registered already ({known!r:.80}); choose another name"
                )
            _SOURCES[name] = source


def get_datasource(name: str, **parameters: Any) -> DataSource:
    """Return the data source that was registered under a name.

    Parameters
    ----------
    name : str
        Its name.
    **parameters
        For the factory, where a factory was registered.

    Returns
    -------
    DataSource
        Ready to fetch.

    Raises
    ------
    UnknownNameError
        Nothing is registered under the name; the message lists the names that exist. It is a `KeyError`.
    ArgumentTypeError
        `parameters` are given for a source that takes none.
    """
    known = _SOURCES.get(name)
    if known is None:
        names = list_datasources()
        raise UnknownNameError(
            f"no data source is registered as {name!r}; registered: {', '.join(map(repr, names)) or 'none'}."
            f"{did_you_mean(name, names)}"
        )
    if not isinstance(known, DataSource):
        return known(**parameters)
    if parameters:
        raise ArgumentTypeError(
            f"data source {name!r} was registered ready-made and takes no parameters, but got {', '.join(parameters)}"
        )
    return known


def list_datasources() -> list[str]:
    """Return the names of all registered data sources, sorted."""
    return sorted(_SOURCES)


def check_source_name(name: object) -> None:
    """Refuse what cannot name a data source: it is looked up by name, and never becomes a folder."""
    if not isinstance(name, str):
        raise ArgumentTypeError(f"the name of a data source must be text, not {type(name).__name__} ({name!r:.60})")
    if not name.strip():
        raise ValidationError("the name of a data source must not be empty")


def _defined_again(known: object, source: object) -> bool:
    """Return whether two factories come from one definition on the top level of a module."""
    before, now = inspect.unwrap(known), inspect.unwrap(source)  # type: ignore[arg-type]
    name = getattr(now, "__qualname__", None)
    if name is None or "<locals>" in name or name != getattr(before, "__qualname__", None):
        return False
    same_module = _module(before) == _module(now) != ""
    return same_module or _file(before) == _file(now) != ""


def _module(function: object) -> str:
    # Not `__module__`: the modules of several folders may go by one name.
    return str(getattr(function, "__globals__", {}).get("__name__") or getattr(function, "__module__", ""))


def _file(function: object) -> str:
    code = getattr(function, "__code__", None)
    return str(getattr(code, "co_filename", ""))
