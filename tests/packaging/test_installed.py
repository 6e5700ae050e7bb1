"""What people get who install one distribution, or all of them, into an empty environment."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The environments are made once, by a real installation, and used by all tests of this file.
pytestmark = pytest.mark.timeout(600)

EXPERIMENT = """
from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def scale(data, ctx, *, factor=1):
    return [factor * number for number in data]


@pipeline_step()
def total(data, ctx):
    ctx.metrics.add("total", sum(data))
    return data


experiment = Experiment(
    datasource=numbers(),
    pipeline=Pipeline([scale(), total()]),
    treatments=[Treatment("doubled", {"factor": 2})],
    name="totals",
    replicates=3,
)
"""

REPORT = """
result = experiment.run()
print(list(result.metrics.baseline.metrics["total"]), list(result.metrics.treatments["doubled"].metrics["total"]))
"""


@pytest.fixture
def core(environment):
    return environment("crystallize-core")


@pytest.fixture
def together(environment):
    return environment("crystallize-core", "crystallize-plugins", "crystallize-cli")


def test_the_core_brings_pluggy_and_importlib_metadata_and_what_those_need(core):
    needed, todo = set(), ["pluggy", "importlib-metadata"]
    while todo:
        name = canonicalize_name(todo.pop())
        needed.add(name)
        declared = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        todo += [need.name for need in declared if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert core.distributions() == {"crystallize-core", *needed}


def test_the_core_alone_runs_an_experiment_and_writes_nothing(core):
    assert core.run(EXPERIMENT + REPORT) == "[6, 6, 6] [12, 12, 12]\n"
    assert core.files() == set()


def test_the_core_alone_gives_its_public_names_and_no_others(core):
    printed = core.run(
        "from crystallize import *\nimport crystallize\n"
        "print('Experiment' in globals(), 'SeedPlugin' in globals(), 'SeedPlugin' in crystallize.__all__)"
    )
    assert printed == "True False False\n"


@pytest.mark.parametrize("name", ["SeedPlugin", "ArtifactPlugin", "LoggingPlugin", "ParallelExecution"])
def test_a_name_that_the_core_alone_lacks_says_what_to_install(core, name):
    printed = core.run(f"try:\n    from crystallize import {name}\nexcept ImportError as error:\n    print(error)")
    assert "pip install crystallize-plugins" in printed


FROM_FOLDER = """
from crystallize import Experiment, ExperimentGraph
from crystallize.errors import MissingExtraError

for load in (Experiment.from_yaml, ExperimentGraph.from_yaml):
    try:
        load("lab")
    except MissingExtraError as error:
        print(error.distribution, str(error).rpartition(": ")[2])
"""


@pytest.mark.parametrize("names", [("crystallize-core",), ("crystallize-core", "crystallize-plugins")])
def test_without_the_extra_config_yaml_is_refused_with_what_to_install(environment, names):
    bare = environment(*names)
    (bare.folder / "lab").mkdir(exist_ok=True)
    (bare.folder / "lab" / "config.yaml").write_text("name: lab\n", encoding="utf-8")
    assert bare.run(FROM_FOLDER).splitlines() == ['crystallize-plugins pip install "crystallize-plugins[yaml]"'] * 2
    assert not {"pyyaml", "jsonschema-rs"} & bare.distributions()
    (bare.folder / "lab" / "config.yaml").unlink()


def test_the_plugins_alone_bring_the_defaults(environment):
    plugins = environment("crystallize-core", "crystallize-plugins")
    printed = plugins.run(
        "from crystallize import *\n" + EXPERIMENT + REPORT
        + "print([type(plugin).__name__ for plugin in experiment.plugins])\nprint(SeedPlugin(seed=3).seed)"
    )  # fmt: skip
    assert printed.startswith("[6, 6, 6] [12, 12, 12]\n")
    for name in ("SeedPlugin", "ArtifactPlugin", "LoggingPlugin"):
        assert name in printed
    assert "data/totals/v0/run.json" in plugins.files()
    assert "click" not in plugins.distributions()


def test_all_together_the_command_line_runs_an_experiment(together):
    (together.folder / "totals.py").write_text(EXPERIMENT, encoding="utf-8")
    done = together.attempt("run", "totals.py", "--replicates", "4", "--seed", "11")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "doubled" in done.stdout
    assert "total" in done.stdout
    assert "data/totals/v0/run.json" in together.files()


def test_the_command_says_the_version_of_its_distribution(together):
    version = together.run("import importlib.metadata as m\nprint(m.version('crystallize-cli'))").strip()
    assert together.attempt("--version").stdout == f"crystallize {version}\n"


def test_worker_processes_work_where_only_wheels_are_installed(together):
    printed = together.run(
        EXPERIMENT
        + "from crystallize import ParallelExecution\n"
        + "experiment.plugins.append(ParallelExecution(max_workers=2, executor_type='process'))\n"
        + REPORT
    )
    assert printed == "[6, 6, 6] [12, 12, 12]\n"
