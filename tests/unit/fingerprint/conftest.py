"""Modules written for a test, imported like a user's own."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules of a project and import them afresh; ``project(steps=..., helpers=...)`` gives the first.

    A module of a package has its dotted name.
    """
    made = []

    def write(**modules):
        folder = tmp_path / f"project_{len(made)}"
        made.append(folder)
        folder.mkdir()
        for name in modules:
            sys.modules.pop(name, None)
            sys.modules.pop(name.partition(".")[0], None)
        for name, text in modules.items():
            path = folder.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            if "." in name:
                path.parent.joinpath("__init__.py").touch()
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        return importlib.import_module(next(iter(modules)))

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if any(file.startswith(str(folder)) for folder in made):
            del sys.modules[name]


@pytest.fixture
def executed():
    """Execute text that no file and no line cache knows, as in a shell; gives its names."""

    def execute(text, **names):
        namespace = {"__name__": "__main__", **names}
        exec(compile(textwrap.dedent(text), "<made up>", "exec", dont_inherit=True), namespace)
        return namespace

    return execute
