"""`SlurmExecution` passes the kit for executors of anybody's."""

from __future__ import annotations

import os

import pytest

from crystallize.testing import ExecutorConformance
from crystallize_plugins.execution import SlurmExecution


@pytest.mark.skipif(not os.environ.get("CRYSTALLIZE_SOAK"), reason="thirty tests, each of which queues jobs")
class TestSlurmExecution(ExecutorConformance):
    @pytest.fixture
    def plugin(self, slurm, tmp_path):
        return SlurmExecution(2, poll=0.2, folder=tmp_path / "jobs")
