from __future__ import annotations

import inspect
import re

import pytest

from crystallize.hooks import CONTRACT, HOOKS, BasePlugin, HookSpecs
from crystallize.plugins.validation import satisfies

NAMES = [
    "init_hook",
    "before_run",
    "completed_cells",
    "plan_cells",
    "run_experiment_loop",
    "worker_start",
    "worker_stop",
    "before_replicate",
    "before_step",
    "after_step",
    "after_replicate",
    "on_event",
    "collect",
    "collect_provenance",
    "after_run",
]


def section(doc, title):
    match = re.search(rf"{title}\n *-+\n(.*?)(?=\n\n *[A-Z][A-Za-z]+\n *---|\Z)", doc, re.DOTALL)
    return match[1] if match else ""


def test_the_hooks_are_those_of_the_contract():
    assert list(HOOKS) == NAMES
    assert satisfies(CONTRACT, "==1.*")


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_says_when_how_often_what_may_change_and_what_becomes_of_errors(name):
    doc = HOOKS[name].doc
    for word in ("*When:*", "*How often:*", "*May change:*", "*Errors:*"):
        assert word in doc, f"{name} does not say {word}"


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_describes_every_argument_and_no_other(name):
    described = re.findall(r"^ *(\w+) : \S", section(HOOKS[name].doc, "Parameters"), re.MULTILINE)
    assert tuple(described) == HOOKS[name].arguments
    assert HOOKS[name].arguments == tuple(inspect.signature(getattr(HookSpecs, name)).parameters)[1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_that_gives_something_says_what(name):
    returns = inspect.signature(getattr(HookSpecs, name)).return_annotation
    assert bool(section(HOOKS[name].doc, "Returns")) == (returns != "None")


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_has_an_example_that_implements_it(name):
    assert f"def {name}(self" in section(HOOKS[name].doc, "Examples")


def test_worker_hooks_fail_their_cell_and_hooks_before_the_first_cell_propagate():
    places = {name: (spec.place, spec.undeclared) for name, spec in HOOKS.items()}
    for name in ("before_replicate", "before_step", "after_step", "after_replicate", "worker_start"):
        assert places[name] == ("worker", "fail_cell")
    for name in ("init_hook", "before_run", "completed_cells", "plan_cells", "run_experiment_loop"):
        assert places[name] == ("coordinator", "propagate")
    for name in ("collect", "on_event", "collect_provenance", "after_run"):
        assert places[name] == ("coordinator", "keep")


def test_one_answer_is_enough_for_resuming_and_executing_only():
    answered = [name for name, spec in HOOKS.items() if spec.first_result]
    assert answered == ["completed_cells", "plan_cells", "run_experiment_loop"]


@pytest.mark.parametrize("name", NAMES)
def test_a_base_plugin_does_nothing_in_a_hook_and_has_its_signature(name):
    method = getattr(BasePlugin(), name)
    assert tuple(inspect.signature(method).parameters) == HOOKS[name].arguments
    assert method(*HOOKS[name].arguments) is None
