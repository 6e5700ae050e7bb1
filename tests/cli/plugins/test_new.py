"""A plugin of each kind is begun with a command: it builds, passes its tests and the checkers, and has no findings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize_cli.commands.plugins.new import KINDS
from crystallize_cli.main import run


def checked(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, timeout=300, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """Begin a plugin of each kind; give the folder of their folders."""
    home = tmp_path_factory.mktemp("begun")
    for kind in KINDS:
        assert run(["plugins", "new", f"my-{kind}", "--kind", kind, "--in", str(home), "--quiet"]) == 0
    return home


@pytest.fixture(scope="session")
def installed(begun, tmp_path_factory):
    """Build them all and install them into a folder of its own."""
    work = tmp_path_factory.mktemp("built")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index")
    checked(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", work / "dist", *sorted(begun.iterdir()))
    wheels = sorted((work / "dist").glob("*.whl"))
    assert len(wheels) == len(KINDS)
    checked(*pip, "install", *offline, "--no-compile", "--target", work / "installed", *wheels)
    return work / "installed"


def environment(installed):
    return {**os.environ, "PYTHONPATH": str(installed), "PYTEST_ADDOPTS": ""}


@pytest.mark.slow
def test_each_kind_passes_its_own_tests_with_warnings_as_errors(begun, installed):
    told = checked(
        sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--disable-plugin-autoload",
        "--import-mode=importlib", "-rs", *sorted(begun.glob("*/tests")), cwd=begun, env=environment(installed),
    )  # fmt: skip
    skipped = [line for line in told.splitlines() if line.startswith("SKIPPED")]
    assert all("does not call itself neutral" in line for line in skipped), told
    assert " passed" in told


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_kind_is_typed_strictly(begun, installed, repository):
    files = [*sorted(begun.glob("*/src")), *sorted(begun.glob("*/tests/*.py"))]
    env = {**environment(installed), "MYPYPATH": os.pathsep.join(map(str, begun.glob("*/src")))}
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", repository / ".mypy_cache")
    checked(*mypy, *files, cwd=begun, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_no_findings(kind, installed, capsys, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    from crystallize.discovery.metadata import rescan

    rescan()
    try:
        code = run(["plugins", "check", "--strict", "--json", f"crystallize-my-{kind}"])
        found = json.loads(capsys.readouterr().out)
    finally:
        monkeypatch.undo()
        rescan()
    assert (found["findings"], found["ok"], code) == ([], True, 0)
    assert [plugin["name"] for plugin in found["plugins"]] == [f"my-{kind}"]


def test_what_was_made_is_said_as_json(tmp_path, capsys):
    assert run(["plugins", "new", "tidy-csv", "--kind", "observer", "--in", str(tmp_path / "there"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    folder = tmp_path / "there" / "crystallize-tidy-csv"
    assert found == {
        "name": "tidy-csv",
        "kind": "observer",
        "distribution": "crystallize-tidy-csv",
        "module": "crystallize_tidy_csv",
        "folder": str(folder),
        "files": [
            str(folder / name)
            for name in (
                "pyproject.toml",
                "README.md",
                ".github/workflows/test.yml",
                "src/crystallize_tidy_csv/__init__.py",
                "src/crystallize_tidy_csv/py.typed",
                "tests/test_tidy_csv.py",
            )
        ],
    }
    assert all(Path(file).is_file() for file in found["files"])
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert '"crystallize-core>=0.1.0,<0.2"' in project
    assert '"tidy-csv" = "crystallize_tidy_csv:TidyCsv"' in project
    assert 'contract = ">=1.1,<2"' in (folder / "src/crystallize_tidy_csv/__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("../escape", "observer"), ("Upper", "observer"), ("two words", "observer"), ("", "observer"),
        ("3rd", "observer"), ("trailing-", "observer"), ("class", "observer"), ("core", "observer"),
        ("seed", "observer"), ("serial", "executor"), ("welch", "verifier"), ("grid", "optimizer"),
        ("run", "command"), ("fine", "no such kind"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(name, kind, tmp_path, capsys):
    assert run(["plugins", "new", name, "--kind", kind, "--in", str(tmp_path / "there")]) == 2
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    call = ["plugins", "new", "mine", "--kind", "observer", "--in", str(tmp_path), "--quiet"]
    assert run(call) == 0
    kept = tmp_path / "crystallize-mine" / "README.md"
    kept.write_text("changed", encoding="utf-8")
    assert run(call) == 2
    assert "is there already" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "changed"
