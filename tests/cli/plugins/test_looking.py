"""`plugins list`, `show`, `order` and `doctor` look at what is installed, whatever that does when it is imported."""

from __future__ import annotations

import pytest

BAD = {
    "raising": "raise RuntimeError('the licence server is away')\n",
    "leaving": "import sys\nsys.exit('gone')\n",
    "ending": "import os\nprint('going')\nos._exit(7)\n",
    "absent": None,
}
"""Modules that cannot be imported, by the name of their plugin."""


@pytest.fixture
def bad(install):
    """Install one plugin of each kind of bad module, beside a good one."""
    modules = {f"acme_{name}.py": source for name, source in BAD.items() if source is not None}
    install("acme-bad", plugins={name: f"acme_{name}:Plugin" for name in BAD}, modules=modules)


FORMS = """
from crystallize import BasePlugin, hookimpl


class Plain(BasePlugin):
    before = ("artifacts",)
    after = "seed"
    neutral = True

    def __init__(self, needed):
        self.needed = needed

    def collect(self, outcome):
        pass


class Marked:
    @hookimpl
    def before_run(self, experiment):
        pass


def made(size: int = 3):
    return Plain(size)


instance = Plain(1)


class NoPlugin:
    pass


class Misspelt(BasePlugin):
    def before_replicates(self, ctx):
        pass
"""


@pytest.fixture
def forms(install):
    """Install a plugin in each form that an entry point may lead to."""
    names = {"plain": "Plain", "marked": "Marked", "made": "made", "instance": "instance"}
    names |= {"no-plugin": "NoPlugin", "misspelt": "Misspelt"}
    install(
        "acme-forms",
        plugins={name: f"acme_forms:{target}" for name, target in names.items()},
        groups={"crystallize.verifiers": {"no-verifier": "acme_forms:__doc__"}},
        modules={"acme_forms.py": FORMS},
    )


def test_what_a_plugin_prints_stays_out_of_the_answer(call, tally):
    tally()
    (record,) = call("plugins", "show", "tally", "--json").json
    assert (record["name"], record["error"]) == ("tally", None)
    shown = call("plugins", "show", "tally")
    assert shown.code == 0
    assert "printed when" not in shown.stdout
    assert "printed when" in shown.stderr


def test_settings_are_shown_with_type_default_choices_and_help(call, tally):
    tally()
    settings = call("plugins", "show", "tally", "--json").json[0]["settings"]
    assert settings["limit"] == {
        "type": "int",
        "default": 9,
        "required": False,
        "help": "the most that is counted",
        "choices": None,
    }
    assert settings["unit"]["choices"] == ["items", "bytes"]
    assert "limit = 9  (int)  the most that is counted" in call("plugins", "show", "tally").stdout


@pytest.mark.parametrize(
    "name, hooks", [("plain", "collect"), ("marked", "before_run"), ("made", "collect"), ("instance", "collect")]
)
def test_hooks_and_declarations_are_right_for_every_form_of_plugin(call, forms, name, hooks):
    (record,) = call("plugins", "show", name, "--json").json
    assert (record["error"], record["hooks"]) == (None, [hooks])
    if name != "marked":
        assert (record["neutral"], record["before"], record["after"]) == (True, ["artifacts"], ["seed"])


@pytest.mark.parametrize("name", BAD)
def test_a_plugin_that_cannot_be_imported_is_shown_with_its_cause(call, bad, name):
    done = call("plugins", "show", name, "--json")
    assert done.code == 2
    (record,) = done.json
    assert "acme-bad 1.0" in record["error"]
    assert {"raising": "licence server", "ending": "exit code 7"}.get(name, "acme") in record["error"]


def test_the_doctor_examines_all_that_is_installed_whatever_each_does(call, bad, forms):
    done = call("doctor", "--json")
    assert done.code == 2
    problems = {plugin["name"]: plugin["problem"] for plugin in done.json["plugins"]}
    mistaken = {"no-plugin", "misspelt", "no-verifier"}
    assert {name for name, problem in problems.items() if problem} == {*BAD, *mistaken}
    assert "before_replicate" in problems["misspelt"]
    assert all(plugin["import_ms"] is not None for plugin in done.json["plugins"] if not plugin["problem"])
    told = {finding["what"]: finding for finding in done.json["findings"] if finding["state"] == "problem"}
    assert "exit code 7" in told["plugin ending (acme-bad 1.0)"]["text"]


def test_a_slow_import_is_noted_by_the_doctor(call, install):
    slow = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end:\n    pass\n"
    source = (
        f"from crystallize import BasePlugin\n{slow}\nclass Slow(BasePlugin):\n    def collect(self):\n        pass\n"
    )
    install("acme-slow", plugins={"slow": "acme_slow:Slow"}, modules={"acme_slow.py": source})
    findings = {finding["what"]: finding for finding in call("doctor", "--json").json["findings"]}
    assert findings["plugin slow (acme-slow 1.0)"]["state"] == "note"


def test_everything_is_listed_with_any_of_it_broken(call, bad):
    done = call("plugins", "list", "--kind", "plugin", "--json")
    assert done.code == 0
    assert {*BAD, "artifacts", "seed"} <= {row["name"] for row in done.json}


def test_an_unknown_name_ends_with_5_and_the_nearest(call):
    done = call("plugins", "show", "artifcats")
    assert (done.code, done.stdout) == (5, "")
    assert "Did you mean 'artifacts'?" in done.stderr


# -- order ----------------------------------------------------------------------------------------


def test_the_order_says_why_each_plugin_is_where_it_is(call, file, forms):
    file.write_text(
        file.read_text(encoding="utf-8").replace("SeedPlugin(seed=1)", "SeedPlugin(seed=1), 'made', 'marked'"),
        encoding="utf-8",
    )
    done = call("plugins", "order", "file.py", "--json")
    assert done.code == 0, done.stderr
    rows = {row["name"]: row for row in done.json["order"]}
    assert list(rows) == ["seed", "made", "marked", "logging", "artifacts"]
    assert rows["made"].keys() == {"name", "distribution", "version", "hooks", "because"}
    assert "it comes before 'artifacts'" in rows["made"]["because"]
    assert "it comes after 'seed'" in rows["made"]["because"]
    assert "the list of plugins" in rows["marked"]["because"]
    assert "'made' declares to come before it" in rows["artifacts"]["because"]


def test_the_order_of_one_hook_has_the_plugins_that_are_called_in_it(call, file):
    order = call("plugins", "order", "--hook", "before_replicate", "--json").json["order"]
    assert [row["name"] for row in order] == ["seed"]
    assert call("plugins", "order", "file.py", "--hook", "before_replicate").stdout.count("\n") == 2


def test_a_hook_that_does_not_exist_ends_with_2_and_the_nearest(call):
    done = call("plugins", "order", "--hook", "after_steps")
    assert done.code == 2
    assert "Did you mean 'after_step'?" in done.stderr


def test_a_broken_plugin_that_an_experiment_asks_for_is_named(call, file, bad):
    file.write_text(file.read_text(encoding="utf-8").replace("SeedPlugin(seed=1)", "'raising'"), encoding="utf-8")
    done = call("plugins", "order", "file.py")
    assert done.code == 2
    assert "acme-bad 1.0" in done.stderr
