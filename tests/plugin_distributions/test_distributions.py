"""Distributions as strangers build them: found, loaded, refused with their name, and never in the way of others."""

from __future__ import annotations

import json
import shutil

import pytest

EXPERIMENT = """
from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step

@data_source
def numbers(ctx):
    return [1, 2, 3]

@pipeline_step()
def twice(data, ctx, *, times=2):
    return data * times

def experiment(*plugins, **options):
    options.setdefault("default_plugins", False)
    return Experiment(numbers(), Pipeline([twice()]), plugins=list(plugins), name="third party", **options)
"""

REFUSED = """
import crystallize.errors
from crystallize import errors

def refused(*plugins, **options):
    try:
        experiment(*plugins, **options).run()
    except errors.CrystallizeError as error:
        print(type(error).__name__, "|", error)
    else:
        print("accepted")
"""

EVERYTHING = (
    "acme-tally",
    "zeta-tally",
    "acme-broken",
    "acme-charts",
    "acme-typos",
    "acme-usurper",
)


def test_an_installed_plugin_is_used_by_its_name_with_settings(python):
    printed = python(
        EXPERIMENT
        + """
experiment_ = experiment(("tally", {"prefix": "n", "limit": 9}))
result = experiment_.run(replicates=2, treatments=[Treatment("more", {"times": 3})])
print(dict(result.metrics.baseline.metrics), dict(result.metrics.treatments["more"].metrics))
print(experiment_.plugin_order())
""",
        "acme-tally",
    )
    assert "{'n after TwiceStep': [6, 6]}" in printed
    assert "{'n after TwiceStep': [9, 9]}" in printed
    assert "['tally']" in printed


def test_installed_is_not_active(python):
    printed = python(EXPERIMENT + "print(dict(experiment().run().metrics.baseline.metrics))", *EVERYTHING)
    assert printed == "{}\n"


def test_the_lock_of_a_run_says_what_was_installed(python):
    printed = python(
        EXPERIMENT
        + """
import json
result = experiment(("tally", {"limit": 2}), "busy-tally").run()
print(json.dumps(result.to_dict()["provenance"]["plugins"]))
""",
        "acme-tally",
    )
    tally, busy = json.loads(printed)
    assert (tally["name"], tally["distribution"], tally["version"]) == ("tally", "acme-tally", "1.4.0")
    assert (tally["entry_point"], tally["class"]) == ("acme_tally:Tally", "acme_tally.counting:Tally")
    assert (tally["contract"], tally["order"], tally["editable"]) == (">=1,<2", 0, False)
    assert tally["settings"] == {"prefix": "items", "limit": 2}
    assert tally["digests"]["acme_tally/counting.py"].startswith("sha256=")
    assert (busy["name"], busy["order"], busy["settings"]) == ("busy-tally", 1, {"limit": 5})


def test_a_lock_is_loaded_again_and_notices_another_file(python, installed, tmp_path):
    folder = tmp_path / "changed"
    printed = python(
        EXPERIMENT
        + """
import json
from pathlib import Path
Path("lock.json").write_text(json.dumps(experiment(("tally", {"limit": 2})).run().to_dict()["provenance"]["plugins"]))
from crystallize.hooks import compare_lock, lock_requirements, plugins_from_lock
lock = json.loads(Path("lock.json").read_text())
print(compare_lock(lock), lock_requirements(lock), plugins_from_lock(lock)[0].limit)
""",
        "acme-tally",
        folder=tmp_path,
    )
    assert printed == "[] ['acme-tally==1.4.0'] 2\n"
    shutil.copytree(installed("acme-tally")[0], folder)
    (record,) = folder.glob("*.dist-info/RECORD")
    record.write_text(record.read_text().replace("counting.py,sha256=", "counting.py,sha256=0"))
    printed = python(
        """
        import json
        from crystallize.hooks import compare_lock
        print(compare_lock(json.load(open("lock.json"))))
        """,
        path=[folder],
        folder=tmp_path,
    )
    assert "files of acme-tally 1.4.0 differ: acme_tally/counting.py" in printed


def test_one_name_in_two_distributions_is_an_error_that_names_both_where_it_is_asked_for(python):
    printed = python(
        EXPERIMENT
        + REFUSED
        + """
refused("tally")
refused("zeta")
import acme_tally
refused(acme_tally.Tally())
""",
        "acme-tally",
        "zeta-tally",
    )
    conflict, other, instance = printed.splitlines()
    assert conflict.startswith("PluginConflictError")
    assert "acme-tally 1.4.0 and zeta-tally 0.2.0" in conflict
    assert (other, instance) == ("accepted", "accepted")


