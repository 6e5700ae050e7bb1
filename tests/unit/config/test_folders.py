"""A folder with a config.yaml is an experiment: what each section means."""

from __future__ import annotations

import pytest

from crystallize import Experiment, ParallelExecution, SeedPlugin
from crystallize.errors import ConfigurationError, CrystallizeError


def metrics(experiment, condition="baseline", **options):
    result = experiment.run(**options)
    assert result.errors == {}
    found = result.metrics.baseline if condition == "baseline" else result.metrics.treatments[condition]
    return found.metrics


def test_a_folder_and_its_config_are_the_same_experiment(write):
    folder = write()
    by_folder, by_file = Experiment.from_yaml(folder), Experiment.from_yaml(folder / "config.yaml")
    assert by_folder.name == by_file.name == "lab"
    assert by_folder.id == by_file.id


def test_a_path_may_be_text_and_relative(write):
    write()
    assert Experiment.from_yaml("lab").name == "lab"


def test_the_name_is_the_folders_unless_it_is_given(load):
    assert load().name == "lab"
    assert load("name: rates\ndatasource: {data: numbers}\nsteps: [total]\n").name == "rates"


def test_everything_at_the_top_reaches_the_experiment(load):
    experiment = load("""
description: Does more help?
datasource: {data: numbers}
steps: [scale, total]
replicates: 3
strategy: resume
seed: 7
retries: 2
timeout: 30
max_failures: 5
execution: {parallel: {executor_type: process}}
""")
    assert experiment.description == "Does more help?"
    assert experiment.replicates == 3
    assert experiment.strategy == "resume"
    assert experiment.get_plugin(SeedPlugin).seed == 7
    assert (experiment.retries, experiment.timeout, experiment.max_failures) == (2, 30, 5)


def test_a_timeout_that_nobody_could_keep_is_said_with_its_place(write, problems_of):
    (problem,) = problems_of(write("datasource: {data: numbers}\nsteps: [total]\ntimeout: 30\n"))
    assert problem.line == 3
    assert "time-out of 30 s" in problem.message
    assert "execution: {parallel: {executor_type: process}}" in problem.advice


def test_an_empty_section_means_none(load):
    keys = ("name", "description", "treatments", "hypotheses", "outputs", "cli", "execution", "replicates", "seed")
    experiment = load("datasource: {data: numbers}\nsteps: [total]\n" + "".join(f"{key}:\n" for key in keys))
    assert (experiment.treatments, experiment.hypotheses, experiment.outputs) == ([], [], {})
    assert (experiment.name, experiment.replicates) == ("lab", 1)


def test_plugins_may_be_empty_too(write):
    assert len(Experiment.from_yaml(write("datasource: {data: numbers}\nsteps: [total]\nplugins:\n")).plugins) == 3


def test_one_function_arrives_bare_and_several_as_a_dict(load):
    bare = load("datasource: {data: numbers}\nsteps: [total]\n")
    assert bare.apply() == [0, 1, 2]
    assert load(
        "datasource:\n  few: numbers\n  more: {numbers: {upto: 5}}\n  ones: Ones\nsteps: [see]\n",
        steps="def see(data, ctx):\n    return data\n",
    ).apply() == {"few": [0, 1, 2], "more": [0, 1, 2, 3, 4], "ones": [1, 1]}


def test_a_step_is_named_with_and_without_parameters(load):
    text = "datasource: {data: numbers}\nsteps:\n  - scale: {factor: 2}\n  - Shift: {by: 1}\n  - plain: {plus: 10}\n"
    assert load(text).apply() == [11, 13, 15]
    assert load("datasource: {data: numbers}\nsteps:\n  - scale:\n  - total\n").apply() == [0, 1, 2]


def test_treatments_reach_parameters_by_name(load):
    experiment = load(
        "datasource: {data: numbers}\nsteps: [scale, total]\ntreatments:\n  double: {factor: 2}\n  same:\n"
    )
    result = experiment.run()
    assert result.metrics.treatments["double"].metrics["total"] == [6]
    assert result.metrics.treatments["same"].metrics["total"] == [3]


