"""A headless Chromium, spoken to over two pipes in its devtools protocol."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import subprocess
import time

_PATIENCE = 60
"""Seconds that an answer may take: a limit against hangs."""


class Browser:
    """A running browser.

    Parameters
    ----------
    executable : str
    profile : Path
        A folder for what it keeps while it runs.
    """

    def __init__(self, executable, profile):
        theirs_in, self._out = map(_moved, os.pipe())
        self._in, theirs_out = map(_moved, os.pipe())

        def hand_over():
            # Where a browser that is started with --remote-debugging-pipe listens and answers.
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self._process = subprocess.Popen(
            [
                executable, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--hide-scrollbars",
                "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
                "--force-color-profile=srgb", "about:blank",
            ],
            pass_fds=(3, 4),
            preexec_fn=hand_over,  # noqa: PLW1509 - it makes two calls of the system, and no thread is there yet
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._waiting = b""
        self.events = []

    def call(self, method, session=None, **parameters):
        """Send a command and give what it answers; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        _write(self._out, json.dumps(message).encode() + b"\0")
        return self._until(lambda told: told.get("id") == number, method)["result"]

    def wait_for(self, event, session):
        """Give the next event of a name that has not been looked at."""
        for told in self.events:
            if told["method"] == event and told.get("sessionId") == session:
                self.events.remove(told)
                return told["params"]
        return self._until(lambda told: told.get("method") == event and told.get("sessionId") == session, event)[
            "params"
        ]

    def close(self):
        self._process.terminate()
        self._process.wait(_PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def _until(self, wanted, what):
        limit = time.monotonic() + _PATIENCE
        while True:
            while b"\0" in self._waiting:
                line, _, self._waiting = self._waiting.partition(b"\0")
                told = json.loads(line)
                if wanted(told):
                    assert "error" not in told, f"{what}: {told['error']}"
                    return told
                if "method" in told:
                    self.events.append(told)
            ready, _, _ = select.select([self._in], [], [], max(0, limit - time.monotonic()))
            assert ready, f"the browser said nothing for {_PATIENCE} s: {what}"
            part = os.read(self._in, 1 << 20)
            assert part, f"the browser has ended: {what}"
            self._waiting += part


class Frame:
    """What can be asked of a document: of a page, or of a frame in it that is a process of its own."""

    def __init__(self, browser, session):
        self._browser = browser
        self._session = session

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def run(self, script):
        """Give what a script in the document comes to; promises are waited for."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def events(self, *names):
        """Give the events of these names since the page was loaded."""
        return [
            told for told in self._browser.events if told["method"] in names and told.get("sessionId") == self._session
        ]


class Page(Frame):
    """A page of the browser, in which one report after the other is shown."""

    def __init__(self, browser):
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        super().__init__(browser, browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.call("Performance.enable", timeDomain="threadTicks")

    def show(self, file, *, width=1280, height=800, dark=False, scripts=True, media=""):
        """Load a file afresh."""
        self.call("Page.bringToFront")
        self._browser.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=scheme)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=file.as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)

    def another(self):
        """Give a page beside this one, in a process that has done nothing yet."""
        return Page(self._browser)

    def seconds(self):
        """Give how long the processor has worked for the page."""
        told = self.call("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in told if each["name"] == "TaskDuration")

    def screenshot(self):
        """Give a picture of the whole page, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(picture["data"])

    def frame(self):
        """Give the one frame of the page."""
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        session = self._browser.wait_for("Target.attachedToTarget", self._session)["sessionId"]
        frame = Frame(self._browser, session)
        frame.call("Runtime.enable")
        return frame


def _moved(descriptor):
    """Give a descriptor that is in nobody's way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


def _write(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]
