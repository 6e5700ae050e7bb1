"""Optimisation: Optuna by itself beside the adapter, and what a trial costs.

"bare" is Optuna alone. Sequences and regrets are of its TPE sampler, costs of its random sampler, so that what the
sampler itself takes hides nothing. The adapter's rows are its cost over Optuna alone: the run of a one-step
experiment, its result and its record.
"""

from __future__ import annotations

import statistics
import sys

import common

SCRIPT = "workload_optimizers.py"
SEEDS = 50
TRIALS = 30
BEST = {"branin": 0.397887, "hartmann6": -3.32237}


def measure(bench):
    sides = [
        common.Side("Optuna", sys.executable, SCRIPT),
        common.Side("crystallize", sys.executable, SCRIPT),
        common.Side(common.PEER, bench.peer.python, SCRIPT) if bench.peer else None,
    ]
    try:
        return [*_costs(bench, *sides), *(row for name in BEST for row in _sequences(name, *sides[:2]))]
    finally:
        for side in sides:
            if side is not None:
                side.close()


def _costs(bench, optuna, ours, peer):
    size = {"trials": 200}
    taken = bench.medians(
        {
            "trivial": (ours, "trivial", size),
            "trivial peer": (peer, "trivial", {"trials": 20}),
            "alone": (optuna, "optuna_alone", size),
            "adapter": (ours, "adapter", size),
            "stored": (ours, "adapter", {**size, "stored": True}),
            "journal": (optuna, "optuna_alone", {"trials": 50, "storage": "journal", "repeat": 1}),
            "sqlite": (optuna, "optuna_alone", {"trials": 20, "storage": "sqlite", "repeat": 1}),
        }
    )
    cost = {name: common.scaled(found, 1e3) for name, found in taken.items()}
    over = {name: common.scaled(taken[name], 1e3, taken["alone"]) for name in ("adapter", "stored")}
    return [
        common.Row(
            "a trial of a trivial optimiser, core alone",
            "ms",
            cost["alone"],
            cost["trivial"],
            cost["trivial peer"],
            0.1,
        ),
        common.Row("the adapter, per trial, in memory", "ms", cost["alone"], over["adapter"], target=0.2),
        common.Row("the adapter, per trial, stored durably", "ms", cost["alone"], over["stored"], target=1.0),
        common.Row("Optuna's own storage: journal, per trial", "ms", cost["journal"]),
        common.Row("Optuna's own storage: SQLite, per trial", "ms", cost["sqlite"]),
    ]


def _sequences(function, optuna, ours):
    different, native_regrets, our_regrets = 0, [], []
    for seed in range(SEEDS):
        question = {"function": function, "seed": seed, "trials": TRIALS}
        native, adapted = optuna.ask("native_sequence", **question), ours.ask("adapter_sequence", **question)
        different += native != adapted
        native_regrets.append(min(value for _, value in native) - BEST[function])
        our_regrets.append(min(value for _, value in adapted) - BEST[function])
    rows = [common.Row(f"{function}: sequences of {SEEDS} that differ", "seeds", ours=different, target=0)]
    quartiles = zip(statistics.quantiles(native_regrets), statistics.quantiles(our_regrets), strict=True)
    for name, (native, adapted) in zip(("lower quartile", "median", "upper quartile"), quartiles, strict=True):
        rows.append(common.Row(f"{function}: regret after {TRIALS} trials, {name}", "", native, adapted))
    return rows


if __name__ == "__main__":
    common.main(__doc__, measure)
