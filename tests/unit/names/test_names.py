"""Names: what is refused, and how the rest becomes folders."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crystallize.errors import ArgumentTypeError, CrystallizeError, DuplicateNameError, ValidationError
from crystallize.names import check_distinct, check_file_name, check_name, did_you_mean, folder_name, step_class_name

UNSAFE = [
    "",
    ".",
    "..",
    "...",
    "a/b",
    "/etc",
    "..\\up",
    "C:\\x",
    "nul\0byte",
    "two\nlines",
    "tab\t",
    "bell\x07",
    "\x7f",
    "\x85",
    " left",
    "right ",
    "\u3000wide",
    "dot.",
    "x" * 300,
    "é" * 101,
    "half\ud800",
    "line\u2028separator",
]
DEVICES = ["CON", "con", "Nul", "AUX.txt", "com1", "LPT9.log", "COM¹", "conin$", "prn .x"]


def is_usable(name):
    try:
        check_name(name, what="thing")
    except ValidationError:
        return False
    return True


usable_names = st.text(min_size=1, max_size=60).filter(is_usable)


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
@pytest.mark.parametrize("check", [lambda name: check_name(name, what="treatment"), check_file_name, folder_name])
def test_an_unsafe_name_is_a_value_error_of_ours(check, name):
    with pytest.raises(ValidationError) as caught:
        check(name)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("name", [None, 5, True, b"bytes", ["list"], 1.5])
def test_a_name_that_is_no_text_is_a_type_error_that_says_what_it_names(name):
    with pytest.raises(ArgumentTypeError, match="name of the treatment must be text"):
        check_name(name, what="treatment")


@pytest.mark.parametrize("name", ["base", "lr=0.1", "größer", "数据", "a b", ".hidden", "a..b", "x" * 200, "👩‍🔬"])
def test_an_ordinary_name_is_given_back_and_is_its_own_folder(name):
    assert check_name(name, what="treatment") is name
    assert folder_name(name) == name


def test_a_refusal_shows_the_name_the_fault_and_what_to_choose():
    with pytest.raises(ValidationError, match=r"'a/b' cannot be the name of the experiment: .*separator.*choose"):
        check_name("a/b", what="experiment")


def test_a_refusal_of_a_huge_name_stays_readable():
    with pytest.raises(ValidationError) as caught:
        check_name("x" * 100_000, what="experiment")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_name_gets_a_folder_that_is_no_device(name):
    folder = folder_name(name)
    assert folder != name
    assert not re.match(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", folder)


def test_names_that_only_resemble_devices_stay_as_they_are():
    assert [folder_name(name) for name in ("console", "auxiliary", "com10", "nullable")] == [
        "console",
        "auxiliary",
        "com10",
        "nullable",
    ]


@given(usable_names)
@example("%" * 150)
@example('<>:"|?*')
@example("CON")
def test_a_folder_is_one_short_component_that_every_system_takes(name):
    folder = folder_name(name)
    assert PurePosixPath(folder).parts == (folder,)
    assert PureWindowsPath(folder).parts == (folder,)
    assert not PureWindowsPath(folder).is_absolute()
    assert not set(folder) & set('<>:"|?*/\\\0')
    assert folder.strip(".")
    assert not folder.endswith((".", " "))
    assert len(folder.encode()) <= 200
    assert not any(unicodedata.category(char) == "Cc" for char in folder)


@given(st.text("%~:<Co0N3A", min_size=1, max_size=8), st.text("%~:<Co0N3A", min_size=1, max_size=8))
@example("a:b", "a%3Ab")
@example("CON", "%43ON")
def test_two_names_never_share_a_folder(left, right):
    assert (folder_name(left) == folder_name(right)) == (left == right)


@given(st.text("%:", min_size=60, max_size=200), st.text("%:", min_size=60, max_size=200))
def test_long_names_never_share_a_folder_either(left, right):
    assert (folder_name(left) == folder_name(right)) == (left == right)


@given(usable_names)
def test_a_folder_stays_the_folder_of_its_name(name):
    assert folder_name(name) == folder_name(name)


def test_distinct_names_pass():
    check_distinct(["a", "b", "a b"], what="treatment")
    check_distinct([], what="treatment")


@pytest.mark.parametrize("names", [["a", "a"], ["A", "a"], ["straße", "STRASSE"], ["é", "e\u0301"]])
def test_names_that_would_share_a_folder_somewhere_are_refused(names):
    with pytest.raises(DuplicateNameError, match="two treatments are named"):
        check_distinct(["other", *names], what="treatment")


def test_two_hypotheses_are_spelt_like_that():
    with pytest.raises(DuplicateNameError, match="two hypotheses are named 'h'. Give each hypothesis"):
        check_distinct(["h", "h"], what="hypothesis")


def test_the_nearest_name_is_offered_and_only_where_one_is_near():
    assert did_you_mean("artifcats", ["artifacts", "seed"]) == " Did you mean 'artifacts'?"
    assert did_you_mean("K", ["artifacts", "k"]) == " Did you mean 'k'?"
    assert did_you_mean("xyz", ["artifacts", "seed"]) == ""
    assert did_you_mean(5, ["artifacts"]) == ""


@pytest.mark.parametrize(
    "function, step",
    [
        ("publish", "PublishStep"),
        ("add_delta", "AddDeltaStep"),
        ("_private", "PrivateStep"),
        ("fit__model_2", "FitModel2Step"),
        ("readCSV", "ReadCSVStep"),
        ("<lambda>", "LambdaStep"),
        ("_", "Step"),
    ],
)
def test_a_step_is_named_after_its_function(function, step):
    assert step_class_name(function) == step


@given(st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True))
def test_the_step_of_any_function_can_name_a_folder(function):
    assert folder_name(step_class_name(function)).endswith("Step")
