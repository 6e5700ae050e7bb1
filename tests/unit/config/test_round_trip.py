"""`to_yaml` writes what `from_yaml` reads as the same experiment, and says what it cannot write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    ExperimentInput,
    Hypothesis,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.errors import ConfigurationError
from crystallize.fingerprint import value_of as identity_of
from crystallize_plugins.config.problems import Problems
from crystallize_plugins.config.reading import compose
from crystallize_plugins.config.values import plain, value_of
from crystallize_plugins.config.writing import dump, unwritable

FULL = """
name: rates
description: "Which rate: 0.1 or 1?"
datasource:
  data: {numbers: {upto: 4}}
  ones: Ones
steps:
  - see
  - scale: {factor: 2.5}
  - Shift: {by: 1}
  - publish
  - publish: {table: second}
  - plain: {plus: 1}
outputs:
  table: {file_name: table.json}
  second: {file_name: second.json, writer: to_json, loader: from_json}
treatments:
  "no": {factor: 0.1, grid: [1, {deep: [null, true, "yes", .inf]}]}
  nothing: {}
hypotheses:
  - {name: own, verifier: {above: {margin: 0.5}}, metrics: total, ranker: by_p_value}
  - {name: installed, verifier: {permutation: {alternative: greater}}, metrics: [total]}
  - {name: plain, verifier: simple}
