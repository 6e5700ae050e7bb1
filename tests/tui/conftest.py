"""The terminal UI in a folder of experiments, driven by keys and read as text."""

from __future__ import annotations

import asyncio
import textwrap
import time

import pytest

from crystallize_cli.tui.application import Application

CONFIG = """\
# kept: this comment
name: {name}
description: How many walruses there are.
replicates: {replicates}
seed: 7
datasource: {{numbers: numbers}}
steps:
  - prepare
  - fit
  - score
treatments:
  plus: {{delta: 1.0}}
  twice: {{delta: 2.0}}
hypotheses:
  - name: plus is more
    verifier: higher
    metrics: value
"""
STEPS = """\
import time

from crystallize import pipeline_step


@pipeline_step(cacheable=True)
def prepare(data, ctx):
    return [float(value) for value in data]


@pipeline_step(cacheable=True)
def fit(data, ctx, *, delta=0.0):
    time.sleep({pause} if ctx["replicate"] else 0)
    return sum(data) + delta


@pipeline_step()
def score(data, ctx):
    print("scored", flush=True)
    {extra}
    ctx.record("value", data + 0.001 * ctx["replicate"])
    return data
"""
VERIFIERS = """\
from crystallize import verifier


@verifier
def higher(baseline, treatment):
    return {"p_value": 0.003 if sum(treatment["value"]) > sum(baseline["value"]) else 0.9}
"""
SOURCES = """\
from crystallize import data_source


@data_source
def numbers(ctx):
    return [1, 2, 3]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that is open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".configuration"))
    return tmp_path


@pytest.fixture
def experiment(folder):
    """Write an experiment that has three conditions."""

    def write(name="walrus", *, replicates=2, pause=0.0, extra="pass", config=None, more=""):
        place = folder / name
        place.mkdir()
        (place / "datasources.py").write_text(SOURCES)
        (place / "steps.py").write_text(STEPS.format(pause=pause, extra=extra))
        (place / "verifiers.py").write_text(VERIFIERS)
        told = CONFIG.format(name=name, replicates=replicates) + textwrap.dedent(more)
        (place / "config.yaml").write_text(told if config is None else config)
        return place

    return write


class Person:
    """Somebody at the keys of the application, who reads its screen."""

    def __init__(self, application, pilot):
        self.application = application
        self.pilot = pilot

    def text(self):
        """The screen, line by line."""
        strips = self.application.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def back(self):
        """Close the dialog."""
        await self.pilot.press("escape")
        while len(self.application.screen_stack) > 1:
            await self.pilot.pause(0.02)

    async def sees(self, *words, seconds=25):
        """Wait until all of the words stand on the screen."""
        limit = time.monotonic() + seconds
        while missing := [word for word in words if word not in self.text()]:
            assert time.monotonic() < limit, f"not on the screen: {missing}\n{self.text()}"
            await asyncio.sleep(0.02)
        return self.text()

    def line(self, word):
        """The first line that has a word."""
        return next((line for line in self.text().splitlines() if word in line), "")

    async def go_to(self, *key):
        """Move the cursor to a line of the outline, by keys."""
        await self.press("g")
        for _ in range(30):
            if self.application.screen.outline.key[-len(key) :] == key:
                return
            await self.press("j")
        raise AssertionError(f"never came to {key}\n{self.text()}")


@pytest.fixture
def person(folder):
    """Open the application with a size: ``async with person() as somebody``."""

    class Opened:
        def __init__(self, size=(80, 24)):
            self._application = Application()
            self._context = self._application.run_test(size=size, notifications=True)

        async def __aenter__(self):
            return Person(self._application, await self._context.__aenter__())

        async def __aexit__(self, *error):
            for session in self._application.sessions.values():
                if session.job is not None and session.job.process.poll() is None:
                    session.job.process.kill()
                    session.job.process.wait()
            await self._context.__aexit__(*error)

    return Opened
