"""Large arrays: mapped once in each worker, and the same again for every cell."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crystallize import ParallelExecution, data_source, pipeline_step
from crystallize_plugins.execution.processes.payload import LARGE, Payload, pack
from crystallize_plugins.execution.processes.shared_memory import Segment

BIG = LARGE // 4


def carrying(array):
    @data_source
    def held(ctx):
        return array

    return held()


def test_a_cell_that_changes_a_mapped_array_changes_it_for_itself_alone(processes, build):
    array = np.zeros(BIG)

    @pipeline_step()
    def add_one(data, ctx):
        ctx.metrics.add("before", float(data.sum()))
        data += 1
        ctx.metrics.add("after", float(data.sum()))
        return data

    result = build(add_one(), source=carrying(array), plugins=[processes]).run(replicates=6)
    assert not result.errors
    assert list(result.metrics.baseline.metrics["before"]) == [0.0] * 6
    assert list(result.metrics.baseline.metrics["after"]) == [float(BIG)] * 6
    assert array.sum() == 0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")
def test_an_array_of_the_context_is_mapped_and_not_copied(build):
    array = np.arange(4_000_000, dtype=np.float64)

    @pipeline_step()
    def look(data, ctx):
        ctx.metrics.add("sum", float(ctx["table"].sum()))
        start = ctx["table"].__array_interface__["data"][0]
        inside = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split(" ")[0] and ":" not in line.split(" ")[0]:
                low, high = (int(part, 16) for part in line.split(" ")[0].split("-"))
                inside = low <= start < high
            elif inside and line.startswith("Anonymous:"):
                ctx.metrics.add("copied", int(line.split()[1]))
        return data

    result = build(look(), plugins=[ParallelExecution(2, "process")], initial_ctx={"table": array}).run(replicates=4)
    assert not result.errors
    assert set(result.metrics.baseline.metrics["sum"]) == {float(array.sum())}
    assert max(result.metrics.baseline.metrics["copied"]) < 1000


def test_one_array_under_two_names_travels_once():
    array = np.zeros(BIG)
    once = pack({}, {"a": array}, ())
    twice = pack({}, {"a": array, "b": array[:], "c": array.reshape(2, -1)}, ())
    assert twice.size < once.size + array.nbytes // 2
    once.close()
    twice.close()


def test_what_is_packed_is_rebuilt_as_it_was():
    body = {
        "fortran": np.asfortranarray(np.arange(90_000.0).reshape(300, 300)),
        "strided": np.arange(200_000.0)[::2],
        "small": np.arange(3),
        "text": "x" * 1000,
        "readonly": np.arange(float(BIG)),
        "objects": np.array([None, 1, "a"], dtype=object),
        "bytes": bytes(range(256)) * 1000,
    }
    body["readonly"].flags.writeable = False
    segment = pack({"plain": 1}, body, [("baseline", 3)])
    payload = Payload(segment)
    found = payload.load()
    assert payload.settings == {"plain": 1}
    assert payload.cells == [("baseline", 3)]
    assert all(np.array_equal(found[name], body[name]) for name in body)
    assert found["fortran"].flags.f_contiguous
    assert not found["readonly"].flags.writeable
    assert found["fortran"].flags.writeable
    segment.close()


def test_a_private_map_can_be_made_as_new_on_every_system():
    segment = Segment.create(10_000)
    segment.fill([(0, b"as it was")])
    for restores_by_advice in (True, False):
        private = segment.private()
        if not restores_by_advice:
            private._pristine = segment.shared()
        private.bytes[0:9] = b"scribbled"
        private.restore()
        assert private.bytes[0:9] == b"as it was"
    assert segment.shared()[0:9] == b"as it was"
    segment.close()


def test_a_segment_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delattr(os, "memfd_create", raising=False)
    segment = Segment.create(5000)
    segment.fill([(100, b"here")])
    assert segment.private().bytes[100:104] == b"here"
    assert list(tmp_path.iterdir()) == []
    segment.close()
