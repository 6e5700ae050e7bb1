"""What an import costs, counted in modules: a count stays the same on a busy machine."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statement):
    """Give the modules that a fresh interpreter has after a statement, beyond those it starts with."""
    code = f"""
import sys
before = set(sys.modules)
{statement}
after = set(sys.modules) - before
print(*sorted(after))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_crystallize_imports_a_handful_of_modules():
    modules = modules_after("import crystallize")
    assert "crystallize" in modules
    assert len(modules) <= 8, sorted(modules)


def test_importing_crystallize_scans_no_metadata_and_imports_no_plugin():
    modules = modules_after("import crystallize")
    for heavy in ("importlib_metadata", "importlib.metadata", "pluggy", "numpy", "crystallize_plugins", "asyncio"):
        assert heavy not in modules


def test_defining_an_experiment_needs_no_event_loop_and_no_number_library():
    modules = modules_after("from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step")
    for heavy in ("asyncio", "multiprocessing", "numpy", "sqlite3", "crystallize_plugins"):
        assert heavy not in modules


def test_asking_for_the_version_imports_no_command():
    modules = modules_after("import crystallize_cli.__main__")
    assert {name for name in modules if name.startswith("crystallize")} == {
        "crystallize_cli",
        "crystallize_cli.__main__",
    }
    assert "click" not in modules


def test_the_help_imports_click_and_nothing_of_the_rest():
    modules = modules_after(
        "from crystallize_cli.main import run; sys.stdout = sys.stderr; run(['--help']); sys.stdout = sys.__stdout__"
    )
    for heavy in ("crystallize", "crystallize_plugins", "numpy", "importlib.metadata", "crystallize_cli.commands.run"):
        assert heavy not in modules
