"""The context as a neutral plugin sees it, events, and where `ctx.rng` comes from."""

from __future__ import annotations

import numpy as np
import pytest

from crystallize import FrozenContext, resource_factory, standalone_context
from crystallize.errors import ContextMutationError, CrystallizeError, RandomnessError


@pytest.fixture
def ctx():
    ctx = standalone_context({"grid": [1]})
    ctx.metrics.add("loss", [0.5], {"epoch": 1})
    ctx.set_rng_factory(np.random.default_rng)
    return ctx


@pytest.mark.parametrize(
    "write",
    [
        lambda ctx: ctx.add("a", 1),
        lambda ctx: ctx.__setitem__("a", 1),
        lambda ctx: ctx.record("loss", 1),
        lambda ctx: ctx.metrics.add("loss", 1),
        lambda ctx: ctx.artifacts.add("a", b""),
        lambda ctx: ctx.set_rng_factory(lambda _: None),
        lambda ctx: ctx.rng,
    ],
)
def test_a_neutral_plugin_cannot_write_and_is_told_what_to_do(ctx, write):
    with pytest.raises(ContextMutationError, match="neutral = False"):
        write(ctx._read_only())
    assert dict(ctx.as_dict()) == {"grid": [1]}
    assert ctx.metrics["loss"] == ([0.5],)
    assert len(ctx.artifacts) == 0


def test_it_reads_what_the_cell_reads(ctx):
    view = ctx._read_only()
    assert view["grid"] == [1]
    assert view.get("absent", 3) == 3
    assert "grid" in view
    assert view.metrics["loss"] == ([0.5],)
    assert view.metrics.get_tags("loss") == ({"epoch": 1},)
    assert view.logger is ctx.logger
    assert list(view) == ["grid"]


def test_nothing_that_it_reads_can_be_used_to_change_the_cell(ctx):
    view = ctx._read_only()
    view["grid"].append(2)
    view.metrics["loss"][0].append(3)
    view.metrics.as_dict()["loss"][0].append(3)
    assert ctx["grid"] == [1]
    assert ctx.metrics["loss"] == ([0.5],)


def test_its_reads_leave_no_trace(ctx):
    before = list(ctx._journal)
    view = ctx._read_only()
    view["grid"], view.get("x"), "y" in view, view.as_dict()
    assert ctx._journal == before


def test_what_it_emits_arrives_with_what_the_cell_emits(ctx):
    ctx._read_only().emit("seen", by="plugin")
    ctx.emit("done")
    assert [event.name for event in ctx._events] == ["seen", "done"]
    heard = []
    ctx._emit = heard.append
    ctx._read_only().emit("live")
    assert [event.name for event in heard] == ["live"]


def test_it_shares_the_cells_resources():
    ctx = FrozenContext({"db": resource_factory(lambda _: object())})
    mine = ctx["db"]
    assert ctx._read_only()["db"] is mine


def test_an_event_carries_its_content_as_it_was_when_it_was_sent():
    ctx, mine, weights = standalone_context(), [1], np.zeros(2)
    ctx.emit("half", values=mine, weights={"w": weights})
    mine.append(2)
    weights[:] = 7
    (event,) = ctx._events
    assert event.fields["values"] == [1]
    assert event.fields["weights"]["w"].tolist() == [0, 0]
    assert event.cell is None
    assert event.time > 0


def test_a_report_is_an_event_of_its_own():
    ctx = standalone_context()
    ctx.report("loss", 0.5, step=3)
    (event,) = ctx._events
    assert event.name == "report"
    assert dict(event.fields) == {"name": "loss", "value": 0.5, "step": 3}


def test_without_a_seeding_plugin_rng_says_what_is_missing():
    with pytest.raises(RandomnessError, match=r"SeedPlugin") as caught:
        _ = standalone_context().rng
    assert isinstance(caught.value, CrystallizeError)


def test_every_position_has_a_generator_of_its_own_and_keeps_it(ctx):
    asked = []
    ctx.set_rng_factory(lambda position: asked.append(position) or np.random.default_rng(position))
    first = ctx.rng
    assert ctx.rng is first
    ctx._position = 1
    second = ctx.rng
    assert second is not first
    assert ctx.rng is second
    assert asked == [0, 1]