def test_a_broken_plugin_is_named_where_it_is_asked_for_and_breaks_nothing_else(python):
    printed = python(
        EXPERIMENT
        + REFUSED
        + """
from crystallize import *
from crystallize.hooks import examine_plugins, find_plugins
print(sorted(record.name for record in find_plugins() if record.distribution != "crystallize-plugins"))
others = [record for group in ("verifiers", "commands") for record in find_plugins(f"crystallize.{group}")]
print([record.name for record in others if record.distribution == "acme-broken"])
print({report.record.name: str(report.error) for report in examine_plugins() if report.error})
refused("tally")
refused("broken")
""",
        "acme-broken",
        "acme-tally",
    )
    listed, groups, problems, tally, broken = printed.splitlines()
    assert listed == "['broken', 'busy-tally', 'tally']"
    assert groups == "['broken_test', 'broken']"
    assert "'broken': " in problems
    assert "'tally'" not in problems
    assert tally == "accepted"
    assert broken.startswith("PluginImportError | plugin 'broken' (acme-broken 3.1.0) cannot be imported")
    assert "RuntimeError: the licence server is away" in broken


@pytest.fixture(scope="module")
def mistakes(python):
    """What each plugin that cannot be used is refused with."""
    script = EXPERIMENT + REFUSED
    script += """
from crystallize.hooks import find_plugins
for record in find_plugins():
    if record.distribution in {"acme-typos", "acme-charts"}:
        print(end=f"{record.name} = ")
        refused(record.name)
"""
    return dict(
        line.split(" = ", 1) for line in python(script, "acme-typos", "acme-charts").splitlines() if " = " in line
    )


@pytest.mark.parametrize("name", ["charts", "declared-charts"])
def test_a_missing_extra_says_what_to_type(mistakes, name):
    printed = mistakes[name]
    assert printed.startswith(f"MissingExtraError | plugin '{name}' (acme-charts 2.0.1) needs the extra 'draw'")
    assert 'pip install "acme-charts[draw]"' in printed


def test_a_plugin_that_needs_no_extra_works_without_it(python):
    assert python(EXPERIMENT + "experiment('plain-charts', 'tally').run()", "acme-charts", "acme-tally") == "*\n"


@pytest.mark.parametrize(
    "name, error, said",
    [
        ("misspelt", "PluginDefinitionError", ["before_replicates", "the nearest is before_replicate", "@not_a_hook"]),
        ("unknown-argument", "PluginDefinitionError", ["'payload'", "after_step(experiment, step, data, ctx)"]),
        ("first", "PluginDefinitionError", ["tryfirst", "before = "]),
        ("gives-class", "PluginDefinitionError", ["Misspelt"]),
        ("awaits", "PluginDefinitionError", ["before_run", "coroutine"]),
        ("future", "PluginContractError", ["'>=9'", "crystallize-core", "another version of acme-typos"]),
        ("lonely", "PluginOrderError", ["requires the plugin 'acme-friend'", "not active"]),
        ("no-plugin", "PluginDefinitionError", ["NoPlugin", "@hookimpl"]),
    ],
)
def test_a_mistake_is_one_error_that_names_plugin_distribution_and_version(mistakes, name, error, said):
    printed = mistakes[name]
    assert printed.startswith(f"{error} | plugin {name!r} (acme-typos 0.9.0) ")
    for words in said:
        assert words in printed


def test_a_claim_to_a_reserved_name_shadows_nothing(python):
    printed = python(
        EXPERIMENT
        + """
result = experiment("seed").run()
print([(entry["name"], entry["distribution"]) for entry in result.provenance["plugins"]])
from crystallize.hooks import find_plugins
print([record.problem for record in find_plugins() if record.distribution == "acme-usurper"])
""",
        "acme-usurper",
    )
    assert "[('seed', 'crystallize-plugins')]" in printed
    assert "the name 'seed' is reserved to crystallize-plugins" in printed


def test_with_the_core_alone_a_claim_to_a_reserved_name_is_refused_by_name(python, core_alone):
    printed = python(
        EXPERIMENT
        + REFUSED
        + """
refused("seed")
refused(default_plugins=True)
try:
    from crystallize import SeedPlugin
except ImportError as error:
    print(error)
""",
        "acme-usurper",
        options=["-S"],
        path=[core_alone],
    )
    claim, defaults, public = printed.splitlines()
    assert claim.startswith("PluginConflictError | plugin 'seed' (acme-usurper 6.6.0)")
    assert "reserved to crystallize-plugins" in claim
    assert defaults == "accepted"
    assert "pip install crystallize-plugins" in public


