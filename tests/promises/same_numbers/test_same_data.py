"""Data that several cells are given is the same for all of them, whoever runs them; what is not is refused."""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import random
import types
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from crystallize import (
    Artifact,
    ArtifactPlugin,
    DataSource,
    Experiment,
    ExperimentInput,
    PipelineStep,
    Treatment,
    data_source,
    pipeline_step,
)

MORE = Treatment("more", {"by": 2.0})
Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 - users have these too


@dataclasses.dataclass
class Rows:
    rows: object


class Plain:
    def __init__(self):
        self.rows = [1.0]


class Slotted:
    __slots__ = ("rows",)

    def __init__(self):
        self.rows = [1.0]


class Named(dict):
    """A subclass of a container, which goes by reference."""


class Frame(pd.DataFrame):
    """A subclass of a frame that does not say how it is made."""


class Held(DataSource):
    """A source that keeps what it gives as an attribute."""

    def __init__(self, value):
        self._value = value

    def fetch(self, ctx):
        return self._value


def appended(get):
    """Give what appends to a list and sums it up."""

    def change(value, by):
        rows = get(value)
        rows.append(by)
        return float(sum(rows))

    return change


def first_lowered(get):
    """Give what changes the first number of an array in place."""

    def change(value, by):
        numbers = get(value)
        numbers[0] -= by
        return float(np.sum(numbers))

    return change


def frame_changed(frame, by):
    frame["x"] -= by
    frame.loc[9] = frame["x"].iloc[0]
    return float(frame["x"].mean())


def drawn(value, by):
    return by * float(value.random())


def itself(value):
    return value


# What can be isolated: how it is made, and what a step does to it.
ISOLATED = {
    "list": (lambda: [1.0], appended(itself)),
    "dict of lists": (lambda: {"a": [1.0]}, appended(lambda v: v["a"])),
    "ordered dict": (lambda: collections.OrderedDict(a=[1.0]), appended(lambda v: v["a"])),
    "default dict": (lambda: collections.defaultdict(list, a=[1.0]), appended(lambda v: v["a"])),
    "tuple of a list": (lambda: ([1.0], 2), appended(lambda v: v[0])),
    "record of a list": (lambda: Pair([1.0], 2), appended(lambda v: v.left)),
    "deque": (lambda: collections.deque([1.0]), appended(itself)),
    "array of the standard library": (lambda: array.array("d", [1.0]), appended(itself)),
    "bytearray": (lambda: bytearray(b"\1"), lambda v, by: (v.append(int(by)), float(sum(v)))[1]),
    "set": (lambda: {1.0}, lambda v, by: (v.add(by + len(v)), float(sum(v)))[1]),
    "counter": (lambda: collections.Counter("a"), lambda v, by: (v.update("a"), by * v["a"])[1]),
    "list in an array of objects": (lambda: np.array([[1.0], None], dtype=object), appended(lambda v: v[0])),
    "frame": (lambda: pd.DataFrame({"x": [1.0, 2.0, 3.0]}), frame_changed),
    "subclass of a frame": (lambda: Frame({"x": [1.0, 2.0, 3.0]}), frame_changed),
    "dict of frames": (lambda: {"a": pd.DataFrame({"x": [1.0, 2.0, 3.0]})}, lambda v, by: frame_changed(v["a"], by)),
    "lists in a frame": (lambda: pd.DataFrame({"x": [[1.0], [2.0]]}), appended(lambda v: v["x"][0])),
    "columns": (
        lambda: pd.DataFrame({"x": [1.0]}),
        lambda v, by: (v.insert(0, f"new{v.shape[1]}", by), float(v.shape[1]))[1],
    ),
    "series": (
        lambda: pd.Series([1.0, 2.0]),
        lambda v, by: (v.__setitem__(0, v[0] - by), float(v.sum()))[1],
    ),
    "index": (
        lambda: pd.Index([1, 2], name="a"),
        lambda v, by: (float(len(v.name)), setattr(v, "name", "much longer"))[0] * by,
    ),
    "sparse matrix": (
        lambda: scipy.sparse.csr_array([[1.0, 2.0]]),
        lambda v, by: (v.data.__isub__(by), float(v.sum()))[1],
    ),
    "generator of Python": (lambda: random.Random(1), drawn),
    "generator of NumPy": (lambda: np.random.default_rng(1), drawn),
    "old generator of NumPy": (lambda: np.random.RandomState(1), lambda v, by: by * float(v.rand())),
    "iterator of a list": (lambda: iter([1.0, 2.0, 3.0]), lambda v, by: by * next(v)),
    "file in memory": (lambda: io.BytesIO(b"abc"), lambda v, by: by * v.read(1)[0]),
}

