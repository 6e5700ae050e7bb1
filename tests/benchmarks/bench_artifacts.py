"""1,000 artifacts of 100 kB, one a cell, against plain file writes with the same syncs."""

from __future__ import annotations

import common

FILES, KILOBYTES = 1000, 100


def measure(bench):
    size = {"files": FILES, "kilobytes": KILOBYTES}
    first = bench.medians({"ours": (bench.ours, "artifacts", size), "peer": (bench.peer, "artifacts", size)}, rounds=1)
    syncs = {name: None if found is None else found["syncs"] for name, found in first.items()}
    questions = {
        "ours": (bench.ours, "artifacts", size),
        "peer": (bench.peer, "artifacts", size),
        **{
            ("plain", count): (bench.bare, "bare_files", {**size, "syncs": count})
            for count in set(syncs.values()) - {None}
        },
    }
    taken = bench.medians(questions, rounds=min(bench.rounds, 5))

    def ratio(name):
        found = taken[name]
        return None if found is None else found["seconds"] / taken["plain", round(syncs[name])]

    note = f"syncs per file: ours {syncs['ours']:.0f}" if syncs["ours"] is not None else ""
    note += f", peer {syncs['peer']:.0f}" if syncs["peer"] is not None else ""
    return [
        common.Row(
            "1,000 artifacts of 100 kB, over plain writes as safe", "times", 1, ratio("ours"), ratio("peer"), note=note
        )
    ]


if __name__ == "__main__":
    common.main(__doc__, measure)
