"""Resources: made once in each thread of a worker, at the first use, and closed by who made them."""

from __future__ import annotations

import functools
import pickle
import threading

import cloudpickle
import pytest

from crystallize import FrozenContext, resource_factory, standalone_context
from crystallize.context.resources import ResourcePool
from crystallize.errors import ArgumentTypeError


def connect(ctx):
    return ["connection", ctx.get("host")]


class Opener:
    def __init__(self, tag):
        self.tag = tag

    def __call__(self, ctx):
        return [self.tag]


def test_every_way_of_reading_gives_the_resource_itself():
    ctx = FrozenContext({"db": resource_factory(connect), "host": "a"})
    db = ctx["db"]
    assert db == ["connection", "a"]
    assert ctx["db"] is ctx.get("db") is db
    db.append("used")
    assert ctx["db"] == ["connection", "a", "used"]


def test_it_is_made_at_the_first_use_and_only_then():
    made = []
    ctx = standalone_context({"db": resource_factory(lambda _: made.append(1) or made)})
    assert "db" in ctx
    assert len(ctx) == 1
    assert made == []
    assert ctx["db"] == [1]
    assert ctx["db"] == [1]


@pytest.mark.parametrize(
    "fn", [lambda _: ["x"], Opener("x"), functools.partial(lambda tag, ctx: [tag], "x"), Opener("x").__call__]
)
def test_any_callable_of_the_context_makes_one(fn):
    assert standalone_context({"r": resource_factory(fn)})["r"] == ["x"]


def test_two_factories_of_one_code_are_two_resources():
    def maker(tag):
        return lambda _: [tag]

    pool, ctx = ResourcePool(), standalone_context()
    first, second = resource_factory(maker("x")), resource_factory(maker("y"))
    twin = resource_factory(first.fn)
    assert pool.get(first, ctx) == ["x"]
    assert pool.get(second, ctx) == ["y"]
    assert pool.get(twin, ctx) is not pool.get(first, ctx)


def test_factories_with_one_key_share_a_resource():
    pool, ctx = ResourcePool(), standalone_context()
    first, second = (resource_factory(lambda _: [], key="shared") for _ in range(2))
    assert pool.get(first, ctx) is pool.get(second, ctx)


def test_a_copy_that_travelled_stands_for_the_same_resource():
    pool, ctx, factory = ResourcePool(), standalone_context({"host": "h"}), resource_factory(connect)
    copied = pickle.loads(cloudpickle.dumps(factory))
    assert copied is not factory
    assert pool.get(copied, ctx) is pool.get(factory, ctx)


def test_the_two_ways_to_make_none_are_refused():
    with pytest.raises(ArgumentTypeError, match="needs a callable of ctx"):
        resource_factory("sqlite")
    with pytest.raises(ArgumentTypeError, match="close of resource_factory must be callable"):
        resource_factory(connect, close="close")
    with pytest.raises(ArgumentTypeError, match="key of resource_factory must be text"):
        resource_factory(connect, key=5)


def test_async_functions_are_refused_when_they_are_given():
    async def later(_):
        return 1

    with pytest.raises(ArgumentTypeError, match=r"async function, .*later"):
        resource_factory(later)
    with pytest.raises(ArgumentTypeError, match=r"close of resource_factory is an async function, .*later"):
        resource_factory(connect, close=later)


def test_a_coroutine_in_disguise_is_refused_at_the_first_use():
    async def later(_):
        return 1

    with pytest.raises(ArgumentTypeError, match="async function"):
        standalone_context({"db": resource_factory(lambda ctx: later(ctx))})["db"]  # noqa: PLW0108 - the disguise


def test_a_factory_that_failed_is_tried_again():
    attempts = []

    def flaky(_):
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("away")
        return "ready"

    ctx = standalone_context({"db": resource_factory(flaky)})
    with pytest.raises(OSError, match="away"):
        ctx["db"]
    assert ctx["db"] == "ready"


def test_every_thread_has_its_own():
    pool, ctx, factory = ResourcePool(), standalone_context(), resource_factory(lambda _: object())
    mine, others = pool.get(factory, ctx), []
    thread = threading.Thread(target=lambda: others.extend(pool.get(factory, ctx) for _ in range(2)))
    thread.start()
    thread.join()
    assert others[0] is others[1]
    assert others[0] is not mine


def test_the_last_made_is_closed_first_also_where_it_was_made_on_the_way():
    closed = []
    inner = resource_factory(lambda _: "inner", close=closed.append)
    outer = resource_factory(lambda ctx: f"outer of {ctx['inner']}", close=closed.append)
    last = resource_factory(lambda _: "last", close=closed.append)
    pool = ResourcePool()
    ctx = FrozenContext({"inner": inner, "outer": outer, "last": last})
    ctx._resources = pool
    assert (ctx["outer"], ctx["last"], ctx["inner"]) == ("outer of inner", "last", "inner")
    assert pool.close_all() == []
    assert closed == ["last", "outer of inner", "inner"]


def test_a_thread_closes_what_it_made_and_leaves_the_rest():
    closed, pool, ctx = [], ResourcePool(), standalone_context()
    factory = resource_factory(lambda _: threading.get_ident(), close=closed.append)
    pool.get(factory, ctx)

    def work():
        pool.get(factory, ctx)
        pool.close_thread()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(closed) == 1
    assert threading.get_ident() not in closed
    pool.close_all()
    assert closed[1] == threading.get_ident()


def test_one_that_cannot_be_closed_does_not_keep_the_others_open():
    def fail(_):
        raise OSError("stuck")

    closed, pool, ctx = [], ResourcePool(), standalone_context()
    pool.get(resource_factory(lambda _: "first", close=closed.append), ctx)
    pool.get(resource_factory(connect, close=fail), ctx)
    ((name, error),) = pool.close_all()
    assert closed == ["first"]
    assert "connect" in name
    assert str(error) == "stuck"
    assert pool.close_all() == []


def test_a_factory_inside_a_container_stays_a_factory():
    factory = resource_factory(connect)
    assert FrozenContext({"tools": [factory]})["tools"] == [factory]


def test_its_text_names_the_function():
    assert repr(resource_factory(connect)) == "resource_factory(connect)"
    assert repr(resource_factory(Opener("x"))) == "resource_factory(Opener)"