def test_a_hypothesis_uses_an_own_or_an_installed_verifier(load):
    experiment = load("""
datasource: {data: numbers}
steps: [scale, total]
treatments: {double: {factor: 2}}
replicates: 4
hypotheses:
  - {name: own, verifier: above, metrics: total}
  - {name: set, verifier: {above: {margin: 100}}, metrics: [total], ranker: by_p_value}
  - {name: plain, verifier: simple}
  - {name: installed, verifier: {permutation: {alternative: greater}}, metrics: total}
  - {name: groups, verifier: above, metrics: [[total], [total]]}
""")
    result = experiment.run()
    assert result.get_hypothesis("own").results["double"]["p_value"] == 0.0
    assert result.get_hypothesis("set").results["double"]["p_value"] == 1.0
    assert result.get_hypothesis("set").ranking["best"] == "double"
    assert result.get_hypothesis("plain").results["double"] == {"p_value": 0.5}
    assert "p_value" in result.get_hypothesis("installed").results["double"]
    assert len(result.get_hypothesis("groups").results["double"]) == 2


def test_a_verifier_of_ones_own_comes_before_an_installed_one(load):
    experiment = load(
        "datasource: {data: numbers}\nsteps: [total]\ntreatments: {a: {}}\nhypotheses: [{name: h, verifier: welch}]\n",
        verifiers="def welch(baseline, treatment):\n    return {'mine': True}\n",
    )
    assert experiment.run().get_hypothesis("h").results["a"] == {"mine": True}


def test_an_artifact_parameter_is_filled_from_the_outputs_by_its_name(write):
    folder = write("""
datasource: {data: numbers}
steps: [publish]
outputs:
  table: {file_name: table.json, writer: to_json, loader: from_json}
  spare:
""", steps="""
        from crystallize import Artifact, pipeline_step

        @pipeline_step()
        def publish(data, ctx, *, table: Artifact, spare: "Artifact"):
            table.write(data)
            spare.write(b"spare")
    """)  # fmt: skip
    experiment = Experiment.from_yaml(folder)
    assert list(experiment.outputs) == ["table.json", "spare"]
    result = experiment.run()
    assert result.errors == {}
    assert result.get_artifact("table.json")["baseline"].read_text() == "[0, 1, 2]"
    assert result.get_artifact("spare")["baseline"].read_bytes() == b"spare"


def test_an_artifact_parameter_can_name_another_output(write):
    folder = write(
        "datasource: {data: numbers}\nsteps: [{publish: {table: other}}]\noutputs: {other: {file_name: o.json}}\n"
    )
    assert Experiment.from_yaml(folder).run().get_artifact("o.json")["baseline"].read_text() == "[0, 1, 2]"


def test_defaults_are_left_out_and_set(write):
    text = "datasource: {data: numbers}\nsteps: [total]\nplugins:\n  artifacts: false\n  logging: {verbose: true}\n"
    experiment = Experiment.from_yaml(write(text))
    assert experiment.plugin_order() == ["seed", "logging"]
    assert [plugin.verbose for plugin in experiment.plugins if type(plugin).__name__ == "LoggingPlugin"] == [True]


def test_the_seed_joins_the_settings_of_its_plugin(load):
    experiment = load(
        "datasource: {data: numbers}\nsteps: [total]\nseed: -3\n"
        "plugins: {seed: {auto_seed: false}, artifacts: false, logging: false}\n"
    )
    plugin = experiment.get_plugin(SeedPlugin)
    assert (plugin.seed, plugin.auto_seed) == (-3, False)


def test_execution_is_an_executor_with_or_without_settings(load):
    text = "datasource: {data: numbers}\nsteps: [total]\nexecution: "
    assert load(text + "parallel\n").get_plugin(ParallelExecution).max_workers is None
    made = load(text + "{parallel: {max_workers: 2, executor_type: process}}\n").get_plugin(ParallelExecution)
    assert (made.max_workers, made.executor_type) == (2, "process")


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file(write, problems_of):
    folder = write(
        "datasource: {data: numbrs}\nsteps:\n  - scale: {facter: 1}\n  - 3\nreplicates: 0\nplugin: {}\n"
        "treatments: {a: {x: no}}\nhypotheses:\n  - {name: h, verifier: {above: {margn: 1}}}\n"
    )
    assert [(found.line, found.column) for found in problems_of(folder)] == [
        (1, 20), (3, 13), (4, 5), (5, 13), (6, 1), (7, 21), (9, 34),
    ]  # fmt: skip


