"""`crystallize diff`, `reproduce`, `verify` and `gc`: faces of what is done with stored runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from tests import programs


@pytest.fixture
def stored(crystallize, write, tmp_path):
    """Run the experiment of a file; give the folder of its run."""

    def stored(*arguments, version=0, **environment):
        write()
        done = crystallize("run", "file.py", "--quiet", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return tmp_path / "data" / "draws" / f"v{version}"

    return stored


@pytest.fixture
def edit(tmp_path):
    """Change the text of the experiment's file."""

    def edit(before, after):
        path = tmp_path / "file.py"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    return edit


def test_two_runs_of_the_same_do_not_differ(crystallize, stored):
    stored()
    stored(version=1)
    done = crystallize("diff", "draws@v0", "draws")
    assert (done.returncode, done.stdout, done.stderr) == (0, "draws@v0 → draws@v1\nno differences\n", "")


def test_differences_are_data_on_stdout_as_text_and_as_json(crystallize, stored, edit):
    stored()
    edit('{"factor": 2.0}', '{"factor": 3.0}')
    assert crystallize("run", "file.py", "-q").returncode == 0
    text = crystallize("diff", "draws@0", "data/draws/v1").stdout
    assert "doubled: context factor: 2.0 → 3.0" in text
    assert "doubled / total" in text
    done = crystallize("diff", "draws@0", "draws@1", "--json", "--part", "parameters")
    found = json.loads(done.stdout)
    assert {each["part"] for each in found["differences"]} == {"parameters"}
    assert found["first"] == "draws@v0"


def test_an_unknown_part_is_a_usage_error(crystallize, stored):
    stored()
    done = crystallize("diff", "draws", "draws", "--part", "colour")
    assert (done.returncode, done.stdout) == (2, "")
    assert "parameters, code" in done.stderr


def test_a_run_that_is_not_there_is_said(crystallize, stored):
    stored()
    for command in (
        ["diff", "draws", "drawz"],
        ["reproduce", "drawz"],
        ["verify", "drawz"],
        ["gc", "nowhere", "--keep", "1"],
    ):
        done = crystallize(*command)
        assert (done.returncode, done.stdout) == (5, ""), command
        assert done.stderr.startswith("crystallize: ")


def test_a_run_is_reproduced_from_its_record(crystallize, stored, tmp_path):
    stored("--replicates", "4", "--seed", "77")
    done = crystallize("reproduce", "draws", "file.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "draws@v0: 8 of 8 cells are the same, bit for bit\n"
    assert [path.name for path in (tmp_path / "data" / "draws").iterdir()] == ["v0"]


def test_drift_ends_with_1_and_stands_beside_what_changed(crystallize, stored, edit):
    stored()
    edit("factor * value for", "factor * value + 1 for")
    done = crystallize("reproduce", "draws", "file.py")
    assert done.returncode == 1, done.stderr
    assert "6 of 6 cells have drifted" in done.stdout
    assert "-    return [factor * value for value in data]" in done.stdout
    plain = json.loads(crystallize("reproduce", "draws", "file.py", "--json").stdout)
    assert (plain["identical"], len(plain["drift"])) == (False, 6)


def test_the_file_that_defines_the_experiment_may_be_named(crystallize, stored, tmp_path):
    stored()
    (tmp_path / "file.py").rename(tmp_path / "moved.py")
    done = crystallize("reproduce", "draws")
    assert done.returncode == 2
    assert "crystallize reproduce RUN PATH" in done.stderr
    assert crystallize("reproduce", "draws", "moved.py").returncode == 0


def test_a_damaged_store_ends_with_6_in_every_command(crystallize, stored):
    run = stored()
    database = run / "run.db"
    content = bytearray(database.read_bytes())
    place = content.find(b"total")
    for position in range(place, place + 200):
        content[position] ^= 0xFF
    database.write_bytes(content)
    for command in (["diff", "draws", "draws"], ["reproduce", "draws", "file.py"], ["verify"]):
        done = crystallize(*command)
        assert done.returncode == 6, (command, done.stdout, done.stderr)
        assert "run.db" in done.stdout + done.stderr


def test_a_changed_file_is_named(crystallize, stored, tmp_path):
    stored()
    clean = crystallize("verify")
    assert (clean.returncode, "as it was written" in clean.stdout) == (0, True)
    (tmp_path / "data/draws/v0/baseline/results.json").write_text("{}")
    done = crystallize("verify", "draws@v0", "--json")
    assert done.returncode == 6
    [found] = json.loads(done.stdout)
    assert found["findings"][0]["path"].endswith("results.json")


def test_a_run_that_is_being_written_is_locked(crystallize, write, tmp_path):
    write("""
        import time
        from crystallize import Experiment, Pipeline, data_source
        def slow(data, ctx):
            time.sleep(0 if ctx["replicate"] == 0 else 60)
            return data, {"ok": 1}
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([slow]), name="slow", replicates=2)
        if __name__ == "__main__":
            experiment.run()
    """)
    running = programs.popen([sys.executable, "file.py"], cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL)
    try:
        waited = 0
        while not (tmp_path / "data" / "slow" / "v0" / "run.db").exists() and waited < 600:
            time.sleep(0.1)
            waited += 1
        done = crystallize("reproduce", "slow")
        assert done.returncode == 75, done.stderr
        assert "still being written" in done.stderr
    finally:
        running.kill()
        running.wait()


def test_nothing_is_removed_without_a_rule_nor_in_a_dry_run(crystallize, stored, tmp_path):
    for version in range(3):
        stored(version=version)
    assert crystallize("gc").returncode == 2
    done = crystallize("gc", "--keep", "1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("would be removed: ") == 2
    assert len(list((tmp_path / "data" / "draws").iterdir())) == 3
    removed = json.loads(crystallize("gc", "data", "--keep", "1", "--json").stdout)
    assert [each["version"] for each in removed["removed"]] == [1, 0]
    assert [path.name for path in (tmp_path / "data" / "draws").iterdir()] == ["v2"]


@pytest.mark.parametrize("age", ["3", "d", "-1d", "2y"])
def test_an_age_is_a_number_and_a_unit(crystallize, tmp_path, age):
    (tmp_path / "data").mkdir()
    done = crystallize("gc", f"--older-than={age}")
    assert done.returncode == 2
    assert "12h, 30d or 8w" in done.stderr


def test_runs_younger_than_the_age_stay(crystallize, stored, tmp_path):
    for version in range(2):
        stored(version=version)
    assert crystallize("gc", "--older-than", "1h").returncode == 0
    assert len(list((tmp_path / "data" / "draws").iterdir())) == 2
