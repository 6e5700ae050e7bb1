"""`experiment#output`: an experiment that reads what the experiment in the folder beside it writes."""

from __future__ import annotations

import pytest

from crystallize import Experiment, ExperimentGraph
from crystallize.errors import ConfigurationError
from crystallize_plugins.config import load_folder

MAKES = """
datasource: {data: numbers}
steps: [publish]
outputs: {table: {file_name: table.json, writer: to_json, loader: from_json}}
replicates: 2
plugins: {logging: false}
"""
WRITES = """
    from crystallize import Artifact, pipeline_step

    @pipeline_step()
    def publish(data, ctx, *, table: Artifact):
        table.write([value + ctx["replicate"] for value in data])
"""
READS = "datasource: {rows: makes#table}\nsteps: [see]\nplugins: {logging: false}\n"
SEES = """
    from crystallize import pipeline_step

    @pipeline_step()
    def see(data, ctx):
        return data, {"sum": sum(data["rows"])}
"""


@pytest.fixture
def pair(write):
    """Write an experiment that makes a table, and one that reads it."""
    write(MAKES, name="makes", steps=WRITES)
    return write(READS, name="reads", steps=SEES)


def test_one_reads_what_the_other_wrote_through_its_loader(pair):
    loaded = load_folder(pair)
    loaded.producers["makes"].experiment.run()
    result = loaded.experiment.run()
    assert result.errors == {}
    assert result.metrics.baseline.metrics["sum"] == [3, 6], "as many replicates as the table has"


def test_files_of_one_name_are_told_apart_by_their_alias(write):
    write(
        "datasource: {data: numbers}\nsteps: [one, two]\nplugins: {logging: false}\n"
        "outputs: {first: {file_name: t.json}, second: {file_name: t.json, loader: from_json}}\n",
        name="makes",
        steps="""
            from crystallize import Artifact, pipeline_step

            @pipeline_step()
            def one(data, ctx, *, first: Artifact):
                first.write("[1]")

            @pipeline_step()
            def two(data, ctx, *, second: Artifact):
                second.write("[2, 2]")
        """,
    )
    folder = write("datasource: {rows: makes#second}\nsteps: [see]\nplugins: {logging: false}\n", steps=SEES)
    with pytest.raises(ConfigurationError, match=r"several outputs of makes are files of the name 't\.json'"):
        Experiment.from_yaml(folder).to_yaml("copy")
    assert ExperimentGraph.from_yaml(folder).run()["lab"].metrics.baseline.metrics == {"sum": [4]}


def test_a_file_name_that_two_outputs_have_is_no_reference(write, problems_of):
    makes = "datasource: {data: numbers}\nsteps: [publish: {table: a}, publish: {table: b}]\n"
    write(f"{makes}outputs: {{a: {{file_name: t}}, b: {{file_name: t}}}}\n", name="makes")
    (problem,) = problems_of(write("datasource: {rows: makes#t}\nsteps: [total]\n", name="reads"))
    assert problem.message == "the experiment 'makes' has no output 't'"
    assert problem.advice == "Its outputs: a, b"


def test_the_references_are_told(pair):
    loaded = load_folder(pair)
    (reference,) = loaded.references
    assert reference[:3] == ("rows", "makes", "table")
    assert (reference.place.line, reference.place.column) == (1, 20)
    assert list(loaded.producers) == ["makes"]
    assert loaded.producers["makes"].references == ()
    assert loaded.folder == pair


def test_experiments_that_read_from_one_share_it(pair, write):
    write(READS, name="reads too", steps=SEES)
    known = {}
    one, two = (load_folder(name, known=known) for name in ("reads", "reads too"))
    assert one.producers["makes"] is two.producers["makes"]
    assert sorted(path.name for path in known) == ["makes", "reads", "reads too"]
    assert load_folder("makes", known=known) is one.producers["makes"]


def test_the_graph_of_a_folder_runs(pair):
    results = ExperimentGraph.from_yaml(pair).run()
    assert results["reads"].metrics.baseline.metrics["sum"] == [3, 6]


def test_functions_and_references_stand_side_by_side(pair, write):
    text = "datasource: {rows: makes#table, more: numbers}\nsteps: [see]\nplugins: {logging: false}\n"
    loaded = load_folder(write(text, name="both", steps=SEES))
    loaded.producers["makes"].experiment.run()
    assert loaded.experiment.run().metrics.baseline.metrics["sum"] == [3, 6]


def test_an_output_may_be_named_by_its_file(pair, write):
    folder = write(READS.replace("makes#table", "makes#table.json"), name="by file", steps=SEES)
    assert load_folder(folder).experiment.name == "by file"


def test_what_is_wrong_with_the_other_is_said_with_its_file(pair, write, problems_of):
    write(MAKES + "replicats: 3\n", name="makes", steps=WRITES)
    (problem,) = problems_of(pair)
    assert problem.file.endswith("makes/config.yaml")
    assert problem.line == 7


@pytest.mark.parametrize(
    "reference,message,advice",
    [
        ("maked#table", "no folder 'maked'", "Did you mean 'makes'?"),
        ("makes#tabel", "'makes' has no output 'tabel'", "Did you mean 'table'?"),
        ("makes#", "'makes' has no output ''", "Its outputs: table"),
        ("'#table'", "no folder ''", "Folders there: makes"),
        ("../makes#table", "no folder '../makes'", "Folders there: makes"),
        ("/etc#passwd", "no folder '/etc'", "Folders there: makes"),
    ],
)
def test_a_mistaken_reference_is_named_with_the_nearest(reference, message, advice, pair, write, problems_of):
    (problem,) = problems_of(write(READS.replace("makes#table", reference), name="reads", steps=SEES))
    assert (problem.line, problem.column) == (1, 20)
    assert message in problem.message
    assert advice in problem.advice


def test_a_cycle_is_said(write, problems_of):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        text = f"datasource: {{x: {other}#t}}\nsteps: [total]\noutputs: {{t: {{}}}}\n"
        write(text, name=name)
    (problem,) = problems_of("a")
    assert "in a cycle: a -> b -> c -> a" in problem.message


def test_an_experiment_remembers_what_it_was_read_from(pair):
    loaded = load_folder(pair, overrides=["replicates=7"])
    read, made = loaded.experiment, loaded.producers["makes"].experiment
    assert (read.config, read.config_overrides) == (str(pair), ("replicates=7",))
    assert (made.config, made.config_overrides) == (str(pair.parent / "makes"), ())
    other = (pair / "config.yaml").rename(pair / "other.yaml")
    assert Experiment.from_yaml(other).config == str(other)


def test_a_run_with_overrides_is_done_again_with_them(write):
    from crystallize_plugins.runs import reproduce

    folder = write("datasource: {data: numbers}\nsteps: [{scale: {factor: 2}}, total]\n")
    Experiment.from_yaml(folder, overrides=["steps.scale.factor=5", "replicates=2"]).run()
    assert reproduce(
        "data/lab/v0", confirm=lambda place, overrides: place == folder.resolve() and len(overrides) == 2
    ).identical