def test_the_error_says_how_many_there_are_and_lists_them(write):
    folder = write("datasource: {data: numbers}\nsteps: [total]\nreplicates: 0\nsead: 1\n")
    with pytest.raises(ConfigurationError) as caught:
        Experiment.from_yaml(folder)
    first, *others = str(caught.value).splitlines()
    assert first == f"{folder} has 2 problems:"
    assert others[0].startswith(f"  {folder / 'config.yaml'}, line 3, column 13: replicates must be")
    assert isinstance(caught.value, (CrystallizeError, ValueError))


def test_one_mistake_is_a_message_of_one_line(write):
    with pytest.raises(ConfigurationError) as caught:
        Experiment.from_yaml(write("datasource: {data: numbers}\nsteps: [total]\nseed: x\n"))
    assert "\n" not in str(caught.value)


def test_an_error_with_problems_survives_a_pickle(write, problems_of):
    import pickle

    with pytest.raises(ConfigurationError) as caught:
        Experiment.from_yaml(write("datasource: {data: numbers}\nsteps: [total]\nseed: x\n"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problems) == (str(caught.value), caught.value.problems)


@pytest.mark.parametrize("path", ["absent", "absent/config.yaml"])
def test_what_is_not_there_is_said(path, problems_of):
    (problem,) = problems_of(path)
    assert (problem.file, problem.message) == (path, "there is no such file or folder")
    with pytest.raises(FileNotFoundError) as caught:
        Experiment.from_yaml(path)
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value) == f"{path}: there is no such file or folder. Give a folder that has a config.yaml"


def test_a_folder_without_a_config_is_said_with_what_is_there(tmp_path, problems_of):
    (tmp_path / "lab").mkdir()
    assert "has no config.yaml" in problems_of("lab")[0].message
    (tmp_path / "lab" / "conf.yml").touch()
    assert "conf.yml is there" in problems_of("lab")[0].message


@pytest.mark.parametrize("module", ["datasources", "steps", "outputs", "verifiers"])
def test_a_module_that_is_named_and_absent_is_an_error(module, write, problems_of):
    text = (
        "datasource: {data: numbers}\nsteps: [total]\noutputs: {t: {writer: to_json}}\ntreatments: {a: {}}\n"
        "hypotheses: [{name: h, verifier: above}]\n"
    )
    (problem,) = problems_of(write(text, **{module: None}))
    assert f"there is no {module}.py" in f"{problem.message} {problem.advice}"


def test_what_verifiers_py_imported_from_crystallize_is_not_listed_as_its_own(write, problems_of):
    text = "datasource: {data: numbers}\nsteps: [total]\ntreatments: {a: {}}\nhypotheses: [{name: h, verifier: abov}]\n"
    verifiers = "from crystallize import verifier\n\n\n@verifier\ndef above(baseline, treatment):\n    return {}\n"
    (problem,) = problems_of(write(text, verifiers=verifiers))
    assert problem.advice.endswith("verifiers.py has: above")


def test_modules_that_nobody_names_need_not_be_there(write):
    assert Experiment.from_yaml(write(outputs=None, verifiers=None)).name == "lab"


def test_a_subclass_is_what_it_makes(write):
    class Mine(Experiment):
        pass

    assert type(Mine.from_yaml(write())) is Mine


def test_overrides_as_one_text_are_refused(write):
    with pytest.raises(TypeError, match=r"overrides=\['replicates=3'\]"):
        Experiment.from_yaml(write(), overrides="replicates=3")


def test_a_broken_plugin_is_named_only_where_it_is_asked_for(run_script, write, tmp_path):
    info = tmp_path / "site" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[crystallize.plugins]\nbroken = no_such_module:Plugin\n")
    write("datasource: {data: numbers}\nsteps: [total]\n", name="calm")
    write("datasource: {data: numbers}\nsteps: [total]\nplugins:\n  broken:\n", name="asks")
    done = run_script(
        """
        from crystallize import Experiment
        from crystallize.errors import ConfigurationError

        print(Experiment.from_yaml("calm").name)
        try:
            Experiment.from_yaml("asks")
        except ConfigurationError as error:
            print(error)
        """,
        PYTHONPATH=str(tmp_path / "site"),
    )
    assert done.stdout.startswith("calm\nasks/config.yaml, line 4, column 3: the plugin 'broken' cannot be used")
    assert "broken 1.0" in done.stdout
    assert "no_such_module" in done.stdout
