"""`code_of`: what changes the identity of code, and what does not."""

from __future__ import annotations

import functools
import math
import operator
from pathlib import Path
from random import choice, random

import numpy as np
import pytest

from crystallize.errors import ArgumentTypeError
from crystallize.fingerprint import code_of, identify
from crystallize.fingerprint.sources import code_parts

BASE = """
    RATE = 2

    def helper(x):
        return x * RATE

    def step(data, ctx, *, delta=1):
        total = 0
        for item in data:
            if item > 3:
                total += helper(item) + delta
        return total
"""

LAYOUTS = {
    "comments": """
        RATE = 2  # how much
        # a helper
        def helper(x):
            # doubles
            return x * RATE

        def step(data, ctx, *, delta=1):
            total = 0  # so far
            for item in data:

                # only large ones
                if item > 3:
                    total += helper(item) + delta
            return total
    """,
    "docstrings": '''
        """A module."""
        RATE = 2

        def helper(x):
            """Double x."""
            return x * RATE

        def step(data, ctx, *, delta=1):
            """Sum up.

            At some length.
            """
            total = 0
            for item in data:
                if item > 3:
                    total += helper(item) + delta
            return total
    ''',
    "moved lines": """
        import os

        def unrelated():
            return os.getcwd()

        def step(data, ctx, *, delta=1):
            total = 0
            for item in data:
                if item > 3:
                    total += helper(item) + delta
            return total

        UNRELATED = 5


        def helper(x):
            return x * RATE

        RATE = 2
    """,
    "annotations": """
        RATE: int = 2

        def helper(x: float) -> float:
            return x * RATE

        def step(data: list, ctx: object, *, delta: float = 1) -> float:
            total: float = 0
            for item in data:
                if item > 3:
                    total += helper(item) + delta
            return total
    """,
}

FORMATS = {
    "one line": """
        RATE = 2
        def helper(x): return (x * RATE)
        def step(data, ctx, *, delta=1):
            total = 0
            for item in data:
                if item > 3: total += helper(item) + delta
            return total
    """,
    "spread out": """
        RATE = (
            2
        )

        def helper(
            x,
        ):
            return (
                x
                * RATE
            )

        def step(
            data,
            ctx,
            *,
            delta=1,
        ):
            total = 0
            for item in data:
                if (
                    item
                    > 3
                ):
                    total += (
                        helper(
                            item,
                        )
                        + delta
                    )
                    pass
            return total
    """,
}

CHANGES = {
    "constant": ("item > 3", "item > 4"),
    "comparison": ("item > 3", "item >= 3"),
    "operator": ("helper(item) + delta", "helper(item) - delta"),
    "type of a constant": ("total = 0", "total = 0.0"),
    "default": ("delta=1", "delta=2"),
    "default's type": ("delta=1", "delta=1.0"),
    "order of parameters": ("data, ctx", "ctx, data"),
    "global value": ("RATE = 2", "RATE = 3"),
    "helper": ("x * RATE", "x + RATE"),
    "statement": ("return total", "return -total"),
    "keyword only": ("ctx, *, delta", "ctx, delta"),
}


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), *FORMATS.values()], ids=[*LAYOUTS, *FORMATS])
def test_layout_changes_nothing(project, layout):
    assert code_of(project(steps=BASE).step) == code_of(project(steps=layout).step)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_comments_lines_docstrings_and_annotations_change_nothing_where_no_source_is_to_be_had(executed, layout):
    assert code_of(executed(BASE)["step"]) == code_of(executed(layout)["step"])


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES)
def test_meaning_changes_the_identity(project, before, after):
    assert code_of(project(steps=BASE).step) != code_of(project(steps=BASE.replace(before, after)).step)


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES)
def test_meaning_changes_the_identity_where_no_source_is_to_be_had(executed, before, after):
    assert code_of(executed(BASE)["step"]) != code_of(executed(BASE.replace(before, after))["step"])


