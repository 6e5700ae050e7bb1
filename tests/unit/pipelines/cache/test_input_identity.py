"""Inputs that need not be hashed: what a source declares, and what the step before took from the cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crystallize import BasePlugin, DataSource, ExperimentInput, Treatment, data_source, pipeline_step
from crystallize.pipelines.cache import call, session


@pytest.fixture
def hashed(monkeypatch):
    """Collect the types of what is hashed as an input."""
    seen = []
    original = call.CachedCall._content

    def noticed(self, data):
        seen.append(type(data).__name__)
        return original(self, data)

    monkeypatch.setattr(call.CachedCall, "_content", noticed)
    return seen


@pipeline_step(cacheable=True)
def total(data, ctx):
    amount = float(np.sum(data))
    return amount, {"out": amount}


def test_a_source_that_declares_nothing_is_hashed_by_content(make, values, hashed):
    box = [1.0]

    @data_source
    def load(ctx):
        return np.full(10, box[0])

    found = []
    for box[0] in (1.0, 2.0, 1.0):
        found += values(make(total(), source=load()).run())
    assert found == [10, 20, 10]
    assert hashed == ["ndarray"] * 3


def test_a_declared_source_goes_by_its_files_parameters_code_and_reads(make, note, ran, values, hashed):
    path = Path("data.txt")

    @data_source(depends_on=[path])
    def load(ctx, *, times=1):
        return np.array([float(path.read_text())] * times * ctx.get("more", 1))

    @pipeline_step(cacheable=True)
    def add(data, ctx):
        note()
        return data, {"out": float(data.sum())}

    found = []
    for text, times, more in [("1", 1, 1), ("2", 1, 1), ("2", 3, 1), ("2", 3, 2), ("2", 3, 1), ("1", 1, 1)]:
        path.write_text(text)
        found += values(make(add(), source=load(times=times), initial_ctx={"more": more}).run())
    assert found == [1, 2, 6, 12, 6, 1]
    assert len(ran()) == 4
    assert hashed == []


def test_a_file_that_changes_during_a_run_is_seen(make, values):
    path = Path("data.txt")

    @data_source(depends_on=[path])
    def load(ctx):
        return [float(path.read_text())]

    @pipeline_step()
    def rewrite(data, ctx):
        path.write_text(str(ctx["replicate"] + 5))
        return data

    path.write_text("1")
    os.utime(path, (1, 1))
    assert values(make(total(), rewrite(), source=load()).run(replicates=3)) == [1, 5, 6]


def test_a_declared_source_that_draws_has_the_seed_in_its_identity(make, values, hashed):
    @data_source(depends_on=[])
    def draw(ctx):
        return ctx.rng.random(5)

    first, other, again = (values(make(total(), source=draw(), seed=seed).run(replicates=2)) for seed in (1, 2, 1))
    assert first == again
    assert len({*first, *other}) == 4
    assert hashed == []


def test_a_declared_source_that_moves_the_global_state_is_hashed(make, values, hashed):
    @data_source(depends_on=[])
    def draw(ctx):
        return np.random.rand(5)

    first, other = (values(make(total(), source=draw(), seed=seed).run()) for seed in (1, 2))
    assert first != other
    assert hashed == ["ndarray"] * 2


def test_a_declared_source_that_keeps_state_of_its_own_is_hashed(make, values, hashed):
    given = []

    @data_source(depends_on=[])
    def count(ctx):
        given.append(1)
        return [len(given)]

    assert values(make(total(), source=count()).run(replicates=3)) == [1, 2, 3]
    assert hashed == ["list"] * 3


def test_a_declared_source_that_keeps_state_while_its_data_is_used_is_not_cached(make, note, ran, values):
    given = []

    @data_source(depends_on=[])
    def count(ctx):
        given.append(1)
        yield len(given)

    @data_source(depends_on=[])
    def steady(ctx):
        yield 5

    @pipeline_step(cacheable=True)
    def use(data, ctx):
        note()
        return None, {"out": sum(data)}

    assert values(make(use(), source=count()).run(replicates=3)) == [1, 2, 3]
    ran()
    assert values(make(use(), source=steady()).run(replicates=3)) == [5, 5, 5]
    assert ran() == ["ran"]


class Declared(DataSource):
    depends_on = ()

    def __init__(self, value):
        self.value = value

    def fetch(self, ctx):
        return [self.value]


class Named(DataSource):
    def __init__(self, table):
        self._table = table

    def fetch(self, ctx):
        return self._table.rows

    def __fingerprint__(self):
        return self._table.version


class Table:
    def __init__(self, version, rows):
        self.version, self.rows = version, rows


def test_classes_declare_too_and_inputs_where_all_of_them_do(make, values, hashed):
    assert [values(make(total(), source=Declared(n)).run()) for n in (1, 2)] == [[1], [2]]
    assert values(make(total(), source=Named(Table(1, [5]))).run()) == [5]
    assert values(make(total(), source=Named(Table(2, [6]))).run()) == [6]
    assert hashed == []

    @pipeline_step(cacheable=True)
    def both(data, ctx):
        return data, {"out": sum(map(sum, data.values()))}

    undeclared = data_source(lambda ctx: [3])()
    assert values(make(both(), source=ExperimentInput(a=Declared(1), b=Declared(2))).run()) == [3]
    assert hashed == []
    assert values(make(both(), source=ExperimentInput(a=Declared(1), b=undeclared)).run()) == [4]
    assert hashed == ["dict"]


def test_data_that_is_given_is_hashed_by_content(make, hashed):
    for given in ([1], [2], [1]):
        assert make(total(), source=Declared(9)).apply(data=given) == sum(given)
    assert hashed == ["list"] * 3


def test_the_output_of_a_cached_step_is_not_hashed_again(make, note, ran, values, hashed):
    @pipeline_step(cacheable=True)
    def double(data, ctx, *, factor=2):
        note("double")
        return np.asarray(data) * factor

    @pipeline_step(cacheable=True)
    def add(data, ctx):
        note("add")
        return data, {"out": int(data.sum())}

    for _ in range(2):
        result = make(double(), add(), source=Declared(3)).run(treatments=[Treatment("t", {"factor": 5})])
        assert values(result) == [6]
        assert values(result, treatment="t") == [15]
    assert ran() == ["double", "add"] * 2
    assert hashed == []


def test_the_output_of_an_uncached_step_between_is_hashed(make, values, hashed):
    box = [1]

    @pipeline_step(cacheable=True)
    def double(data, ctx):
        return [2 * value for value in data]

    @pipeline_step()
    def spoil(data, ctx):
        data[0] += box[0]
        return data

    found = []
    for box[0] in (1, 2):
        found += values(make(double(), spoil(), total(), source=Declared(3)).run())
    assert found == [7, 8]
    assert hashed == ["list"] * 2


def test_a_plugin_that_may_change_the_data_between_two_steps_has_it_hashed(make, values, hashed):
    class Add(BasePlugin):
        def __init__(self, amounts):
            self.amounts = amounts

        def after_step(self, experiment, step, data, ctx):
            if isinstance(data, list):
                data[0] += self.amounts.pop()

    @pipeline_step(cacheable=True)
    def double(data, ctx):
        return [2 * value for value in data]

    source = Declared(3)
    amounts = [1, 2]
    found = [values(make(double(), total(), source=source, plugins=[Add(amounts)]).run()) for _ in range(2)]
    assert found == [[8], [7]]
    assert hashed == ["list", "list"] * 2


@pytest.mark.parametrize("place", ["input", "parameter", "context", "injected"])
def test_a_path_counts_with_the_content_of_its_file(make, values, place):
    path = Path("table.txt")

    @data_source
    def where(ctx):
        return {"table": path} if place == "input" else None

    @pipeline_step(cacheable=True)
    def read(data, ctx, *, table=None):
        if place == "context":
            table = ctx["one"]
        return data, {"out": (table or data["table"]).read_text()}

    context = {"context": {"one": path}, "injected": {"table": path}}.get(place, {})
    found = []
    for text in ("one", "two", "one"):
        path.write_text(text)
        step = read(table=path) if place == "parameter" else read()
        found += values(make(step, source=where(), initial_ctx=context).run())
    assert found == ["one", "two", "one"]


@pytest.mark.parametrize("place", ["input", "parameter", "context", "injected", "nested"])
def test_the_order_of_a_dict_counts_since_a_step_may_go_by_it(make, values, place):
    @pipeline_step(cacheable=True)
    def first(data, ctx, *, table=None):
        if place == "context":
            table = ctx["one"]
        table = table or (data[0]["inner"] if place == "nested" else data)
        return data, {"out": next(iter(table))}

    found = []
    for table in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        step = first(table=table) if place == "parameter" else first()
        context = {"context": {"one": table}, "injected": {"table": table}}.get(place, {})
        given = {"input": table, "nested": [{"inner": table}]}.get(place, [])
        source = data_source(lambda ctx, given=given: given)()
        found += values(make(step, source=source, initial_ctx=context).run())
    assert found == ["a", "b"]


def test_how_an_array_lies_in_memory_counts_since_sums_may_differ(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def look(data, ctx):
        note()
        return data, {"out": data[0].flags.f_contiguous}

    array = np.ones((3, 4))
    for given in (array, np.asfortranarray(array), array.copy()):
        make(look(), source=data_source(lambda ctx, given=given: [given])()).run()
    assert len(ran()) == 2


def test_values_that_hold_themselves_are_looked_at_once(make, note, ran):
    ring = {"a": 1, "b": []}
    ring["b"].append(ring)

    @pipeline_step(cacheable=True)
    def look(data, ctx):
        note()
        return len(data)

    for _ in range(2):
        make(look(), source=data_source(lambda ctx: ring)()).run()
    assert ran() == ["ran"]


@pytest.mark.parametrize("kind", ["context", "parameter"])
def test_an_array_that_all_cells_share_is_hashed_once_in_a_run_and_anew_in_the_next(make, values, monkeypatch, kind):
    seen = []
    original = session.identity_as_seen

    def noticed(value):
        if isinstance(value, np.ndarray):
            seen.append(1)
        return original(value)

    monkeypatch.setattr(session, "identity_as_seen", noticed)
    array = np.ones(1000)

    @pipeline_step(cacheable=True)
    def weigh(data, ctx, *, weights=None):
        return data, {"out": float((ctx["other"] if weights is None else weights).sum()) + ctx["replicate"]}

    experiment = make(weigh(), initial_ctx={"weights" if kind == "parameter" else "other": array})
    assert values(experiment.run(replicates=3)) == [1000, 1001, 1002]
    assert len(seen) == 1
    array[0] = 11
    assert values(experiment.run(replicates=3)) == [1010, 1011, 1012]
    assert len(seen) == 2
