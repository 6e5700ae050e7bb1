"""What a stranger has chosen cannot steer a terminal: names, values, errors, in whatever a command writes."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from crystallize.hooks.tools import printable
from crystallize_cli.main import run
from crystallize_plugins.artifacts import open_run
from crystallize_plugins.reports import comparison_table
from crystallize_plugins.runs import diff, verify

COMMANDS = [
    ["runs"],
    ["show", "sent"],
    ["show", "--tree", "sent"],
    ["show", "--cell", "baseline_rep_1", "sent"],
    ["show", "--metric", "unknown\x1b[2J", "sent"],
    ["show", "--cell", "unknown\x1b[2J", "sent"],
    ["diff", "sent@v0", "other@v0"],
    ["compare", "--all", "sent@v0", "other@v0"],
    ["export", "sent"],
    ["report", "sent", "-o", "sent.html"],
    ["verify", "received"],
    ["verify", "received/sent/v0"],
    ["gc", "received", "--keep", "0", "--dry-run"],
    ["reproduce", "sent"],
    ["show", "unknown\x1b[2J"],
    ["run", "evil.py"],
    ["plan", "evil.py"],
    ["resume", "evil.py"],
    ["list", "."],
    ["check", "."],
]


def steers(text):
    """Whether text has a character in it that no plain line has."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")} - set("\n\t")


@pytest.fixture(scope="session")
def made(sent_run, forge, steering, tmp_path_factory, sent_again):
    """A folder with two such runs, one with forged names; a script, and a folder experiment."""
    folder = tmp_path_factory.mktemp("made")
    sent = shutil.copytree(sent_run, folder / "received" / "sent" / "v0")
    sent_again(folder / "received", seed=2, name="other").run()
    forge(sent, "run", lambda row: {**row, "experiment": f"sent{steering}", "description": steering})
    forge(sent, "cell", lambda row: {**row, "worker": f"worker{steering}"})
    (sent / f"stray{steering.partition(chr(0x9B))[0]}").write_text("")
    (folder / "evil.py").write_text(
        f"from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step\n"
        f"EVIL = {steering!r}\n"
        "@data_source\ndef source(ctx):\n    return 1\n"
        "@pipeline_step()\ndef fit(data, ctx):\n    ctx.record('m' + EVIL, 1)\n    raise ValueError(EVIL)\n"
        "experiment = Experiment(source(), Pipeline([fit()]), [ArtifactPlugin('received')], name='e\\u202ee')\n"
    )
    (folder / "folder").mkdir()
    (folder / "folder/config.yaml").write_text('name: "a\\u202eb"\ndescription: "d\\e[2J\\u0007"\nstrat\u202egy: 1\n')
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of that folder, which is the current one."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "project"))
    return Path.cwd()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command).replace("\x1b[2J", ""))
def test_no_command_writes_what_steers_a_terminal(command, project, capfd, monkeypatch):
    root = (
        ["--root", "received"]
        if command[0] in ("runs", "show", "diff", "compare", "export", "report", "reproduce")
        else []
    )
    run([*command, *root])
    out, err = capfd.readouterr()
    assert out + err
    assert not steers(out + err)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "unknown" not in str(command)], ids="-".join)
def test_json_is_pure_and_exact_and_all_ascii(command, project, capfd):
    root = (
        ["--root", "received"]
        if command[0] in ("runs", "show", "diff", "compare", "export", "report", "reproduce")
        else []
    )
    run([command[0], "--json", *command[1:], *root])
    out, err = capfd.readouterr()
    assert not steers(out + err)
    if out:
        json.loads(out)
        assert out.isascii()


def test_a_name_cannot_forge_a_line_of_a_table(project):
    text = open_run("received/other/v0").summary()
    assert not [line for line in text.splitlines() if line.startswith("forged")]
    assert "\\nforged 0.0" in comparison_table(open_run("received/other/v0"))


def test_what_people_print_of_runs_is_escaped_without_the_command_line_too(project):
    sent = project / "received/sent/v0"
    texts = [str(diff(sent, "received/other/v0")), str(verify("received")), open_run(sent).tree_text()]
    assert not steers("".join(texts))


def test_a_report_shows_what_steers_as_text(project):
    page = open_run("received/sent/v0").report("sent.html").read_text(encoding="utf-8")
    assert not steers(page)
    assert "it failed\\x1b[2J" in page


def test_the_log_of_a_run_is_escaped(sent_again, tmp_path, capsys, monkeypatch):
    logger = logging.getLogger("crystallize")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    sent_again(tmp_path).run()
    said = capsys.readouterr().err
    assert "it failed\\x1b[2J" in said
    assert not steers(said)


@pytest.mark.parametrize("formula", ["=1+1", "+cmd", "-cmd", "@sum", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_no_spreadsheet_takes_text_of_an_export_for_a_formula(formula, received, forge, capsys):
    forge(received, "run", lambda row: {**row, "experiment": formula})
    forge(received, "cell", lambda row: {**row, "worker": formula, "duration": -1.5})
    run(["export", str(received)])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows
    for row in rows:
        assert {row["run"][0], row["worker"][0]} <= {"'", "\\"}
        assert float(row["duration"]) == -1.5, "numbers are numbers"


def test_an_export_is_quoted(received, forge, capsys):
    forge(received, "cell", lambda row: {**row, "worker": 'a,"b"\nc'})
    run(["export", str(received)])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["worker"] for row in rows} == {'a,"b"\nc'}


@pytest.mark.parametrize("text", ["plain", "größer 大 é 👩\u200d🔬 \xa0", ""])
def test_text_that_steers_nothing_stays_as_it_is(text):
    assert printable(text) == text


def test_every_character_that_could_steer_is_escaped():
    everything = "".join(map(chr, range(0x110000)))
    shown = printable(everything)
    kept = {char for char in shown if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs")}
    assert not kept
    assert {unicodedata.bidirectional(char) for char in shown} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    } == set()  # fmt: skip
    assert os.linesep not in shown