replicates: 3
seed: 12
strategy: resume
retries: 1
max_failures: 4
execution: {parallel: {max_workers: 2, executor_type: process}}
plugins: {artifacts: {root_dir: elsewhere}, logging: false}
"""
SEES = '\n@pipeline_step()\ndef see(data, ctx):\n    return data["data"]\n'


@pytest.fixture
def full(write):
    """Load an experiment that has everything."""
    folder = write(FULL)
    steps = folder / "steps.py"
    steps.write_text(steps.read_text() + SEES)
    return Experiment.from_yaml(folder)


def facts(experiment):
    """Give everything about an experiment that config.yaml can say."""
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": experiment.description,
        "treatments": [(treatment.name, identity_of(dict(treatment.apply_map))) for treatment in experiment.treatments],
        "hypotheses": [
            (each.name, each.metrics, identity_of(each.verifier), getattr(each.ranker, "__name__", None))
            for each in experiment.hypotheses
        ],
        "outputs": {name: (each.loader.__name__, each.writer.__name__) for name, each in experiment.outputs.items()},
        "plugins": experiment.plugin_order(),
        "seed": experiment.get_plugin(SeedPlugin).seed,
        "policies": (experiment.retries, experiment.timeout, experiment.max_failures, experiment.fail_fast),
        "rest": (experiment.replicates, experiment.strategy),
    }


def test_a_written_experiment_is_the_same_when_it_is_read(full, tmp_path):
    written = full.to_yaml(tmp_path / "again")
    assert written == tmp_path / "again" / "config.yaml"
    again = Experiment.from_yaml(written)
    assert facts(again) == facts(full)
    assert again.plugins[0].root_dir == full.plugins[0].root_dir == Path("elsewhere")
    assert again.to_yaml("third").read_text() == written.read_text()


def test_the_code_is_copied_with_it(full, tmp_path):
    full.to_yaml("again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "config.yaml", "datasources.py", "outputs.py", "steps.py", "verifiers.py",
    ]  # fmt: skip


def test_what_was_changed_in_python_is_written(full):
    full.replicates = 9
    full.treatments.append(Treatment("late", {"factor": 7}))
    again = Experiment.from_yaml(full.to_yaml("again"))
    assert again.replicates == 9
    assert [treatment.name for treatment in again.treatments] == ["no", "nothing", "late"]


def test_a_file_in_the_same_folder_needs_no_copy(full, tmp_path):
    written = full.to_yaml(tmp_path / "lab" / "second.yaml")
    assert facts(Experiment.from_yaml(written)) == facts(full)


def test_a_config_that_is_there_is_never_rewritten(full, tmp_path):
    before = (tmp_path / "lab" / "config.yaml").read_text()
    with pytest.raises(ConfigurationError, match="would lose its comments"):
        full.to_yaml("lab")
    assert (tmp_path / "lab" / "config.yaml").read_text() == before


def test_other_code_is_never_overwritten(full, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "steps.py").write_text("mine = 1\n")
    with pytest.raises(ConfigurationError, match="differs from"):
        full.to_yaml("again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["steps.py"]


def test_an_experiment_that_reads_from_another_is_written_beside_it(write):
    makes = "datasource: {data: numbers}\nsteps: [publish]\noutputs: {table: {file_name: t.json}}\n"
    write(makes, name="makes")
    reads = Experiment.from_yaml(write("datasource: {rows: makes#table}\nsteps: [total]\n", name="reads"))
    again = reads.to_yaml("copy")
    assert "rows: makes#t.json" in again.read_text()
    assert Experiment.from_yaml(again).id == reads.id
    with pytest.raises(ConfigurationError, match="not beside the target"):
        reads.to_yaml("deeper/copy")


def test_an_experiment_made_in_python_of_the_folders_parts_is_written(full):
    made = Experiment(
        full.datasource, full.pipeline, plugins=[SerialExecution()], name="made", outputs=full.outputs.values()
    )
    assert Experiment.from_yaml(made.to_yaml("made")).id == made.id


@data_source
def somewhere(ctx):
    return [1]


@pipeline_step()
def here(data, ctx, *, factor=1):
    return data


class Counting(BasePlugin):
    neutral = True


def test_everything_that_cannot_be_written_is_said_at_once(tmp_path):
    experiment = Experiment(
        somewhere(),
        [here(factor={1, 2})],
        plugins=[Counting(), SeedPlugin(seed_fn=print)],
        initial_ctx={"rate": 1},
        treatments=[Treatment("made", lambda ctx: None), Treatment("odd", {"x": (1, 2)})],
        hypotheses=[Hypothesis(lambda baseline, treatment: {}, name="h")],
        strict=True,
    )
    with pytest.raises(ConfigurationError) as caught:
        experiment.to_yaml("out")
    said = str(caught.value)
    for words in (
        "datasource: somewhere is defined in",
        "step HereStep: here is defined in",
        "steps.0.here.factor is a set",
        "Counting has no entry point",
        "plugins.seed.seed_fn is a builtin_function_or_method",
        "initial_ctx (rate)",
        "strict=True",
        "treatments.made: a function sets its values",
        "treatments.odd.x is a tuple",
        "hypotheses.h.verifier: ",
    ):
        assert words in said
    assert not (tmp_path / "out").exists()


def test_sources_that_a_file_would_read_otherwise_are_refused(full):
    source = full.datasource.sources["ones"]
    for datasource, words in (
        (ExperimentInput(only=source), "an ExperimentInput of one source"),
        (Artifact("x"), "an Artifact alone"),
        (ExperimentInput(a=source, b=Artifact("x")), "belongs to no experiment that was read from a folder"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            Experiment(datasource, full.pipeline, name="x", outputs=full.outputs.values()).to_yaml("out")


# -- any data -------------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=12),
    st.text(" \t\n#:-?&*!|>'\"%@`{}[],<=~0123456789_.eExobYyNnOof", max_size=12),
    st.sampled_from(
        ["yes", "no", "on", "<<", "1e3", "010", "1_0", "~", "null", "---", "...", "- a", "a: b", " a", "a "]
    ),
    st.sampled_from(["\u2028", "\x85", "\ufeff", "\U0001f377", "\x7f"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return type(one) is type(other) and one == other


@given(st.dictionaries(texts, values, max_size=5))
def test_any_data_reads_back_as_it_was_written_and_nothing_of_it_is_in_doubt(data):
    problems = Problems()
    node = compose(dump(data), "config.yaml", problems)
    assert same(plain(node), data)
    assert same(value_of(node, problems), data)
    assert [str(problem) for problem in problems] == []


@given(
    st.one_of(
        values, st.tuples(st.integers()), st.sets(st.integers()), st.binary(), st.dictionaries(st.integers(), values)
    )
)
def test_only_what_cannot_be_written_is_called_so(value):
    fault = unwritable({"x": value}, "here")
    if fault is None:
        assert same(plain(compose(dump({"x": value}), "config.yaml", Problems())), {"x": value})
    else:
        assert fault.startswith("here.x")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    treatments=st.dictionaries(
        st.text("abcXYZ 019_-.", min_size=1, max_size=8).filter(lambda name: name.strip(" .") == name),
        st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), values, max_size=3),
        max_size=3,
    ),
    replicates=st.integers(1, 10**6),
    seed=st.none() | st.integers(),
    description=st.none() | st.text(min_size=1, max_size=20),
    strategy=st.sampled_from(["rerun", "resume"]),
)
def test_any_experiment_of_a_folder_comes_back(tmp_path_factory, treatments, replicates, seed, description, strategy):
    folder = tmp_path_factory.mktemp("round")
    names = {name.casefold() for name in treatments}
    if len(names) < len(treatments) or "baseline" in names:
        return
    source = folder / "a"
    source.mkdir()
    (source / "datasources.py").write_text(
        "from crystallize import data_source\n@data_source\ndef one(ctx):\n    return 1\n"
    )
    (source / "steps.py").write_text("def same(data):\n    return data\n")
    (source / "config.yaml").write_text("datasource: {data: one}\nsteps: [same]\n")
    experiment = Experiment.from_yaml(source)
    experiment.treatments = [Treatment(name, apply) for name, apply in treatments.items()]
    experiment.replicates, experiment.description, experiment.strategy = replicates, description, strategy
    experiment.plugins = [*(SeedPlugin(seed=seed) if isinstance(plugin, SeedPlugin) else plugin for plugin in experiment.plugins)]  # fmt: skip  # noqa: E501
    assert facts(Experiment.from_yaml(experiment.to_yaml(folder / "b"))) == facts(experiment)