# What cannot: a step that changes it is refused.
REFUSED = {
    "array": (lambda: np.ones(3), first_lowered(itself)),
    "structured array": (lambda: np.ones(3, dtype=[("x", "f8"), ("y", "i4")]), first_lowered(lambda v: v["x"])),
    "masked array": (lambda: np.ma.array([1.0, 2.0], mask=[0, 1]), first_lowered(itself)),
    "list of arrays": (lambda: [np.ones(3)], first_lowered(lambda v: v[0])),
    "object": (Plain, appended(lambda v: v.rows)),
    "object with slots": (Slotted, appended(lambda v: v.rows)),
    "dataclass": (lambda: Rows([1.0]), appended(lambda v: v.rows)),
    "array in a dataclass": (lambda: Rows(np.ones(3)), first_lowered(lambda v: v.rows)),
    "frame in a dataclass": (lambda: Rows(pd.DataFrame({"x": [1.0, 2.0]})), lambda v, by: frame_changed(v.rows, by)),
    "namespace": (lambda: types.SimpleNamespace(rows=[1.0]), appended(lambda v: v.rows)),
    "subclass of a dict": (lambda: Named(a=[1.0]), appended(lambda v: v["a"])),
    "pairs": (lambda: zip([1.0], [2.0], strict=True), lambda v, by: by * len(list(v))),
    "counter without end": (lambda: itertools.count(1), lambda v, by: by * next(v)),
}


@pipeline_step()
def change_all(data, ctx, *, by=1.0):
    return None, {name: ISOLATED[name][1](value, by) for name, value in data.items()}


def changing(change, get=itself):
    @pipeline_step()
    def change_it(data, ctx, *, by=1.0):
        return None, {"found": change(get(data), by)}

    return change_it()


@data_source
def nothing(ctx):
    return None


def in_a_closure(value):
    @data_source
    def given(ctx):
        return value

    return given()


def in_a_parameter(value):
    @data_source
    def given(ctx, *, value):
        return value

    return given(value=value)


def in_a_default(value):
    @data_source
    def given(ctx, *, kept=(value,)):
        return kept[0]

    return given()


def in_a_cache(value):
    @functools.lru_cache
    def load():
        return value

    @data_source
    def given(ctx):
        return load()

    return given()


def in_a_coroutine(value):
    @data_source
    async def given(ctx):
        return value

    return given()


def numbers_of(result):
    found = {"baseline": result.metrics.baseline.metrics}
    found.update({name: condition.metrics for name, condition in result.metrics.treatments.items()})
    return {name: {key: list(values) for key, values in metrics.items()} for name, metrics in found.items()}


@pytest.mark.parametrize("kept_by", [in_a_closure, Held, in_a_parameter, in_a_default, in_a_cache, in_a_coroutine])
def test_every_cell_gets_what_a_source_keeps_as_it_was(kept_by, executor, build):
    kept = {name: make() for name, (make, _) in ISOLATED.items()}
    result = build(change_all(), source=kept_by(kept), plugins=[executor]).run(replicates=3, treatments=[MORE])
    assert not result.errors
    expected = {
        condition: {name: [change(make(), by)] * 3 for name, (make, change) in ISOLATED.items()}
        for condition, by in (("baseline", 1.0), ("more", 2.0))
    }
    assert numbers_of(result) == expected


