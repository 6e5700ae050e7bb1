"""Fixtures for the tests of plugins.

A ``conftest.py`` asks for them with ``pytest_plugins = ["crystallize.testing.fixtures"]``; nobody else's pytest loads
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crystallize.testing import isolation, sample
from crystallize.testing.leaks import check_leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystallize.results.result import Result
    from crystallize.testing.isolation import IsolatedPlugins

__all__ = ["isolated_plugins", "no_leaks", "run_sample"]


@pytest.fixture
def isolated_plugins() -> Iterator[IsolatedPlugins]:
    """Have no plugins installed but those that the test adds: ``isolated_plugins.add(name, target)``."""
    with isolation.isolated() as plugins:
        yield plugins


@pytest.fixture
def run_sample() -> Callable[..., Result]:
    """Return `crystallize.testing.run_sample`, which runs a small experiment with plugins."""
    return sample.run_sample


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail where the test leaves threads, files, processes, a working folder or environment variables behind."""
    with check_leaks():
        yield
