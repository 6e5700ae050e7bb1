"""What a result keeps: bytes per step execution beyond the metrics, for 10 steps x 4 conditions x 200 replicates."""

from __future__ import annotations

import common

STEPS, CONDITIONS, REPLICATES = 10, 4, 200


def measure(bench):
    size = {"steps": STEPS, "conditions": CONDITIONS, "replicates": REPLICATES}
    kept = bench.medians(
        {
            "bare": (bench.bare, "bare_memory", size),
            "ours": (bench.ours, "memory", size),
            "alone": (bench.ours, "memory", {**size, "plugins": "none"}),
            "peer": (bench.peer, "memory", size),
        },
        rounds=min(bench.rounds, 3),
    )
    per_step = 1 / (STEPS * CONDITIONS * REPLICATES)
    bare = kept["bare"]
    return [
        common.Row(
            f"memory kept per step execution, {label}",
            "B",
            common.scaled(bare, per_step),
            common.scaled(kept[ours], per_step, bare),
            common.scaled(kept["peer"], per_step, bare),
            100,
            "beyond the metrics",
        )
        for label, ours in (("default plugins, stored", "ours"), ("core alone", "alone"))
    ]


if __name__ == "__main__":
    common.main(__doc__, measure)
