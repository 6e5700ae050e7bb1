"""The step cache: hits and misses with a 100 MB array, beside `joblib.Memory` (in the column "bare").

What a hit costs depends on how the input is known: by its identity (the source says what its data depends on, or the
step before came from the cache too), or by hashing it. That is measured against one hash of the same bytes with the
fastest of the standard library, SHA-256 on processors that have instructions for it.
"""

from __future__ import annotations

import sys

import common

SCRIPT = "workload_cache.py"
MEGABYTES = 100


def measure(bench):
    sides = {
        "joblib": common.Side("joblib.Memory", sys.executable, SCRIPT),
        "ours": common.Side("crystallize", sys.executable, SCRIPT),
        "peer": common.Side(common.PEER, bench.peer.python, SCRIPT) if bench.peer else None,
    }
    try:
        return list(_rows(bench, **sides))
    finally:
        for side in sides.values():
            if side is not None:
                side.close()


def _rows(bench, joblib, ours, peer):
    size = {"megabytes": MEGABYTES}
    whole, framed = {**size, "output": "all"}, {**size, "kind": "frame"}
    slow = {"repeat": 2}
    taken = bench.medians(
        {
            "hash": (joblib, "fast_hash", size),
            ("joblib", "item"): (joblib, "joblib_memory", size),
            ("joblib", "frame"): (joblib, "joblib_memory", framed),
            ("joblib", "all"): (joblib, "joblib_memory", whole),
            "source": (ours, "step", {**size, "known": "source", "repeat": 20}),
            "step": (ours, "step", {**size, "known": "step", "repeat": 10}),
            ("ours", "item"): (ours, "step", size),
            ("ours", "frame"): (ours, "step", framed),
            ("ours", "all"): (ours, "step", {**whole, "known": "source"}),
            ("peer", "item"): (peer, "step", {**size, **slow}),
            ("peer", "all"): (peer, "step", {**whole, **slow}),
            ("small", "ours"): (ours, "small", {}),
            ("small", "peer"): (peer, "small", {}),
        },
        rounds=min(bench.rounds, 5),
    )

    def warm(name, factor=1e3, which="warm"):
        found = taken[name]
        return None if found is None else found[which] * factor

    known = (warm(("joblib", "item")), warm("source"), warm(("peer", "item")))
    yield common.Row(f"a hit, {MEGABYTES} MB array from a source of known identity", "ms", *known, 1)
    known = (known[0], warm("step"), known[2])
    yield common.Row(f"a hit, {MEGABYTES} MB array from a cached step", "ms", *known, 1)
    a_hash = taken["hash"]
    for kind, what in (("item", "array"), ("frame", "frame")):
        sides = (
            warm((side, kind), 1 / a_hash) if (side, kind) in taken else None for side in ("joblib", "ours", "peer")
        )
        yield common.Row(f"a hit, {MEGABYTES} MB {what} to be hashed, over one hash", "times", *sides, 1.2)
    sides = [warm((side, "all")) for side in ("joblib", "ours", "peer")]
    yield common.Row(f"a hit that gives a {MEGABYTES} MB array", "ms", *sides)
    sides = [warm((side, "all"), which="cold") for side in ("joblib", "ours", "peer")]
    yield common.Row(f"keeping a {MEGABYTES} MB array", "ms", *sides, note="ours is on the disk then")
    small = [common.scaled(taken["small", side], 1e6) for side in ("ours", "peer")]
    yield common.Row("a cell whose one step is a hit with small data", "us", None, *small)


if __name__ == "__main__":
    common.main(__doc__, measure)
