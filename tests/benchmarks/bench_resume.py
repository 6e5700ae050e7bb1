"""Resuming a finished run of 10,000 cells, in a cold process, over resuming one of 4."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

CONDITIONS, REPLICATES = 4, 2_500
PROGRAM = """
import sys, time
from crystallize import Experiment, LoggingPlugin, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

@data_source
def numbers(ctx):
    return [1, 2, 3]

@pipeline_step()
def shift(data, ctx, *, delta=0.0):
    return data

@pipeline_step()
def score(data, ctx):
    ctx.metrics.add("score", float(ctx["replicate"]))
    return data

name, replicates, strategy = sys.argv[1], int(sys.argv[2]), sys.argv[3]
experiment = Experiment(
    numbers(), Pipeline([shift(), score()]), name=name, plugins=[SeedPlugin(seed=1), LoggingPlugin(log_level="ERROR")],
    treatments=[Treatment(f"treatment_{number}", {"delta": float(number)}) for number in range(1, 4)],
)
clock, processor = time.perf_counter(), time.process_time()
result = experiment.run(replicates=replicates, strategy=strategy)
taken = time.perf_counter() - clock, time.process_time() - processor
if strategy == "resume":
    assert result.provenance["resume"]["kept"] == 4 * replicates
    assert len(result.metrics.baseline.metrics["score"]) == replicates
print(*taken)
"""


def measure(bench):
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        program = Path(folder, "program.py")
        program.write_text(PROGRAM, encoding="utf-8")

        def taken(name, replicates, strategy):
            command = [sys.executable, str(program), name, str(replicates), strategy]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            return [float(word) for word in done.stdout.split()]

        sizes = {"many": REPLICATES, "few": 1}
        for name, replicates in sizes.items():
            taken(name, replicates, "rerun")
        rounds = [
            {name: taken(name, replicates, "resume") for name, replicates in sizes.items()}
            for _ in range(max(bench.rounds, 5))
        ]
    clock, processor = (
        statistics.median(each["many"][place] - each["few"][place] for each in rounds) * 1e3 for place in (0, 1)
    )
    start = statistics.median(each["few"][0] for each in rounds) * 1e3
    return [
        common.Row(
            f"resuming a finished run of {CONDITIONS * REPLICATES:,} cells, over one of {CONDITIONS}",
            "ms",
            ours=clock,
            target=20,
            note=f"of the processor {processor:.1f} ms; one of {CONDITIONS} in a cold process {start:.0f} ms",
        )
    ]


if __name__ == "__main__":
    common.main(__doc__, measure)
