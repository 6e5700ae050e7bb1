"""What a run records of what surrounds it, from its first commit on."""

from __future__ import annotations

import threading

from crystallize import (
    ArtifactPlugin,
    DataSource,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize_plugins.artifacts import StoredRun, open_run
from crystallize_plugins.artifacts.recorded import RECORDED, recorded_treatments

SCALE = 3


@data_source
def numbers(ctx):
    return [1, 2]


def helper(values):
    return [SCALE * value for value in values]


@pipeline_step()
def total(data, ctx, *, bonus=0):
    return data, {"total": sum(helper(data)) + bonus}


def experiment(**fields):
    plugins = [SeedPlugin(seed=1), ArtifactPlugin()]
    return Experiment(numbers(), Pipeline([total()]), plugins=fields.pop("plugins", plugins), name="kept", **fields)


def test_a_run_records_what_surrounds_it_and_opens_with_all_of_it(tmp_path):
    result = experiment(treatments=[Treatment("more", {"bonus": 2})]).run(replicates=2)
    assert set(RECORDED) <= set(result.provenance)
    opened = open_run("data/kept/v0")
    assert opened.to_dict() == result.to_dict()
    assert {name: opened.provenance[name] for name in RECORDED} == {name: result.provenance[name] for name in RECORDED}


def test_the_code_of_each_step_is_recorded_with_what_it_refers_to():
    code = experiment().run().provenance["code"]
    assert [step["step"] for step in code["steps"]] == ["TotalStep"]
    names = {name.rpartition(".")[2]: entry for name, entry in code["functions"].items()}
    assert set(names) == {"numbers", "total", "helper"}
    assert code["sources"][names["helper"]["source"]] == (
        "def helper(values):\n    return [SCALE * value for value in values]\n"
    )
    values = {name.rpartition(".")[2]: entry["value"] for name, entry in code["values"].items()}
    assert values == {"SCALE": 3}
    assert code["complete"]


def test_a_changed_global_is_recorded_as_it_is_now(monkeypatch):
    first = experiment().run().provenance["code"]
    monkeypatch.setitem(globals(), "SCALE", 4)
    second = experiment().run().provenance["code"]
    assert [next(iter(code["values"].values()))["value"] for code in (first, second)] == [3, 4]
    assert first["steps"] != second["steps"]


def test_code_that_was_edited_since_it_was_imported_has_no_text_rather_than_the_wrong_one(
    write, python, facts, tmp_path
):
    write("""
        import pathlib
        from crystallize import Experiment, Pipeline, data_source

        def step(data):
            return data, {"m": 1}

        text = pathlib.Path(__file__).read_text()
        pathlib.Path(__file__).write_text(text.replace('"m": 1', '"m": 2'))
        Experiment(data_source(lambda ctx: 1), Pipeline([step]), name="edited").run()
    """)
    python("script.py")
    code = facts(tmp_path / "data" / "edited" / "v0")["code"]
    assert code["functions"]["script.step"]["source"] is None
    assert code["functions"]["script.step"]["digest"]


def test_two_lambdas_of_one_file_are_two(tmp_path):
    pipeline = Pipeline([lambda data: data, lambda data: (data, {"n": len(data)})])
    code = Experiment(numbers(), pipeline, name="lambdas").run().provenance["code"]
    assert sum("<lambda>" in name for name in code["functions"]) == 2


def test_long_code_is_cut_and_says_so(write, python, facts, tmp_path):
    body = "\n".join(f"    x = {number}  # {'-' * 60}" for number in range(1200))
    write(
        "from crystallize import Experiment, Pipeline, data_source\n"
        f"def long(data):\n{body}\n    return data, {{'x': x}}\n"
        "Experiment(data_source(lambda ctx: 1), Pipeline([long]), name='long').run()\n"
    )
    python("script.py")
    code = facts(tmp_path / "data" / "long" / "v0")["code"]
    assert not code["complete"]
    assert code["functions"]["script.long"]["source"] is None


def test_the_data_source_and_its_files_are_recorded(tmp_path):
    (tmp_path / "rows.csv").write_text("1\n2\n")

    @data_source(depends_on=["rows.csv"])
    def rows(ctx, *, skip=0):
        return [1, 2][skip:]

    data = Experiment(rows(skip=1), Pipeline([total()]), name="rows").run().provenance["data"]
    assert (data["source"], data["params"]) == ("rows", {"skip": 1})
    assert set(data["identity"]) == {"datasource", "datasource params", "datasource file 'rows.csv'"}


def test_a_killed_run_has_its_lock_code_machine_packages_git_command_and_seed(
    script, write, python, facts, git, tmp_path
):
    source = script.replace(
        "    mean = sum(data) / len(data)\n",
        "    if ctx['replicate'] == 1:\n"
        "        import os, signal, time\n"
        "        time.sleep(1)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    mean = sum(data) / len(data)\n",
    )
    write(source)
    git("add", "script.py")
    git("commit", "-q", "-m", "one")
    python("script.py", "--api-key", "sk-1", code=-9)
    run = StoredRun(tmp_path / "data" / "shift" / "v0")
    assert run.status == "interrupted"
    found = facts(run.path)
    assert [entry["name"] for entry in found["plugins"]] == ["seed", "logging", "artifacts"]
    assert found["plugins"][0]["settings"]["seed"] == 7
    assert "script.helper" in found["code"]["functions"]
    assert found["git"]["commit"] == git("rev-parse", "HEAD")
    assert (found["git"]["dirty"], found["git"]["untracked"]) == (False, [])
    assert "numpy" in found["packages"]
    assert found["environment"]["python"]
    assert found["command"]["argv"] == ["script.py", "--api-key", "***"]
    assert found["definition"]["variables"] == ["experiment"]
    assert found["run"]["seed"] == 7
    assert run.metadata["git"]["commit"]


def test_no_secret_of_the_command_line_or_of_a_treatment_reaches_the_disk(script, ran):
    source = script.replace('{"by": 0.5}', '{"by": 0.5, "api_key": "hunter2"}')
    run = ran(source, "script.py", "--password=hunter3")
    content = (run / "run.db").read_bytes()
    assert b"hunter3" not in content
    # In the source it is the user's own: what is written into code is recorded as code.
    treatment = recorded_treatments(StoredRun(run)._documents)["shifted"]
    assert (treatment.values, treatment.inexact) == ({"by": 0.5}, ("api_key",))


def test_before_the_first_cell_there_is_no_thread_but_the_one_that_shows_life_and_nothing_has_been_asked():
    seen = []
    before = set(threading.enumerate())

    @pipeline_step()
    def look(data, ctx):
        seen.append([thread.name for thread in threading.enumerate() if thread not in before])
        return data

    Experiment(numbers(), Pipeline([look()]), name="quiet", plugins=[ArtifactPlugin()]).run()
    assert seen == [["crystallize-heartbeat"]]


def test_a_package_named_like_a_secret_keeps_its_version(write, python, facts, install, tmp_path):
    site = install("acme-token", "1.5")
    write()
    python("script.py", PYTHONPATH=str(site))
    assert facts(tmp_path / "data" / "shift" / "v0")["packages"]["acme-token"] == "1.5"


class Moody(DataSource):
    @property
    def params(self):
        raise RuntimeError("ask me tomorrow")

    def fetch(self, ctx):
        return [1]


def test_what_cannot_be_found_out_says_why_and_costs_no_result():
    result = Experiment(Moody(), Pipeline([total()]), name="moody").run()
    assert result.metrics.baseline.metrics["total"] == [3]
    assert result.provenance["data"] == {"reason": "RuntimeError: ask me tomorrow"}
    assert open_run("data/moody/v0").provenance["data"] == result.provenance["data"]


def test_a_record_belongs_to_its_result():
    first = experiment().run()
    for name in ("packages", "git", "environment", "command"):
        first.provenance[name].clear()
    first.provenance["code"]["functions"].clear()
    second = experiment().run()
    assert second.provenance["packages"]
    assert second.provenance["environment"]
    assert second.provenance["code"]["functions"]


def test_workers_do_not_record_and_runs_of_processes_do():
    result = experiment(plugins=[SeedPlugin(seed=1), ArtifactPlugin(), ParallelExecution(2, "process")]).run(
        replicates=3
    )
    assert result.provenance["packages"]
    assert open_run("data/kept/v0").to_dict() == result.to_dict()


def test_apply_and_debug_record_nothing(tmp_path):
    experiment().apply()
    experiment().debug()
    assert not (tmp_path / "data").exists()


def test_where_an_experiment_was_made_is_recorded(ran, facts, write, tmp_path):
    run = ran()
    definition = facts(run)["definition"]
    assert definition["file"] == str(tmp_path / "script.py")
    assert (definition["module"], definition["function"], definition["variables"]) == (
        "__main__",
        "<module>",
        ["experiment"],
    )


def test_an_experiment_that_a_helper_makes_is_found_where_the_helper_was_called(script, write, python, facts, tmp_path):
    write(
        script.replace("experiment = Experiment(", "def make():\n    return Experiment(").partition("if __name__")[0],
        "maker.py",
    )
    write("import maker\nfirst = maker.make()\nfirst.run()\n", "caller.py")
    python("caller.py")
    definition = facts(tmp_path / "data" / "shift" / "v0")["definition"]
    assert (definition["file"], definition["variables"]) == (str(tmp_path / "caller.py"), ["first"])


def test_each_process_that_works_on_a_run_records_its_own_surroundings(script, write, python, facts, tmp_path):
    source = script.replace("experiment.run()", "experiment.run(strategy='resume')").replace(
        "    mean = sum(data) / len(data)\n",
        "    import os, pathlib\n"
        "    if ctx['replicate'] == 1 and pathlib.Path('armed').exists():\n"
        "        import signal, time\n"
        "        time.sleep(1)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    mean = sum(data) / len(data)\n",
    )
    write(source)
    (tmp_path / "armed").touch()
    python("script.py", OMP_NUM_THREADS="1", code=-9)
    (tmp_path / "armed").unlink()
    run = tmp_path / "data" / "shift" / "v0"
    assert facts(run)["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    python("script.py", OMP_NUM_THREADS="2")
    assert [path.name for path in run.parent.iterdir()] == ["v0"]
    assert facts(run)["environment"]["variables"]["OMP_NUM_THREADS"] == "2"
    documents = StoredRun(run)._documents
    used = [documents[name]["variables"]["OMP_NUM_THREADS"] for name in ("environment", "environment@2")]
    assert used == ["1", "2"]
    assert StoredRun(run).status == "complete"
