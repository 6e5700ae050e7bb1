"""Real third-party distributions: built once, installed into folders, and used by processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "docs" / "examples" / "plugins"
CORE_NEEDS = ("pluggy", "importlib_metadata", "zipp", "typing_extensions")


def checked(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Build every distribution of this folder and of the examples from a copy; give the wheels by name."""
    work = tmp_path_factory.mktemp("wheels")
    sources = [path.parent for home in (HERE, EXAMPLES) for path in sorted(home.glob("*/pyproject.toml"))]
    assert len(sources) >= 13
    for source in sources:
        shutil.copytree(source, work / source.name)
    checked(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--no-build-isolation", "--wheel-dir", work / "dist", *(work / source.name for source in sources),
    )  # fmt: skip
    return {wheel.name.partition("-")[0].replace("_", "-"): wheel for wheel in (work / "dist").glob("*.whl")}


@pytest.fixture(scope="session")
def installed(wheels, tmp_path_factory):
    """Install distributions into folders of their own; give the folders."""
    made = {}

    def install(*names):
        for name in names:
            if name not in made:
                made[name] = tmp_path_factory.mktemp(name)
                checked(
                    sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--no-index", "--target", made[name], wheels[name],
                )  # fmt: skip
        return [made[name] for name in names]

    return install


@pytest.fixture(scope="session")
def python(installed, tmp_path_factory):
    """Run a script with distributions installed, in a folder of its own if none is given; give what it printed."""

    def run(source, *names, options=(), path=(), folder=None):
        folder = folder or tmp_path_factory.mktemp("script")
        folders = [*map(str, path), *map(str, installed(*names))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        script = folder / "script.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        return checked(sys.executable, *options, script, cwd=folder, env=environment)

    return run


@pytest.fixture(scope="session")
def core_alone(tmp_path_factory):
    """A folder that holds the core, what the core needs, and nothing else."""
    import crystallize

    folder = tmp_path_factory.mktemp("core")
    library = Path(sys.modules["pluggy"].__file__).parents[1]
    (folder / "crystallize").symlink_to(Path(crystallize.__file__).parent)
    for name in (*CORE_NEEDS, "crystallize_core"):
        for path in (*library.glob(name), *library.glob(f"{name}.py"), *library.glob(f"{name}-*.dist-info")):
            (folder / path.name).symlink_to(path)
    return folder
