from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.hooks import HOOKS
from crystallize.plugins.validation import misspelt, nearest

hooks = st.sampled_from(sorted(HOOKS))
letters = st.sampled_from(string.ascii_lowercase + "_")


@pytest.mark.parametrize(
    "written, meant",
    [
        ("before_runs", "before_run"),
        ("befor_run", "before_run"),
        ("before_ran", "before_run"),
        ("beofre_run", "before_run"),
        ("beforerun", "before_run"),
        ("before__run", "before_run"),
        ("beforeRun", "before_run"),
        ("BeforeReplicate", "before_replicate"),
        ("on_events", "on_event"),
        ("colect", "collect"),
    ],
)
def test_one_edit_is_a_spelling_mistake(written, meant):
    assert misspelt(written, HOOKS) == meant


@pytest.mark.parametrize("name", ["collected", "run", "before", "event", "prepare", "collector", "on_events_done"])
def test_other_names_are_let_be(name):
    assert misspelt(name, HOOKS) is None


@pytest.mark.parametrize("name", HOOKS)
def test_a_hooks_own_name_is_no_mistake(name):
    assert misspelt(name, HOOKS) is None


@given(hooks, st.data())
def test_every_insertion_deletion_substitution_and_swap_is_found(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(letters)
    edits = [
        name[:at] + letter + name[at:],
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
    ]
    for edit in edits:
        if edit not in HOOKS:
            assert misspelt(edit, HOOKS) is not None


def test_the_nearest_hook_is_named():
    assert nearest("before_everything", ["before_run", "collect"]) == "before_run"
