"""The plugins among the examples: whole distributions, tried alone, together, and beside one that is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "plugins"
NAMES = ["crystallize-blocks", "crystallize-webhook", "crystallize-window"]
TOGETHER = """
    import sys
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from crystallize.hooks import find_plugins
    from crystallize.testing import run_sample

    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        result = run_sample("blocks", ("webhook", {"url": url, "every": 0}), ("window", {"size": 2}))
        server.shutdown()
        thread.join()
    print([entry["name"] for entry in result.provenance["plugins"]], len(posted), result.record_complete)
    print(list(result.metrics.treatments["doubled"].metrics["total"]), result.metrics.baseline.metrics["keys"][0])
    print([record.name for record in find_plugins() if record.distribution.startswith("acme")])
"""


def test_these_are_all():
    assert sorted(path.name for path in EXAMPLES.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_alone_it_passes_its_own_tests(name, installed, tmp_path):
    (folder,) = installed(name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--disable-plugin-autoload",
         "--rootdir", str(tmp_path), "--import-mode=importlib", str(EXAMPLES / name / "tests")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    "names",
    [NAMES, NAMES[::-1], ["acme-broken", *NAMES], [*NAMES[1:], "acme-broken", NAMES[0]]],
    ids=["in order", "reversed", "after a broken one", "around a broken one"],
)
def test_together_they_give_the_same_in_every_order_of_the_path_and_beside_a_broken_one(names, python):
    order, numbers, strangers = python(TOGETHER, *names).splitlines()
    assert order == "['blocks', 'webhook', 'window'] 11 True"
    assert numbers == "[12.0, 20.0, 28.0] ['block', 'condition', 'replicate']"
    assert (strangers != "[]") == ("acme-broken" in names)
