"""What we ship passes the kit that we hand to others."""

from __future__ import annotations

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    LoggingPlugin,
    ParallelExecution,
    SeedPlugin,
    SerialExecution,
)
from crystallize.testing import PluginConformance


class TestSeedPlugin(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return SeedPlugin(seed=7)


class TestLoggingPlugin(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return LoggingPlugin(verbose=True, log_level="DEBUG")


class TestArtifactPlugin(PluginConformance):
    @pytest.fixture
    def plugin(self, tmp_path):
        return ArtifactPlugin(root_dir=tmp_path / "runs")


class TestSerialExecution(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return SerialExecution()


class TestThreads(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return ParallelExecution(max_workers=2, executor_type="thread")


class TestProcesses(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return ParallelExecution(max_workers=2, executor_type="process")


class TestAsyncExecution(PluginConformance):
    @pytest.fixture
    def plugin(self):
        return AsyncExecution(max_concurrency=2)
