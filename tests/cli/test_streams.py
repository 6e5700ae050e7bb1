"""Every command does its work, and ends as it should, whatever becomes of its standard streams."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests import programs
from tests.cli.test_json_alone import COMMANDS, FOLDER

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")  # noqa: PTH110

CALLS = [
    ("--version",),
    ("--help",),
    ("run", "--help"),
    *(calls[0] for name, calls in COMMANDS.items() if name not in ("new", "preregister")),  # which a folder takes once
]


@pytest.fixture(scope="module")
def project(command, tmp_path_factory):
    """A folder with an experiment that was run twice."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FOLDER.items():
        (folder / "folder").mkdir(exist_ok=True)
        (folder / "folder" / name).write_text(text, encoding="utf-8")
    (folder / "file.py").write_text(
        "from crystallize import Experiment, Pipeline, data_source, pipeline_step\n"
        "@data_source\ndef number(ctx):\n    return 1\n"
        "@pipeline_step()\ndef step(data, ctx):\n    print('<step>')\n    return data, {'m': 1}\n"
        "experiment = Experiment(number(), Pipeline([step()]), name='file', replicates=2)\n"
    )
    for _ in range(2):
        assert programs.run([command, "run", "folder"], cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_a_command_ends_as_ever_where_nobody_reads_it(command, project, arguments):
    words = [command, *arguments]
    expected = programs.run(words, cwd=project).returncode
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = programs.run(words, cwd=project, stdout=full)
        lost = "cannot write to standard output" in done.stderr
        assert (done.returncode, "Traceback" in done.stderr) == (expected or 3 * lost, False)
        done = programs.run(words, cwd=project, stdout=writing, stderr=writing)
        assert done.returncode == expected
    finally:
        os.close(writing)
        os.close(full)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("runs",), ("run", "file.py"), ("nothing",)])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_without_standard_streams_ends_as_ever(command, project, arguments, closed):
    expected = programs.run([command, *arguments], cwd=project).returncode
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", command, *arguments], cwd=project, capture_output=True, check=False
    )
    assert (done.returncode, b"Traceback" in done.stdout + done.stderr) == (expected, False)
