"""What lists show of many folders, without running any of their code."""

from __future__ import annotations

import sys
import time

import pytest

from crystallize.errors import ConfigurationError
from crystallize_plugins.config import Cli, read_description

FULL = """
name: rates
description: Which rate?
datasource: {rows: makes#table, more: numbers}
steps: [total]
outputs: {model: {}, report: }
cli: {group: Training, priority: 1, icon: "🍷", color: "#85c1e9", hidden: true}
"""
TRAP = "raise RuntimeError('imported')\n"
TRAPS = dict.fromkeys(("datasources", "steps", "outputs", "verifiers"), TRAP)


def test_a_description_has_what_a_list_shows(write):
    found = read_description(write(FULL, **TRAPS))
    assert (found.name, found.description, found.outputs) == ("rates", "Which rate?", ("model", "report"))
    assert found.cli == Cli("Training", 1, "🍷", "#85c1e9", hidden=True)
    assert found.references == (("rows", "makes", "table"),)


def test_a_description_has_what_a_run_is_made_of(write):
    text = """
        replicates: 30
        strategy: rerun
        steps: [split, {fit: {rate: 1}}, Score, absent]
        treatments: {deep: {depth: 9}, wide: }
        hypotheses: [{name: deep is better, verifier: welch}]
    """
    steps = """
        import crystallize
        raise RuntimeError("imported")

        @crystallize.pipeline_step(cacheable=True)
        def split(data, ctx): ...

        @pipeline_step()
        def fit(data, ctx, rate): ...

        class Score(PipelineStep):
            cacheable = True
    """
    found = read_description(write(text, steps=steps))
    assert found.steps == (("split", True, 6), ("fit", False, 9), ("Score", True, 11), ("absent", False, None))
    assert (found.treatments, found.hypotheses) == (("deep", "wide"), ("deep is better",))
    assert (found.replicates, found.strategy) == (30, "rerun")


def test_what_is_left_out_has_defaults(write):
    found = read_description(write("steps: [a]\n", name="lab"))
    assert (found.name, found.description, found.cli, found.outputs) == ("lab", None, Cli(), ())
    assert found.cli.priority == 999


@pytest.mark.parametrize(
    "text,line,words",
    [
        ("a: [\n", 2, "no YAML"),
        ("- a\n", 1, "must be a mapping"),
        ("name: 3\n", 1, "name must be a text, not the number 3"),
        ("\ncli: [a]\n", 2, "cli must be a mapping"),
        ("cli:\n  hidden: yes\n", 2, "cli.hidden must be true or false"),
        ("cli: {priority: true}\n", 1, "cli.priority must be a number"),
        ("outputs: model\n", 1, "outputs must be a mapping"),
    ],
)
def test_what_cannot_be_shown_is_an_error_with_its_place(text, line, words, write):
    with pytest.raises(ConfigurationError) as caught:
        read_description(write(text))
    (problem,) = caught.value.problems
    assert problem.line == line
    assert words in problem.message


def test_mistakes_elsewhere_do_not_matter(write):
    assert read_description(write("name: x\nsteps: 3\nzzz: 1\n")).name == "x"


def test_neither_modules_nor_the_library_of_schemas_are_imported(write, run_script):
    write(FULL, name="lab", **TRAPS)
    # With an option, so that a new interpreter runs it: a fork has the modules already.
    done = run_script(
        """
        import sys
        from crystallize_plugins.config import read_description

        print(read_description("lab").name)
        heavy = ("jsonschema_rs", "crystallize.engine", "crystallize.plugins", "numpy")
        others = {"config", "lazy"}
        print(
            [name for name in heavy if name in sys.modules],
            [name for name in sys.modules if name[:20] == "crystallize_plugins." and name.split(".")[1] not in others],
        )
    """,
        options=("-s",),
    )
    assert done.stdout == "rates\n[] []\n", done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a process' time has too coarse a clock there")
def test_five_hundred_folders_take_less_than_a_second_of_the_processor(write):
    folders = [
        write(FULL, name=f"lab{number}", datasources=None, outputs=None, verifiers=None) for number in range(500)
    ]
    read_description(folders[0])
    begin = time.process_time()
    for folder in folders:
        read_description(folder)
    assert time.process_time() - begin < 1
