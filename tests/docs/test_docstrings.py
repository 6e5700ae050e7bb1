"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import crystallize
import crystallize_cli
import crystallize_plugins

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def module_names():
    for package in (crystallize, crystallize_plugins, crystallize_cli):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.endswith("__main__"):
                yield found.name


@pytest.mark.parametrize("name", sorted(module_names()))
def test_the_examples_of_a_module_are_true(name):
    failures, report = 0, []
    module = importlib.import_module(name)
    # What an example defines is the reader's, not the package's; hook examples write `BasePlugin` without an import.
    namespace = {"BasePlugin": crystallize.BasePlugin, "__name__": "__main__"}
    for found in doctest.DocTestFinder().find(module, name, extraglobs=namespace):
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        failures += runner.run(found, out=report.append).failed
    assert not failures, "".join(report)
