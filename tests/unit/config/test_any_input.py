"""Whatever stands in a config.yaml, it is loaded or refused with places; nothing else ever happens."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import Experiment
from crystallize.errors import ConfigurationError
from crystallize_plugins.config import schema
from crystallize_plugins.config.writing import dump

FULL = """datasource:
  data: {numbers: {upto: 4}}
steps:
  - scale: {factor: 2.5}
  - publish
  - total
outputs: {table: {file_name: table.json, writer: to_json, loader: from_json}}
treatments: &all
  more: {factor: 4}
  same:
hypotheses:
  - {name: own, verifier: {above: {margin: 0.5}}, metrics: total, ranker: by_p_value}
replicates: 3
seed: 12
execution: {serial: {progress: false}}
plugins: {artifacts: false, logging: false}
cli: {group: Training, hidden: false}
"""

words = st.sampled_from(
    ["numbers", "scale", "total", "publish", "table", "above", "serial", "seed", "more", "own", "x#y", "no", "", "name"]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), words, st.text(max_size=4))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from([*schema()["properties"], "zzz"]), values, max_size=8)
edits = st.lists(
    st.tuples(
        st.integers(0, len(FULL) - 1),
        st.integers(0, 6),
        st.one_of(st.text(" \n:-{}[],&*#!|>'\"%@`~", max_size=4), st.text(max_size=3), words),
    ),
    min_size=1,
    max_size=3,
)
overrides = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.builds(
            "{}{}={}".format,
            st.sampled_from(["", "+", "~"]),
            st.lists(words | st.sampled_from(["steps", "0", "treatments", "hypotheses"]), min_size=1).map(".".join),
            scalars,
        ),
    ),
    max_size=3,
)
quickly = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def holds(folder, changes=()):
    problems = None
    try:
        Experiment.from_yaml(folder, overrides=changes)
    except ConfigurationError as error:
        problems = error.problems
    assert problems is None or len(problems) > 0
    lines = (folder / "config.yaml").read_text(encoding="utf-8").count("\n") + 2
    for problem in problems or ():
        assert problem.message
        assert problem.advice
        assert problem.column >= 1
        assert 1 <= problem.line <= (lines if problem.file.endswith("config.yaml") else 100)


@pytest.fixture
def folder(write):
    return write(FULL)


@quickly
@given(documents)
def test_any_document_is_loaded_or_refused_with_places(folder, document):
    (folder / "config.yaml").write_text(dump(document), encoding="utf-8")
    holds(folder)


@quickly
@given(edits)
def test_any_edit_is_loaded_or_refused_with_places(folder, edits):
    text = FULL
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    (folder / "config.yaml").write_text(text, encoding="utf-8", newline="")
    holds(folder)


@quickly
@given(overrides)
def test_any_override_is_applied_or_refused_with_its_number(folder, changes):
    (folder / "config.yaml").write_text(FULL, encoding="utf-8")
    holds(folder, changes)
