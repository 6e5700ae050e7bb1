"""Parameters annotated `Artifact`: bound to the running cell."""

from __future__ import annotations

import pytest

import crystallize
from crystallize import Artifact as Renamed
from crystallize import pipeline_step
from crystallize.datasources.artifact import Artifact
from crystallize.errors import CrystallizeError


def written(experiment):
    """What a run's only cell wrote, by step and file name."""
    (outcome,) = experiment.stream()
    assert outcome.error is None
    return {(record.step, record.name): record.data for record in outcome.artifacts}


def annotated(annotation, default=""):
    namespace = {"crystallize": crystallize, "Artifact": Artifact, "Renamed": Renamed}
    exec("from typing import Optional\nimport typing", namespace)
    exec(f"def save(data, *, model: {annotation}{default}):\n    model.write('hello')\n    return data", namespace)
    return pipeline_step()(namespace["save"])


@pytest.mark.parametrize(
    "annotation",
    [
        "Artifact", "'Artifact'", "crystallize.Artifact", "'crystallize.Artifact'", "Optional[Artifact]",
        "'Optional[Artifact]'", "'typing.Optional[Artifact]'", "Artifact | None", "'Artifact | None'", "Renamed",
        "'Renamed'",
    ],
)  # fmt: skip
def test_a_declared_output_is_found_however_the_annotation_is_written(make, annotation):
    for default in ("", "=None"):
        step = annotated(annotation, default)
        assert written(make(step(), outputs=[Artifact("model")])) == {("SaveStep", "model"): b"hello"}


def test_the_parameters_name_may_leave_out_the_ending(make):
    assert written(make(annotated("Artifact")(), outputs=[Artifact("model.json"), Artifact("other.json")])) == {
        ("SaveStep", "model.json"): b"hello"
    }


def test_an_artifact_may_be_given_explicitly_or_as_the_default(make):
    given = Artifact("given.txt")
    assert written(make(annotated("Artifact")(model=given))) == {("SaveStep", "given.txt"): b"hello"}
    step = annotated("Artifact", "=Artifact('default.txt')")
    assert written(make(step())) == {("SaveStep", "default.txt"): b"hello"}


def test_an_artifact_in_the_context_is_bound_too(make):
    artifact = Artifact("ctx.txt")
    assert written(make(annotated("Artifact")(), initial_ctx={"model": artifact})) == {
        ("SaveStep", "ctx.txt"): b"hello"
    }
    put = pipeline_step()(lambda data, ctx: ctx.add("model", artifact))
    assert written(make(put(), annotated("Artifact")())) == {("SaveStep", "ctx.txt"): b"hello"}


def test_two_steps_may_write_one_file_name(make):
    step = annotated("Artifact")
    assert written(make(step(), step(), outputs=[Artifact("model")])) == {
        ("SaveStep", "model"): b"hello",
        ("SaveStep_2", "model"): b"hello",
    }


@pytest.mark.parametrize("annotation", ["list[Artifact]", "'list[Artifact]'", "dict", "'MyArtifact'"])
def test_other_annotations_mean_ordinary_parameters(make, annotation):
    with pytest.raises(CrystallizeError, match="needs the parameter 'model'"):
        make(annotated(annotation)(), outputs=[Artifact("model")]).apply()


def test_one_that_is_declared_nowhere_is_named_with_the_way_out(make):
    with pytest.raises(CrystallizeError, match=r"needs the artifact 'model', which is no declared output.*outputs="):
        make(annotated("Artifact")()).apply()


def test_the_writer_makes_the_bytes(make):
    artifact = Artifact("model", writer=lambda value: value.upper().encode())
    assert written(make(annotated("Artifact")(), outputs=[artifact])) == {("SaveStep", "model"): b"HELLO"}