@pytest.mark.parametrize(
    "before, after",
    [
        (
            "    try:\n        a()\n        b()\n    except E:\n        c()",
            "    try:\n        a()\n    except E:\n        c()\n    else:\n        b()",
        ),
        ("    with a:\n        b()\n        c()", "    with a:\n        b()\n    c()"),
        ("    f = lambda: 1\n    return f", "    f = lambda: 2\n    return f"),
        ("    return {1, 2}", "    return {1, 3}"),
        ("    return x in {1, 2}", "    return x in {1, 3}"),
        ("    return f'{x} a'", "    return f'{x} b'"),
        ("    return (1, (2, 'a'))", "    return (1, (2, 'b'))"),
        ("    return x.name", "    return x.size"),
        ("    return 0.0", "    return -0.0"),
        ("    return [y for y in x]", "    return [y for y in x if y]"),
        ("    yield x", "    return x"),
        ("    a = b = x\n    return a", "    a = b = x\n    return b"),
        ("    while x: break", "    while x: continue"),
        ("    import json\n    return json", "    import math as json\n    return json"),
        ("    from json import dumps as f\n    return f", "    from json import loads as f\n    return f"),
        ("    def g(y=1): return y\n    return g", "    def g(y=2): return y\n    return g"),
        ("    global Z\n    Z = x", "    Z = x"),
        ("    return 2**70", "    return 2**71"),
    ],
)
def test_small_differences_are_seen_with_and_without_source(project, executed, before, after):
    texts = [f"def step(x=None, a=None, b=None, c=None, E=None):\n{body}\n" for body in (before, after)]
    with_source = {code_of(project(steps=text).step) for text in texts}
    without = {code_of(executed(text)["step"]) for text in texts}
    assert (len(with_source), len(without)) == (2, 2)


def test_the_running_code_counts_not_what_its_file_says_by_now(project):
    running = project(steps="def step(x):\n    return x + 1\n")
    Path(running.__file__).write_text("def step(x):\n    return x + 2\n", encoding="utf-8")
    edited = code_of(running.step)
    assert edited != code_of(project(steps="def step(x):\n    return x + 2\n").step)


def test_code_that_refers_to_itself_and_in_circles_has_an_identity(project):
    text = """
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - {one})

        class Node:
            def again(self):
                return Node
    """
    first, second = project(steps=text.format(one="1")), project(steps=text.format(one="2"))
    assert code_of(first.even) == code_of(project(steps=text.format(one="1")).even)
    assert code_of(first.even) != code_of(second.even)
    assert code_of(first.odd) != code_of(second.odd)
    assert code_of(first.even) != code_of(first.odd)
    assert code_of(first.Node) == code_of(second.Node)


def test_a_change_far_around_a_circle_is_seen(project):
    calls = "\n".join(f"def f{n}(x):\n    return f{(n + 1) % 40}(x)\n" for n in range(40))
    changed = calls.replace("def f20(x):\n    return", "def f20(x):\n    return 1 +")
    assert code_of(project(steps=calls).f0) != code_of(project(steps=changed).f0)


# -- what code refers to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "import helpers\ndef step(x):\n    return helpers.scale(x)\n",
        "from helpers import scale\ndef step(x):\n    return scale(x)\n",
        "import helpers as h\ndef step(x):\n    return [h.scale(y) for y in x]\n",
        "import helpers\ndef step(x):\n    return helpers.DEEP['a'][0] * x\n",
        "import helpers\ndef step(x):\n    return helpers.Scaler()(x)\n",
        "import helpers\ndef step(x, scale=helpers.scale):\n    return scale(x)\n",
        "import helpers\ndef step(x):\n    return getattr(helpers, 'sca' + 'le')(x)\n",
        "def step(x):\n    import helpers\n    return helpers.scale(x)\n",
        "def step(x):\n    from helpers import scale\n    return scale(x)\n",
        "def step(x):\n    def inner():\n        from helpers import scale\n        return scale\n    return inner\n",
        "import functools, helpers\nscale = functools.partial(helpers.scale, y=3)\ndef step(x):\n    return scale(x)\n",
        "import functools, helpers\nscale = functools.lru_cache(helpers.scale)\ndef step(x):\n    return scale(x)\n",
        "import helpers\nscaler = helpers.Scaler()\ndef step(x):\n    return scaler.factor\n",
        "import helpers\nclass Mine(helpers.Scaler): pass\ndef step(x):\n    return Mine()(x)\n",
        "import helpers\ndef step(x):\n    return helpers.Kind.LARGE.value\n",
        "import helpers\ndef step(x):\n    return helpers.Settings().factor\n",
        "import helpers\nclass H:\n    scale = staticmethod(helpers.scale)\ndef step(x):\n    return H.scale(x)\n",
        "import helpers\ndef two(f):\n    return lambda x: f(helpers.scale(x))\n@two\ndef step(x):\n    return x\n",
        "import middle\ndef step(x):\n    return middle.helpers.scale(x)\n",
        "def step(x):\n    import middle\n    return middle.twice(x)\n",
    ],
)
def test_a_change_in_another_module_of_the_project_is_seen(project, text):
    helpers = """
        from dataclasses import dataclass
        from enum import Enum

        FACTOR = 2
        DEEP = {"a": [FACTOR]}

        def scale(x, y=1):
            return x * FACTOR

        class Scaler:
            def __init__(self):
                self.factor = FACTOR

            def __call__(self, x):
                return scale(x)

        class Kind(Enum):
            SMALL = 1
            LARGE = FACTOR

        @dataclass
        class Settings:
            factor: int = FACTOR
    """
    middle = "import helpers\ndef twice(x):\n    return helpers.scale(helpers.scale(x))\n"

    def identity(factor):
        changed = helpers.replace("FACTOR = 2", f"FACTOR = {factor}")
        return code_of(project(steps=text, helpers=changed, middle=middle).step)

    assert identity(2) == identity(2)
    assert identity(2) != identity(3)


