"""What screens and language models ask of the command line: folders checked without their code, runs in brief."""

from __future__ import annotations

import json

import pytest
from tests import programs


@pytest.fixture
def check_text(command, tmp_path):
    """Check a text that no file holds."""

    def check(text, *arguments):
        (tmp_path / "unsaved").write_text(text, encoding="utf-8")
        with (tmp_path / "unsaved").open(encoding="utf-8") as file:
            done = programs.run([command, "check", "--stdin", "--json", *arguments], cwd=tmp_path, stdin=file)
        return [problem for row in json.loads(done.stdout) for problem in row["problems"]]

    return check


def test_a_configuration_is_checked_without_its_code_also_before_it_is_saved(crystallize, tmp_path, check_text):
    assert crystallize("new", "heights", "--quiet").returncode == 0
    folder = tmp_path / "experiments" / "heights"
    (folder / "steps.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    assert crystallize("check", "--no-code").returncode == 0
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    assert check_text(text, str(folder)) == []
    wrong = text.replace("replicates:", "replicats:").replace("measurements: measurements", "measurements: lost#table")
    lines = wrong.splitlines()
    found = check_text(wrong, str(folder / "config.yaml"))
    assert [lines[problem["line"] - 1].split(":")[0].strip() for problem in found] == ["replicats", "measurements"]
    assert "Did you mean 'replicates'" in found[0]["advice"]
    assert "no folder 'lost'" in found[1]["message"]
    (folder / "config.yaml").write_text(wrong, encoding="utf-8")
    assert crystallize("check", "--no-code").returncode == 2


def test_a_new_experiment_reads_what_another_writes_and_runs(crystallize, tmp_path):
    folder = tmp_path / "experiments" / "makes"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "datasource: {one: one}\nsteps: [publish]\noutputs: {table: }\nreplicates: 2\n", encoding="utf-8"
    )
    (folder / "datasources.py").write_text(
        "from crystallize import data_source\n\n\n@data_source\ndef one(ctx):\n    return 1\n", encoding="utf-8"
    )
    (folder / "steps.py").write_text(
        "from crystallize import Artifact, pipeline_step\n\n\n@pipeline_step()\n"
        "def publish(data, ctx, *, table: Artifact):\n"
        "    table.write(b'1')\n    return data, {'m': 1}\n",
        encoding="utf-8",
    )
    refused = crystallize("new", "uses", "--reads", "makes#tabel")
    assert refused.returncode == 2
    assert "Did you mean 'table'" in refused.stderr
    assert not (tmp_path / "experiments" / "uses").exists()
    assert "There: makes" in crystallize("new", "uses", "--reads", "makse#table").stderr
    assert crystallize("new", "uses", "--reads", "makes#table").returncode == 0
    done = crystallize("run", "uses", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uses"]["metrics"]["baseline"] == {"inputs": [1, 1]}


def test_a_run_in_brief_has_means_verdicts_and_a_digest_of_at_most_4_kb(crystallize, write):
    source = """
    from crystallize import Experiment, Hypothesis, Treatment, data_source, pipeline_step, verifier


    @data_source
    def one(ctx):
        return 1


    @pipeline_step()
    def look(data, ctx, *, add=0.0, password="none"):
        if ctx["replicate"] == 3:
            raise ValueError(f"no `{ctx['condition']}`" + 9999 * " very" + " long")
        return data, {f"metric {number}": add + number for number in range(50)}


    @verifier
    def more(baseline, treatment):
        return {"p_value": 0.01}


    experiment = Experiment(
        one(), [look()], name="brief", replicates=4, hypotheses=[Hypothesis(more, "metric 1", name="more of it")],
        treatments=[Treatment("plus", {"add": 2.5, "password": "geheim"})],
    )
    """
    write(source)
    assert crystallize("run", "file.py").returncode == 1
    (row,) = json.loads(crystallize("runs", "--json").stdout)
    assert (row["means"]["baseline"]["metric 1"], row["means"]["plus"]["metric 1"]) == (1.0, 3.5)
    (verdict,) = row["verdicts"]
    assert (verdict["hypothesis"], verdict["treatment"], verdict["p"]) == ("more of it", "plus", 0.01)
    assert row["duration"] > 0
    done = crystallize("show", "brief", "--digest")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.encode()) <= 4001
    for told in (
        "# brief@v0",
        "8 cells, 2 failed",
        "add = 2.5",
        "[the rest is left out]",
        "Failed: 2 cells, of 1 kind",
    ):
        assert told in done.stdout
    assert "geheim" not in done.stdout
