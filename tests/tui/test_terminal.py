"""The program in a real terminal: what it does before its first picture, how it leaves, what outlives it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time

import pyte
import pytest


class Terminal:
    """The program in a terminal of its own."""

    def __init__(self):
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self.fd, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        command = [sys.executable, "-m", "crystallize_cli"]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def sees(self, *words, seconds=60):
        limit = time.monotonic() + seconds
        while missing := [word for word in words if word not in "\n".join(self._screen.display)]:
            assert time.monotonic() < limit, f"not on the screen: {missing}\n" + "\n".join(self._screen.display)
            if select.select([self.fd], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    part = os.read(self.fd, 65536)
                    self.written += part
                    # What the emulator does not know is no part of the picture.
                    with contextlib.suppress(TypeError):
                        self._stream.feed(part)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(folder):
    opened = []

    def open_terminal():
        opened.append(Terminal())
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_a_run_outlives_the_interface_and_the_next_one_finds_and_stops_it(experiment, terminal):
    experiment(replicates=100, pause=0.5)
    first = terminal()
    first.press("\r")  # before anything is seen
    first.sees("Not run yet")
    first.press("R")
    first.sees("walrus@v0", "running")
    first.process.kill()
    second = terminal()
    second.sees("running")
    second.press("\r")
    second.sees("Live", "walrus@v0", "running")
    second.press("R")
    second.sees("interrupted")
    second.press("q")
    assert second.process.wait(timeout=30) == 0


def test_help_is_quick_and_needs_nothing_of_the_interface(folder):
    program = (
        "import sys; from crystallize_cli.main import run; run(['--help']);"
        "sys.exit(any(name.partition('.')[0] in ('textual', 'rich', 'numpy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
