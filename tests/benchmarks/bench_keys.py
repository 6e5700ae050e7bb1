"""Per step with 10,000 keys in the context against 10, with equal numbers of replicates."""

from __future__ import annotations

import common

STEPS, CONDITIONS, REPLICATES = 10, 4, 100
PEER_REPLICATES = 10


def measure(bench):
    size = {"steps": STEPS, "conditions": CONDITIONS}
    ours = {**size, "replicates": REPLICATES, "repeat": 5}
    theirs = {**size, "replicates": PEER_REPLICATES}
    questions = {}
    for count in (10, 10_000):
        questions["ours", count] = (bench.ours, "keys", {**ours, "count": count})
        questions["alone", count] = (bench.ours, "keys", {**ours, "count": count, "plugins": "none"})
        questions["peer", count] = (bench.peer, "keys", {**theirs, "count": count})
    # The peer needs seconds for each: one figure of it says enough.
    peer = {name: question for name, question in questions.items() if name[0] == "peer"}
    taken = bench.medians(peer, rounds=1)
    taken |= bench.medians({name: question for name, question in questions.items() if name not in peer})
    return [
        common.Row(
            f"per step with 10,000 context keys over 10, {label}",
            "times",
            1,
            _growth(taken, side),
            _growth(taken, "peer"),
            1.5,
        )
        for label, side in (("default plugins, stored", "ours"), ("core alone", "alone"))
    ]


def _growth(taken, side):
    few, many = taken[side, 10], taken[side, 10_000]
    return None if few is None or many is None else many / few


if __name__ == "__main__":
    common.main(__doc__, measure)
