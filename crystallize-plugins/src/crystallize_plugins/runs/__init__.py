"""What is done with stored runs: compare them, do them again, check them, remove old ones.

| module | its job |
| --- | --- |
| `comparing` | `diff`: what differs between two runs |
| `compared_run` | a path, a stored run or a result, as something that can be compared |
| `differences`, `value_differences` | one difference, and all of them as text and data; comparing by name |
| `parameter_differences` | what the runs were asked for, side by side |
| `record_differences` | code, data, plugins, packages, environment and git |
| `result_differences` | metrics, files, errors and hypotheses |
| `reproducing`, `rerunning` | a run, done again from its record; its cells, run again |
| `experiment_lookup` | the experiment of a run, found again |
| `verifying` | whether everything is as it was written |
| `removing` | old runs, removed by a policy |
| `mirroring` | copies in another place, made and fetched |
| `listing` | what lists tell of runs, out of an index that is a cache |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.runs.comparing import diff
    from crystallize_plugins.runs.differences import Difference, RunDiff
    from crystallize_plugins.runs.listing import describe_run, described_runs
    from crystallize_plugins.runs.mirroring import pull, push
    from crystallize_plugins.runs.removing import Collected, RemovedRun, SkippedRun, gc
    from crystallize_plugins.runs.reproducing import Drift, Reproduction, reproduce
    from crystallize_plugins.runs.verifying import Finding, Verification, verify

__all__ = [
    "Collected",
    "Difference",
    "Drift",
    "Finding",
    "RemovedRun",
    "Reproduction",
    "RunDiff",
    "SkippedRun",
    "Verification",
    "describe_run",
    "described_runs",
    "diff",
    "gc",
    "pull",
    "push",
    "reproduce",
    "verify",
]

__getattr__ = lazily(
    __name__,
    {
        "Collected": "removing",
        "Difference": "differences",
        "Drift": "reproducing",
        "Finding": "verifying",
        "RemovedRun": "removing",
        "Reproduction": "reproducing",
        "RunDiff": "differences",
        "SkippedRun": "removing",
        "Verification": "verifying",
        "describe_run": "listing",
        "described_runs": "listing",
        "diff": "comparing",
        "gc": "removing",
        "pull": "mirroring",
        "push": "mirroring",
        "reproduce": "reproducing",
        "verify": "verifying",
    },
)
