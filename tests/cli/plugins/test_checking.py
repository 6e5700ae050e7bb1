"""`plugins check`: what is wrong with plugins, found without running an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystallize.testing import RULES

STRANGERS = Path(__file__).parents[2] / "plugin_distributions"


def test_a_plugin_that_keeps_the_rules_is_said_to(call, tally):
    tally(source='"""Counts."""\n' + _sound())
    done = call("plugins", "check", "tally", "--json")
    assert done.code == 0, done.stdout
    record = done.json
    assert record.keys() == {"target", "ok", "findings", "plugins"}
    assert (record["target"], record["ok"]) == ("tally", True)
    (plugin,) = record["plugins"]
    assert plugin.pop("import_ms") >= 0
    assert plugin.pop("findings") == record["findings"]
    assert plugin == {
        "name": "tally",
        "kind": "plugin",
        "distribution": "acme-tally",
        "version": "1.5",
        "entry_point": "acme_tally:Tally",
        "ok": True,
    }


def test_notes_are_problems_where_that_is_asked_for(call, tally):
    tally(source=_sound().replace('    contract = ">=1,<2"\n', ""))
    states = {finding["state"] for finding in call("plugins", "check", "tally", "--json").json["findings"]}
    assert "note" in states
    assert call("plugins", "check", "tally", "--strict").code == 2


def test_what_it_prints_and_how_it_ends_stays_with_it(call, tally):
    tally()
    done = call("plugins", "check", "tally", "--json")
    assert done.code == 2
    assert {finding["rule"] for finding in done.json["findings"] if finding["state"] == "problem"} == {"import-output"}
    tally(version="1.6", source="import os\nos._exit(9)\n")
    done = call("plugins", "check", "acme-tally", "--json")
    assert done.code == 2
    assert "import-fails" in {finding["rule"] for finding in done.json["findings"]}


def test_a_distribution_is_checked_with_all_that_it_brings(call, install):
    install(
        "acme-both",
        plugins={"both": "acme_both:Both"},
        groups={"crystallize.verifiers": {"both-verifier": "acme_both:verifier"}},
        modules={
            "acme_both.py": _sound().replace("Tally", "Both") + "\n\ndef verifier(baseline, treatment):\n    pass\n"
        },
    )
    plugins = call("plugins", "check", "Acme.Both", "--json").json["plugins"]
    assert [(plugin["kind"], plugin["name"]) for plugin in plugins] == [
        ("plugin", "both"),
        ("verifier", "both-verifier"),
    ]


@pytest.mark.parametrize(
    "folder, rules",
    [
        ("acme-typos", {"hook-unknown", "hook-argument", "contract"}),
        ("acme-broken", {"import-fails"}),
        ("acme-dice", set()),
    ],
)
def test_a_folder_is_checked_without_being_installed(call, folder, rules):
    done = call("plugins", "check", STRANGERS / folder, "--json")
    found = {finding["rule"] for finding in done.json["findings"] if finding["state"] == "problem"}
    assert rules <= found <= set(RULES)
    assert done.code == (2 if found else 0)
    assert all({"rule", "state", "text", "where"} == finding.keys() for finding in done.json["findings"])


def test_what_is_not_there_ends_with_5_and_the_nearest(call, tally, tmp_path):
    tally()
    done = call("plugins", "check", "tal1y")
    assert (done.code, done.stdout) == (5, "")
    assert "Did you mean 'tally'?" in done.stderr


@pytest.mark.parametrize(
    "text", [None, "[project", "[project]\nname = 'x'\n", "[project.entry-points.'crystallize.plugins']\n"]
)
def test_a_folder_that_holds_no_distribution_ends_with_2(call, tmp_path, text):
    folder = tmp_path / "source"
    folder.mkdir()
    if text is not None:
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    done = call("plugins", "check", "source")
    assert (done.code, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def _sound():
    from tests.cli.plugins.conftest import TALLY

    return TALLY.replace('print("printed when it is imported")\n', "")
