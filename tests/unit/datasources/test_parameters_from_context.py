"""Parameters of data sources that the context fills, as it does those of steps."""

from __future__ import annotations

import pytest

from crystallize import (
    Artifact,
    Experiment,
    ExperimentInput,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    resource_factory,
    standalone_context,
)


@data_source
def plain(ctx, size=3):
    return [1] * size


@data_source
def keyword_only(ctx, *, size=3):
    return [1] * size


@data_source
def required(ctx, size):
    return [1] * size


@data_source("named")
def named(ctx, size=3, **more):
    return [1] * (size + len(more))


@data_source
async def awaited(ctx, size=3):
    return [1] * size


@data_source(depends_on=[])
def declared(ctx, size=3):
    return [1] * size


SOURCES = [plain, keyword_only, required, named, awaited, declared]


@pipeline_step()
def count(data):
    return data, {"n": len(data) if isinstance(data, list) else len(data["inner"])}


@pytest.fixture
def counted():
    def run(source, **settings):
        settings.setdefault("treatments", [Treatment("baseline", {"size": 2}), Treatment("t", {"size": 5})])
        result = Experiment(source, [count()], default_plugins=False, **settings).run()
        assert not result.errors
        return result.metrics.baseline.metrics["n"] + result.metrics.treatments["t"].metrics["n"]

    return run


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@pytest.mark.parametrize("inner", [False, True], ids=["alone", "input"])
def test_a_treatment_reaches_a_parameter_by_name(source, inner, counted):
    assert counted(ExperimentInput(inner=source()) if inner else source()) == [2, 5]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_the_initial_context_reaches_it_too_and_an_explicit_value_counts_more(source, counted):
    assert counted(source(), initial_ctx={"size": 4}, treatments=[Treatment("t", {})]) == [4, 4]
    assert counted(source(size=1), initial_ctx={"size": 4}, treatments=[Treatment("t", {})]) == [1, 1]


def test_the_cell_itself_fills_parameters_of_its_keys():
    @data_source
    def source(ctx, replicate, condition="none"):
        return [replicate, condition]

    assert Experiment(source(), [lambda data: data], default_plugins=False).apply() == [0, "baseline"]


def test_values_are_copies_and_resources_are_made():
    made = []

    @data_source
    def source(ctx, grid=(), client=None):
        grid.append(1)
        return [*grid, client]

    ctx = {"grid": [0], "client": resource_factory(lambda ctx: made.append(1) or "client")}
    experiment = Experiment(source(), [lambda data: data], default_plugins=False, initial_ctx=ctx)
    assert experiment.apply() == experiment.apply() == [0, 1, "client"]
    assert made


def test_without_a_context_the_defaults_count():
    assert plain().fetch(None) == [1, 1, 1]
    assert plain().params == {"size": 3}
    assert plain().fetch(standalone_context({"size": 1})) == [1]


def test_what_fills_a_parameter_is_recorded_as_read_and_what_does_not_is_not():
    result = Experiment(plain(), [count()], default_plugins=False, treatments=[Treatment("t", {"size": 5})]).run()
    assert result.provenance["before_steps"]["t"][0]["reads"] == {"size": 5}
    assert result.provenance["before_steps"]["baseline"][0]["reads"] == {}


@pytest.mark.parametrize("source", [plain, declared, keyword_only], ids=lambda source: source.__name__)
@pytest.mark.parametrize("key", ["size", "{name}.size"])
def test_the_step_cache_tells_apart_what_a_parameter_was_filled_with(source, key, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "cache"))
    key = key.format(name=source().name)

    @pipeline_step(cacheable=True)
    def measured(data):
        return data, {"n": len(data)}

    def run(*values, **settings):
        treatments = [Treatment(f"t{value}", {key: value}) for value in values]
        result = Experiment(source(), [measured()], default_plugins=False, treatments=treatments, **settings).run()
        hits = {name: cells[0][0]["cache_hit"] for name, cells in result.provenance["ctx_changes"].items()}
        return {name: found.metrics["n"][0] for name, found in result.metrics.treatments.items()}, hits

    assert run(5, 6) == ({"t5": 5, "t6": 6}, {"baseline": False, "t5": False, "t6": False})
    assert run(6, 7) == ({"t6": 6, "t7": 7}, {"baseline": True, "t6": True, "t7": False})


def test_a_resumed_run_runs_what_fills_a_parameter_otherwise_again():
    def run(size, start=0):
        @data_source
        def source(ctx, size=3, start=0):
            return [1] * (size + start)

        return Experiment(
            source(),
            [count()],
            name="again",
            initial_ctx={"start": start},
            treatments=[Treatment("t", {"size": size})],
            plugins=[SeedPlugin(seed=1)],
        ).run(strategy="resume")

    assert run(5).metrics.treatments["t"].metrics["n"] == [5]
    assert run(6).metrics.treatments["t"].metrics["n"] == [6]
    again = run(6, start=1)
    assert (again.metrics.baseline.metrics["n"], again.metrics.treatments["t"].metrics["n"]) == ([4], [7])


def test_an_artifact_beside_it_is_left_alone():
    out = Artifact("n.txt", loader=lambda path: int(path.read_text()))

    @pipeline_step()
    def publish(data, *, out: Artifact):
        out.write(str(len(data)))
        return data

    up = Experiment(plain(), [publish(out=out)], name="up", outputs=[out], plugins=[SeedPlugin(seed=1)])
    up.run(treatments=[Treatment("t", {"size": 7})])

    @pipeline_step()
    def both(data):
        return data, {"n": data["left"] + len(data["right"])}

    down = Experiment(ExperimentInput(left=out, right=plain()), [both()], name="down", default_plugins=False)
    result = down.run(treatments=[Treatment("t", {"size": 7})])
    assert (result.metrics.baseline.metrics, result.metrics.treatments["t"].metrics) == ({"n": [6]}, {"n": [14]})
