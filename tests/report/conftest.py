"""One browser for all tests of the report, and the run that it shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from tests.report.browser import Browser, Page

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Hypothesis,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize_plugins.artifacts import open_run

ODD = '<b>&"x"'
_AXE = "axe-core@4"
_COLOURS = {"baseline": 0, "trimmed": 1, "robust": 2, ODD: 3}


def _missing(what):
    """Skip on a developer's machine; where the whole suite has to run, fail."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """A page of a browser that is offline."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        _missing("Chromium is not installed")
    browser = Browser(executable, tmp_path_factory.mktemp("browser"))
    yield Page(browser)
    browser.close()


@pytest.fixture(scope="session")
def axe(repository):
    """The source of axe-core, fetched once and kept."""
    cache = repository / ".cache" / "axe-core"
    script = cache / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            _missing("npm, which fetches axe-core, is not installed")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["npm", "pack", _AXE, "--silent"], cwd=folder, check=False, capture_output=True)
            if done.returncode:
                _missing(f"axe-core could not be fetched: {done.stderr.decode(errors='replace')}")
            (archive,) = Path(folder).glob("*.tgz")
            cache.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive) as packed:
                script.write_bytes(packed.extractfile("package/axe.min.js").read())
    return script.read_text(encoding="utf-8")


@data_source
def draws(ctx):
    return [ctx.rng.normal() for _ in range(8)]


@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    condition, replicate = ctx["condition"], ctx["replicate"]
    if (condition, replicate) == ("trimmed", 4):
        raise ValueError("the sample <i>was</i> empty & cannot be trimmed")
    if (condition, replicate) == ("robust", 9):
        raise KeyError("weight")
    own = data[_COLOURS[condition]]
    accuracy = float("nan") if (condition, replicate) == (ODD, 7) else 0.8 + 0.02 * data[5] + shift + 0.006 * own
    return data, {"accuracy": accuracy, "seconds": 12 + 2 * own + data[6]}


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    """A stored run of three treatments and two metrics, with two failures and a value that is no number."""
    experiment = Experiment(
        draws(),
        Pipeline([measure()]),
        plugins=[SeedPlugin(seed=11), ArtifactPlugin(root_dir=tmp_path_factory.mktemp("runs"))],
        treatments=[
            Treatment("trimmed", {"shift": 0.012}),
            Treatment("robust", {"shift": 0.001}),
            Treatment(ODD, {"shift": -0.008}),
        ],
        hypotheses=[
            Hypothesis(metrics=["accuracy", "seconds"], name="better"),
            Hypothesis(("paired_t", {"alternative": "greater"}), metrics="accuracy", name="higher"),
            Hypothesis(("sequential", {"margin": 0.05}), metrics="accuracy", name="anytime"),
        ],
        replicates=24,
        name="estimators",
    )
    return open_run(experiment.run().provenance["run"]["folder"])


@pytest.fixture(scope="session")
def report(result, tmp_path_factory):
    """The report of that run."""
    return result.report(tmp_path_factory.mktemp("report") / "report.html")
