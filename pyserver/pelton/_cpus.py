"""How many CPUs this process may use: its affinity mask, narrowed by the CPU quota of its cgroups.

A container with a quota of two CPUs on a machine of 64 sees 64 in `os.cpu_count()`; a team of 64
spinning threads would then be throttled for most of each period.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["cgroup_cpu_quota", "process_cpus"]


def _quota_v2(text: str) -> float | None:
    """CPUs of a `cpu.max` file ("max 100000", "150000 100000"); None where there is no limit."""
    parts = text.split()
    if not parts or parts[0] == "max":
        return None
    period_us = int(parts[1]) if len(parts) > 1 else 100_000
    return int(parts[0]) / period_us if period_us > 0 else None


def _quota_v1(folder: Path) -> float | None:
    """CPUs of `cpu.cfs_quota_us` over `cpu.cfs_period_us`; -1 means no limit."""
    try:
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _ancestors(mount: Path, path: str) -> list[Path]:
    """The folder of a cgroup and of every group above it: a limit on any of them binds.

    In a container the path of /proc/self/cgroup may name a folder that exists only outside; the
    root of the mount is then the process's own group, which is why it is always in the list.
    """
    folders = [mount]
    for part in Path(path.lstrip("/")).parts:
        if part == "..":
            break
        folders.append(folders[-1] / part)
    return folders


def cgroup_cpu_quota(
    proc_cgroup: str | Path = "/proc/self/cgroup", mount: str | Path = "/sys/fs/cgroup"
) -> float | None:
    """The smallest CPU quota of this process's cgroups (v2 or v1), in CPUs; None without one."""
    mount = Path(mount)
    try:
        lines = Path(proc_cgroup).read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            for folder in _ancestors(mount, path):
                try:
                    quota = _quota_v2((folder / "cpu.max").read_text())
                except (OSError, ValueError):
                    continue
                if quota is not None:
                    quotas.append(quota)
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                found = (_quota_v1(folder) for folder in _ancestors(mount / name, path))
                quotas += [quota for quota in found if quota is not None]
    return min(quotas, default=None)


def process_cpus() -> int:
    """CPUs this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = cgroup_cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))
