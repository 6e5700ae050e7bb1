"""The provenance tree."""

from __future__ import annotations

import io
import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import CrystallizeError
from crystallize.results.tree import LEVELS, parse_format

VALID = {
    chosen for size in range(1, 5) for chosen in itertools.permutations(LEVELS, size) if "action" not in chosen[:-1]
}


@pytest.fixture
def result(traced, build, conditions):
    return build([traced(name, replicate) for name in ("baseline", "large") for replicate in (0, 1)], conditions)


def test_the_default_tree_groups_by_treatment_replicate_and_step(traced, build, conditions, capsys):
    outcomes = [
        traced(name, replicate, duration=0.5 + replicate, worker="process-1" if replicate else "main")
        for name in ("baseline", "large")
        for replicate in (0, 1)
    ]
    build(outcomes, conditions).print_tree()
    assert capsys.readouterr().out == (
        "run\n"
        "├── baseline\n"
        "│   ├── replicate 0 (seed 100)  500 ms\n"
        "│   │   ├── ScaleStep(factor=1)  250 ms\n"
        "│   │   └── FitStep  cached  500 ms\n"
        "│   └── replicate 1 (seed 101)  1.5 s in process-1\n"
        "│       ├── ScaleStep(factor=1)  250 ms\n"
        "│       └── FitStep  cached  500 ms\n"
        "└── large\n"
        "    ├── replicate 0 (seed 100)  500 ms\n"
        "    │   ├── ScaleStep(factor=9)  250 ms\n"
        "    │   └── FitStep  cached  500 ms\n"
        "    └── replicate 1 (seed 101)  1.5 s in process-1\n"
        "        ├── ScaleStep(factor=9)  250 ms\n"
        "        └── FitStep  cached  500 ms\n"
    )


def test_durations_are_those_of_one_cell_and_never_of_several(result):
    assert result.tree_text("replicate > treatment").splitlines()[1:3] == [
        "├── replicate 0 (seed 100)",
        "│   ├── baseline  0 ms",
    ]
    for fmt in ("treatment", "step", "treatment > step", "replicate", "replicate > step"):
        assert " ms" not in result.tree_text(fmt)


def test_actions_say_what_a_step_read_wrote_and_recorded(traced, build, conditions):
    text = build([traced("large", 0)], conditions).tree_text("step > action")
    assert text == (
        "run (seed 100)\n"
        "├── before the steps\n"
        "│   ├── reads replicate = 0\n"
        "│   ├── writes seed_used = 100\n"
        "│   └── records rows = 9\n"
        "├── ScaleStep(factor=9)\n"
        "│   ├── reads factor = 9\n"
        "│   ├── reads ghost = '<absent>'\n"
        "│   ├── writes scaled = 'ndarray(shape=(3,))'\n"
        "│   └── records loss = 0\n"
        "└── FitStep  cached\n"
        "    ├── reads scaled = 'ndarray(shape=(3,))'\n"
        "    ├── records loss = 10, 20\n"
        "    └── records score = 0.5"
    )


def test_levels_come_in_the_order_that_is_asked_for(result):
    assert result.tree_text("step > treatment").splitlines() == [
        "run (seeds 100, 101)",
        "├── ScaleStep(…)",
        "│   ├── baseline",
        "│   └── large",
        "└── FitStep  cached",
        "    ├── baseline",
        "    └── large",
    ]


def test_actions_without_steps_name_the_step(result):
    lines = result.tree_text("treatment > action").splitlines()
    assert "│   ├── ScaleStep: records loss = 0, 1" in lines
    assert "    ├── ScaleStep: reads factor = 9" in lines


@pytest.mark.parametrize("levels", sorted(VALID))
def test_every_valid_format_shows_the_seeds(result, levels):
    text = result.tree_text(" > ".join(levels))
    assert "100" in text
    assert "101" in text


def test_a_run_without_seeds_says_so(outcome, build):
    assert "no seed" in build([outcome("baseline", 0, {}, seed=None)]).tree_text()


@given(st.lists(st.sampled_from([*LEVELS, "", "condition", "Step"]), max_size=5), st.sampled_from([">", " > ", " >"]))
def test_exactly_the_valid_formats_are_accepted(levels, joint):
    fmt = joint.join(levels)
    if tuple(levels) in VALID:
        assert parse_format(fmt) == tuple(levels)
    else:
        with pytest.raises(ValueError, match="treatment, replicate, step, action"):
            parse_format(fmt)


@given(st.text())
def test_other_text_is_refused_as_a_crystallize_error(fmt):
    if fmt.strip() not in LEVELS:
        with pytest.raises(CrystallizeError):
            parse_format(fmt)


@pytest.mark.parametrize("fmt", [None, 3, ["step"], b"step"], ids=repr)
def test_a_format_that_is_no_text_is_refused(result, fmt):
    with pytest.raises(TypeError, match="text"):
        result.print_tree(fmt)


def test_nothing_is_printed_when_the_format_is_wrong(result, capsys):
    with pytest.raises(ValueError, match="'action' must be the last"):
        result.print_tree("action > step")
    assert capsys.readouterr().out == ""


def test_failures_are_shown_where_they_happened(traced, outcome, build, conditions):
    result = build([traced("baseline", 0), traced("large", 0, error="no\n  memory"), outcome("large", 1)], conditions)
    failed = "FAILED: step 'fit' failed in large, replicate 0: no memory"
    assert f"├── replicate 0 (seed 100)  0 ms  {failed}" in result.tree_text()
    assert "└── large  FAILED: 1 of 2 cells" in result.tree_text("treatment > step")
    assert "├── replicate 0 (seed 100)  FAILED: 1 of 2 cells" in result.tree_text("replicate > treatment")


def test_a_cell_of_which_nothing_is_known_is_still_in_every_tree(outcome, build):
    result = build([outcome("baseline", 0, error="worker died")])
    for levels in VALID:
        assert "100" in result.tree_text(" > ".join(levels))
    assert "no record of steps" in result.tree_text("step > replicate")


def test_the_same_step_twice_in_a_pipeline_is_two_nodes(outcome, build, shape, traced):
    twice = traced("baseline", 0)
    twice.provenance.shape = shape._replace(steps=(shape.steps[1], shape.steps[1]))
    assert build([twice]).tree_text("step").count("FitStep") == 2


def test_a_terminal_that_lacks_the_characters_still_gets_a_tree(result, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    result.print_tree("treatment")
    sys.stdout.flush()
    assert b"baseline" in raw.getvalue()


class Speechless:
    def __repr__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "value, shown", [(np.float64(0.5), "0.5"), (Speechless(), "<Speechless>")], ids=["NumPy", "none"]
)
def test_a_value_of_any_kind_is_shown(value, shown, traced, build):
    cell = traced("baseline", 0)
    cell.metrics["score"] = [value]
    assert f"records score = {shown}\n" in build([cell]).tree_text("step > action") + "\n"


def test_long_values_are_cut_to_a_line(traced, build, conditions):
    wordy = traced("large", 0)
    wordy.provenance.written["scaled"] = "word\n" * 100
    assert all(len(line) < 120 for line in build([wordy], conditions).tree_text("step > action").splitlines())
