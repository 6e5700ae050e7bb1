"""Identities hold over processes, hash seeds and folders, and for what travelled to a worker."""

from __future__ import annotations

import textwrap

import cloudpickle

from crystallize.fingerprint import code_of, value_of

SCRIPT = """
    import enum, functools, sys
    from crystallize.fingerprint import code_of, value_of

    NAMES = {"alpha", "beta", "gamma", "delta"}
    TABLE = {("a", 1): {"x", "y"}, None: frozenset({1, "z"}), 2.5: [1]}

    class Kind(enum.Enum):
        A = "a"
        B = "b"

    class Model:
        choices = {"p", "q", "r"}

        def __init__(self, kind):
            self.kind = kind

        def fit(self, x):
            return x in {"one", "two", "three"} and self.kind in Kind

    def helper(x, cache={"k": {1, 2}}):
        return sorted(NAMES | {x}), TABLE, len(cache)

    def make(model):
        def step(data, ctx, *, scale=0.5):
            return [helper(item) for item in data if model.fit(item)], scale
        return step

    print(code_of(make(Model(Kind.A))))
    print(code_of(functools.partial(helper, cache={"b", "a"})))
    print(value_of([NAMES, TABLE, Model, Model(Kind.B), Kind, {Kind.A: 1, Kind.B: 2}]))
"""


def digests(finished):
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def test_identities_are_the_same_in_every_process(run_script):
    seen = {tuple(digests(run_script(SCRIPT, PYTHONHASHSEED=seed))) for seed in ("0", "1", "7")}
    assert len(seen) == 1
    assert len(set(*seen)) == 3


def test_code_without_source_has_one_identity_in_every_process(run_script):
    made_up = f"exec(compile({textwrap.dedent(SCRIPT)!r}, '<made up>', 'exec'))"
    seen = {tuple(digests(run_script(made_up, PYTHONHASHSEED=seed))) for seed in ("0", "1", "7")}
    assert len(seen) == 1


def test_code_that_travelled_keeps_its_identity(project):
    module = project(
        steps="""
            import helpers
            LIMIT = 3

            def make(n):
                def step(x):
                    return helpers.scale(x) + n + LIMIT
                return step
        """,
        helpers="def scale(x):\n    return x * 2\n",
    )
    step = module.make(5)
    assert code_of(cloudpickle.loads(cloudpickle.dumps(step))) == code_of(step)
    local = {"step": step, "items": [module.make(1), {"a": {1, 2}}]}
    assert value_of(cloudpickle.loads(cloudpickle.dumps(local))) == value_of(local)


def test_the_identity_of_ordinary_code_is_the_same_under_every_python_and_with_every_release(project):
    # Stored runs and cache entries refer to such identities: another value here means that all of them are void.
    step = project(
        steps="""
            RATE = 2.5

            def helper(x, *, power=2):
                return {"a": x ** power, "b": [y for y in range(3) if y != 1]}

            def step(data, ctx, *, delta=1):
                try:
                    with open(data) as file:
                        return helper(len(file.read()) * RATE + delta)
                except OSError as error:
                    raise ValueError("no " + str(error)) from error
        """
    ).step
    assert code_of(step) == "373742ab043dec8057c41546720dac16d20a1eae8c3055abe5cd9e814030cca0"
