"""An 80 MB array through the steps, and in the context: time per step and extra memory."""

from __future__ import annotations

import common

MEGABYTES = 80
STEPS = 50


def measure(bench):
    ours = {"megabytes": MEGABYTES, "steps": STEPS}
    # The peer takes a quarter of a second for each step, so it gets few.
    peer = {"megabytes": MEGABYTES, "steps": 2, "repeat": 1}
    taken = bench.medians(
        {
            (side, case): (getattr(bench, side), case, arguments)
            for case in ("array_through", "array_in_context")
            for side, arguments in (("ours", ours), ("peer", peer))
        }
    )
    rows = []
    for case, label, limit in (
        ("array_through", f"{MEGABYTES} MB array through a step", 0.1),
        ("array_in_context", f"{MEGABYTES} MB array in the context, read by every step", 0.05),
    ):
        mine, theirs = taken["ours", case], taken["peer", case]
        note = "the peer fails" if bench.peer and theirs is None else ""
        rows.append(common.Row(f"{label}: time", "ms", 0, *_both(mine, theirs, "seconds", 1e3), limit, note))
        rows.append(common.Row(f"{label}: extra memory", "MB", 0, *_both(mine, theirs, "bytes", 1e-6), 1, note))
    return rows


def _both(mine, theirs, figure, factor):
    return [None if found is None else found[figure] * factor for found in (mine, theirs)]


if __name__ == "__main__":
    common.main(__doc__, measure)
