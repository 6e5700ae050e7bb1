"""What a context costs does not grow with what nobody looks at: counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from crystallize import FrozenContext
from crystallize.context.resources import ResourcePool


def for_cell(base):
    """A cell's context as the engine makes it: on top of what all cells share."""
    return FrozenContext._for_cell(base, {"replicate": 0, "condition": "baseline"}, None, (), ResourcePool(), None)


class CountingDict(dict):
    """Counts whatever walks through the whole of it."""

    walks = 0

    def __iter__(self):
        CountingDict.walks += 1
        return super().__iter__()

    def copy(self):
        CountingDict.walks += 1
        return super().copy()

    keys = values = items = __iter__


@pytest.fixture
def base():
    CountingDict.walks = 0
    return CountingDict({f"key_{number}": [number] for number in range(10_000)})


def calls_made_by(work):
    """How many Python calls and C calls `work` makes."""
    count = 0

    def tally(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tally)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def use(ctx):
    assert ctx["key_5"] == [5]
    assert ctx.get("absent") is None
    assert "key_7" in ctx
    ctx.add("new", [1])
    ctx.metrics.add("loss", 0.5)
    assert ctx["new"] == [1]


def test_a_cells_context_never_walks_through_the_shared_keys(base):
    use(for_cell(base))
    assert CountingDict.walks == 0


def test_10_000_keys_cost_as_many_calls_as_ten():
    small = {f"key_{number}": [number] for number in range(10)}
    large = {f"key_{number}": [number] for number in range(10_000)}
    use(for_cell(small))  # whatever is done once is done now
    assert calls_made_by(lambda: use(for_cell(large))) == calls_made_by(lambda: use(for_cell(small)))


def test_a_large_object_costs_nothing_until_it_is_read():
    base = {"table": {number: [number] for number in range(200_000)}, "rate": 0.1}
    tracemalloc.start()
    try:
        for _ in range(50):
            ctx = for_cell(base)
            assert ctx["rate"] == 0.1
            assert "table" in ctx
            ctx.add("more", 1)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def test_a_flat_container_of_constants_is_copied_in_one_call():
    ctx = for_cell({"flat": dict.fromkeys(range(200_000), 0.5), "long": [0.5] * 200_000})
    assert calls_made_by(lambda: (ctx["flat"], ctx["long"])) < 60
