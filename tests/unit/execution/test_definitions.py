"""What a script or a notebook defines is one thing in every worker, however it got there."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

HEAD = """
import dataclasses, enum, functools, inspect, json, logging, multiprocessing, os, pickle, sys, tempfile, threading
import traceback, warnings
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from typing import ClassVar, Generic, NamedTuple, NewType, TypeVar
from crystallize import (
    AsyncExecution, BasePlugin, Experiment, ParallelExecution, Pipeline, SerialExecution, data_source, pipeline_step,
)
logging.disable(logging.CRITICAL)
WAY = sys.argv[-1]
if WAY == "threaded":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
if WAY == "spawn":
    from crystallize_plugins.execution.processes import worker_pool
    worker_pool.start_method = lambda: "spawn"
EXECUTORS = {
    "process": lambda: ParallelExecution(2, "process"), "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2), "async": AsyncExecution,
}
def values_of(executor, *steps, plugins=(), source=None):
    experiment = Experiment(
        (source or numbers)(), Pipeline(list(steps)), plugins=[EXECUTORS[executor](), *plugins],
        default_plugins=False, name="held",
    )
    result = experiment.run(replicates=2)
    method = (result.provenance.get("execution") or {}).get("start_method")
    expected = {"plain": "fork", "threaded": "forkserver", "spawn": "spawn"}[WAY]
    if executor == "process" and sys.platform == "linux":
        assert method == expected
    for error in result.errors.values():
        return {"error": error.traceback_text}
    return {name: list(found) for name, found in result.metrics.baseline.metrics.items()}
"""

DEFINITIONS = """
class Kind(enum.Enum):
    GOOD = 1
    BAD = 2
    FINE = 1
class Planet(enum.Enum):
    EARTH = (1.0, 2.0)
    MARS = (6.0, 3.0)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius
class Label(str, enum.Enum):
    A = "a", "first"
    def __new__(cls, value, text):
        made = str.__new__(cls, value)
        made._value_, made.text = value, text
        return made
class Level(enum.IntEnum):
    LOW = 0
    HIGH = 10
class Access(enum.Flag):
    READ = 1
    WRITE = 2
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
class Bare:
    __slots__ = ("a", "__b")
    def __init__(self):
        self.a, self.__b = 1, 2
class Pair(NamedTuple):
    a: int
    b: int = 3
Old = namedtuple("Old", "p q")
T = TypeVar("T")
class Box(Generic[T]):
    def __init__(self, content):
        self.content = content
class Outer:
    class Inner:
        pass
class Listed:
    known = {}
    def __init_subclass__(cls):
        Listed.known[cls.__name__] = cls
class Leaf(Listed):
    pass
class Meta(type):
    pass
class Special(metaclass=Meta):
    pass
class Model:
    uses = 0
    def __init__(self, weight):
        self.weight = weight
    def predict(self):
        return helper(self.weight) * FACTOR
class Unmentioned:
    scale = 3
    def __init__(self, weight):
        self.weight = weight
    def value(self):
        return helper(self.weight) * FACTOR * self.scale
class OddError(Exception):
    def __init__(self, code, *, why):
        super().__init__(code)
        self.why = why
    def __reduce__(self):
        return functools.partial(OddError, why=self.why), self.args
class Absent:
    def __reduce__(self):
        return "ABSENT"
ABSENT = Absent()
Metres = NewType("Metres", float)
FACTOR = 2
MISSING = object()
STATE = {"uses": 0}
LOCK = threading.Lock()
def helper(x):
    return x + 1
def square(x):
    return x * x
@functools.singledispatch
def text(value):
    return "any"
@text.register
def _(value: int):
    return "int"
@text.register
def _(value: list):
    return " ".join(map(text, value))
@text.register(Point)
def text_of_point(value):
    return "point"
@functools.lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
def counting():
    count = 0
    def up():
        nonlocal count
        count += 1
        return count
    return up, lambda: count
UP, COUNTED = counting()
MADE = {
    "kind": Kind.GOOD, "planet": Planet.MARS, "label": Label.A, "level": Level.HIGH,
    "access": Access.READ | Access.WRITE, "point": Point(1), "slotted": Slotted(1), "bare": Bare(),
    "pair": Pair(1), "old": Old(1, 2), "box": Box(1), "inner": Outer.Inner(), "special": Special(), "model": Model(2),
    "error": OddError(1, why="x"), "absent": ABSENT,
}
PICKLED = pickle.dumps((Unmentioned(4), helper))
@data_source
def numbers(ctx):
    return [1, 2]
