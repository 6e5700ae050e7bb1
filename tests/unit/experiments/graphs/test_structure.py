"""What a graph is made of, and what it refuses before anything runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from crystallize import Artifact, Experiment, ExperimentGraph, ExperimentInput, Treatment, data_source, pipeline_step
from crystallize.errors import ArgumentTypeError, CrystallizeError, DuplicateNameError, GraphError, ValidationError

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def diamond(node):
    top = node("top")
    left, right = node("left", top), node("right", top)
    return top, left, right, node("bottom", left, right, top)


def test_experiments_come_after_all_that_they_read_from(diamond):
    top, left, right, bottom = diamond
    order = ExperimentGraph(bottom, right, left, top).order
    assert order[0] == "top"
    assert set(order[1:3]) == {"left", "right"}
    assert order[3] == "bottom"


def test_edges_name_the_files_that_are_read(diamond):
    graph = ExperimentGraph.from_experiments(diamond)
    assert graph.edges()["bottom"] == {"left": ("left.json",), "right": ("right.json",), "top": ("top.json",)}
    assert graph.upstream("top") == ()
    assert graph.upstream(diamond[1]) == ("top",)


def test_a_source_of_paths_is_an_edge_like_an_artifact(node):
    top = node("top")

    @pipeline_step()
    def size(data, ctx):
        return data, {"size": len(data.read_bytes())}

    below = Experiment(top.artifact_datasource("WorkStep", "top.json"), [size()], name="below")
    graph = ExperimentGraph(below, top)
    assert graph.order == ("top", "below")
    assert graph.edges()["below"] == {"top": ("top.json",)}


def test_a_dependency_can_be_added_by_hand(node):
    first, second = node("first"), node("second")
    graph = ExperimentGraph()
    graph.add_experiment(second)
    graph.add_experiment(first)
    graph.add_dependency(second, first)
    graph.add_dependency("second", "first")
    assert graph.order == ("first", "second")
    assert graph.edges()["second"] == {"first": ()}


def test_an_experiment_without_a_name_is_refused(node):
    with pytest.raises(ValidationError, match="no name"):
        ExperimentGraph(node("top"), Experiment(node("other").datasource, [len]))


def test_two_experiments_of_one_name_are_refused(node):
    with pytest.raises(DuplicateNameError, match="'top'"):
        ExperimentGraph(node("top"), node("top"))
    with pytest.raises(DuplicateNameError, match="'Top'"):
        ExperimentGraph(node("top"), node("Top"))


def test_one_experiment_given_twice_is_one(node):
    top = node("top")
    assert ExperimentGraph(top, top).order == ("top",)


def test_what_nobody_writes_is_refused_by_name():
    @pipeline_step()
    def use(data, ctx):
        return data

    orphan = Experiment(Artifact("orphan.bin"), [use()], name="use")
    with pytest.raises(GraphError, match=r"'use' reads the artifact 'orphan.bin'.*outputs="):
        ExperimentGraph(orphan)
    inside = Experiment(ExperimentInput(a=Artifact("orphan.bin")), [use()], name="use")
    with pytest.raises(GraphError, match="orphan"):
        ExperimentGraph(inside)


def test_an_experiment_that_is_read_from_has_to_be_in_the_graph(node):
    top = node("top")
    with pytest.raises(GraphError, match="'below' reads from experiment 'top', which is not in the graph") as caught:
        ExperimentGraph(node("below", top))
    assert caught.value.experiment == "below"


def test_a_cycle_is_refused_and_named(node):
    first = node("first")
    second = node("second", first)
    graph = ExperimentGraph(first, second)
    with pytest.raises(GraphError, match="cycle: .*'first'.*'second'"):
        graph.add_dependency(first, second)
    assert graph.order == ("first", "second"), "the graph is as it was"
    first.datasource = second.published
    with pytest.raises(GraphError, match="cycle"):
        graph.run()


def test_an_experiment_that_reads_from_itself_is_a_cycle(node):
    own = node("own")
    own.datasource = own.published
    with pytest.raises(GraphError, match="cycle"):
        ExperimentGraph(own)


def test_dependencies_of_strangers_are_refused_with_the_nearest_name(node):
    graph = ExperimentGraph(node("first"), node("second"))
    with pytest.raises(GraphError, match="Did you mean 'second'"):
        graph.add_dependency("secnd", "first")
    with pytest.raises(GraphError, match="'first' is not in the graph"):
        graph.add_dependency(node("first"), "second")  # another experiment of that name


@pytest.mark.parametrize("wrong", [5, "name", None])
def test_only_experiments_make_a_graph(wrong):
    with pytest.raises(ArgumentTypeError, match="made of experiments"):
        ExperimentGraph(wrong)
    with pytest.raises(ArgumentTypeError, match="not of list: ExperimentGraph.from_experiments takes a list"):
        ExperimentGraph([wrong])


def test_a_graph_of_nothing_cannot_be_made_or_run():
    with pytest.raises(ValidationError):
        ExperimentGraph.from_experiments([])
    with pytest.raises(GraphError, match="no experiments"):
        ExperimentGraph().run()
    with pytest.raises(ArgumentTypeError, match="list of experiments"):
        ExperimentGraph.from_experiments(5)


def test_an_experiment_that_stores_nothing_cannot_be_read_from(node):
    top = node("top", default_plugins=["seed"])
    with pytest.raises(GraphError, match="'below' reads what 'top' stores.*ArtifactPlugin"):
        ExperimentGraph(top, node("below", top)).run()


def test_inputs_with_different_numbers_of_replicates_are_refused_before_anything_runs(node, tmp_path):
    few, many = node("few", replicates=2), node("many", replicates=3)
    graph = ExperimentGraph(few, many, node("both", few, many))
    with pytest.raises(ValidationError, match="'both'.*few 2, many 3"):
        graph.run()
    assert not (tmp_path / "data").exists()


def test_what_an_experiment_refuses_is_refused_before_anything_runs(node, tmp_path):
    top = node("top")
    wrong = node("wrong", top)
    wrong.initial_ctx["condition"] = 1
    with pytest.raises(ValidationError, match="experiment 'wrong' of the graph: .*reserved"):
        ExperimentGraph(top, wrong).run()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"replicates": 0}, {"replicates": 1.5}, {"strategy": "sideways"}, {"treatments": [5]}, {"max_parallel": 0},
        {"max_parallel": True}, {"treatments": [Treatment("a", {}), Treatment("a", {})]},
    ],
)  # fmt: skip
def test_arguments_are_checked_before_anything_runs(node, tmp_path, arguments):
    with pytest.raises(CrystallizeError):
        ExperimentGraph(node("top")).run(**arguments)
    assert not (tmp_path / "data").exists()


def test_mermaid_text_holds_every_experiment_and_edge(diamond):
    text = ExperimentGraph(*diamond, name='a "diamond"').to_mermaid()
    assert text.splitlines()[:4] == ["---", 'title: "a \\"diamond\\""', "---", "flowchart LR"]
    assert text.count("-->") == 5
    assert 'n0["top"]' in text
    assert '-- "left.json" -->' in text


def test_names_with_markup_stay_text_in_pictures(node):
    name = 'a<b>&"c"]'
    graph = ExperimentGraph(node(name))
    assert "#60;b#62;#38;#34;c#34;#93;" in graph.to_mermaid()
    texts = [element.text for element in ET.fromstring(graph.to_svg()).iter(f"{SVG}text")]
    assert name in texts


def test_the_picture_is_svg_with_a_box_for_each_experiment_and_an_arrow_for_each_edge(diamond, tmp_path):
    graph = ExperimentGraph(*diamond, name="diamond")
    text = graph.to_svg(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == text
    root = ET.fromstring(text)
    boxes = {
        group.get("data-experiment"): group.find(f"{SVG}rect")
        for group in root.iter(f"{SVG}g") if group.get("data-experiment")
    }  # fmt: skip
    assert set(boxes) == {"top", "left", "right", "bottom"}
    assert len([path for path in root.iter(f"{SVG}path") if path.get("marker-end")]) == 5
    x = {name: float(box.get("x")) for name, box in boxes.items()}
    assert x["top"] < x["left"] == x["right"] < x["bottom"]
    assert boxes["left"].get("y") != boxes["right"].get("y")
    inside = [float(box.get("x")) + float(box.get("width")) <= float(root.get("width")) for box in boxes.values()]
    assert all(inside)


def test_a_source_that_reads_nothing_has_no_edges():
    @data_source
    def numbers(ctx):
        return [1]

    graph = ExperimentGraph(Experiment(numbers(), [len], name="alone"))
    assert graph.edges() == {"alone": {}}
    assert repr(graph) == "ExperimentGraph(alone)"
