"""One whole `run()` of ten steps and one cell, the core alone, from the second run on."""

from __future__ import annotations

import common


def measure(bench):
    taken = bench.medians(
        {
            "bare": (
                bench.bare,
                "bare_loop",
                {"steps": 10, "replicates": 1, "conditions": 1, "seeds": False, "repeat": 50},
            ),
            "ours": (bench.ours, "whole_run", {"steps": 10, "repeat": 200}),
            "peer": (bench.peer, "whole_run", {"steps": 10, "repeat": 50}),
        }
    )
    return [
        common.Row(
            "one run() of 10 steps, core alone",
            "ms",
            common.scaled(taken["bare"]["seconds"], 1e3),
            common.scaled(taken["ours"], 1e3),
            common.scaled(taken["peer"], 1e3),
            0.3,
        )
    ]


if __name__ == "__main__":
    common.main(__doc__, measure)
