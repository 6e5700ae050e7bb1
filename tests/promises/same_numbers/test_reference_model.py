"""Any experiment gives what a model of twenty lines gives, however its steps are written and whatever face runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import Experiment, Pipeline, PipelineStep, Treatment, data_source, pipeline_step

KEYS = ("a", "b", "c")
ABSENT = "absent"


@dataclass
class Step:
    """What one step does, in order: it notes its parameters, reads, writes, perhaps fails, and counts on."""

    kind: str
    params: dict[str, bool]  # whether there is a default
    explicit: dict[str, int]
    reads: list[str]
    adds: list[str]
    only_odd: bool
    fails: set[int] = field(default_factory=set)
    pair: bool = False

    def work(self, number, data, ctx, values):
        for name, value in values.items():
            ctx.record(f"{number} param {name}", value)
        for key in self.reads:
            ctx.record(f"{number} read {key}", ctx.get(key, ABSENT))
        if not self.only_odd or ctx["replicate"] % 2:
            for key in self.adds:
                ctx.add(key, 100 + number)
        if ctx["replicate"] in self.fails:
            raise ValueError(number)
        return (data + 1, {f"{number} data": data}) if self.pair else data + 1


def build(number, step):
    """The step as a user would write it."""
    parameters = [f"{name}='default'" if default else name for name, default in step.params.items()]
    shown = ", ".join(f"{name!r}: {name}" for name in step.params)
    namespace = {"work": step.work, "number": number}
    head = f"(data, ctx{', *, ' if parameters else ''}{', '.join(parameters)})"
    exec(f"def sync{head}: return work(number, data, ctx, {{{shown}}})", namespace)
    exec(f"async def later{head}: return work(number, data, ctx, {{{shown}}})", namespace)
    name = {"sync": "sync", "async": "later", "hidden async": "later", "class": "sync"}[step.kind]
    if step.kind == "class":

        class Written(PipelineStep):
            def __call__(self, data, ctx):
                return pipeline_step()(namespace["sync"])(**step.explicit)(data, ctx)

        return Written()
    if step.kind == "hidden async":
        inner = pipeline_step()(namespace[name])(**step.explicit)

        def starts(data, ctx):
            return inner(data, ctx)

        return starts
    return pipeline_step()(namespace[name])(**step.explicit)


class Model:
    """A cell by the letter of the documentation."""

    def __init__(self, initial, condition, replicate, treatment):
        self.values = {**initial, "condition": condition, "replicate": replicate}
        self.metrics = []
        self.get, self.__getitem__ = self.values.get, self.values.__getitem__
        for key, value in treatment.items():
            self.add(key, value)

    def __getitem__(self, key):
        return self.values[key]

    def add(self, key, value):
        if key in self.values:
            raise TypeError(key)
        self.values[key] = value

    def record(self, name, value):
        self.metrics.append((name, value))

    def run(self, steps):
        data = self["replicate"]
        for number, step in enumerate(steps):
            given_ones = {}
            for name, has_default in step.params.items():
                if name in step.explicit:
                    given_ones[name] = step.explicit[name]
                elif name in self.values:
                    given_ones[name] = self.values[name]
                elif has_default:
                    given_ones[name] = "default"
                else:
                    raise TypeError(name)
            data = step.work(number, data, self, given_ones)
            if step.pair:
                data, metrics = data
                self.metrics += metrics.items()


keys = st.lists(st.sampled_from(KEYS), unique=True)
some_steps = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(["sync", "sync", "async", "hidden async", "class"]),
        params=st.dictionaries(st.sampled_from(KEYS), st.booleans()),
        explicit=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9)),
        reads=keys,
        adds=keys.map(lambda found: found[:1]),
        only_odd=st.booleans(),
        fails=st.sets(st.integers(0, 2), max_size=1),
        pair=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
contexts = st.dictionaries(st.sampled_from(KEYS), st.integers(10, 19), max_size=2)


def run_it(face, experiment, **arguments):
    if face == "run":
        return experiment.run(**arguments)
    if face == "arun":
        return asyncio.run(experiment.arun(**arguments))

    async def main():
        return experiment.run(**arguments)

    return asyncio.run(main())


def modelled(steps, initial, values):
    """The metrics of each condition and the cells that fail, as the model has it."""
    expected, failed = {"baseline": {}, "t": {}}, set()
    for replicate in range(3):
        for condition, treatment in (("baseline", {}), ("t", values)):
            model = Model(initial, condition, replicate, treatment)
            try:
                model.run(steps)
            except (TypeError, ValueError):
                failed.add(f"{condition}_rep_{replicate}")
            else:
                for name, value in model.metrics:
                    expected[condition].setdefault(name, []).append(value)
    return expected, failed


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(some_steps, contexts, contexts, st.booleans(), st.sampled_from(["run", "arun", "run in a loop"]), st.data())
def test_the_engine_gives_what_the_model_gives(steps, initial, values, as_function, face, data):
    for step in steps:
        step.explicit = {name: value for name, value in step.explicit.items() if name in step.params}
    values = {key: value for key, value in values.items() if key not in initial}

    def apply(ctx):
        for key, value in values.items():
            ctx.add(key, value)

    @data_source
    def replicate(ctx):
        return ctx["replicate"]

    experiment = Experiment(
        replicate(),
        Pipeline([build(number, step) for number, step in enumerate(steps)]),
        initial_ctx=initial,
        default_plugins=False,
    )
    arguments = {"treatments": [Treatment("t", apply if as_function else values)], "replicates": 3}
    for _ in range(data.draw(st.integers(1, 2))):  # the second run finds compiled conditions
        result = run_it(face, experiment, **arguments)
    expected, failed = modelled(steps, initial, values)
    assert set(result.errors) == failed
    found = {"baseline": result.metrics.baseline.metrics}
    found["t"] = result.metrics.treatments["t"].metrics if "t" in result.metrics.treatments else {}
    assert {
        name: {metric: list(kept) for metric, kept in metrics.items()} for name, metrics in found.items()
    } == expected
