"""`diff`: what is not the same in two runs, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Hypothesis,
    LoggingPlugin,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)
from crystallize.errors import ArgumentTypeError, StoreError
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.runs import diff
from crystallize_plugins.runs.differences import PARTS, shown


@data_source
def numbers(ctx, *, size=3):
    return [ctx.rng.random() for _ in range(size)]


@pipeline_step()
def scale(data, ctx, *, by=1.0, offset=None):
    return [by * value for value in data]


@pipeline_step()
def total(data, ctx):
    ctx.artifacts.add("total.txt", str(sum(data)))
    return data, {"total": sum(data)}


@verifier
def higher(baseline, treatment):
    return {"gain": sum(treatment["total"]) - sum(baseline["total"])}


def experiment(steps=None, *, seed=1, source=None, plugins=(), name="exp", **fields):
    return Experiment(
        source or numbers(),
        Pipeline(steps or [scale(), total()]),
        plugins=[SeedPlugin(seed=seed), ArtifactPlugin(), *plugins],
        name=name,
        **fields,
    )


def names(found, *parts):
    return [each.name for each in found.of(*parts)]


def only(found, name):
    [each] = [each for each in found.differences if each.name == name]
    return each


def test_two_runs_of_the_same_have_no_differences(ran):
    first, second = ran(), ran()
    for found in (diff(first, second), diff(StoredRun(first), str(second)), diff(StoredRun(first).result(), second)):
        assert found.differences == ()
        assert found.identical
        assert str(found) == "shift@v0 → shift@v1\nno differences"


def test_results_in_memory_are_compared_like_stored_runs():
    treatments = [Treatment("large", {"by": 2.0})]
    first, second = (experiment(treatments=treatments).run(replicates=3) for _ in range(2))
    # The repository that holds this file may be changed by somebody meanwhile.
    for found in (diff(first, second), diff("data/exp/v0", second)):
        assert found.of(*(part for part in PARTS if part != "git")) == ()


def test_parameters_of_steps_are_named_with_their_step():
    found = diff(experiment([scale(by=2.0), total()]).run(), experiment([scale(by=3.0), total()]).run())
    assert names(found, "parameters") == ["step 1 ScaleStep: by"]
    assert (found.differences[0].first, found.differences[0].second) == (2.0, 3.0)
    assert names(found, "code") == []


def test_what_differs_in_every_condition_is_said_once():
    treatments = [Treatment("large", {"by": 2.0}), Treatment("huge", {"by": 9.0})]
    first = experiment([scale(offset=1), total()], treatments=treatments).run()
    second = experiment([scale(offset=2), total()], treatments=treatments).run()
    assert names(diff(first, second), "parameters") == ["step 1 ScaleStep: offset"]


def test_values_of_treatments_are_named_with_their_condition():
    first, second = (experiment(treatments=[Treatment("large", {"by": by})]).run() for by in (2.0, 3.0))
    assert names(diff(first, second), "parameters") == ["large: context by", "large: step 1 ScaleStep: by"]


def test_conditions_replicates_seeds_and_steps_are_parameters():
    first = experiment(treatments=[Treatment("old", {"by": 2.0})], seed=1).run(replicates=2)
    second = experiment([scale(), scale(), total()], treatments=[Treatment("new", {"by": 2.0})], seed=2).run(
        replicates=3
    )
    found = diff(first, second)
    assert names(found, "parameters") == ["seed", "replicates", "condition 'old'", "condition 'new'", "steps"]
    assert [each.kind for each in found.of("parameters")][2:4] == ["removed", "added"]


def test_arrays_of_one_shape_are_told_apart():
    import numpy as np

    for content in ([1.0, 2.0], [1.0, 3.0]):
        experiment(treatments=[Treatment("array", {"offset": np.array(content)})]).run()
    found = diff("data/exp/v0", "data/exp/v1")
    assert names(found, "parameters") == ["array: context offset"]


def test_an_edited_step_is_shown_as_a_unified_diff_and_what_calls_it_only_by_name(script, ran):
    first = ran()
    second = ran(script.replace("return value * FACTOR", "return value * FACTOR + 1"))
    found = diff(first, second)
    assert names(found, "code") == ["step ShiftStep", "script.helper"]
    assert only(found, "script.helper").detail.splitlines() == [
        "--- script.helper",
        "+++ script.helper",
        "@@ -1,2 +1,2 @@",
        " def helper(value):",
        "-    return value * FACTOR",
        "+    return value * FACTOR + 1",
    ]
    assert {part for part in PARTS if found.of(part)} == {"code", "results"}


def test_a_changed_constant_is_shown_by_its_values(script, ran):
    found = diff(ran(), ran(script.replace("FACTOR = 2", "FACTOR = 3")))
    assert names(found, "code") == ["step ShiftStep", "script.FACTOR"]
    assert str(only(found, "script.FACTOR")) == "~ script.FACTOR: 2 → 3"


def test_comments_and_layout_are_no_differences(script, ran):
    found = diff(ran(), ran("# a comment\n\n" + script.replace("FACTOR\n\n", "FACTOR  # twice\n\n")))
    assert found.identical


def test_a_file_that_was_run_and_one_that_was_loaded_are_the_same(ran, python):
    first = ran()
    python("-c", "import script; script.experiment.run()")
    found = diff(first, first.with_name("v1"))
    assert names(found, "code", "results", "parameters", "data") == []
    assert names(found, "environment")


def test_metrics_say_where_they_begin_to_differ_how_many_and_by_how_much():
    first, second = (experiment([scale(), drifting(by=by)]).run(replicates=4) for by in (0.0, 0.5))
    found = only(diff(first, second), "baseline / value")
    assert (found.part, found.first, found.second) == ("results", 2.0, 2.5)
    assert found.detail == "replicate 2, the first of 2 of 4 that differ; mean 1.5 → 1.75"


@pipeline_step()
def drifting(data, ctx, *, by):
    return data, {"value": float(ctx["replicate"]) + by * (ctx["replicate"] >= 2)}


def test_metrics_are_compared_bit_by_bit():
    @pipeline_step()
    def emit(data, ctx, *, value):
        return data, {"value": value}

    def differ(first, second):
        found = diff(*(experiment([emit(value=value)], source=numbers()).run() for value in (first, second)))
        return "baseline / value" in names(found, "results")

    assert not differ(float("nan"), float("nan"))
    assert differ(0.0, -0.0)
    assert differ(1, 1.0)
    assert differ(1, True)  # noqa: FBT003
    assert differ(0.1 + 0.2, 0.3)
    assert not differ([1, (2, "x")], [1, (2, "x")])


def test_files_are_compared_by_hash():
    first, second = (experiment(seed=seed).run(replicates=2) for seed in (1, 2))
    found = only(diff(first, second), "baseline / TotalStep / total.txt")
    assert found.detail == "replicate 0, the first of 2 of 2 that differ"
    assert found.first != found.second


def test_failures_are_told_by_type_and_step():
    @pipeline_step()
    def fragile(data, ctx, *, error=None):
        if error is not None and ctx["replicate"] > 0:
            raise error("no")
        return data, {"ok": 1}

    first = experiment([fragile()]).run(replicates=3)
    second = experiment([fragile(error=ValueError)]).run(replicates=3)
    found = only(diff(first, second), "baseline / failures")
    assert (found.first, found.second, found.detail) == ("ok", "ValueError in FragileStep", "replicate 1 and 1 more")


def test_replicates_that_only_one_run_has_are_named_and_the_others_compared():
    found = diff(experiment().run(replicates=2), experiment().run(replicates=4))
    assert names(found, "parameters", "results") == ["replicates", "baseline / replicates"]
    assert only(found, "baseline / replicates").second == "2, 3"


def test_hypotheses_are_compared():
    def run(by):
        treatments = [Treatment("large", {"by": by})]
        return experiment(treatments=treatments, hypotheses=[Hypothesis(higher(), name="more")]).run()

    assert "hypothesis 'more' for large" in names(diff(run(2.0), run(3.0)), "results")
    assert names(diff(run(2.0), run(2.0)), "results") == []


def test_verdicts_are_compared_by_what_they_come_to_and_by_fields():
    @pipeline_step()
    def first(data, ctx):
        return data, {"first": data[0]}

    def run(by):
        wanted = Hypothesis(("permutation", {"alternative": "greater"}), ["total", "first"], name="more")
        large = Treatment("large", {"by": by})
        return experiment([scale(), first(), total()], treatments=[large], hypotheses=[wanted]).run(replicates=8)

    found = only(diff(run(2.0), run(-2.0)), "hypothesis 'more' for large, total")
    (line,) = found.lines()
    assert ": holds, mean difference " in line
    assert "→ not shown, mean difference -" in line
    assert "p_adjusted" in found.detail
    assert found.to_dict()["second"]["holds"] is False


LIMIT = 0.0


@verifier
def above(baseline, treatment):
    return {"above": sum(treatment["total"]) > LIMIT}


def test_the_code_of_verifiers_is_compared(monkeypatch):
    def run():
        treatments = [Treatment("large", {"by": 2.0})]
        return experiment(treatments=treatments, hypotheses=[Hypothesis(above(), name="more")]).run()

    first = run()
    monkeypatch.setitem(globals(), "LIMIT", 99.0)
    found = diff(first, run())
    assert [name.rpartition(".")[2] for name in names(found, "code")] == ["LIMIT"]
    assert names(found, "results") == ["hypothesis 'more' for large"]


def test_the_data_s_files_are_compared_by_content(tmp_path):
    @data_source(depends_on=["rows.csv"])
    def rows(ctx):
        return [1.0]

    results = []
    for text in ("1\n", "2\n", "2\n"):
        (tmp_path / "rows.csv").write_text(text)
        results.append(experiment(source=rows()).run())
    assert names(diff(results[0], results[1]), "data") == ["datasource file 'rows.csv'"]
    assert names(diff(results[1], results[2]), "data") == []


def test_parameters_of_the_data_source_are_data():
    found = diff(*(experiment(source=numbers(size=size)).run() for size in (3, 4)))
    assert names(found, "data") == ["size"]


def test_plugins_differ_by_presence_settings_and_order():
    first = experiment(plugins=[LoggingPlugin(verbose=False)]).run()
    second = experiment(plugins=[LoggingPlugin(verbose=True)]).run()
    third = experiment(default_plugins=["seed", "artifacts"]).run()
    assert names(diff(first, second), "plugins") == ["logging: verbose"]
    assert [(each.name, each.kind) for each in diff(first, third).of("plugins")] == [("logging", "removed")]


def test_a_really_different_package_is_named_with_both_versions(script, write, python, install, tmp_path):
    write()
    for version in ("1.0", "2.0"):
        python("script.py", PYTHONPATH=str(install("acme-thing", version)))
    found = diff(tmp_path / "data/shift/v0", tmp_path / "data/shift/v1")
    assert [str(each) for each in found.differences] == ["~ acme-thing: 1.0 → 2.0"]
    assert found.differences[0].part == "packages"


def test_variables_that_change_numbers_are_environment(ran):
    found = diff(ran(OMP_NUM_THREADS="1"), ran(OMP_NUM_THREADS="2"))
    assert "variables OMP_NUM_THREADS" in names(found, "environment")


def test_the_command_line_is_environment(script, ran):
    found = diff(ran(script, "script.py", "--a"), ran(script, "script.py", "--b"))
    assert names(found, "environment") == ["argv", "command"]


def test_commits_and_uncommitted_changes_are_git(script, write, python, git, tmp_path):
    write()
    git("add", "script.py")
    git("commit", "-q", "-m", "one")
    python("script.py")
    write(script.replace("FACTOR = 2", "FACTOR = 2 + 1"))
    python("script.py")
    git("commit", "-q", "-a", "-m", "two")
    write("", "extra.py")
    python("script.py")
    runs = [tmp_path / "data" / "shift" / f"v{number}" for number in range(3)]
    edited = diff(runs[0], runs[1])
    assert names(edited, "git") == ["dirty", "uncommitted changes"]
    assert "+FACTOR = 2 + 1" in only(edited, "uncommitted changes").detail
    committed = diff(runs[1], runs[2])
    assert names(committed, "git") == ["commit", "dirty", "uncommitted changes", "untracked extra.py"]
    assert names(committed, "code", "results") == []


def test_the_order_of_the_runs_is_the_order_of_the_words():
    first, second = (experiment(treatments=[Treatment(name, {"by": 2.0})]).run() for name in ("a", "b"))
    assert [each.kind for each in diff(first, second).of("parameters")] == ["removed", "added"]
    assert [each.name for each in diff(second, first).of("parameters")] == ["condition 'b'", "condition 'a'"]


def test_every_difference_is_plain_data_and_text(script, ran):
    import json

    found = diff(ran(), ran(script.replace("FACTOR = 2", "FACTOR = 3").replace("replicates=2", "replicates=3")))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["identical"] is False
    assert {each["part"] for each in plain["differences"]} == {"parameters", "code", "results"}
    text = found.text()
    assert all(each.name in text for each in found.differences)
    assert text.index("parameters") < text.index("\ncode") < text.index("\nresults")


def test_comparing_imports_nothing_of_the_runs_and_unpickles_nothing(ran, python, tmp_path):
    first, second = ran(), ran()
    (tmp_path / "script.py").write_text("raise SystemExit('imported')")
    checked = f"""
