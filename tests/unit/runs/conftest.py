"""Scripts that store runs, repositories made by git, and distributions that are installed nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from tests import programs

from crystallize_plugins.artifacts import StoredRun

SCRIPT = """
import sys

from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

FACTOR = 2


def helper(value):
    return value * FACTOR


@data_source
def sample(ctx, *, size=5):
    return [ctx.rng.normal() for _ in range(size)]


@pipeline_step()
def shift(data, ctx, *, by=0.0):
    return [helper(value) + by for value in data]


@pipeline_step()
def summarise(data, ctx):
    mean = sum(data) / len(data)
    ctx.artifacts.add("mean.txt", f"{mean:.3f}")
    return data, {"mean": mean}


experiment = Experiment(
    sample(),
    Pipeline([shift(), summarise()]),
    plugins=[SeedPlugin(seed=7)],
    treatments=[Treatment("shifted", {"by": 0.5})],
    replicates=2,
    name="shift",
)

if __name__ == "__main__":
    experiment.run()
"""


@pytest.fixture
def script():
    """Give the text of a script that runs an experiment."""
    return SCRIPT


@pytest.fixture
def write(tmp_path):
    """Write a file into the working folder."""

    def write(source=SCRIPT, name="script.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture
def python(tmp_path):
    """Run Python in the working folder; what it prints."""

    def run(*arguments, code=0, cwd=tmp_path, **environment):
        command = [sys.executable, *map(str, arguments)]
        done = programs.run(command, cwd=cwd, env={**os.environ, **environment})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def ran(write, python, tmp_path):
    """Write a script and run it; give the folder of the run that it stored."""

    def ran(source=SCRIPT, name="script.py", *arguments, experiment="shift", code=0, **environment):
        path = write(source, name)
        python(path, *arguments, code=code, **environment)
        runs = (tmp_path / "data" / experiment).iterdir()
        return max(runs, key=lambda path: int(path.name[1:]))

    return ran


@pytest.fixture
def facts():
    """Give what a stored run recorded."""

    def facts(run):
        return StoredRun(run).result().provenance

    return facts


@pytest.fixture
def git(tmp_path):
    """Run git in a folder that is a repository from now on."""

    def git(*arguments, cwd=tmp_path):
        settings = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        done = subprocess.run(
            ["git", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    return git


@pytest.fixture
def install(tmp_path):
    """Install a distribution into a folder that can be put on the path: metadata as every installer writes it."""

    def install(name, version, folder="site", **files):
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        for former in site.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in former.iterdir():
                file.unlink()
            former.rmdir()
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        for file, text in files.items():
            (info / file.replace("__", ".")).write_text(text, encoding="utf-8")
        return site

    return install