def test_every_cell_gets_what_is_a_parameter_as_it_was(executor, build):
    @pipeline_step()
    def change_given(data, ctx, *, kept, by=1.0):
        return data, {name: ISOLATED[name][1](value, by) for name, value in kept.items()}

    for place in ("explicit", "context", "treatment"):
        kept = {name: make() for name, (make, _) in ISOLATED.items()}
        more = {}
        treatments = [MORE]
        if place == "context":
            more["initial_ctx"] = {"kept": kept}
        elif place == "treatment":
            treatments = [Treatment("baseline", {"kept": kept}), Treatment("more", {"kept": kept, "by": 2.0})]
        step = change_given(kept=kept) if place == "explicit" else change_given()
        result = build(step, source=nothing(), plugins=[executor], **more).run(replicates=2, treatments=treatments)
        assert not result.errors
        assert numbers_of(result)["baseline"] == {
            name: [use(make(), 1.0)] * 2 for name, (make, use) in ISOLATED.items()
        }
        assert numbers_of(result)["more"] == {name: [use(make(), 2.0)] * 2 for name, (make, use) in ISOLATED.items()}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_change_of_what_cannot_be_copied_fails_the_cell_and_names_the_step(kind, executor, build):
    make, change = REFUSED[kind]
    result = build(changing(change), source=in_a_closure(make()), plugins=[executor]).run(replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    named = "data source given" if kind in ("pairs", "counter without end") else "ChangeItStep"
    assert all(named in str(error) for error in result.errors.values())
    assert not result.metrics.baseline.metrics


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("place", ["explicit", "context", "default", "treatment"])
def test_a_change_of_a_parameter_that_cannot_be_copied_is_refused_too(kind, place, build):
    make, change = REFUSED[kind]
    value = make()

    @pipeline_step()
    def change_it(data, ctx, *, kept=value if place == "default" else None):
        return data, {"found": change(kept, 1.0)}

    step = change_it(kept=value) if place == "explicit" else change_it()
    more = {"initial_ctx": {"kept": value}} if place == "context" else {}
    treatments = [Treatment("baseline", {"kept": value})] if place == "treatment" else []
    result = build(step, source=nothing(), **more).run(replicates=2, treatments=treatments)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    assert all("ChangeItStep" in str(error) for error in result.errors.values())


def test_a_generator_that_a_source_keeps_is_refused(build):
    result = build(changing(lambda v, by: by * sum(v)), source=Held(x for x in [1.0])).run(replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    assert all("a generator is part of what the data source Held gives" in str(e) for e in result.errors.values())


class Reader:
    """Reads a file that it keeps open, from where it likes."""

    def __init__(self, path):
        self._file = path.open("rb")

    def numbers(self):
        self._file.seek(0)
        return [float(line) for line in self._file]

    def close(self):
        self._file.close()


class Stream:
    def __init__(self):
        self.rows = (float(number) for number in range(9))


READ_FROM_FILES = {
    "a reader of the project": (Reader, lambda v: sum(v.numbers())),
    "an archive of arrays": (np.load, lambda v: float(v["rows"].sum())),
    "a zip file": (zipfile.ZipFile, lambda v: float(len(v.read("rows.npy")))),
}


@pytest.mark.parametrize("kind", READ_FROM_FILES)
def test_an_object_that_reads_a_file_of_its_own_is_given_to_every_cell(kind, build, tmp_path):
    opened, total = READ_FROM_FILES[kind]
    path = tmp_path / "rows.npz"
    if kind == "a reader of the project":
        path.write_text("1\n2\n")
    else:
        np.savez(path, rows=np.ones(3))
    with contextlib.closing(opened(path)) as held:
        step = changing(lambda v, by: by * total(v))
        result = build(step, source=in_a_closure(held)).run(replicates=2, treatments=[MORE])
    assert not result.errors
    first, second = result.metrics.baseline.metrics["found"]
    assert first == second > 0


@pytest.mark.parametrize("nested", [False, True])
def test_an_object_with_a_generator_that_goes_on_is_refused(nested, build):
    held = Stream()
    assert vars(held)  # the dictionary of an object is no container of the standard library
    source = in_a_closure({"stream": [held]} if nested else held)
    result = build(lambda data, ctx: ctx.record("ran", 1), source=source).run(replicates=2)
    assert sorted(result.errors) == ["baseline_rep_0", "baseline_rep_1"]
    assert all("a generator is part of" in str(error) for error in result.errors.values())


COUNTED = {"uses": 0}


class Counting:
    made = 0

    def __init__(self):
        Counting.made += 1
        self.rows = [1.0]

    def total(self):
        COUNTED["uses"] += 1
        return sum(self.rows)


@pytest.mark.parametrize("place", ["source", "parameter", "context"])
def test_what_a_class_counts_is_no_change_of_its_objects(place, executor, build):
    @pipeline_step()
    def count(data, ctx, *, kept=None):
        Counting()
        return None, {"total": (kept or ctx.get("held") or data).total()}

    held = Counting()
    step = count(kept=held) if place == "parameter" else count()
    source = in_a_closure(held if place == "source" else None)
    context = {"held": held} if place == "context" else {}
    result = build(step, source=source, plugins=[executor], initial_ctx=context).run(replicates=3)
    assert not result.errors
    assert list(result.metrics.baseline.metrics["total"]) == [1.0] * 3


def test_who_changed_something_is_told_to_the_cells_that_would_get_it(build):
    @pipeline_step()
    def grow(data, ctx, *, by=0.0):
        if by:
            data.rows.append(by)
        return None, {"rows": len(data.rows)}

    result = build(grow(), source=in_a_closure(Rows([1.0]))).run(replicates=3, treatments=[MORE])
    assert list(result.metrics.baseline.metrics["rows"]) == [1]
    assert "by the step GrowStep" in str(result.errors["more_rep_0"])
    assert all("by the step GrowStep" in str(result.errors[f"baseline_rep_{n}"]) for n in (1, 2))


def test_objects_that_no_step_changes_are_given_as_they_are(executor, build):
    @pipeline_step()
    def look(data, ctx, *, settings):
        return data, {"sum": sum(data.rows) + sum(settings.rows) + sum(ctx["more"].rows)}

    source = in_a_closure(Rows([1.0, 2.0]))
    experiment = build(look(settings=Rows([3.0])), source=source, plugins=[executor], initial_ctx={"more": Rows([4.0])})
    result = experiment.run(replicates=3)
    assert not result.errors
    assert list(result.metrics.baseline.metrics["sum"]) == [10.0] * 3


def test_what_a_cached_property_keeps_is_no_change(build):
    class Table:
        def __init__(self):
            self.rows = [1.0, 2.0]

        @functools.cached_property
        def total(self):
            return sum(self.rows)

    result = build(lambda data, ctx: ctx.record("total", data.total), source=in_a_closure(Table())).run(replicates=2)
    assert not result.errors


def test_what_setup_makes_may_change(build):
    class Tally(Plain):
        pass

    class Prepared(PipelineStep):
        def setup(self, ctx):
            ctx.add("tally", Tally())

        def __call__(self, data, ctx):
            ctx["tally"].rows.append(1.0)
            ctx.record("cells", len(ctx["tally"].rows))

    result = build(Prepared(), source=nothing()).run(replicates=2)
    assert list(result.metrics.baseline.metrics["cells"]) == [2, 3]


def test_steps_of_a_cell_share_one_generator(executor, build):
    def draw(data, ctx):
        ctx.record("drawn", ctx["rng"].random())

    rng, same = random.Random(3), random.Random(3)
    expected = [same.random(), same.random()]
    result = build(draw, draw, source=nothing(), plugins=[executor], initial_ctx={"rng": rng}).run(replicates=2)
    assert list(result.metrics.baseline.metrics["drawn"]) == expected * 2


def test_inputs_are_isolated_each(executor, build):
    table = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    rows = [1.0]

    def change_both(data, ctx):
        ctx.record("mean", frame_changed(data["table"], 1.0))
        ctx.record("sum", appended(itself)(data["rows"], 1.0))

    source = ExperimentInput(table=in_a_closure(table), rows=in_a_closure(rows))
    result = build(change_both, source=source, plugins=[executor]).run(replicates=3)
    assert not result.errors
    assert numbers_of(result)["baseline"] == {"mean": [0.75] * 3, "sum": [2.0] * 3}


def test_what_a_caching_loader_gives_is_isolated(executor, build, tmp_path):
    @functools.lru_cache
    def load(path):
        return json.loads(path.read_text())

    rows = Artifact("rows.json", loader=load, writer=lambda value: json.dumps(value).encode())

    @pipeline_step()
    def write(data, ctx, *, rows: Artifact):
        rows.write([1.0])

    Experiment(
        nothing(), [write()], plugins=[ArtifactPlugin(tmp_path)], outputs=[rows], name="made", default_plugins=False
    ).run(replicates=1)
    result = build(changing(appended(itself)), source=rows, plugins=[executor]).run(replicates=3, treatments=[MORE])
    assert numbers_of(result) == {"baseline": {"found": [2.0] * 3}, "more": {"found": [3.0] * 3}}


def test_what_a_treatments_function_adds_is_isolated(executor, build):
    rng = random.Random(1)

    def draw(data, ctx):
        ctx.record("drawn", ctx["rng"].random())

    treatments = [Treatment("baseline", lambda ctx: ctx.add("rng", rng))]
    result = build(draw, source=nothing(), plugins=[executor]).run(replicates=3, treatments=treatments)
    assert list(result.metrics.baseline.metrics["drawn"]) == [random.Random(1).random()] * 3


def test_what_is_made_for_the_cell_belongs_to_it(executor, build):
    @data_source
    def fresh(ctx):
        whole = np.arange(6.0).reshape(2, 3)
        return {
            "numbers": whole,
            "row": whole[0],
            "rows": Rows([[1.0]]),
            "stream": iter(range(3)),
            "text": io.StringIO("a"),
        }

    def change_it(data, ctx):
        data["numbers"] += 1
        data["rows"].rows[0].append(2.0)
        ctx.record("found", float(data["row"].sum()) + sum(data["rows"].rows[0]) + sum(data["stream"]))

    result = build(change_it, source=fresh(), plugins=[executor]).run(replicates=3)
    assert not result.errors
    assert list(result.metrics.baseline.metrics["found"]) == [12.0] * 3


def test_tensors_models_and_estimators_are_given_as_they_were(build):
    torch = pytest.importorskip("torch")
    sklearn_linear = pytest.importorskip("sklearn.linear_model")
    tensor, model = torch.ones(3), torch.nn.Linear(2, 1)
    estimator = sklearn_linear.SGDClassifier(warm_start=True, max_iter=1, tol=None, random_state=0)

    def add(data, ctx):
        ctx.record("sum", float(data.add_(1).sum()))

    def fit(data, ctx, *, estimator):
        ctx.record("fitted", hasattr(estimator, "coef_"))
        estimator.fit([[0.0], [1.0]], [0, 1])

    result = build(add, source=in_a_closure(tensor)).run(replicates=2)
    assert list(result.metrics.baseline.metrics["sum"]) == [6.0] * 2
    result = build(pipeline_step()(fit)(estimator=estimator), source=nothing()).run(replicates=2)
    assert list(result.metrics.baseline.metrics["fitted"]) == [False] * 2

    def train(data, ctx):
        with torch.no_grad():
            data.weight.add_(1)

    result = build(train, source=in_a_closure(model)).run(replicates=1)
    assert "TrainStep" in str(result.errors["baseline_rep_0"])
