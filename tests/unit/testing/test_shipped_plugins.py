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
from crystallize.testing import (
    ExecutorConformance,
    ObserverConformance,
    StoreConformance,
    TransformerConformance,
    VerifierConformance,
)
from crystallize_plugins import verifiers


class TestSeedPlugin(TransformerConformance):
    @pytest.fixture
    def plugin(self):
        return SeedPlugin(seed=7)


class TestLoggingPlugin(ObserverConformance):
    @pytest.fixture
    def plugin(self):
        return LoggingPlugin(verbose=True, log_level="DEBUG")


class TestArtifactPlugin(StoreConformance):
    @pytest.fixture
    def plugin(self, reopen):
        return reopen()

    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: ArtifactPlugin(root_dir=tmp_path / "runs")


class TestSerialExecution(ExecutorConformance):
    @pytest.fixture
    def plugin(self):
        return SerialExecution()


class TestThreads(ExecutorConformance):
    @pytest.fixture
    def plugin(self):
        return ParallelExecution(max_workers=2, executor_type="thread")


class TestProcesses(ExecutorConformance):
    @pytest.fixture
    def plugin(self):
        return ParallelExecution(max_workers=2, executor_type="process")


class TestAsyncExecution(ExecutorConformance):
    @pytest.fixture
    def plugin(self):
        return AsyncExecution(max_concurrency=2)


SHIPPED_VERIFIERS = {
    **{name: {} for name in ("paired_t", "welch", "wilcoxon", "mannwhitney", "brunnermunzel", "permutation")},
    **{name: {} for name in ("bootstrap", "dunnett", "iqm", "sequential")},
    "bayes_t": {"rope": 0.1},
    "noninferiority": {"margin": 0.5},
    "resampled_t": {"test_share": 0.2},
    "tost": {"margin": 0.5},
}


class TestVerifiers(VerifierConformance):
    @pytest.fixture(params=SHIPPED_VERIFIERS)
    def verifier(self, request):
        return getattr(verifiers, request.param)(**SHIPPED_VERIFIERS[request.param])