import pickle, sys
pickle.loads = pickle.load = pickle.Unpickler = None
from crystallize_plugins.runs import diff
found = diff({str(first)!r}, {str(second)!r})
print(found.identical, "script" in sys.modules, "numpy" in sys.modules)
"""
    assert python("-c", checked).split() == ["True", "False", "False"]


def test_an_interrupted_run_is_compared_as_far_as_it_came():
    @pipeline_step()
    def stop(data, ctx, *, at=9):
        if ctx["replicate"] == at:
            raise KeyboardInterrupt
        return data

    with pytest.raises(KeyboardInterrupt):
        experiment([stop(at=1), total()]).run(replicates=3)
    experiment([stop(), total()]).run(replicates=3)
    found = diff("data/exp/v0", "data/exp/v1")
    assert names(found, "results") == ["baseline / replicates"]


@pytest.mark.parametrize("wrong", [3, None, object()])
def test_what_is_no_run_is_refused(wrong):
    with pytest.raises(ArgumentTypeError, match="path of its folder"):
        diff(wrong, wrong)


def test_a_folder_without_a_run_and_one_of_several_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no run"):
        diff(tmp_path / "absent", tmp_path)
    experiment().run()
    with pytest.raises(StoreError, match="several runs"):
        diff("data/exp", "data/exp")


def test_what_one_run_did_not_record_is_unknown_not_different():
    result = experiment().run()
    older = experiment().run()
    for name in ("code", "packages", "git", "environment", "command", "data", "plugins"):
        older.facts.pop(name)
    kinds = {each.kind for each in diff(result, older).differences}
    assert kinds == {"unknown"}


def test_a_number_of_numpy_is_shown_as_a_number():
    assert shown(np.float64(0.5)) == "0.5"
    assert shown(np.array([1, 2])) == "array([1, 2])"
