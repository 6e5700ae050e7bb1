"""The cluster of the tests is a real one."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def test_a_job_array_runs_on_both_nodes(slurm):
    command = ["sbatch", "--wait", "--array=0-4", "--cpus-per-task=2", "--output=out.%a"]
    subprocess.run([*command, "--wrap", "echo $SLURMD_NODENAME; sleep 0.3"], check=True, timeout=60)
    nodes = [Path(f"out.{task}").read_text().strip() for task in range(5)]
    assert set(nodes) == {"one", "two"}


def test_a_job_of_a_higher_partition_requeues_others(slurm):
    script = "echo $SLURM_RESTART_COUNT >> starts; trap 'echo TERM >> starts; exit 1' TERM; sleep 60 & wait"
    say = ["sbatch", "--requeue", "--exclusive", "--nodes=2", "--open-mode=append", "--wrap", script]
    subprocess.run(say, check=True, timeout=60)
    _until(lambda: Path("starts").exists())
    subprocess.run(["sbatch", "--wait", "-p", "urgent", "--wrap", "true"], check=True, timeout=60)
    _until(lambda: "1" in Path("starts").read_text().split())
    assert Path("starts").read_text().split() == ["TERM", "1"]


def _until(holds):
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.1)
