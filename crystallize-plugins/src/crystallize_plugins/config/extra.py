"""The libraries of the extra ``yaml``, imported where they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["validator_library", "yaml_library"]


def yaml_library() -> ModuleType:
    """Give PyYAML.

    Raises
    ------
    MissingExtraError
        It is not installed; the message says what to install.

    Examples
    --------
    >>> yaml_library().__name__
    'yaml'
    """
    try:
        import yaml
    except ImportError as error:
        raise _missing("PyYAML", error) from error
    return yaml


def validator_library() -> ModuleType:
    """Give the library that checks data against a JSON Schema.

    Raises
    ------
    MissingExtraError
        It is not installed; the message says what to install.

    Examples
    --------
    >>> validator_library().__name__
    'jsonschema_rs'
    """
    try:
        import jsonschema_rs
    except ImportError as error:
        raise _missing("jsonschema-rs", error) from error
    return jsonschema_rs


def _missing(library: str, error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f'reading config.yaml needs {library} ({error}). Install it: pip install "crystallize-plugins[yaml]"',
        distribution="crystallize-plugins",
    )
