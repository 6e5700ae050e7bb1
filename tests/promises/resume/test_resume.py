"""`strategy="resume"`: exactly the cells run that have to, and the result is that of an uninterrupted run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    BasePlugin,
    Hypothesis,
    ParallelExecution,
    SerialExecution,
    Treatment,
    pipeline_step,
    verifier,
)
from crystallize.errors import RunLockedError
from crystallize_plugins.artifacts import list_runs, open_run


@pipeline_step()
def broken(data, ctx):
    where = ctx["condition"], ctx["replicate"]
    if where == ("more", 1) and Path("broken").exists():
        raise OSError("the instrument is off")
    ctx.metrics.add("sum", sum(data) + ctx.rng.random())
    return data


# ------------------------------------------------------------------ what runs


def test_without_a_stored_run_everything_runs(build, ran, log):
    result = build().run(replicates=2, strategy="resume")
    assert ran() == ["baseline_rep_0", "baseline_rep_1", "more_rep_0", "more_rep_1"]
    assert result.provenance["resume"]["from"] is None
    assert "no run is stored, so all 4 cells run" in log.text()


def test_a_finished_run_is_given_back_without_running_or_writing(build, ran, files, told, log):
    first = build().run(replicates=2)
    ran()
    before = files()
    again = build().run(replicates=2, strategy="resume")
    assert not ran()
    assert told(again) == told(first)
    assert files() == before
    assert (again.provenance["run"]["version"], again.provenance["resume"]["kept"]) == (0, 4)
    assert again.provenance["resume"]["ran"] == {}
    assert "all 4 cells are kept from" in log.text()


def test_only_new_replicates_run(build, ran, told):
    build().run(replicates=2)
    ran()
    more = build().run(replicates=6, strategy="resume")
    assert ran() == [f"{condition}_rep_{replicate}" for condition in ("baseline", "more") for replicate in range(2, 6)]
    assert more.provenance["replicates"] == 6
    assert told(more) == told(build(name="whole").run(replicates=6))
    assert more.provenance["resume"]["in_place"]
    assert [run.version for run in list_runs(experiment="exp")] == [0]
    assert told(open_run("data/exp/v0")) == told(more)


def test_fewer_replicates_give_those_and_leave_the_others_stored(build, ran, files, told):
    build().run(replicates=4)
    ran()
    before = files()
    fewer = build().run(replicates=2, strategy="resume")
    assert not ran()
    assert told(fewer) == told(build(name="whole").run(replicates=2))
    assert {path: each for path, each in files().items() if "exp" in path} == {
        path: each for path, each in before.items() if "exp" in path
    }


def test_only_added_treatments_run(build, ran, told):
    build().run(replicates=2)
    ran()
    treatments = [Treatment("more", {"delta": 1.0}), Treatment("most", {"delta": 2.0})]
    result = build().run(replicates=2, treatments=treatments, strategy="resume")
    assert ran() == ["most_rep_0", "most_rep_1"]
    assert told(result) == told(build(name="whole").run(replicates=2, treatments=treatments))
    assert [run.version for run in list_runs(experiment="exp")] == [0]


def test_a_run_that_is_asked_for_another_part_stays_whole(build, ran):
    build().run(replicates=3)
    ran()
    result = build().run(replicates=2, treatments=[Treatment("most", {"delta": 2.0})], strategy="resume")
    assert ran() == ["most_rep_0", "most_rep_1"]
    assert list(result.metrics.treatments) == ["most"]
    whole = open_run("data/exp/v0")
    assert {name: len(each.metrics["sum"]) for name, each in whole.metrics.treatments.items()} == {"most": 2, "more": 3}
    assert len(whole.metrics.baseline.metrics["sum"]) == 3
    for condition, count in (("baseline", 3), ("more", 3), ("most", 2)):
        written = json.loads(Path(f"data/exp/v0/{condition}/results.json").read_text())
        assert len(written["metrics"]["sum"]) == count
    assert {"more", "most"} < set(json.loads(Path("data/exp/v0/run.json").read_text())["conditions"])


def test_failed_cells_run_again(build, ran, told):
    Path("broken").touch()
    failed = build(broken()).run(replicates=2)
    assert list(failed.errors) == ["more_rep_1"]
    ran()
    Path("broken").unlink()
    result = build(broken()).run(replicates=2, strategy="resume")
    assert ran() == ["more_rep_1"]
    assert not result.errors
    assert result.provenance["resume"]["ran"] == {"failed": {"more": [1]}}
    assert told(result) == told(build(broken(), name="whole").run(replicates=2))
    assert told(open_run("data/exp/v0")) == told(result)


def test_a_condition_that_failed_altogether_is_no_complete_one(build, ran):
    def refuses(data, ctx):
        if Path("broken").exists():
            raise OSError("the instrument is off")
        ctx.metrics.add("sum", 1)
        return data

    Path("broken").touch()
    assert len(build(refuses).run(replicates=2).errors) == 4
    ran()
    Path("broken").unlink()
    result = build(refuses).run(replicates=2, strategy="resume")
    assert len(ran()) == 4
    assert result.metrics.baseline.metrics["sum"] == [1, 1]


def test_a_cell_that_could_not_be_stored_exactly_runs_again(build, ran):
    class Odd:
        pass

    def odd(data, ctx):
        ctx.metrics.add("thing", Odd() if ctx["condition"] == "more" else 1)
        return data

    build(odd).run(replicates=1)
    ran()
    result = build(odd).run(replicates=1, strategy="resume")
    assert ran() == ["more_rep_0"]
    assert list(result.provenance["resume"]["ran"]) == ["not stored exactly"]
    assert isinstance(result.metrics.treatments["more"].metrics["thing"][0], Odd)


@pytest.mark.parametrize(
    "harm, reason",
    [
        (Path.unlink, "file gone: RecordStep/data.txt"),
        (lambda path: path.write_bytes(b""), "file damaged: RecordStep/data.txt"),
        (lambda path: path.write_bytes(bytes(reversed(path.read_bytes()))), "file damaged: RecordStep/data.txt"),
    ],
    ids=["gone", "cut", "changed"],
)
def test_a_cell_whose_file_is_gone_or_another_runs_again_and_is_named(build, ran, told, harm, reason):
    first = build().run(replicates=2)
    ran()
    harm(Path(first.provenance["artifacts"][2]["path"]))
    result = build().run(replicates=2, strategy="resume")
    assert ran() == ["more_rep_0"]
    assert list(result.provenance["resume"]["ran"]) == [reason]
    assert told(result) == told(build(name="whole").run(replicates=2))
    assert told(open_run("data/exp/v0")) == told(result)


def test_files_that_a_cell_does_not_write_any_more_are_forgotten(build, ran):
    def writes(data, ctx):
        if not Path("quiet").exists():
            ctx.artifacts.add("old.txt", b"old")
        ctx.artifacts.add("data.txt", b"data")
        return data

    first = build(writes, treatments=[]).run(replicates=1)
    Path(first.provenance["artifacts"][1]["path"]).unlink()
    Path("quiet").touch()
    result = build(writes, treatments=[]).run(replicates=1, strategy="resume")
    assert [entry["name"] for entry in result.provenance["artifacts"]] == ["data.txt"]
    assert [entry["name"] for entry in open_run("data/exp/v0").provenance["artifacts"]] == ["data.txt"]


def test_a_run_that_was_stopped_goes_on(build, ran, told):
    class Stops(BasePlugin):
        neutral = True
        on_error = "stop_run"

        def collect(self, outcome):
            if outcome.cell.key == "baseline_rep_1":
                raise OSError("enough")

    with pytest.raises(OSError, match="enough"):
        build(plugins=[Stops()]).run(replicates=3)
    done = ran()
    assert list_runs(experiment="exp")[0].status == "interrupted"
    result = build().run(replicates=3, strategy="resume")
    assert sorted([*done, *ran()]) == sorted(f"{name}_rep_{r}" for name in ("baseline", "more") for r in range(3))
    assert told(result) == told(build(name="whole").run(replicates=3))
    assert list_runs(experiment="exp")[0].status == "complete"


# ------------------------------------------------------------------ where it goes on


def test_what_changed_begins_the_next_version_and_the_old_one_is_left_alone(build, ran, files, told):
    build().run(replicates=2)
    ran()
    before = files()
    treatments = [Treatment("more", {"delta": 3.0})]
    result = build().run(replicates=2, treatments=treatments, strategy="resume")
    assert ran() == ["more_rep_0", "more_rep_1"]
    assert result.provenance["run"]["version"] == 1
    assert result.provenance["resume"]["from"]["version"] == 0
    assert json.loads(Path("data/exp/v1/run.json").read_text())["resume"] == result.provenance["resume"]
    now = files()
    for path, (inode, written, content) in before.items():
        if content is not None:
            assert now[path] == (inode, written, content)
    assert told(result) == told(build(name="whole").run(replicates=2, treatments=treatments))


def test_the_next_version_is_whole_without_the_one_before(build, told):
    build().run(replicates=2)
    result = build().run(replicates=2, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    expected = told(result)
    shutil.rmtree("data/exp/v0")
    assert told(open_run("data/exp/v1")) == expected


def test_carried_files_take_no_room_twice(build):
    build().run(replicates=2)
    build().run(replicates=2, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    where = "replicate_0/baseline/RecordStep/data.txt"
    assert Path("data/exp/v0", where).samefile(Path("data/exp/v1", where))


def test_carried_files_are_copied_where_they_cannot_be_linked(build, told, monkeypatch):
    from crystallize_plugins.artifacts import operations

    def refuses(source, target):
        raise OSError("not here")

    build().run(replicates=2)
    monkeypatch.setattr(operations, "link", refuses)
    treatments = [Treatment("more", {"delta": 3.0})]
    result = build().run(replicates=2, treatments=treatments, strategy="resume")
    assert told(result) == told(build(name="whole").run(replicates=2, treatments=treatments))


def test_the_version_after_next_carries_over_what_the_next_one_has(build, ran):
    build().run(replicates=2)
    build().run(replicates=2, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    ran()
    result = build().run(replicates=2, treatments=[Treatment("more", {"delta": 4.0})], strategy="resume")
    assert ran() == ["more_rep_0", "more_rep_1"]
    assert result.provenance["run"]["version"] == 2
    result = build().run(replicates=2, treatments=[Treatment("more", {"delta": 4.0})], strategy="resume")
    assert not ran()


def test_going_back_to_what_was_is_a_change_too(build, ran):
    build().run(replicates=1)
    build().run(replicates=1, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    ran()
    result = build().run(replicates=1, strategy="resume")
    assert ran() == ["more_rep_0"]
    assert result.provenance["run"]["version"] == 2


def test_a_folder_left_behind_before_its_first_commit_is_no_run(build, ran, told):
    build().run(replicates=2)
    Path("data/exp/v1").mkdir()
    os.utime("data/exp/v1", (1, 1))
    ran()
    result = build().run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    # Not in place: who looks for the newest run finds it.
    assert result.provenance["run"]["version"] == 2
    assert told(result) == told(build(name="whole").run(replicates=3))


def test_an_optimisation_is_not_what_a_run_resumes(build, ran):
    from crystallize import Objective
    from crystallize_plugins.optimizers import GridSearch

    build().run(replicates=1)
    search = GridSearch({"delta": [1.0, 2.0]}, Objective("sum", "minimize"))
    build().optimize(search, 2)
    ran()
    assert build().run(replicates=1, strategy="resume").provenance["run"]["version"] == 0
    assert not ran()


def test_a_copied_folder_goes_on_where_it_lies(build, ran, told, tmp_path):
    build().run(replicates=2)
    shutil.copytree("data", "elsewhere")
    shutil.rmtree("data")
    ran()
    result = build(store=ArtifactPlugin("elsewhere")).run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert told(result) == told(build(name="whole").run(replicates=3))


def test_a_copy_of_a_run_that_is_being_written_is_nobodys(build, ran):
    stream = build().stream(replicates=3)
    next(stream)
    shutil.copytree("data", "copied")
    with pytest.raises(RunLockedError):
        build().run(replicates=3, strategy="resume")
    ran()
    result = build(store=ArtifactPlugin("copied")).run(replicates=3, strategy="resume")
    assert 0 < len(ran()) < 6
    assert len(result.metrics.baseline.metrics["sum"]) == 3
    stream.close()


# ------------------------------------------------------------------ one run alone


def test_versioned_false_goes_on_in_its_one_place(build, ran, told):
    def make(**more):
        return build(store=ArtifactPlugin(versioned=False), **more)

    make().run(replicates=2)
    ran()
    result = make().run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert ([run.version for run in list_runs(experiment="exp")], result.provenance["run"]["version"]) == ([0], 0)
    again = make().run(replicates=3, strategy="resume")
    assert not ran()
    assert told(again) == told(result)


def test_versioned_false_replaces_what_changed_and_keeps_what_did_not(build, ran, told):
    def make(**more):
        return build(store=ArtifactPlugin(versioned=False), **more)

    treatments = [Treatment("more", {"delta": 3.0})]
    make().run(replicates=2)
    ran()
    result = make().run(replicates=2, treatments=treatments, strategy="resume")
    assert ran() == ["more_rep_0", "more_rep_1"]
    assert [path.name for path in Path("data/exp").iterdir()] == ["v0"]
    expected = told(make(name="whole").run(replicates=2, treatments=treatments))
    assert told(result) == expected
    assert told(open_run("data/exp/v0")) == expected


def test_retention_leaves_the_files_of_the_newest_run_so_that_it_can_be_resumed(build, ran):
    def make():
        return build(store=ArtifactPlugin(artifact_retention=1))

    make().run(replicates=2)
    make().run(replicates=2, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    assert not Path("data/exp/v0/replicate_0").exists()
    ran()
    make().run(replicates=2, treatments=[Treatment("more", {"delta": 3.0})], strategy="resume")
    assert not ran()


# ------------------------------------------------------------------ seeds


def test_without_a_seed_of_its_own_a_resumed_run_adopts_the_recorded_one(build, ran, told, log):
    first = build(seed=None).run(replicates=2)
    ran()
    result = build(seed=None).run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert result.provenance["run"]["seed"] == first.provenance["run"]["seed"]
    whole = build(seed=first.provenance["run"]["seed"], name="whole").run(replicates=3)
    assert told(result) == told(whole)
    assert log.text().count("was drawn") == 1


def test_the_drawn_seed_given_is_the_same_seed(build, ran):
    first = build(seed=None).run(replicates=2)
    ran()
    build(seed=first.provenance["run"]["seed"]).run(replicates=2, strategy="resume")
    assert not ran()


def test_another_seed_is_another_experiment(build, ran):
    build(seed=1).run(replicates=2)
    ran()
    result = build(seed=2).run(replicates=2, strategy="resume")
    assert len(ran()) == 4
    assert list(result.provenance["resume"]["ran"]) == ["changed: seed"]


# ------------------------------------------------------------------ judging and faces


@verifier
def difference(baseline, treatment):
    return {"p_value": sum(treatment["sum"]) - sum(baseline["sum"])}


def test_hypotheses_given_to_a_fully_resumed_run_are_all_judged(build, ran):
    build().run(replicates=2)
    ran()
    hypotheses = [Hypothesis(difference(), "sum", name="one"), Hypothesis(difference(), "sum", name="two")]
    result = build().run(replicates=2, hypotheses=hypotheses, strategy="resume")
    assert not ran()
    for name in ("one", "two"):
        assert result.get_hypothesis(name).results["more"]["p_value"] == pytest.approx(6.0)


def test_hypotheses_of_a_partly_resumed_run_see_all_treatments(build):
    build().run(replicates=2)
    result = build().run(
        replicates=2,
        treatments=[Treatment("more", {"delta": 1.0}), Treatment("most", {"delta": 2.0})],
        hypotheses=[Hypothesis(difference(), "sum", name="one")],
        strategy="resume",
    )
    assert set(result.get_hypothesis("one").results) == {"more", "most"}


def test_arun_resumes_too(build, ran, told):
    build().run(replicates=2)
    ran()
    result = asyncio.run(build().arun(replicates=3, strategy="resume"))
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert told(result) == told(build(name="whole").run(replicates=3))


def test_a_stream_gives_the_cells_that_run(build):
    build().run(replicates=2)
    streamed = [outcome.cell.key for outcome in build().stream(replicates=3, strategy="resume")]
    assert streamed == ["baseline_rep_2", "more_rep_2"]
    assert len(open_run("data/exp/v0").metrics.baseline.metrics["sum"]) == 3


def test_the_experiments_own_strategy_counts(build, ran):
    build().run(replicates=2)
    ran()
    experiment = build()
    experiment.strategy = "resume"
    experiment.run(replicates=2)
    assert not ran()
    experiment.run(replicates=2, strategy="rerun")
    assert len(ran()) == 4


def test_debug_and_apply_store_and_resume_nothing(build, files):
    build().run(replicates=1)
    before = files()
    experiment = build()
    experiment.strategy = "resume"
    assert experiment.debug().ok
    experiment.apply(data=[1])
    assert files() == before


def test_without_a_store_everything_runs_and_that_is_said(build, caplog):
    from crystallize import Experiment, SeedPlugin

    experiment = Experiment(
        build().datasource, build().pipeline, plugins=[SeedPlugin(seed=1)], default_plugins=False, name="bare"
    )
    assert experiment.run(replicates=2, strategy="resume").provenance["replicates"] == 2
    (said,) = [record for record in caplog.records if "no plugin of this experiment stores runs" in record.message]
    assert said.levelname == "WARNING"
    experiment.strategy = "resume"
    caplog.clear()
    experiment.apply()
    assert caplog.records == []


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "executor",
    [
        SerialExecution,
        lambda: ParallelExecution(max_workers=2),
        lambda: ParallelExecution(max_workers=2, executor_type="process"),
        AsyncExecution,
    ],
    ids=["serial", "threads", "processes", "async"],
)
def test_under_every_executor_a_resumed_run_is_the_uninterrupted_one(build, told, executor, seed):
    """Begun serially, gone on with another executor: metrics, files, seeds and what steps did are the same."""
    treatments = [Treatment("more", {"delta": 1.0}), Treatment("most", {"delta": 2.0})]
    whole = build(seed=seed, name="whole").run(replicates=4, treatments=treatments)
    build(seed=seed).run(replicates=2, treatments=treatments[:1])
    result = build(seed=seed, plugins=[executor()]).run(replicates=4, treatments=treatments, strategy="resume")
    assert told(result) == told(whole)
    assert told(open_run("data/exp/v0")) == told(whole)
