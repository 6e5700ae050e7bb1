"""`crystallize run PATH`: from a file to a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from tests import programs


def stored(tmp_path, condition="baseline", version=0, name="draws"):
    path = tmp_path / "data" / name / f"v{version}" / condition / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))["metrics"]


def test_the_table_is_the_only_thing_on_stdout(crystallize, write):
    write()
    done = crystallize("run", "file.py")
    assert done.returncode == 0, done.stderr
    assert "doubled" in done.stdout
    assert "total" in done.stdout
    assert "seed 1" in done.stderr
    assert "INFO" not in done.stdout
    assert "Traceback" not in done.stderr


def test_two_runs_with_one_seed_print_the_same(crystallize, write):
    write()
    first, second = (crystallize("run", "file.py", "--seed", "9").stdout for _ in range(2))
    assert first == second


def test_the_seed_of_the_option_replaces_the_file_s(crystallize, write, tmp_path):
    write()
    assert crystallize("run", "file.py", "--seed", "-77").returncode == 0
    run = json.loads((tmp_path / "data" / "draws" / "v0" / "run.json").read_text(encoding="utf-8"))
    assert json.dumps(run).count("-77") >= 2, "the seed of the run, and the setting of its plugin"
    assert crystallize("run", "file.py").returncode == 0
    assert stored(tmp_path, version=0) != stored(tmp_path, version=1)


def test_a_seed_without_a_seed_plugin_is_refused(crystallize, write):
    write("""
        from crystallize import Experiment, Pipeline, data_source
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([abs]), default_plugins=False)
    """)
    done = crystallize("run", "file.py", "--seed", "3")
    assert done.returncode == 2
    assert "SeedPlugin" in done.stderr


def test_the_number_of_replicates_of_the_option_replaces_the_file_s(crystallize, write, tmp_path):
    write()
    assert crystallize("run", "file.py", "--replicates", "5").returncode == 0
    assert len(stored(tmp_path)["total"]) == 5


@pytest.mark.parametrize("value", ["0", "-2", "2.5", "many"])
def test_an_impossible_number_of_replicates_is_a_usage_error(crystallize, write, value):
    write()
    done = crystallize("run", "file.py", "--replicates", value)
    assert done.returncode == 2
    assert "--replicates" in done.stderr
    assert done.stdout == ""


def test_a_failed_cell_ends_with_1_and_keeps_the_others(crystallize, write, tmp_path):
    write("""
        from crystallize import Experiment, Pipeline, data_source
        def fragile(data, ctx):
            if ctx["replicate"] == 1:
                raise RuntimeError("the sensor was off")
            return data, {"ok": 1}
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([fragile]), name="fragile", replicates=3)
    """)
    done = crystallize("run", "file.py")
    assert done.returncode == 1
    assert "the sensor was off" in done.stderr
    assert stored(tmp_path, name="fragile") == {"ok": [1, 1]}


def test_a_file_that_is_not_there_is_named(crystallize):
    done = crystallize("run", "absent.py")
    assert (done.returncode, done.stdout) == (5, "")
    assert "absent.py" in done.stderr


def test_a_folder_and_other_files_are_refused(crystallize, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("no code")
    for name, words, code in (("folder", "no config.yaml", 5), ("notes.txt", "neither a Python file", 2)):
        done = crystallize("run", name)
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr


def test_a_file_without_an_experiment_says_what_to_write(crystallize, write):
    write("x = 1")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "experiment = Experiment(" in done.stderr


def test_something_else_under_the_name_experiment_is_said(crystallize, write):
    write("experiment = 'junk'")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "'str'" in done.stderr


TWO = """
from crystallize import Experiment, Pipeline, data_source
def made(name):
    return Experiment(data_source(lambda ctx: 1), Pipeline([lambda data: (data, {"m": 1})]), name=name)
