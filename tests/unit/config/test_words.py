"""What plain words of YAML mean: what people expect, and a refusal where they expect two things."""

from __future__ import annotations

import datetime as dt
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crystallize_plugins.config.values import doubt_about, resolve

HEAD = "datasource: {data: numbers}\nsteps: [scale, total]\n"


@pytest.mark.parametrize(
    "text,value",
    [
        ("1e3", 1000.0), ("1E-3", 0.001), ("1.5e+3", 1500.0), (".5", 0.5), ("5.", 5.0), ("-0.0", -0.0),
        ("0", 0), ("-7", -7), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("08.5", 8.5),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        (".inf", math.inf), ("-.Inf", -math.inf),
        # Text, whatever older readers of YAML make of it.
        ("12:30:45", "12:30:45"), ("2026-01-31", "2026-01-31"), ("y", "y"), ("N", "N"), ("=", "="),
        ("1e", "1e"), ("1.2.3", "1.2.3"), ("٣", "٣"), ("inf", "inf"), ("nan", "nan"), ("0b1", "0b1"), ("-", "-"),
    ],
)  # fmt: skip
def test_a_word_means_what_people_expect(text, value):
    found = resolve(text)
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_number():
    assert math.isnan(resolve(".nan"))


@pytest.mark.parametrize(
    "word", ["yes", "Yes", "NO", "no", "on", "Off", "010", "-017", "1_000", "1_0.5", "0b11", "0_", "-0x1F", "0x_"]
)
def test_a_word_with_two_meanings_is_refused_as_a_value_and_fine_in_quotes(word, load, write, problems_of):
    assert doubt_about(word) is not None
    (problem,) = problems_of(write(f"{HEAD}treatments: {{a: {{x: [1, {{y: {word}}}]}}}}\n"))
    assert (problem.line, problem.column) == (3, 29)
    assert word in problem.message
    assert "in quotes" in problem.advice
    (treatment,) = load(f"{HEAD}treatments: {{a: {{x: '{word}'}}}}\n").treatments
    assert dict(treatment.apply_map) == {"x": word}


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "010", "1_000", "1", "1.5", "true", "null", "2026-01-31"])
def test_a_key_is_a_name_and_so_text(word, load):
    (treatment,) = load(f"{HEAD}treatments:\n  {word}: {{factor: 2}}\n").treatments
    assert treatment.name == word


@pytest.mark.parametrize("word", ["yes", "no", "on", "010x", "y"])
def test_where_text_is_expected_a_word_is_text(word, load):
    experiment = load(f"name: {word}\ndescription: {word}\n{HEAD}")
    assert (experiment.name, experiment.description) == (word, word)


def test_dates_and_times_are_text(load):
    (treatment,) = load(f"{HEAD}treatments: {{a: {{day: 2026-01-31, time: 12:30:45}}}}\n").treatments
    assert dict(treatment.apply_map) == {"day": "2026-01-31", "time": "12:30:45"}


def test_numbers_of_parameters_are_numbers(load):
    (treatment,) = load(f"{HEAD}treatments: {{a: {{rate: 1e-3, n: 0x10, m: 0o10, big: .inf}}}}\n").treatments
    assert dict(treatment.apply_map) == {"rate": 0.001, "n": 16, "m": 8, "big": math.inf}


def test_anchors_aliases_and_merge_keys_work(load):
    experiment = load(f"""{HEAD}treatments:
  slow: &slow {{factor: 2, deep: {{a: [1, 2]}}}}
  fast: {{<<: *slow, factor: 3}}
  both: {{<<: [{{x: 1, factor: 9}}, *slow]}}
  same: *slow
""")
    values = {treatment.name: dict(treatment.apply_map) for treatment in experiment.treatments}
    assert values == {
        "slow": {"factor": 2, "deep": {"a": [1, 2]}},
        "fast": {"factor": 3, "deep": {"a": [1, 2]}},
        "both": {"x": 1, "factor": 9, "deep": {"a": [1, 2]}},
        "same": {"factor": 2, "deep": {"a": [1, 2]}},
    }


def test_a_file_may_have_a_byte_order_mark_and_the_line_ends_of_windows(load, write):
    text = "\ufeff" + HEAD.replace("\n", "\r\n") + "description: ü\r\nplugins: {artifacts: false, logging: false}\r\n"
    assert load(text.encode().decode()).description == "ü"


@pytest.mark.parametrize(
    "content,line,column",
    [(b"name: caf\xe9\n", 1, 10), (HEAD.encode() + b"name: \xff\n", 3, 7), (HEAD.encode("utf-16"), 1, 1)],
)
def test_another_encoding_is_said_with_its_place(content, line, column, write, problems_of):
    (problem,) = problems_of(write(content))
    assert (problem.line, problem.column) == (line, column)
    assert "UTF-8" in problem.advice


WORDS = st.one_of(
    st.text(max_size=8),
    st.text("0123456789_.+-eExobYyNnOof", max_size=8),
    st.sampled_from(["yes", "no", "on", "off", "true", "null", "~", ".inf", "1e3", "0o7", "07", "1_0", "12:30"]),
)


@given(WORDS)
def test_a_word_without_a_doubt_means_the_same_to_older_readers_or_is_text_or_a_number(word):
    """Where YAML 1.1 reads something else, and the difference could hurt, there is a doubt."""
    resolver = yaml.SafeLoader("")
    tag = resolver.resolve(yaml.ScalarNode, word, (True, False)).rpartition(":")[2]
    mine = resolve(word)
    if tag in ("bool", "int", "float") and doubt_about(word) is None and ":" not in word:
        older = yaml.safe_load(word)
        assert mine == older or math.isnan(mine)
        assert type(mine) is type(older)
    if isinstance(mine, bool):
        assert tag == "bool"
    assert not isinstance(mine, dt.date)


@given(WORDS)
def test_a_word_that_may_be_doubted_never_breaks_anything(word):
    doubt = doubt_about(word)
    assert doubt is None or word in doubt.message
