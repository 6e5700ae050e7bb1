"""Overrides: values put in place of what config.yaml says, for one load."""

from __future__ import annotations

import pytest

from crystallize import Experiment, SeedPlugin
from crystallize.errors import ConfigurationError

CONFIG = """# what is compared
datasource: {data: numbers}
steps:
  - scale: {factor: 2}
  - Shift: {by: 1}
  - total
treatments:
  fast: {factor: 3, grid: {a: 1}}
  "rate 0.1": &shared {factor: 4}
  again: *shared
hypotheses:
  - {name: higher, verifier: above, metrics: total}
execution: serial
plugins: {artifacts: false, logging: false}
"""


@pytest.fixture
def changed(write):
    """Load CONFIG with overrides."""
    return lambda *overrides: Experiment.from_yaml(write(CONFIG), overrides=list(overrides))


def treatments(experiment):
    return {treatment.name: dict(treatment.apply_map) for treatment in experiment.treatments}


def test_a_value_is_replaced(changed):
    experiment = changed("treatments.fast.factor=0.5", "steps.scale.factor=10", "steps.1.Shift.by=7")
    assert treatments(experiment)["fast"] == {"factor": 0.5, "grid": {"a": 1}}
    assert experiment.apply() == [7, 17, 27]


def test_a_key_that_the_schema_knows_is_set(changed):
    experiment = changed("replicates=30", "seed=7", "name=other", "cli.group=Training", "strategy=resume")
    assert (experiment.replicates, experiment.name, experiment.strategy) == (30, "other", "resume")
    assert experiment.get_plugin(SeedPlugin).seed == 7


def test_values_are_yaml(changed):
    experiment = changed("treatments.fast={factor: [1, 2.5, true, null, 'no'], rate: 1e-3}", "description='a: b # c'")
    assert treatments(experiment)["fast"] == {"factor": [1, 2.5, True, None, "no"], "rate": 0.001}
    assert experiment.description == "a: b # c"


def test_a_value_may_hold_an_equals_sign_and_be_empty(changed):
    assert changed("description=a=b").description == "a=b"
    assert changed("~hypotheses", "treatments=").treatments == []


def test_a_colour_is_no_comment(write):
    from crystallize_plugins.config import load_folder

    assert load_folder(write(CONFIG), overrides=["cli.color=#85c1e9"]).description.cli.color == "#85c1e9"


def test_what_is_not_there_is_added_with_a_plus(changed):
    experiment = changed("+treatments.slow.factor=1", "+treatments.fast.more=1", "+treatments.plain", "+seed=3")
    assert treatments(experiment)["slow"] == {"factor": 1}
    assert treatments(experiment)["fast"]["more"] == 1
    assert treatments(experiment)["plain"] == {}


def test_steps_are_added_removed_and_replaced(changed):
    assert [step.name for step in changed("~steps.Shift", "+steps.plain={plus: 1}").pipeline.steps] == [
        "ScaleStep", "TotalStep", "PlainStep",
    ]  # fmt: skip
    assert changed("steps=[{scale: {factor: 5}}]").apply() == [0, 5, 10]
    assert [step.name for step in changed("steps.0=total", "~steps.1").pipeline.steps] == ["TotalStep", "TotalStep"]


def test_a_step_without_parameters_gets_some(changed):
    assert changed("steps=[scale]", "+steps.scale.factor=4").apply() == [0, 4, 8]
    assert changed("steps=[scale]", "steps.scale={factor: 4}").apply() == [0, 4, 8]


def test_a_key_with_a_dot_stands_in_quotes(changed):
    assert treatments(changed('treatments."rate 0.1".factor=9'))["rate 0.1"] == {"factor": 9}
    assert "rate 0.1" not in treatments(changed("~treatments.'rate 0.1'"))


def test_what_an_alias_shares_is_changed_in_one_place(changed):
    found = treatments(changed("treatments.again.factor=7"))
    assert (found["again"], found["rate 0.1"]) == ({"factor": 7}, {"factor": 4})


def test_a_hypothesis_goes_by_its_name(changed):
    assert changed("hypotheses.higher.metrics=[total]").hypotheses[0].metrics == ["total"]
    assert changed("~hypotheses.higher").hypotheses == []
    assert changed("hypotheses.higher.name=lower").hypotheses[0].name == "lower"


def test_an_override_may_take_away_what_another_part_needs(changed):
    with pytest.raises(ConfigurationError, match="there is no treatment"):
        changed("~treatments")


def test_overrides_come_one_after_the_other(changed):
    assert changed("seed=1", "seed=2", "~seed", "+seed=3").get_plugin(SeedPlugin).seed == 3


