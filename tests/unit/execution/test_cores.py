"""How many cores a process may use, and its workers' share of them."""

from __future__ import annotations

import os

import pytest

from crystallize_plugins.environment.cores import usable_cores
from crystallize_plugins.execution.library_threads import VARIABLES, environment_with_limits, threads_for_each


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of eight cores whose control groups are files of the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    (tmp_path / "proc").mkdir()

    def make(membership, files):
        (tmp_path / "proc" / "cgroup").write_text(membership)
        for name, text in files.items():
            file = tmp_path / "cgroups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return usable_cores(proc=tmp_path / "proc", cgroups=tmp_path / "cgroups")

    return make


@pytest.mark.parametrize(
    "membership, files, cores",
    [
        ("", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "350000 100000"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "350000 100000"}, 2),
        ("0::/host/only\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/\n", {"cpu.max": "1000 100000"}, 1),
        (
            "4:cpu,cpuacct:/j\n",
            {"cpu,cpuacct/j/cpu.cfs_quota_us": "250000", "cpu,cpuacct/j/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu:/j\n", {"cpu/j/cpu.cfs_quota_us": "-1", "cpu/j/cpu.cfs_period_us": "100000"}, 8),
        ("4:memory:/j\n", {"memory/j/cpu.cfs_quota_us": "100000", "memory/j/cpu.cfs_period_us": "100000"}, 8),
        ("0::/\n", {"cpu.max": "what is this"}, 8),
    ],
)
def test_the_smallest_of_affinity_and_quotas_counts(machine, membership, files, cores):
    assert machine(membership, files) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_process_that_is_bound_to_one_core_has_one(run_script):
    found = run_script("""
        import os
        from crystallize_plugins.environment.cores import usable_cores
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(usable_cores())
    """)
    assert found.stdout.strip() == "1", found.stderr


@pytest.mark.parametrize("cores, workers, share", [(8, 2, 4), (8, 3, 2), (2, 2, 1), (2, 8, 1), (1, 1, 1)])
def test_workers_share_the_cores(cores, workers, share):
    assert threads_for_each(cores=cores, workers=workers) == share


def test_a_smaller_number_that_the_user_set_stays():
    given = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "64", "OPENBLAS_NUM_THREADS": "many", "HOME": "/"}
    limited = environment_with_limits(given, 4)
    assert limited["OMP_NUM_THREADS"] == "1"
    assert limited["MKL_NUM_THREADS"] == limited["OPENBLAS_NUM_THREADS"] == "4"
    assert limited["HOME"] == "/"
    assert set(VARIABLES) <= set(limited)


def test_libraries_in_workers_keep_to_their_share(processes, build):
    from crystallize import pipeline_step

    @pipeline_step()
    def look(data, ctx):
        import numpy as np
        import threadpoolctl

        np.ones((200, 200)) @ np.ones((200, 200))
        ctx.metrics.add("threads", max(info["num_threads"] for info in threadpoolctl.threadpool_info()))
        return data

    result = build(look(), plugins=[processes]).run(replicates=4)
    assert not result.errors, result.errors
    assert set(result.metrics.baseline.metrics["threads"]) == {result.provenance["execution"]["blas_threads"]}
