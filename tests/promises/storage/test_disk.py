"""A disk that is really full: a small file system of its own, where one can be mounted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize_plugins.artifacts import list_runs
from crystallize_plugins.runs import verify

pytestmark = pytest.mark.slow

PROGRAM = """
    import json, sys
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx):
        ctx.record("value", data * 1000)
        ctx.record("many", [number * 0.1 for number in range(500)])
        if data % 2:
            ctx.artifacts.add("part.bin", bytes([data % 251]) * 4000)
        return data

    experiment = Experiment(
        source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin(root_dir="small/data")], name="exp",
        replicates=60,
    )
    shown = []
    try:
        for outcome in experiment.stream(strategy="resume"):
            shown.append(outcome.cell.replicate)
    except StoreError as error:
        print(json.dumps({"path": str(error.path), "text": str(error), "shown": shown}))
    else:
        print(json.dumps({"values": experiment.run(strategy="resume").metrics.baseline.metrics["value"]}))
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of some hundred kilobytes, mounted at ``small``; it can be made larger."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(size, *options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}k", *options]), "tmpfs", str(place)],
            check=False,
            capture_output=True,
            text=True,
        )

    if sys.platform != "linux" or os.geteuid() != 0 or (refused := mount(64)).returncode:
        pytest.skip("a file system can be mounted by root alone" if os.name == "nt" or os.geteuid() else refused.stderr)
    yield lambda size: mount(size, "remount")
    subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.parametrize("size", [64, 100, 140, 220, 300, 420])
def test_a_full_disk_is_named_and_once_there_is_room_the_run_is_exact(small_disk, run_script, size):
    small_disk(size)
    done = run_script(PROGRAM)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["path"].startswith(str(Path("small/data").absolute()))
    assert told["path"] in told["text"]
    stored = {outcome.cell.replicate for run in list_runs("small/data") for outcome in run.outcomes()}
    assert set(told["shown"]) <= stored
    assert all(run.status == "interrupted" for run in list_runs("small/data"))
    small_disk(8000)
    done = run_script(PROGRAM)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"values": [number * 1000 for number in range(60)]}
    assert list_runs("small/data")[-1].status == "complete"
    assert verify("small/data").ok, str(verify("small/data"))
