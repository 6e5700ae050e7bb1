"""What else a cell rests on: files of other experiments, values of the context, and what has no content."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path

import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    ExperimentInput,
    Treatment,
    data_source,
    pipeline_step,
    resource_factory,
)
from crystallize.errors import ArtifactMissingError, StoreError


def written(data, ctx):
    ctx.artifacts.add("model.txt", f"{ctx['replicate']} {Path('input.txt').read_text()}".encode())
    return data


def test_cells_run_again_whose_given_files_are_others(build, ran):
    Path("input.txt").write_text("1")
    model = Artifact("model.txt", loader=lambda path: path.read_text())
    upstream = build(written, name="up", outputs=[model], treatments=[])
    upstream.run(replicates=2)

    def reads(data, ctx):
        ctx.metrics.add("text", data)
        return data

    def downstream():
        return build(reads, name="down", datasource=model, treatments=[])

    downstream().run(replicates=2)
    ran()
    downstream().run(replicates=2, strategy="resume")
    assert not ran()
    upstream.run(replicates=2)
    ran()
    downstream().run(replicates=2, strategy="resume")
    assert not ran()  # written again, with the same content
    Path("input.txt").write_text("2")
    upstream.run(replicates=2)
    ran()
    result = downstream().run(replicates=2, strategy="resume")
    assert len(ran()) == 2
    assert list(result.provenance["resume"]["ran"]) == ["changed: the stored files that it reads"]
    assert result.metrics.baseline.metrics["text"] == ["0 2", "1 2"]


def test_more_replicates_of_what_is_read_leave_the_others_alone(build, ran):
    Path("input.txt").write_text("1")
    model = Artifact("model.txt", loader=lambda path: path.read_text())
    upstream = build(written, name="up", outputs=[model], treatments=[])
    upstream.run(replicates=2)

    def reads(data, ctx):
        ctx.metrics.add("text", data["model"])
        return data

    def downstream():
        return build(reads, name="down", datasource=ExperimentInput(model=model), treatments=[])

    downstream().run(replicates=2)
    upstream.run(replicates=4, strategy="resume")
    ran()
    result = downstream().run(replicates=4, strategy="resume")
    assert ran() == ["baseline_rep_2", "baseline_rep_3"]
    assert result.metrics.baseline.metrics["text"] == ["0 1", "1 1", "2 1", "3 1"]


def test_files_of_an_artifact_datasource_count_as_well(build, ran):
    Path("input.txt").write_text("1")
    upstream = build(written, name="up", treatments=[])
    upstream.run(replicates=1)

    def reads(data, ctx):
        ctx.metrics.add("text", data.read_text())
        return data

    def downstream():
        source = upstream.artifact_datasource("written", "model.txt")
        return build(reads, name="down", datasource=source, treatments=[])

    downstream().run(replicates=1)
    stored = Path("data/up/v0/replicate_0/baseline/WrittenStep/model.txt")
    content = stored.read_text()
    stored.write_text("by hand")
    with pytest.raises(StoreError, match="damaged"):
        raise downstream().run(replicates=1, strategy="resume").errors["baseline_rep_0"].original_exception
    stored.unlink()
    with pytest.raises(ArtifactMissingError):
        raise downstream().run(replicates=1, strategy="resume").errors["baseline_rep_0"].original_exception
    stored.write_text(content)
    ran()
    assert downstream().run(replicates=1, strategy="resume").metrics.baseline.metrics["text"] == [content]
    assert ran() == ["baseline_rep_0"]


# ------------------------------------------------------------------ what cannot be tracked


@pytest.fixture
def asks(monkeypatch):
    """A step whose code holds something that cannot be compared, in a process that has not said so yet."""
    from crystallize_plugins.artifacts.resume import plan as resume

    monkeypatch.setattr(resume, "_warned", set())
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:

        def asks(data, ctx):
            ctx.metrics.add("one", connection.execute("SELECT 1").fetchone()[0])
            return data

        yield asks


def test_cells_that_refer_to_what_cannot_be_compared_run_again_and_say_so(build, ran, log, asks):
    build(asks).run(replicates=2)
    assert "cannot be compared" not in log.text()
    first = ran()
    for _ in range(2):
        assert all("untracked" in planned.reason for planned in build(asks).plan(replicates=2).cells)
        result = build(asks).run(replicates=2, strategy="resume")
        assert ran() == first
        told = result.provenance["resume"]
        assert any("asks.connection: sqlite3.Connection" in text for text in told["untracked"])
        (reason,) = told["ran"]
        assert reason.startswith("untracked: ")
        assert "asks.connection: sqlite3.Connection" in reason
    assert log.text().count("would go unnoticed") == 1, "once in a process"
    assert "version=" in log.text()


def test_cells_that_refer_to_what_cannot_be_compared_are_kept_by_those_who_trust_it(build, ran, log, asks):
    build(asks).run(replicates=2)
    ran()
    for _ in range(2):
        store = ArtifactPlugin(trust_untracked=True)
        result = build(asks, store=store).run(replicates=2, strategy="resume")
        assert not ran()
        assert any("sqlite3.Connection" in text for text in result.provenance["resume"]["untracked"])
    assert log.text().count("goes unnoticed") == 1


def test_a_version_vouches_for_what_code_holds_and_cannot_be_compared(build, ran, log, asks):
    def step(version):
        return pipeline_step(version=version)(asks)()

    build(step(1)).run(replicates=2)
    ran()
    assert build(step(1)).run(replicates=2, strategy="resume").provenance["resume"]["untracked"] == []
    assert not ran()
    assert "compared" not in log.text()
    build(step(2)).run(replicates=2, strategy="resume")
    assert len(ran()) == 4


@pytest.mark.parametrize("declared", [False, True])
def test_a_source_that_declares_its_files_vouches_for_the_rest(build, ran, declared):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:

        def rows(ctx):
            return connection.execute("SELECT 1").fetchone()[0]

        def experiment():
            source = data_source(depends_on=[])(rows) if declared else data_source(rows)
            return build(lambda data, ctx: (data, {"out": data}), datasource=source())

        experiment().run(replicates=2)
        ran()
        experiment().run(replicates=2, strategy="resume")
        assert len(ran()) == (0 if declared else 4)


def test_what_a_treatment_holds_concerns_its_condition_only(build, ran):
    numbers = itertools.count()
    treatments = [Treatment("plain", {"delta": 1.0}), Treatment("counting", lambda ctx: ctx.add("n", next(numbers)))]
    build(treatments=treatments).run(replicates=2)
    ran()
    build(treatments=treatments).run(replicates=2, strategy="resume")
    assert ran() == ["counting_rep_0", "counting_rep_1"]


def test_a_resource_is_known_by_its_factory(build, ran, module):
    text = """
        from crystallize import pipeline_step

        def connect(ctx):
            return {"level": 1}

        @pipeline_step()
        def asks(data, ctx, *, client):
            ctx.metrics.add("level", client["level"])
            return data
    """

    def make(source):
        lab = module(source)
        return build(lab.asks(), initial_ctx={"client": resource_factory(lab.connect)})

    make(text).run(replicates=1)
    ran()
    make(text).run(replicates=1, strategy="resume")
    assert not ran()
    result = make(text.replace('"level": 1', '"level": 2')).run(replicates=1, strategy="resume")
    assert len(ran()) == 2
    assert list(result.provenance["resume"]["ran"]) == ["changed: initial context 'client'"]


@data_source
def large(ctx):
    return [1]


def test_a_large_context_is_compared_as_well(build, ran):
    context = {f"key_{number}": number for number in range(500)}

    def reads(data, ctx):
        ctx.metrics.add("one", ctx["key_1"])
        return data

    build(reads, datasource=large(), initial_ctx=context).run(replicates=1)
    ran()
    build(reads, datasource=large(), initial_ctx=context).run(replicates=2, strategy="resume")
    assert ran() == ["baseline_rep_1", "more_rep_1"]
    result = build(reads, datasource=large(), initial_ctx={**context, "key_1": 5}).run(replicates=1, strategy="resume")
    assert list(result.provenance["resume"]["ran"]) == ["changed: initial context"]
    assert result.metrics.baseline.metrics["one"] == [5]
