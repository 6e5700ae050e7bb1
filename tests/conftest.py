"""What every test has: an empty folder of its own, and nothing left over from other tests."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import pytest

# The machine may be busy with other work: no law holds within so and so many milliseconds.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


# Started in the background of a shell, programs inherit that Ctrl-C is ignored; those under test are to hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository():
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, tmp_path_factory, monkeypatch):
    """Run each test in an empty folder, so that what an experiment writes is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYSTALLIZE_CACHE_DIR", raising=False)
    monkeypatch.delenv("CRYSTALLIZE_CACHE_SIZE", raising=False)
    # Not that of whoever runs the tests; programs under test inherit it.
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path_factory.getbasetemp() / "cache.key"))


@pytest.fixture
def run_script(tmp_path):
    """Run the text of a Python script as a user would: a file, in a process and a folder of its own."""

    def run(source, *arguments, python=sys.executable, options=(), timeout=120, **environment):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        return subprocess.run(
            [python, *options, str(script), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    return run


@pytest.fixture
def log():
    """Collect what is written to the ``crystallize`` logger."""

    class Sink(logging.Handler):
        def __init__(self):
            super().__init__(logging.DEBUG)
            self.records = []

        def emit(self, record):
            self.records.append(record)

        def text(self, level=logging.DEBUG):
            return "\n".join(record.getMessage() for record in self.records if record.levelno >= level)

    logger = logging.getLogger("crystallize")
    sink, level = Sink(), logger.level
    logger.addHandler(sink)
    logger.setLevel(logging.DEBUG)
    try:
        yield sink
    finally:
        logger.removeHandler(sink)
        logger.setLevel(level)