def test_with_the_core_alone_a_third_partys_plugin_works(python, core_alone):
    printed = python(
        EXPERIMENT + "print(dict(experiment('tally').run().metrics.baseline.metrics))",
        "acme-tally",
        options=["-S"],
        path=[core_alone],
    )
    assert printed == "{'items after TwiceStep': [6]}\n"


def test_the_order_is_the_same_on_every_import_path(python):
    script = """
    from crystallize.hooks import ActivePlugins, build_plugins, find_plugins
    plugins = build_plugins(["zeta", "plain-charts", "busy-tally", "seed"], default_plugins=False)
    print(ActivePlugins.resolve(plugins).names, [(r.name, r.distribution) for r in find_plugins()])
    """
    one = python(script, *EVERYTHING)
    other = python(script, *EVERYTHING[::-1])
    assert one == other
    assert one.startswith("['seed', 'zeta', 'plain-charts', 'busy-tally']")


DICE = """
import logging, sys
from crystallize import Experiment, ParallelExecution, Pipeline, SeedPlugin, data_source, pipeline_step

@data_source
def nothing(ctx):
    return None

@pipeline_step()
def rolled(data):
    import acme_dice
    return data, {"rolled": acme_dice.roll()}

def run(*plugins, **options):
    options.setdefault("seed", 7)
    experiment = Experiment(nothing(), Pipeline([rolled()]), name="dice", default_plugins=False,
                            plugins=[SeedPlugin(**options), *plugins])
    return experiment.run(replicates=4)

def values(result):
    return list(result.metrics.baseline.metrics["rolled"])
"""


def test_a_library_is_seeded_by_the_distribution_that_says_how(python):
    printed = python(
        DICE
        + """
import acme_dice
first = run()
print(values(first) == values(run()) == values(run(ParallelExecution(2, "process"))))
print(values(first) == values(run(seed=8)), len(set(values(first))))
print([(each["library"], each["distribution"], each["version"]) for each in first.provenance["seeders"]])
""",
        "acme-dice",
    )
    assert printed.splitlines()[:2] == ["True", "False 4"]
    assert "('acme_dice', 'acme-dice', '2.1.0')" in printed
    assert "('torch', 'crystallize-plugins'" in printed


def test_a_seeder_whose_library_is_not_imported_is_neither_called_nor_imported(python):
    printed = python(
        DICE
        + """
@pipeline_step()
def plain(data):
    return data, {"loaded": "acme_dice" in sys.modules, "torch": "torch" in sys.modules}

result = Experiment(nothing(), Pipeline([plain()]), plugins=[SeedPlugin(seed=1)], default_plugins=False).run()
print(dict(result.metrics.baseline.metrics))
""",
        "acme-dice",
    )
    assert printed.strip() == "{'loaded': [False], 'torch': [False]}"


def test_a_library_that_a_step_imports_late_is_said_to_be_unseeded_at_first(python):
    printed = python(
        DICE
        + """
logging.getLogger("crystallize").addHandler(logging.StreamHandler(sys.stdout))
first, second = values(run()), values(run())
print(first[1:] == second[1:])
""",
        "acme-dice",
    )
    assert "acme_dice was imported while cells ran" in printed
    assert printed.count("was imported while cells ran") == 1
    assert printed.strip().endswith("True")


def test_only_seed_fn_is_called_where_there_is_one(python):
    printed = python(
        DICE
        + """
import acme_dice
called = []
acme_dice.DIE.seed(5)
result = run(seed_fn=called.append)
print(len(called), "seeders" in result.provenance)
acme_dice.DIE.seed(5)
print(values(result) == [acme_dice.roll() for _ in range(4)])
""",
        "acme-dice",
    )
    assert printed.splitlines() == ["4 False", "True"]


def test_a_seeder_that_fails_is_named_with_its_distribution(python):
    printed = python(
        DICE
        + """
sys.modules["acme_dice_broken"] = sys
print(run().errors["baseline_rep_0"])
del sys.modules["acme_dice_broken"]
sys.modules["acme_dice_absent"] = sys
print(run().errors["baseline_rep_0"])
""",
        "acme-dice",
    )
    failed, absent = printed.splitlines()
    assert "the seeder of acme_dice_broken that acme-dice 2.1.0 provides failed for seed 7: OverflowError" in failed
    assert "'acme_dice_absent' (acme-dice 2.1.0) cannot be imported" in absent


def test_a_seeder_of_a_stranger_has_the_seed_in_the_keys_of_the_step_cache(python):
    printed = python(
        DICE
        + """
import acme_dice

@pipeline_step(cacheable=True)
def rolled(data):
    return data, {"rolled": acme_dice.roll()}

print(values(run()) == values(run()), values(run()) == values(run(seed=8)))
""",
        "acme-dice",
    )
    assert printed.strip() == "True False"
