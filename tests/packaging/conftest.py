"""Building the distributions once, and installing them into empty environments.

The environments are filled by a real `pip install`, which asks the package index for the dependencies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DISTRIBUTIONS = ("crystallize-core", "crystallize-plugins", "crystallize-cli")


def checked(*command, **options):
    """Run a command that has to succeed and give what it wrote to stdout."""
    # As on a machine of its own: nothing of this repository on the path.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, env=env, timeout=600, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Environment(NamedTuple):
    """A virtual environment outside the source tree."""

    python: Path
    command: Path
    folder: Path

    def run(self, code):
        """Run Python code as a script of its own and give what it printed."""
        script = self.folder / "script.py"
        script.write_text(code, encoding="utf-8")
        return checked(self.python, script, cwd=self.folder)

    def attempt(self, *arguments):
        """Run ``crystallize`` with these arguments and give the finished process."""
        return subprocess.run(
            [self.command, *arguments], cwd=self.folder, check=False, capture_output=True, text=True, timeout=120
        )

    def distributions(self):
        """Give the normalised names of what is installed, pip left out."""
        code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'])"
        names = {re.sub(r"[-_.]+", "-", name).lower() for name in self.run(code).split()}
        return names - {"pip", "setuptools"}

    def files(self):
        """Give the files below the working folder, the script left out."""
        found = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        return found - {"script.py"}


@pytest.fixture(scope="session")
def built(tmp_path_factory, repository):
    """Build wheels and source distributions from a copy of the sources; give their folder."""
    work = tmp_path_factory.mktemp("build")
    for name in DISTRIBUTIONS:
        # A copy, so that nothing is left in the source tree, and without what git would not have either.
        shutil.copytree(repository / name, work / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        checked(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", work / name)
    return work / "dist"


@pytest.fixture(scope="session")
def environment(tmp_path_factory, built, repository):
    """Make an environment in which only the named distributions, and what they need, are installed.

    In releases that are known to be good: a new one elsewhere is tried by the gate, and never makes this red. An
    environment that holds some of them already is added to, as its owner would, and is no longer there without.
    """
    made = {}

    def make(*names):
        if names not in made:
            smaller = next((each for each in made if set(each) < set(names)), None)
            if smaller:
                binaries = made.pop(smaller).python.parent
            else:
                folder = tmp_path_factory.mktemp("environment")
                venv.create(folder / "venv", with_pip=False, symlinks=True)
                binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
            checked(
                sys.executable, "-m", "pip", "--python", binaries / "python", "install", "--quiet",
                "--disable-pip-version-check", "--no-compile", "--constraint", repository / ".ci" / "constraints.txt",
                "--find-links", built, *names,
            )  # fmt: skip
            made[names] = Environment(binaries / "python", binaries / "crystallize", tmp_path_factory.mktemp("work"))
        return made[names]

    return make