"""

CHECKS = """
@pipeline_step(cacheable=True)
def make(data, ctx):
    return {
        "kind": Kind.GOOD, "planet": Planet.MARS, "label": Label.A, "level": Level.HIGH,
        "access": Access.READ | Access.WRITE, "point": Point(1), "slotted": Slotted(1), "bare": Bare(), "pair": Pair(1),
        "old": Old(1, 2), "box": Box(1), "inner": Outer.Inner(), "special": Special(), "model": Model(2),
        "error": OddError(1, why="x"),
    }

@pipeline_step()
def look(data, ctx, *, missing=MISSING, made=None):
    kinds = {
        "kind": Kind, "planet": Planet, "label": Label, "level": Level, "access": Access, "point": Point,
        "slotted": Slotted, "bare": Bare, "pair": Pair, "old": Old, "box": Box, "inner": Outer.Inner,
        "special": Special, "model": Model, "error": OddError,
    }
    found = {}
    for name, kind in kinds.items():
        found[f"{name} from the cache"] = type(data[name]) is kind
        found[f"{name} as a parameter"] = type(made[name]) is kind
        found[f"{name} pickled by the step"] = type(pickle.loads(pickle.dumps(data[name]))) is kind
        found[f"{name} as a class"] = pickle.loads(pickle.dumps(kind)) is kind
    found["members"] = data["kind"] is Kind.GOOD is Kind.FINE is Kind["FINE"] and made["planet"] is Planet.MARS
    found["what members hold"] = (Planet.MARS.mass, Planet((1.0, 2.0)).radius, Label.A.text) == (6.0, 2.0, "first")
    found["flags"] = data["access"] == Access.READ | Access.WRITE and Access.READ in made["access"]
    found["a marker"] = missing is MISSING
    found["by the name of a variable"] = made["absent"] is ABSENT is pickle.loads(pickle.dumps(ABSENT))
    found["a form of typing"] = pickle.loads(pickle.dumps(ClassVar)) is ClassVar
    found["a new type"] = Metres(3) == 3 and pickle.loads(pickle.dumps(Metres)) is Metres
    found["slots"] = not hasattr(Slotted(1), "__dict__") and not hasattr(Bare(), "__dict__")
    found["dispatch"] = [text(3), text([1, "a"]), text(data["point"])] == ["int", "int any", "point"]
    found["functions"] = all(pickle.loads(pickle.dumps(each)) is each for each in (text, fibonacci, square))
    found["a cached function"] = fibonacci(20) == 6765
    Model.uses += 1
    STATE["uses"] += 1
    import __main__
    found["state"] = __main__.Model.uses == Model.uses == STATE["uses"] == __main__.STATE["uses"]
    found["a shared variable"] = UP() == COUNTED()
    found["a list of subclasses"] = Listed.known == {"Leaf": Leaf} and type(Leaf()) is Listed.known["Leaf"]
    found["a type variable"] = Box[int] is Box[int] and Box.__parameters__ == (T,)
    return data, found

@pipeline_step()
def unpickle(data, ctx, *, encoded=PICKLED):
    thing, function = pickle.loads(encoded)
    import __main__
    return data, {
        "a class that no step mentions": type(thing) is __main__.Unmentioned and thing.value() == 30,
        "pickled again": type(pickle.loads(pickle.dumps(thing))) is type(thing),
        "a function": function is helper,
    }

@pipeline_step()
def places(data, ctx):
    file = __import__("__main__").__dict__.get("__file__")
    here = sys._getframe().f_code.co_filename
    found = {"one file": here == helper.__code__.co_filename == text.dispatch(int).__code__.co_filename}
    try:
        raise OddError(1, why="x")
    except OddError as error:
        found["the line of an error"] = (here, 10) < traceback.extract_tb(error.__traceback__)[-1][:2]
    if file is not None and os.path.exists(file):
        found["the file"] = os.path.samefile(file, here)
        found["source"] = "return x + 1" in inspect.getsource(helper) and "class Point" in inspect.getsource(Point)
        found["source of a method"] = "FACTOR" in inspect.getsource(Model.predict)
    return data, found

failed = {}
for name in EXECUTORS:
    values = values_of(name, make(), look(made=MADE), unpickle(), places())
    failed[name] = values if "error" in values else [key for key, each in values.items() if each != [True, True]]
    if len(values) < 70 and "error" not in values:
        failed[name].append(f"only {len(values)} checks")
