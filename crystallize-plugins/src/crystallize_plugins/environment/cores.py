"""How many cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

__all__ = ["usable_cores"]


def usable_cores(*, proc: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the cores that this process may use: its affinity, and no more than its control group's quota.

    Parameters
    ----------
    proc, cgroups : Path
        Where Linux tells; elsewhere they do not exist and nothing limits.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(_allowed(), *(math.ceil(quota) for quota in _quotas(proc, cgroups)), _MANY))


_MANY = 1 << 20


def _allowed() -> int:
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _quotas(proc: Path, cgroups: Path) -> list[float]:
    """Return the cores that each control group around this process grants."""
    quotas = []
    for line in _read(proc / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _upwards(cgroups, path)]
        elif "cpu" in controllers.split(","):
            roots = (cgroups / controllers, cgroups / "cpu")
            quotas += [_quota_v1(folder) for root in roots for folder in _upwards(root, path)]
    return [quota for quota in quotas if quota is not None]


def _upwards(root: Path, path: str) -> list[Path]:
    # Inside a container the path may be the host's, of which nothing is mounted: the root still counts.
    inner = PurePosixPath(path.lstrip("/"))
    return [root / part for part in (inner, *inner.parents)]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _quota_v1(folder: Path) -> float | None:
    quota = _read(folder / "cpu.cfs_quota_us").strip()
    period = _read(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _read(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - several for every run
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
