"""`Pipeline`: steps in order, checked when it is made."""

from __future__ import annotations

import pytest

from crystallize import Pipeline, PipelineStep, pipeline, pipeline_step
from crystallize.errors import ArgumentTypeError, ValidationError


@pipeline_step()
def one(data):
    return data


class Same(PipelineStep):
    def __init__(self, name):
        self._name = name

    @property
    def name(self):
        return self._name

    def __call__(self, data, ctx):
        return data


@pytest.mark.parametrize("make", [lambda: Pipeline([]), lambda: Pipeline(iter(())), pipeline])
def test_an_empty_pipeline_is_refused(make):
    with pytest.raises(ValidationError, match="at least one step"):
        make()


@pytest.mark.parametrize("steps", [None, 5, "steps", b"steps", one(), one])
def test_something_that_is_no_list_of_steps_is_refused(steps):
    with pytest.raises(ArgumentTypeError, match="needs a list of steps"):
        Pipeline(steps)


def test_the_place_of_what_is_no_step_is_told():
    with pytest.raises(
        ArgumentTypeError, match=r"step at position 1 is 5 \(int\), which is no step: use @pipeline_step"
    ):
        Pipeline([one(), 5])


def test_steps_keep_their_order():
    steps = [one(), one(), Same("x")]
    assert list(Pipeline(steps)) == list(Pipeline(iter(steps))) == list(pipeline(*steps)) == steps
    assert len(Pipeline(steps)) == 3


def test_later_changes_to_the_list_change_nothing():
    steps = [one()]
    made = Pipeline(steps)
    steps.append(one())
    assert len(made) == 1


def test_a_pipeline_of_a_pipelines_steps_is_the_same():
    made = Pipeline([one(), one()])
    assert Pipeline(made).steps == made.steps


def test_steps_of_one_name_get_folders_of_their_own():
    assert Pipeline([one(), one(), one()]).labels == ("OneStep", "OneStep_2", "OneStep_3")


@pytest.mark.parametrize(
    "names", [["a", "a", "a_2"], ["a_2", "a", "a"], ["Clean", "clean", "CLEAN"], ["a", "a_2", "a", "a"]]
)
def test_no_two_labels_are_one_folder_on_any_system(names):
    labels = Pipeline([Same(name) for name in names]).labels
    assert len({label.casefold() for label in labels}) == len(names)
    assert labels[0] == names[0]


def test_its_text_shows_the_steps():
    assert repr(Pipeline([one()])) == "Pipeline([one()])"