def test_a_change_that_code_does_not_refer_to_is_not_seen(project):
    text = "import helpers\ndef step(x):\n    return helpers.scale(x)\n"
    helpers = "def scale(x):\n    return x\n\ndef other(x):\n    return {0}\n"
    first = code_of(project(steps=text, helpers=helpers.format(1)).step)
    assert first == code_of(project(steps=text, helpers=helpers.format(2)).step)


def test_an_import_inside_a_function_means_the_same_before_and_after_it_ran(project):
    step = project(
        steps="def step(x):\n    from helpers import scale\n    return scale(x)\n",
        helpers="def scale(x):\n    return x * 2\n",
    ).step
    before = code_of(step)
    assert step(2) == 4
    assert code_of(step) == before


@pytest.mark.parametrize(
    "statement",
    ["from . import helpers", "from .helpers import FACTOR", "import pack.helpers", "import pack.helpers as h"],
)
def test_an_import_within_a_package_is_followed(project, statement):
    steps = f"def step(x):\n    {statement}\n    return x\n"

    def identity(factor):
        return code_of(project(**{"pack.steps": steps, "pack.helpers": f"FACTOR = {factor}\n"}).step)

    assert identity(2) == identity(2)
    assert identity(2) != identity(3)


def test_where_a_project_lies_is_no_part_of_its_identity(project):
    text = "from pathlib import Path\nHERE = __file__\ndef step(x):\n    return Path(__file__).parent / x\n"
    assert code_of(project(steps=text).step) == code_of(project(steps=text).step)


def test_closure_values_count(executed):
    make = executed("def make(n):\n    def step(x):\n        return x + n\n    return step\n")["make"]
    assert code_of(make(1)) == code_of(make(1))
    assert code_of(make(1)) != code_of(make(2))
    assert code_of(make([1, {"a": 2}])) != code_of(make([1, {"a": 3}]))
    assert code_of(make(make(1))) != code_of(make(make(2)))


def test_a_global_that_changes_while_the_program_runs_is_seen(project):
    module = project(steps="TABLE = {'a': [1]}\ndef step(x):\n    return TABLE['a'][0] * x\n")
    before = code_of(module.step)
    module.TABLE["a"].append(2)
    assert code_of(module.step) != before
    module.TABLE["a"].pop()
    assert code_of(module.step) == before


def test_a_function_may_refer_to_what_is_not_there_yet(project):
    module = project(steps="def step(x):\n    return later(x) + len(x)\n")
    before = code_of(module.step)
    module.later = len
    assert code_of(module.step) != before


# -- all kinds of callables ---------------------------------------------------------------------------


class Adder:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def add(self, x):
        return x + self.n

    @classmethod
    def make(cls):
        return cls(1)

    @staticmethod
    def half(x):
        return x / 2