"""


def test_several_experiments_are_listed_by_name(crystallize, write):
    write(TWO + "first = made('a')\nsecond = made('b')\n")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "first, second" in done.stderr
    assert "`experiment`" in done.stderr


def test_the_one_named_experiment_is_the_one(crystallize, write, tmp_path):
    write(TWO + "first = made('a')\nexperiment = made('b')\n")
    assert crystallize("run", "file.py").returncode == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["b"]


def test_one_experiment_under_two_names_is_one(crystallize, write):
    write(TWO + "first = made('a')\nsame = first\n")
    assert crystallize("run", "file.py").returncode == 0


def test_an_error_in_the_file_is_shown_from_the_file_on(crystallize, write):
    write("import math\n\ndef half():\n    return 1 / 0\n\nhalf()\n")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert 'file.py", line 4' in done.stderr
    assert "loading.py" not in done.stderr


def test_an_experiment_that_cannot_be_built_names_the_line(crystallize, write):
    write("from crystallize import Experiment, Pipeline\n\nexperiment = Experiment(None, Pipeline([]))\n")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert done.stderr.startswith("crystallize: file.py, line 3: ")
    assert "Traceback" not in done.stderr


def test_a_syntax_error_names_file_and_line(crystallize, write):
    write("def f(:\n    pass\n")
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "SyntaxError" in done.stderr
    assert 'file.py", line 1' in done.stderr


def test_an_experiment_that_is_not_in_order_ends_with_2(crystallize, write):
    write("""
        from crystallize import Experiment, Hypothesis, Pipeline, data_source
        holds = Hypothesis(lambda baseline, treatment: {})
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([abs]), name="void", hypotheses=[holds])
    """)
    done = crystallize("run", "file.py")
    assert done.returncode == 2
    assert "treatment" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_that_stops_the_run_ends_with_3(crystallize, write):
    write("""
        from crystallize import BasePlugin, Experiment, Pipeline, data_source
        class Strict(BasePlugin):
            on_error = "stop_run"
            def collect(self, outcome):
                raise OSError("the disk is full")
        step = lambda data: (data, {"m": 1})
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([step]), plugins=[Strict()], name="n")
    """)
    done = crystallize("run", "file.py")
    assert done.returncode == 3
    assert "the disk is full" in done.stderr


def test_the_main_part_of_a_file_does_not_run(crystallize, write):
    write(TWO + "experiment = made('a')\nif __name__ == '__main__':\n    raise SystemExit('the main part ran')\n")
    assert crystallize("run", "file.py").returncode == 0


def test_a_file_imports_the_modules_beside_it(crystallize, write):
    write("def step(data):\n    return data, {'m': 7}\n", "folder/helper_beside.py")
    write("""
        import helper_beside
        from crystallize import Experiment, Pipeline, data_source
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([helper_beside.step]), name="beside")
    """, "folder/main.py")  # fmt: skip
    done = crystallize("run", "folder/main.py")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["numbers.py", "class.py", "with-dash.py", "1.py"])
def test_a_file_may_have_any_name(crystallize, write, name):
    write(name=name)
    done = crystallize("run", name)
    assert done.returncode == 0, done.stderr


def test_an_edited_file_is_run_as_it_stands(crystallize, write, tmp_path):
    for number in (1, 2):  # files of one size, written within one second
        write(TWO.replace('"m": 1', f'"m": {number}') + "experiment = made('a')\n")
        assert crystallize("run", "file.py").returncode == 0
    assert [stored(tmp_path, name="a", version=version)["m"] for version in (0, 1)] == [[1], [2]]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_a_file_defines_reaches_its_workers(crystallize, write, tmp_path, kind):
    write(f"""
        import dataclasses, os
        import helper_beside
        from crystallize import Experiment, ParallelExecution, Pipeline, data_source, pipeline_step

        @dataclasses.dataclass
        class Point:
            x: int

        @pipeline_step()
        def make(data, ctx):
            return Point(helper_beside.twice(data))

        @pipeline_step()
        def show(data, ctx):
            ctx.artifacts.add("pid.txt", str(os.getpid()).encode())
            return data, {{"x": data.x}}

        experiment = Experiment(
            data_source(lambda ctx: 21), Pipeline([make(), lambda data: data, show()]),
            plugins=[ParallelExecution(2, {kind!r})], name="workers", replicates=4,
        )
    """)
    write("def twice(x):\n    return 2 * x\n", "helper_beside.py")
    done = crystallize("run", "file.py")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path, name="workers") == {"x": [42] * 4}


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_ends_with_130_and_says_what_is_kept(command, write, tmp_path):
    write("""
        import pathlib, time
        from crystallize import Experiment, Pipeline, data_source
        def slow(data, ctx):
            if ctx["replicate"] == 2:
                pathlib.Path("reached").touch()
                for _ in range(1200):  # a signal just before one long sleep would be heard when that is over
                    time.sleep(0.05)
            return data, {"m": 1}
        experiment = Experiment(data_source(lambda ctx: 1), Pipeline([slow]), name="slow", replicates=5)
    """)
    process = programs.popen(
        [command, "run", "file.py"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not (tmp_path / "reached").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "2 of 5 cells" in messages
    assert "interrupted" in messages
    assert "Traceback" not in messages
    assert stored(tmp_path, name="slow") == {"m": [1, 1]}


def test_what_is_cached_and_left_out_can_be_said_for_one_run(crystallize, write):
    write()
    done = crystallize(
        "run", "file.py", "--json", "--without", "doubled", "--cache", "scale=on", "--strategy", "resume"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["metrics"]["treatments"] == {}
    assert result["provenance"]["run"]["cache"] == {"ScaleStep": True, "TotalStep": False}
    wrong = {
        "no treatment of that name": ["--without", "double"],
        "STEP=on or STEP=off": ["--cache", "scale"],
        "leave out --cache": ["--no-cache", "--cache", "scale=on"],
        "the steps are ScaleStep, TotalStep": ["--cache", "scales=on"],
        "--strategy rerun": ["--rerun", "draws"],
    }
    for advice, arguments in wrong.items():
        refused = crystallize("run", "file.py", *arguments)
        assert refused.returncode == 2, advice
        assert advice in refused.stderr
