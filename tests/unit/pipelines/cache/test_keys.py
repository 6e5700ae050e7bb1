"""What an entry is the answer to: everything that the step can see, and nothing else."""

from __future__ import annotations

import pytest

from crystallize import PipelineStep, Treatment, data_source, pipeline_step


def scaled(note, **settings):
    @pipeline_step(cacheable=True, **settings)
    def scale(data, ctx, *, factor=1):
        note()
        total = sum(data) * factor
        return total, {"out": total}

    return scale


def test_the_second_run_does_not_run_the_step_again(make, note, ran, values, hits):
    step = scaled(note)
    first = make(step()).run()
    assert ran() == ["ran"]
    second = make(step()).run()
    assert ran() == []
    assert values(first) == values(second) == [6]
    assert hits(first) == [False]
    assert hits(second) == [True]


def test_a_step_that_is_not_cacheable_writes_no_file(make, note, ran, tmp_path):
    step = pipeline_step()(lambda data: data)
    make(step()).run()
    assert not (tmp_path / ".cache").exists()


def test_a_treatment_is_never_served_the_baselines_output(make, note, ran, values):
    step = scaled(note)
    for _ in range(2):
        result = make(step()).run(treatments=[Treatment("ten", {"factor": 10})])
        assert values(result) == [6]
        assert values(result, treatment="ten") == [60]
    assert ran() == ["ran", "ran"]


def test_explicit_parameters_are_in_the_key_and_win_over_the_context(make, note, ran, values):
    step = scaled(note)
    assert [values(make(step(factor=factor)).run()) for factor in (2, 3, 2)] == [[12], [18], [12]]
    assert len(ran()) == 2
    result = make(step(factor=2)).run(treatments=[Treatment("ten", {"factor": 10})])
    assert values(result, treatment="ten") == [12]
    assert ran() == []


