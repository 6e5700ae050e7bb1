"""The distribution that the documentation shows is built, installed, and passes its own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def example(tmp_path, repository):
    folder = tmp_path / "example"
    shutil.copytree(repository / "docs" / "examples" / "plugin-distribution", folder)
    return folder


def pip(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )


def test_the_example_of_the_documentation_passes_its_own_tests(example, tmp_path):
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", tmp_path / "dist", example)
    (wheel,) = (tmp_path / "dist").glob("crystallize_tidy_csv-*.whl")
    pip("install", "--no-deps", "--no-index", "--target", tmp_path / "installed", wheel)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--disable-plugin-autoload", "tests"],
        cwd=example,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "test_its_entry_point_leads_to_it" not in done.stdout
    assert " passed" in done.stdout
