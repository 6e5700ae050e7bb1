"""Code is loaded from what somebody names or confirms, and never from a run."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize.errors import ExperimentNotFoundError
from crystallize_cli.main import run as command
from crystallize_plugins.artifacts.database.typed_json import decode, encode
from crystallize_plugins.runs import gc, reproduce

PLANTED = "from pathlib import Path; Path('PWNED').touch()\n"
SOURCE = """
from pathlib import Path
from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
Path('LOADED').touch()

@data_source
def number(ctx):
    return ctx["replicate"]

@pipeline_step()
def work(data, ctx, *, delta=0, note=""):
    return data, {"x": float(data)}

experiment = Experiment(
    number(), Pipeline([work()]), [SeedPlugin(seed=1)], name="sent",
    treatments=[Treatment("more", {"delta": 5})], replicates=2,
)
"""


@pytest.fixture
def place(received, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    yield tmp_path
    for name in [
        name for name, module in sys.modules.items() if getattr(module, "__file__", None) == str(tmp_path / "mine.py")
    ]:
        del sys.modules[name]


@pytest.fixture
def says(received, forge):
    """Let the run say where it was made."""

    def say(**definition):
        def changed(row):
            if row["name"].partition("@")[0] != "definition":
                return row
            known = {**decode(row["body"]), "config": None, "imported_as": None, **definition}
            return {**row, "body": encode(known).text}

        forge(received, "document", changed)

    return say


def test_nothing_is_loaded_that_nobody_has_confirmed(place, received, says):
    says(file=str(place / "mine.py"), module="mine")
    with pytest.raises(ExperimentNotFoundError, match=r"mine\.py, which nobody has confirmed"):
        reproduce(received)
    asked = []
    with pytest.raises(ExperimentNotFoundError, match="nobody has confirmed"):
        reproduce(received, confirm=lambda path, overrides: asked.append((path, overrides)))
    assert asked == [((place / "mine.py").resolve(), [])]
    assert not Path("LOADED").exists()


def test_what_is_confirmed_or_named_is_loaded(place, received, says):
    says(file=str(place / "mine.py"), module="mine")
    assert reproduce(received, confirm=lambda path, overrides: True).cells == 4
    assert reproduce(received, "mine.py").cells == 4


@pytest.mark.parametrize("way", ["absolute", "relative", "through proc", "through a link"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_code_in_the_run_itself_is_never_loaded(way, kind, place, received, says):
    planted = received / "replicate_0" / "baseline" / "WorkStep"
    for name in ("model.py", "datasources.py", "steps.py"):
        (planted / name).write_text(PLANTED)
    (planted / "config.yaml").write_text("name: sent\ndatasource: {x: y}\nsteps: [z]\n")
    (place / "link").symlink_to(received)
    inside = planted.relative_to(received)
    start = {
        "absolute": received, "relative": received.relative_to(place), "through a link": place / "link",
        "through proc": Path("/proc/self/cwd/received/sent/v0"),
    }[way]  # fmt: skip
    target = start / inside / ("model.py" if kind == "file" else "")
    says(**({"file": str(target), "module": "model"} if kind == "file" else {"config": str(target), "overrides": []}))
    with pytest.raises(ExperimentNotFoundError, match="lies in the run's own folder"):
        reproduce(received, confirm=lambda path, overrides: True)
    with pytest.raises(ExperimentNotFoundError, match="lies in the run's own folder"):
        reproduce(received, target)
    for verb in ("run", "resume", "plan", "debug", "check"):
        assert command([verb, str(target)]) == 2
    command(["check", "."])
    command(["list", "."])
    assert command(["run", "sent"]) == 5, "a name is not looked for in stored runs"
    assert not list(place.rglob("PWNED"))


def test_a_module_is_not_imported_by_a_name_that_is_not_its_files(place, received, says):
    (place / "evil").mkdir()
    (place / "evil" / "__init__.py").write_text("")
    (place / "evil" / "other.py").write_text(PLANTED)
    says(file=str(place / "mine.py"), module="evil.other", imported_as="evil.other")
    reproduce(received, confirm=lambda path, overrides: True)
    assert not Path("PWNED").exists()


def test_the_command_says_what_to_type_where_nobody_can_be_asked(place, received, says, capfd):
    says(file=str(place / "mine.py"), module="mine")
    assert command(["reproduce", str(received)]) == 2
    said = capfd.readouterr().err
    assert f"crystallize reproduce {received} {place / 'mine.py'}" in said
    assert not Path("LOADED").exists()


@pytest.mark.parametrize("answer, loads", [("y", True), ("n", False), ("", False)])
def test_the_command_shows_the_path_and_asks(answer, loads, place, received, says):
    says(file=str(place / "mine.py"), module="mine")
    ours, theirs = pty.openpty()
    arguments = [Path(sys.executable).with_name("crystallize"), "reproduce", received, "--json"]
    process = subprocess.Popen(arguments, cwd=place, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    assert str(place / "mine.py").encode() in said.replace(b"\r\n", b"")
    os.write(ours, answer.encode() + b"\n")
    out = process.communicate(timeout=60)[0]
    os.close(ours)
    assert Path("LOADED").exists() is loads
    if loads:
        assert json.loads(out)["cells"] == 4
    else:
        assert process.returncode == 2


# -- links, which lead elsewhere ------------------------------------------------------------------


@pytest.fixture
def linked(place, received):
    """The run is a link to what lies outside of the store."""
    elsewhere = place / "elsewhere"
    received.rename(elsewhere)
    received.symlink_to(elsewhere)
    return elsewhere


def _content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_that_is_a_link_is_not_collected(linked, received):
    before = _content(linked)
    done = gc(received.parent.parent, keep=0)
    assert [each.path for each in done.skipped] == [received]
    assert "it is a link" in done.skipped[0].why
    assert (done.removed, done.kept) == ((), 1)
    assert _content(linked) == before


def test_experiments_that_are_links_are_not_collected(place, received):
    before = _content(received.parent)
    other = place / "other"
    other.mkdir()
    (other / "sent").symlink_to(received.parent)
    done = gc(other, keep=0)
    assert (done.removed, done.kept, [each.path for each in done.skipped]) == ((), 1, [other / "sent"])
    assert _content(received.parent) == before


@pytest.mark.parametrize("strategy", ["rerun", "resume"])
def test_a_run_that_is_a_link_is_neither_written_nor_emptied(strategy, linked, received, sent_again):
    before = _content(linked)
    result = sent_again(received.parent.parent, artifact_retention=1).run(strategy=strategy)
    assert result.provenance["run"]["version"] == 1
    assert _content(linked) == before
