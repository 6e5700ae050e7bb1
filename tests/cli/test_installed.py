"""Commands that look at what is installed: `plugins`, `doctor`, `completion`."""

from __future__ import annotations

import json
import subprocess

import pytest

METADATA = """
[crystallize.plugins]
broken_plugin = stranger_plugins:Broken
absent_plugin = absent_module_of_a_stranger:Absent
"""


@pytest.fixture
def stranger(tmp_path):
    """Put a distribution with plugins that cannot be loaded on a path; give the environment that has it."""
    info = tmp_path / "site" / "stranger-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(METADATA)
    (tmp_path / "site" / "stranger_plugins.py").write_text("raise RuntimeError('broken on import')\n")
    return {"PYTHONPATH": str(info.parent)}


def test_plugins_are_listed_with_what_they_come_from(crystallize):
    rows = json.loads(crystallize("plugins", "list", "--json").stdout)
    found = {(row["kind"], row["name"]): row["distribution"] for row in rows}
    assert found["plugin", "seed"] == "crystallize-plugins"
    assert ("optimizer", "grid") in found
    assert ("verifier", "welch") in found
    only = crystallize("plugins", "list", "--kind", "optimizer").stdout
    assert "grid" in only
    assert "seed" not in only


def test_a_plugin_is_shown_with_its_settings_and_hooks(crystallize):
    done = crystallize("plugins", "show", "artifacts")
    assert done.returncode == 0
    assert "root_dir = 'data'" in done.stdout
    assert "before_run" in done.stdout
    record = json.loads(crystallize("plugins", "show", "artifacts", "--json").stdout)[0]
    assert record["settings"]["versioned"]["default"] is True
    assert record["neutral"] is True
    assert record["error"] is None


def test_broken_plugins_break_no_listing(crystallize, stranger):
    done = crystallize("plugins", "list", **stranger)
    assert done.returncode == 0
    assert "broken_plugin" in done.stdout
    assert "artifacts" in done.stdout
    assert crystallize("plugins", "show", "seed", **stranger).returncode == 0


def test_a_broken_plugin_is_shown_with_its_cause(crystallize, stranger):
    done = crystallize("plugins", "show", "broken_plugin", **stranger)
    assert done.returncode == 2
    assert "broken on import" in done.stdout
    assert "stranger 1.2" in done.stdout


def test_an_unknown_plugin_ends_with_5_and_the_nearest_name(crystallize):
    done = crystallize("plugins", "show", "artifcats")
    assert done.returncode == 5
    assert "Did you mean 'artifacts'?" in done.stderr


def test_the_doctor_finds_nothing_wrong_here(crystallize):
    done = crystallize("doctor")
    assert done.returncode == 0, done.stdout
    assert "crystallize-core" in done.stdout
    assert "PROBLEM" not in done.stdout


def test_the_doctor_names_every_broken_plugin_and_what_to_do(crystallize, stranger):
    done = crystallize("doctor", "--json", **stranger)
    assert done.returncode == 2
    problems = [one for one in json.loads(done.stdout)["findings"] if one["state"] == "problem"]
    assert len(problems) == 2
    assert all("stranger 1.2" in one["what"] for one in problems)
    assert any("broken on import" in one["text"] for one in problems)


def test_the_doctor_names_distributions_whose_versions_do_not_fit(crystallize, tmp_path):
    info = tmp_path / "site" / "crystallize_plugins-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crystallize-plugins\nVersion: 0.0.1\n")
    done = crystallize("doctor", PYTHONPATH=str(info.parent))
    assert done.returncode == 2
    assert "pip install crystallize-plugins==" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(crystallize, shell):
    done = crystallize("completion", shell)
    assert done.returncode == 0
    assert "_CRYSTALLIZE_COMPLETE" in done.stdout


def test_an_unknown_shell_has_to_be_named(crystallize):
    done = crystallize("completion", SHELL="/bin/csh")
    assert done.returncode == 2
    assert "bash, zsh, fish" in done.stderr


def test_the_completion_knows_the_commands(command, tmp_path):
    done = subprocess.run(
        [command],
        env={"_CRYSTALLIZE_COMPLETE": "bash_complete", "COMP_WORDS": "crystallize ru", "COMP_CWORD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {"run", "runs"}