def test_values_that_the_step_takes_from_the_context_are_in_the_key(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def shift(data, ctx):
        note()
        return data, {"out": sum(data) + ctx.get("shift", 0)}

    for _ in range(2):
        assert values(make(shift(), initial_ctx={"shift": 1}).run()) == [7]
        assert values(make(shift(), initial_ctx={"shift": 2}).run()) == [8]
        assert values(make(shift()).run()) == [6], "a key that is not there is something that was read as well"
    assert len(ran()) == 3


def test_context_values_that_the_step_does_not_look_at_change_nothing(make, note, ran):
    step = scaled(note)
    for other in (1, 2):
        make(step(), initial_ctx={"other": other}).run(treatments=[Treatment("also", {"another": other})])
    assert len(ran()) == 1


def test_what_is_read_may_depend_on_what_was_read(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def choose(data, ctx):
        note()
        return data, {"out": ctx["left"] if ctx["way"] == "left" else ctx["right"]}

    def run(**context):
        return values(make(choose(), initial_ctx={"way": "left", "left": 1, "right": 2, **context}).run())

    assert [run(), run(right=5), run(way="right", left=9), run(left=4)] == [[1], [1], [2], [4]]
    assert len(ran()) == 3


@pytest.mark.parametrize(
    "look",
    [
        sorted,
        len,
        lambda ctx: sorted(ctx.as_dict()),
        lambda ctx: [key for key in ("mode", "extra") if key in ctx],
        repr,
    ],
)
def test_a_step_that_looks_at_which_keys_there_are_sees_another_one(make, note, ran, values, look):
    @pipeline_step(cacheable=True)
    def count(data, ctx):
        note()
        return data, {"out": look(ctx)}

    found = [values(make(count(), initial_ctx=context).run()) for context in ({}, {"extra": 1}, {}, {"extra": 1})]
    assert found[0] == found[2] != found[1] == found[3]
    assert len(ran()) == 2


def test_metrics_and_artifacts_of_earlier_steps_count_where_the_step_looks_at_them(make, note, ran, values):
    @pipeline_step()
    def before(data, ctx, *, loss=1, text="a"):
        ctx.record("loss", loss)
        ctx.artifacts.add("model.txt", text)
        return data

    @pipeline_step(cacheable=True)
    def judge(data, ctx):
        note("judge")
        ctx.record("own", 5)
        return data, {"out": ctx.metrics["loss"][0] * 10}

    @pipeline_step(cacheable=True)
    def weigh(data, ctx):
        note("weigh")
        return data, {"size": len(ctx.artifacts.written()[0].data)}

    def run(**settings):
        result = make(before(**settings), judge(), weigh()).run()
        return values(result), values(result, "size")

    assert [run(), run(loss=2), run(text="abc"), run()] == [([10], [1]), ([20], [1]), ([10], [3]), ([10], [1])]
    assert ran() == ["judge", "weigh", "judge", "weigh", "weigh"], "what comes from another output is another input"


def test_replicate_condition_and_seed_count_only_where_the_step_looks(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def blind(data, ctx):
        note("blind")
        return data

    @pipeline_step(cacheable=True)
    def seeing(data, ctx):
        note("seeing")
        return data, {"out": (ctx["replicate"], ctx["condition"])}

    result = make(blind(), seeing()).run(replicates=2, treatments=[Treatment("t", {})])
    assert values(result) == [(0, "baseline"), (1, "baseline")]
    assert values(result, treatment="t") == [(0, "t"), (1, "t")]
    assert sorted(ran()) == ["blind", *["seeing"] * 4]


def test_the_input_is_in_the_key_by_content(make, note, ran, values):
    step = scaled(note)
    for given in ([1], [2], [1]):
        make(step(), source=data_source(lambda ctx, given=given: list(given))()).run()
    assert len(ran()) == 2


class Image:
    """Like those of imaging libraries: it gives its pixels as an array, and is none."""

    def __init__(self, pixels):
        self.pixels = pixels

    @property
    def __array_interface__(self):
        raise AssertionError("nobody needs the pixels as an array")


def test_objects_that_are_like_arrays_are_known_by_what_they_hold(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def brightness(data, ctx, *, mask):
        note()
        return None, {"out": sum(data.pixels) + sum(mask.pixels) + sum(ctx["frame"].pixels)}

    found = []
    for pixels in ([1], [2], [1]):
        source = data_source(lambda ctx, pixels=pixels: Image(pixels))()
        context = {"mask": Image([10]), "frame": Image([100])}
        found += values(make(brightness(), source=source, initial_ctx=context).run())
    assert found == [111, 112, 111]
    assert len(ran()) == 2


def test_changed_code_is_run(make, note, ran, values):
    def step(body):
        return pipeline_step(cacheable=True)(body)()

    def double(data, ctx):
        note()
        return data, {"out": 2 * sum(data)}

    def triple(data, ctx):
        note()
        return data, {"out": 3 * sum(data)}

    triple.__name__ = "double"
    assert values(make(step(double)).run()) == [12]
    assert values(make(step(triple)).run()) == [18]
    assert len(ran()) == 2


def test_changed_closure_values_and_globals_are_seen_between_runs_of_one_experiment(
    make, note, ran, values, monkeypatch
):
    rate = [2]

    @pipeline_step(cacheable=True)
    def apply(data, ctx):
        note()
        return data, {"out": sum(data) * rate[0] + OFFSET}

    experiment = make(apply())
    found = [values(experiment.run())]
    rate[0] = 3
    found.append(values(experiment.run()))
    monkeypatch.setitem(globals(), "OFFSET", 100)
    found.append(values(experiment.run()))
    rate[0] = 2
    monkeypatch.setitem(globals(), "OFFSET", 0)
    found.append(values(experiment.run()))
    assert found == [[12], [18], [118], [12]]
    assert len(ran()) == 3


OFFSET = 0


def test_another_version_makes_entries_count_as_outdated(make, note, ran):
    for version in (None, 1, 2, "2", 1):
        make(scaled(note, version=version)()).run()
    assert len(ran()) == 4


def test_two_places_of_one_step_in_a_pipeline_keep_apart(make, note, ran, values):
    @pipeline_step(cacheable=True)
    def grow(data, ctx):
        note()
        return [*data, len(data)], {ctx["step_name"]: len(data)}

    for _ in range(2):
        result = make(grow(), grow()).run()
        assert (values(result, "GrowStep"), values(result, "GrowStep_2")) == ([3], [4])
    assert len(ran()) == 2


class Scale(PipelineStep):
    cacheable = True

    def __init__(self, note, factor, hidden=0):
        self._note = note
        self.factor = factor
        self.hidden = hidden

    @property
    def params(self):
        return {"factor": self.factor}

    def __call__(self, data, ctx):
        self._note()
        return data, {"out": sum(data) * self.factor + self.hidden + ctx.get("more", 0)}


def test_class_steps_are_cached_by_parameters_and_by_attributes_that_they_do_not_name(make, note, ran, values):
    made = [(2, 0), (3, 0), (2, 1), (2, 0)]
    assert [values(make(Scale(note, *each)).run()) for each in made] == [[12], [18], [13], [12]]
    assert len(ran()) == 3
    result = make(Scale(note, 2)).run(treatments=[Treatment("m", {"more": 5})])
    assert values(result, treatment="m") == [17]


class Prepared(PipelineStep):
    cacheable = True

    def __init__(self, note, weight):
        self._note, self._weight = note, weight

    @property
    def params(self):
        return {"named": 1}

    def setup(self, ctx):
        ctx.add("weight", self._weight)
        ctx.add("unread", object())

    def __call__(self, data, ctx):
        self._note()
        return data, {"out": ctx["weight"] * sum(data)}


def test_what_setup_adds_to_the_context_counts_where_it_is_read(make, note, ran, values):
    assert [values(make(Prepared(note, weight)).run()) for weight in (1, 2, 1)] == [[6], [12], [6]]
    assert len(ran()) == 2
