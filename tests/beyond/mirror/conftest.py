"""A bucket in a process of its own, an address where nobody answers, and an experiment that writes files."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step


@pytest.fixture(scope="session")
def server():
    """The address of a server of S3, and what s3fs needs for it."""
    boot = (
        "from moto.server import ThreadedMotoServer as S; import sys; s = S('127.0.0.1', 0, verbose=False); s.start(); "
        "print(s.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        port = int(process.stdout.readline())
        yield {"key": "test", "secret": "test", "endpoint_url": f"http://127.0.0.1:{port}"}
        process.kill()


@pytest.fixture
def bucket(server):
    """A bucket for one test, as the URL that it begins with, and the options."""
    import s3fs

    name = f"runs-{id(object()):x}"
    system = s3fs.S3FileSystem(**server, skip_instance_cache=True, use_listings_cache=False)
    system.mkdir(name)
    return f"s3://{name}/mirror", server, system


@pytest.fixture
def silent():
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@data_source
def draws(ctx):
    import random

    return [random.random() for _ in range(3)]


@pipeline_step()
def report(data, ctx, *, delta=0.0):
    ctx.artifacts.add("total.txt", f"{sum(data) + delta}")
    return data, {"total": sum(data) + delta}


@pytest.fixture
def experiment():
    """Give an experiment whose runs are stored and have files."""

    def made(*plugins, root="data", versioned=True):
        return Experiment(
            draws(),
            Pipeline([report()]),
            plugins=[SeedPlugin(seed=7), ArtifactPlugin(root, versioned=versioned), *plugins],
            default_plugins=False,
            treatments=[Treatment("raised", {"delta": 1.0})],
            name="copied",
        )

    return made
