"""Runs are copied elsewhere while they go on; every copy opens, and nothing that happens there touches the run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment
from crystallize.errors import DeliveryError, MissingExtraError, PluginOrderError, StoreError, ValidationError
from crystallize.hooks import load_plugin
from crystallize.testing import ObserverConformance
from crystallize_plugins.artifacts import MirrorPlugin, open_run
from crystallize_plugins.runs import pull, push, verify


def total(result):
    return result.metrics.treatments["raised"].metrics["total"]


class TestMirrorPlugin(ObserverConformance):
    @pytest.fixture
    def plugin(self, tmp_path):
        return MirrorPlugin((tmp_path / "mirror").as_uri())

    @pytest.fixture(autouse=True)
    def _root(self, tmp_path):
        self.root = tmp_path / "data"

    def companions(self):
        return [ArtifactPlugin(self.root)]


def test_a_run_in_a_bucket_is_the_run(experiment, bucket):
    url, options, system = bucket
    result = experiment(MirrorPlugin(url, storage_options=options)).run(replicates=2)
    assert result.plugin_errors == []
    run = result.provenance["run"]
    place = f"{url}/copied/v0-{run['id'][:8]}"
    assert sorted(system.ls(url + "/copied")) == [place.removeprefix("s3://")]
    (fetched,) = pull(url, "elsewhere", storage_options=options)
    assert fetched == Path("elsewhere/copied/v0").absolute()
    assert open_run(fetched).to_dict()["metrics"] == result.to_dict()["metrics"]
    assert verify(fetched).ok
    assert "test" not in str(result.provenance["plugins"][-1]["settings"].get("storage_options"))


def test_what_was_fetched_is_resumed_and_copied_back(experiment, bucket):
    url, options, _ = bucket
    folder = experiment().run(replicates=1).provenance["run"]["folder"]
    place = push(folder, url, storage_options=options)
    (fetched,) = pull(place, "elsewhere", storage_options=options)
    resumed = experiment(root="elsewhere").run(replicates=3, strategy="resume")
    assert resumed.provenance["run"]["folder"] == str(fetched)
    assert total(resumed) == total(experiment(root="third").run(replicates=3))
    assert push(fetched, url, storage_options=options) == place
    with pytest.raises(StoreError, match="it went on elsewhere"):
        push(folder, url, storage_options=options)


def test_a_copy_is_never_made_over_another_run(experiment):
    first = experiment().run(replicates=1).provenance["run"]
    place = Path(push(first["folder"], "mirror"))
    marker = place / "mirror.json"
    marker.write_text(marker.read_text().replace(first["id"], first["id"][:8] + "0" * 24))
    before = (place / "run.db").read_bytes()
    with pytest.raises(StoreError, match="copy of another run"):
        push(first["folder"], "mirror")
    result = experiment(MirrorPlugin("mirror"), root="data").run(strategy="resume", replicates=2)
    assert "copy of another run" in result.plugin_errors[0].error
    assert (place / "run.db").read_bytes() == before


def test_what_lies_here_is_not_overwritten(experiment):
    push(experiment().run(replicates=1).provenance["run"]["folder"], "memory://there")
    assert pull("memory://there") == []
    experiment(root="other").run(replicates=1)
    with pytest.raises(StoreError, match="is there already, and is not overwritten"):
        pull("memory://there", "other")
    with pytest.raises(StoreError, match="there is no copy of a run at"):
        pull("memory://nowhere")


def test_copies_of_strangers_stay_in_the_folder(experiment):
    place = Path(push(experiment().run(replicates=1).provenance["run"]["folder"], "mirror"))
    marker = place / "mirror.json"
    marker.write_text(marker.read_text().replace('"experiment": "copied"', '"experiment": "../copied"'))
    with pytest.raises(ValidationError, match="path separator"):
        pull("mirror", "root/below")
    marker.write_text(
        marker.read_text().replace("../copied", "copied").replace('"version": "v0"', '"version": "../v0"')
    )
    with pytest.raises(StoreError, match="names no version"):
        pull("mirror", "root/below")
    assert not Path("root").exists()


def test_a_run_that_is_killed_leaves_a_copy_that_opens_and_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""
import time
from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step
from crystallize_plugins.artifacts import MirrorPlugin

@data_source
def nothing(ctx):
    return 0

@pipeline_step()
def slow(data, ctx):
    time.sleep(0.05)
    ctx.artifacts.add("replicate.txt", str(ctx["replicate"]))
    return data, {"replicate": ctx["replicate"]}

Experiment(nothing(), Pipeline([slow()]), plugins=[ArtifactPlugin("data"), MirrorPlugin("mirror", every=0.1)],
           name="killed").run(replicates=10_000)
""")
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=subprocess.DEVNULL) as program:
        while not list(tmp_path.glob("mirror/killed/v0-*/replicate_9")):
            time.sleep(0.02)
        (helper,) = children(program.pid)
        program.send_signal(signal.SIGKILL)
    while alive(helper):
        time.sleep(0.02)
    (fetched,) = pull(str(tmp_path / "mirror"), tmp_path / "there")
    found = open_run(fetched)
    stored = found.metrics.baseline.metrics["replicate"]
    assert len(stored) >= 5
    assert stored == list(range(len(stored)))
    assert all(Path(entry["path"]).read_text() == str(entry["replicate"]) for entry in found.provenance["artifacts"])


