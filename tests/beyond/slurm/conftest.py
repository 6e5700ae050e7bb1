"""One SLURM for all tests of a session; where it is not installed they are skipped, in CI they fail."""

from __future__ import annotations

import os

import pytest
from tests.beyond.slurm import cluster as clusters


@pytest.fixture(scope="session")
def _cluster():
    lacking = clusters.missing()
    if lacking is not None:
        reason = f"{lacking} is not installed (Debian: slurmctld slurmd slurm-client munge)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = clusters.Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture
def slurm(_cluster, monkeypatch):
    """A SLURM with an empty queue, which the commands of this process and its programs talk to."""
    for name, value in _cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield _cluster
    _cluster.clear()