print(json.dumps(failed))
"""

FORMS = {
    "a script": lambda file: [str(file)],
    "a module of a package": lambda file: ["-m", "package.inner.script"],
    "a command": lambda file: ["-c", file.read_text()],
    "standard input": lambda file: ["-"],
    "a notebook": lambda file: ["-m", "IPython", "--no-banner", "--colors=NoColor", str(file), "--"],
}


def run(tmp_path, form, way, source):
    """Give what a program prints as JSON."""
    folder = tmp_path / "package" / "inner"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        (each / "__init__.py").touch()
    file = folder / "script.py"
    file.write_text(source)
    done = subprocess.run(
        [sys.executable, *FORMS[form](file), way],
        input=source if form == "standard input" else "",
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


NOTHING = {"process": [], "serial": [], "thread": [], "async": []}
WAYS = pytest.mark.parametrize("way", ["plain", "threaded", "spawn"])


@WAYS
@pytest.mark.parametrize("form", ["a script", "standard input"])
def test_what_a_program_defines_is_one_thing_in_every_worker(tmp_path, form, way):
    assert run(tmp_path, form, way, HEAD + DEFINITIONS + CHECKS) == NOTHING


@pytest.mark.parametrize("way", ["plain", "threaded"])
@pytest.mark.parametrize("form", ["a module of a package", "a command"])
def test_so_it_is_however_the_program_was_started(tmp_path, form, way):
    assert run(tmp_path, form, way, HEAD + DEFINITIONS + CHECKS) == NOTHING


def test_so_it_is_in_a_notebook(tmp_path):
    pytest.importorskip("IPython")
    assert run(tmp_path, "a notebook", "threaded", HEAD + DEFINITIONS + CHECKS) == NOTHING


NESTED = """
@pipeline_step()
def nested(data, ctx):
    with ProcessPoolExecutor(2) as pool:
        found = {"sum": sum(pool.map(square, range(4)))}
        found["made"] = all(type(each) is Point for each in pool.map(Point, data))
    with multiprocessing.Pool(2) as pool:
        found["pool"] = pool.map(square, data)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found["spawned"] = [type(each) is Point for each in pool.map(Point, data)]
    return data, found
print(json.dumps({name: values_of(name, nested()) for name in ("process", "serial")}))
"""


@WAYS
def test_a_pool_inside_a_step_finds_what_the_script_defines(tmp_path, way):
    # Guarded, as a script with pools of its own has to be: under spawn they import it.
    source = HEAD + DEFINITIONS + NESTED.replace("print(", "if __name__ == '__main__':\n    print(")
    expected = {"sum": [14, 14], "made": [True, True], "pool": [[1, 4], [1, 4]], "spawned": [[True, True]] * 2}
    assert run(tmp_path, "a script", way, source) == {"process": expected, "serial": expected}


INNER_RUN = """
@pipeline_step()
def inner(data, ctx):
    thing, _ = pickle.loads(PICKLED)
    return data, {"value": thing.value(), "same": type(thing) is sys.modules["__main__"].Unmentioned}
@pipeline_step()
def outer(data, ctx):
    found = values_of("process", inner())
    return data, {"inner": json.dumps(found)}
WAY = "threaded"  # where a worker starts workers, it has a thread
print(json.dumps({name: values_of(name, outer()) for name in ("process",)}))
"""


def test_a_run_inside_a_step_hands_on_what_nobody_has_opened(tmp_path):
    (found,) = run(tmp_path, "a script", "threaded", HEAD + DEFINITIONS + INNER_RUN).values()
    assert [json.loads(each) for each in found["inner"]] == [{"value": [30, 30], "same": [True, True]}] * 2


KEYS = """
from pathlib import Path
from crystallize.fingerprint import value_of
THINGS = {
    each.__name__: each for each in (
        Kind, Planet, Label, Level, Access, Point, Slotted, Bare, Pair, Old, Box, Outer, Special, Model, OddError,
        helper, square, text, fibonacci, UP,
    )
}
def local():
    class Inside:
        def value(self):
            return FACTOR
    return Inside
@pipeline_step()
def identities(data, ctx):
    return data, {**{name: value_of(each) for name, each in THINGS.items()}, "local": value_of(local())}
@pipeline_step(cacheable=True)
def kept(data, ctx, *, by=1):
    return [Kind.GOOD, Point(1), text(3), fibonacci(3), helper(2), local()().value()]
@pipeline_step(cacheable=True)
def kept_too(data, ctx):
    return [Kind.GOOD, Model(data).predict, text(data), Planet.MARS]
def entries():
    return sorted(path.name for path in Path.cwd().rglob("*.entry"))
