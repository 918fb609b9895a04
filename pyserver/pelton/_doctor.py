"""Facts about this machine that decide how the engine runs on it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pelton._cpus import cgroup_cpu_quota, process_cpus

__all__ = ["facts", "lines"]

_PACKAGES: Final = (
    *("pelton", "numpy", "tokenizers", "safetensors", "starlette", "uvicorn", "uvloop"),
    *("httptools", "msgpack", "prometheus-client", "httpx"),
)
_NVIDIA_DRIVER: Final = Path("/proc/driver/nvidia/version")
_MEMORY_LIMITS: Final = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
# cgroup v1 writes a number near 2^63 where there is no limit.
_NO_LIMIT_BYTES: Final = 1 << 60


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = (line for line in text.splitlines() if line.startswith("model name"))
    return next(found, ":").partition(":")[2].strip()


def _memory_limit_bytes() -> int | None:
    for name in _MEMORY_LIMITS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT_BYTES:
            return int(text)
    return None


def _packages() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _gpu() -> dict[str, Any]:
    """The driver, where there is one; this build runs on CPUs only."""
    try:
        driver = _NVIDIA_DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        driver = None
    return {"driver": driver, "supported": False}


def facts() -> dict[str, Any]:
    """Plain values, by name."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cpus": {
            "machine": os.cpu_count(),
            "affinity": len(os.sched_getaffinity(0)),
            "cgroup_quota": cgroup_cpu_quota(),
            "used": process_cpus(),
        },
        "memory": {
            "machine_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "cgroup_limit_bytes": _memory_limit_bytes(),
        },
        "gpu": _gpu(),
        "forced_isa": os.environ.get("PELTON_ISA"),
        "packages": _packages(),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _flat(value: Any, name: str) -> list[str]:
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _flat(item, f"{name}.{key}")]
    return [f"{name}: {_shown(value)}"]


def lines(found: dict[str, Any]) -> list[str]:
    """The facts, a line each."""
    return [line for name, value in found.items() for line in _flat(value, name)]