def test_the_file_is_left_as_it_is(changed, tmp_path):
    changed("replicates=3", "~treatments.fast", "+steps.plain")
    assert (tmp_path / "lab" / "config.yaml").read_text() == CONFIG


MISTAKES = [
    ("replicats=3", 1, "there is no 'replicats' in config.yaml", "Did you mean 'replicates'?"),
    ("treatments.fats.factor=1", 12, "there is no 'fats' in treatments", "Did you mean 'fast'?"),
    ("treatments.fast.facter=1", 17, "no 'facter' in treatments.fast", "To add it, write +treatments.fast.facter=1"),
    ("treatments.fast.grid.b=1", 22, "no 'b' in treatments.fast.grid", "+treatments.fast.grid.b=1"),
    ("steps.skale.factor=1", 7, "steps has no item called 'skale'", "Did you mean 'scale'?"),
    ("steps.9.factor=1", 7, "steps has no item 9", "Its items are 0 to 2"),
    ("steps.total.x=1", 13, "there is no 'x' in steps.total", "To add it, write +steps.total.x=1"),
    ("hypotheses.hihger.metrics=x", 12, "no item called 'hihger'", "Did you mean 'higher'?"),
    ("hypotheses.higher.metric=x", 19, "no 'metric' in hypotheses.0", "Did you mean 'metrics'?"),
    (
        "execution.serial.progress=true",
        11,
        "execution is the text 'serial', which has no keys",
        "execution={serial: ...",
    ),
    ("cli.colour=red", 5, "no 'colour' in cli", "Did you mean 'color'?"),
    ("+treatments.fast.factor=1", 18, "treatments.fast.factor is there already", "Leave the + out to replace it"),
    ("+steps.total=1", 8, "steps.total is there already", "Leave the + out"),
    ("~seed", 2, "there is no 'seed' in config.yaml", "What is there: datasource"),
    ("~treatments.absent", 13, "no 'absent' in treatments", "What is there: fast"),
    ("~name=x", 6, "~name removes a key, and takes no value", "Write ~name"),
    ("replicates", 11, "'replicates' gives no value", "Write replicates=value, or ~replicates"),
    ("=3", 1, "names no key", "Write key.path=value"),
    ("", 1, "names no key", "Write key.path=value"),
    ("a..b=1", 3, "'a..b' is no path of keys", "in quotes"),
    ("treatments.=1", 1, "'treatments.' is no path of keys", "in quotes"),
    ("replicates=0", 12, "replicates must be a whole number of at least 1, not the number 0", "30"),
    ("replicates=1_000", 12, "not the text '1_000'", "write 1000"),
    ("treatments.fast.factor=no", 24, "no is false to some readers", "Write false"),
    ("+a\udcff=1", 3, "'\\udcff' cannot stand in YAML", "Remove it"),
    ("name=a\udcff", 7, "'\\udcff' cannot stand in YAML", "Remove it"),
    ("+" + ".".join("a" * 60) + "=1", 1, "60 keys lead deeper than 50 levels", "Write fewer"),
    ("seed=[1", 8, "this is no YAML", "Close the bracket"),
    ("seed=!!int 3", 6, "the tag !!int is refused", "Remove it"),
    ("steps=[skale]", 8, "steps.py has no step 'skale'", "Did you mean 'scale'?"),
    ("+zzz=1", 2, "the key 'zzz' is unknown", "The keys there are"),
    ("description=a: b: c", 17, "this is no YAML", "in quotes"),
]


@pytest.mark.parametrize(
    "override,column,message,advice", MISTAKES, ids=[ascii(mistake[0])[:40] for mistake in MISTAKES]
)
def test_a_mistaken_override_is_named_with_its_number_and_column(override, column, message, advice, write, problems_of):
    found = problems_of(write(CONFIG), ["replicates=2", override])
    assert len(found) == 1, [str(problem) for problem in found]
    (problem,) = found
    assert (problem.file, problem.line, problem.column) == ("override 2", 1, column)
    assert message in problem.message
    assert advice in problem.advice


def test_a_step_that_is_there_twice_goes_by_its_position(write, problems_of):
    folder = write("datasource: {data: numbers}\nsteps: [scale: {factor: 2}, total, scale: {factor: 3}]\n")
    (problem,) = problems_of(folder, ["steps.scale.factor=1"])
    assert "has 'scale' 2 times" in problem.message
    assert "0 and 2" in problem.advice
    assert Experiment.from_yaml(folder, overrides=["steps.2.scale.factor=1"]).pipeline.steps[2].params == {"factor": 1}


def test_an_override_and_the_file_are_wrong_together(write, problems_of):
    found = problems_of(write(CONFIG + "sead: 1\n"), ["replicats=3"])
    assert {problem.file.rpartition("/")[2] for problem in found} == {"override 1", "config.yaml"}
