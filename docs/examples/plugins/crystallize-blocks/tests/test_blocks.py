"""What every transformer keeps, and what this one does."""

from __future__ import annotations

import pytest
from crystallize_blocks import Blocks

from crystallize import Experiment, FrozenContext, Pipeline, data_source, pipeline_step
from crystallize.errors import PluginSettingError
from crystallize.testing import TransformerConformance


class TestConformance(TransformerConformance):
    @pytest.fixture
    def plugin(self) -> Blocks:
        return Blocks(size=2)


@data_source
def nothing(ctx: FrozenContext) -> None:
    return None


@pipeline_step()
def look(data: None, ctx: FrozenContext, *, block: int) -> tuple[None, dict[str, int]]:
    return None, {"block": block}


def test_replicates_of_one_block_follow_each_other() -> None:
    experiment = Experiment(nothing(), Pipeline([look()]), plugins=[("blocks", {"size": 2})], default_plugins=False)
    assert list(experiment.run(replicates=5).metrics.baseline.metrics["block"]) == [0, 0, 1, 1, 2]


def test_a_block_has_a_replicate_at_least() -> None:
    with pytest.raises(PluginSettingError, match="size"):
        Experiment(nothing(), Pipeline([look()]), plugins=[("blocks", {"size": 0})], default_plugins=False)