def test_no_server_changes_a_number_or_keeps_the_run_waiting(experiment, silent, log):
    options = {"key": "test", "secret": "test", "endpoint_url": silent}
    alone = experiment().run(replicates=5)
    after = random.random()
    before = children(None)
    mirror = MirrorPlugin("s3://bucket/runs", timeout=0.5, storage_options=options)
    mirrored = experiment(mirror).run(replicates=5)
    assert random.random() == after
    assert total(mirrored) == total(alone)
    assert mirrored.errors == {}
    (failure,) = mirrored.plugin_errors
    folder = mirrored.provenance["run"]["folder"]
    assert "did not end within 0.5 seconds" in failure.error
    assert f"crystallize_plugins.runs.push({folder!r}, 's3://bucket/runs')" in failure.error
    assert [record.levelname for record in log.records if "mirror" in record.getMessage()] == ["WARNING"]
    assert {*children(None)} <= {*before}


def test_what_the_library_says_is_said(experiment, bucket):
    _, options, _ = bucket
    folder = experiment().run(replicates=1).provenance["run"]["folder"]
    with pytest.raises(DeliveryError, match="bucket"):
        push(folder, "s3://no-such-bucket/x", storage_options=options)


def test_a_single_run_that_is_kept_is_copied_at_its_end(experiment):
    for replicates in (1, 2):
        result = experiment(MirrorPlugin("mirror"), versioned=False).run(replicates=replicates)
        assert result.plugin_errors == []
        (place,) = Path("mirror/copied").glob(f"v0-{result.provenance['run']['id'][:8]}")
        assert total(open_run(place)) == total(result)


def test_settings_are_checked_when_they_are_given(monkeypatch):
    assert load_plugin("mirror") is MirrorPlugin
    for settings in ({"every": 0}, {"timeout": -1}, {"url": ""}, {"url": "nonsense://x"}):
        with pytest.raises(ValidationError):
            MirrorPlugin(**{"url": "mirror", **settings})
    with pytest.raises(MissingExtraError, match="adlfs"):
        MirrorPlugin("abfs://container/runs")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crystallize-plugins\[mirror\]'"):
        MirrorPlugin("mirror")


def test_a_mirror_needs_a_store(experiment):
    with pytest.raises(PluginOrderError, match="artifacts"):
        Experiment(
            experiment().datasource, experiment().pipeline, plugins=[MirrorPlugin("mirror")], default_plugins=False
        ).run()


@pytest.mark.parametrize("url", ["s3://bucket/runs", "file:///runs", Path("gs://bucket")], ids=str)
def test_a_url_is_no_folder_for_runs(url):
    with pytest.raises(ValidationError, match="MirrorPlugin"):
        ArtifactPlugin(url)
    assert not Path("s3:").exists()


def children(pid):
    """Give the children of a process, of this one by default, that are helpers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if parent == (pid or __import__("os").getpid()) and "tracking.helper" in command:
            found.append(int(entry.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