def test_bound_methods_and_callable_objects_are_known_by_code_and_state():
    assert code_of(Adder(1)) == code_of(Adder(1)) != code_of(Adder(2))
    assert code_of(Adder(1).add) == code_of(Adder(1).add) != code_of(Adder(2).add)
    assert len({code_of(each) for each in (Adder, Adder.add, Adder.make, Adder.half, Adder(1), Adder(1).add)}) == 6


def test_partials_are_known_by_function_and_arguments():
    def power(x, y):
        return x**y

    made = [functools.partial(power, y=2), functools.partial(power, y=3), functools.partial(power, 2), power]
    assert len({code_of(each) for each in [*made, functools.partial(power, y=2)]}) == 4


def test_what_libraries_define_is_known_by_name():
    assert code_of(len) != code_of(max)
    assert code_of(math.sin) != code_of(math.cos)
    assert code_of(np.mean) != code_of(np.median)
    assert code_of(np.add) != code_of(np.multiply)
    assert code_of(str.upper) != code_of(str.lower)
    assert code_of("a".upper) != code_of("b".upper)
    assert code_of(operator.itemgetter(1)) == code_of(operator.itemgetter(1)) != code_of(operator.itemgetter(2))
    assert code_parts(np.mean) == code_parts(functools.reduce) == {}


@pytest.mark.parametrize("draw", [random, choice, np.random.rand], ids=["random", "choice", "numpy"])
def test_a_librarys_own_random_state_is_nobodys_content(draw):
    before = code_of(draw)
    random()
    np.random.rand()
    assert code_of(draw) == before


def test_two_lambdas_on_one_line_are_told_apart():
    first, second, third = (lambda x: x + 1), (lambda x: x + 2), (lambda x: x + 1)
    assert code_of(first) == code_of(third) != code_of(second)


def test_steps_and_sources_made_by_decorators_lead_to_the_function_behind(project):
    text = """
        from crystallize import data_source, pipeline_step

        @pipeline_step()
        def scale(data, ctx, *, factor=1):
            return data * {0}

        @data_source
        def numbers(ctx):
            return {0}
    """
    one, two = project(steps=text.format(1)), project(steps=text.format(2))
    again = project(steps=text.format(1))
    for name in ("scale", "numbers"):
        assert code_of(getattr(one, name)) == code_of(getattr(again, name)) != code_of(getattr(two, name))


def test_a_wrapped_function_is_seen_through_its_wrapper(project):
    text = """
        import functools

        @functools.lru_cache(maxsize=None)
        def cached(x):
            return x + {0}

        @functools.singledispatch
        def chosen(x):
            return x + {0}
    """
    one, two = project(steps=text.format(1)), project(steps=text.format(2))
    assert code_of(one.cached) != code_of(two.cached)
    assert code_of(one.chosen) != code_of(two.chosen)
    before = code_of(one.cached), code_of(one.chosen)
    assert (one.cached(3), one.chosen(3)) == (4, 4)
    assert (code_of(one.cached), code_of(one.chosen)) == before


def test_only_what_can_be_called_has_code():
    with pytest.raises(ArgumentTypeError, match="must be callable"):
        code_of("step")


# -- the record ---------------------------------------------------------------------------------------


def test_the_record_says_which_part_has_changed(project):
    text = "import helpers\nLIMIT = {0}\ndef step(x):\n    return helpers.scale(x) + LIMIT\n"
    helpers = "def scale(x):\n    return x * {0}\n"
    first = project(steps=text.format(1), helpers=helpers.format(2)).step
    before, digest = code_parts(first), code_of(first)
    second = project(steps=text.format(1), helpers=helpers.format(3)).step
    after = code_parts(second)
    assert set(before) == {"steps.step", "steps.LIMIT", "helpers.scale"}
    changed = {name for name in before if before[name].digest != after[name].digest}
    assert changed == {"steps.step", "helpers.scale"}
    assert digest == before["steps.step"].digest != code_of(second)


def test_the_record_names_what_cannot_be_tracked_and_where_it_is(project):
    text = "import itertools\nNUMBERS = itertools.count()\ndef step(x):\n    return x + next(NUMBERS)\n"
    found = identify(project(steps=text).step)
    assert found.untracked == ("steps.NUMBERS: itertools.count",)
    assert found == identify(project(steps=text).step)