a, b = values_of("serial", identities()), values_of("process", identities())
told = {"identities": [name for name in a if a[name] != b[name]]}
for name, step in (("serial first", kept()), ("process first", kept_too())):
    order = ["serial", "process"] if name == "serial first" else ["process", "serial"]
    before = entries()
    values_of(order[0], step)
    between = entries()
    values_of(order[1], step)
    told[name] = [len(between) - len(before), between == entries()]
print(json.dumps(told))
"""


@WAYS
def test_the_executor_never_enters_an_identity_or_a_cache_key(tmp_path, way, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "cache"))
    told = run(tmp_path, "a script", way, HEAD + DEFINITIONS + KEYS)
    assert told == {"identities": [], "serial first": [1, True], "process first": [1, True]}


LATE = """
class Late(BasePlugin):
    neutral = True
    def before_run(self, experiment):
        global FACTOR, helper, Model
        FACTOR = 5
        def helper(x):
            return x + 10
        class Model(Model):
            pass
    def __reduce__(self):
        return Late, ()
@pipeline_step()
def use(data, ctx):
    return data, {"factor": FACTOR, "helper": helper(1), "model": len(Model.__mro__), "predicts": Model(1).predict()}
kept = dict(FACTOR=FACTOR, helper=helper, Model=Model)
told = {}
for name in EXECUTORS:
    globals().update(kept)
    told[name] = values_of(name, use(), plugins=[Late()])
print(json.dumps(told))
"""


@pytest.mark.parametrize("way", ["plain", "threaded"])
def test_workers_know_what_a_script_bound_anew_before_the_first_cell(tmp_path, way):
    told = run(tmp_path, "a script", way, HEAD + DEFINITIONS + LATE)
    expected = {"factor": [5, 5], "helper": [11, 11], "model": [3, 3], "predicts": [55, 55]}
    assert told == dict.fromkeys(NOTHING, expected)


CARRIED = """
import types
@dataclasses.dataclass
class Config:
    rate: float = 0.1
CONFIG = Config()
EMPTY = types.SimpleNamespace()
@pipeline_step()
def compare(data, ctx, *, config=None, marker=None, empty=None):
    return data, {"config": config is CONFIG, "marker": marker is MISSING, "empty": empty is EMPTY}
told = {}
for name in EXECUTORS:
    told[name] = values_of(name, compare(config=CONFIG, marker=MISSING, empty=EMPTY))
print(json.dumps(told))
"""


@pytest.mark.parametrize("way", ["plain", "threaded"])
def test_a_marker_that_is_a_parameter_is_the_variable_of_the_script(tmp_path, way):
    told = run(tmp_path, "a script", way, HEAD + DEFINITIONS + CARRIED)
    assert {name: found["marker"] for name, found in told.items()} == {name: [True, True] for name in NOTHING}
    assert told["process"] == {"config": [True, True], "marker": [True, True], "empty": [True, True]}


UNSENDABLE = """
HANDLE = open(os.devnull)
TABLE = [list(range(10)) for _ in range(100_000)]
def report():
    return HANDLE.name, LOCK, len(TABLE)
class Reader:
    handle = HANDLE
@pipeline_step()
def plain(data, ctx):
    import __main__
    return data, {"light": hasattr(__main__, "Unmentioned"), "handle": hasattr(__main__, "Reader")}
print(json.dumps(values_of("process", plain())))
"""


@pytest.mark.parametrize("way", ["plain", "threaded"])
def test_what_no_step_mentions_need_not_be_able_to_travel(tmp_path, way):
    found = run(tmp_path, "a script", way, HEAD + DEFINITIONS + UNSENDABLE)
    # A fork has it all the same.
    assert found == {"light": [True, True], "handle": [way == "plain"] * 2}


def test_code_from_a_cell_of_a_notebook_has_its_source_in_a_worker(processes, build):
    import inspect
    import linecache

    from crystallize import pipeline_step

    source = textwrap.dedent("""
        def told(data, ctx):
            return data, {"source": inspect.getsource(sys._getframe().f_code)}
    """)
    namespace = {"inspect": inspect, "sys": sys, "__name__": "cells"}
    linecache.cache["<cell 1>"] = (len(source), None, source.splitlines(keepends=True), "<cell 1>")
    exec(compile(source, "<cell 1>", "exec"), namespace)
    metrics = build(pipeline_step(namespace["told"])(), plugins=[processes]).run(replicates=1).metrics
    assert "inspect.getsource" in metrics.baseline.metrics["source"][0]
