"""What tests of data sources share: contexts of a cell, and a store that keeps runs in folders."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crystallize import standalone_context
from crystallize.errors import ArtifactMissingError


@pytest.fixture
def cell():
    """The context of a cell: ``cell("t", 1)``."""

    def make(condition="baseline", replicate=0, **more):
        return standalone_context({"condition": condition, "replicate": replicate, **more})

    return make


class FolderRun:
    """A stored run that is a folder and nothing else."""

    def __init__(self, path, replicates, conditions):
        self.path = path
        self.version = int(path.name[1:])
        self.replicates = replicates
        self.conditions = tuple(conditions)
        self.metadata = {}

    def artifact_path(self, *, step, name, condition, replicate):
        folder = self.path / f"replicate_{replicate}" / condition
        found = sorted(folder.glob(f"{step or '*'}/{name}"))
        if len(found) != 1:
            raise ArtifactMissingError(f"{len(found)} files {name} of step {step} in {folder}")
        return found[0]


class FolderStore:
    """The smallest store that data sources can read from."""

    def __init__(self, root):
        self.root = root
        self.runs = {}

    def newest_run(self, experiment_name):
        return self.runs.get(experiment_name)

    def keep(self, name, files, *, version=0, replicates=1, conditions=("baseline",)):
        """Store a run; `files` maps ``(replicate, condition, step, file)`` to text."""
        path = self.root / name / f"v{version}"
        for (replicate, condition, step, file), text in files.items():
            folder = path / f"replicate_{replicate}" / condition / step
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        self.runs[name] = FolderRun(path, replicates, conditions)
        return self.runs[name]


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "stored")


@pytest.fixture
def producer(store):
    """Something that stands where an experiment stands: an artifact knows its producer by this much."""

    def make(*artifacts, name="first", steps=(), plugins=None):
        outputs = {artifact.name: artifact for artifact in artifacts}
        made = SimpleNamespace(
            name=name,
            id="0123",
            plugins=[object(), store] if plugins is None else plugins,
            outputs=outputs,
            pipeline=SimpleNamespace(steps=list(steps)),
        )
        for artifact in artifacts:
            artifact._producer = made
        return made

    return make
