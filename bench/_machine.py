"""Description of the machine that a run was made on."""

import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SYNCS = 400
_SYNC_SECONDS = 3.0


def machine(folder: Path) -> dict[str, Any]:
    """Return processor, cores, memory, system, Python, and the sync latency of the disk of `folder`."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": _memory_gb(),
        "system": f"{_distribution()}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "disk": disk(folder),
    }


def disk(folder: Path) -> dict[str, float]:
    """Return p50 and p99 of appending 1 KB and syncing it, in milliseconds."""
    sync = getattr(os, "fdatasync", os.fsync)
    took: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        until = time.perf_counter() + _SYNC_SECONDS
        while len(took) < _SYNCS and time.perf_counter() < until:
            os.write(file.fileno(), b"x" * 1024)
            begun = time.perf_counter()
            sync(file.fileno())
            took.append((time.perf_counter() - begun) * 1e3)
    cuts = statistics.quantiles(took, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3), "syncs": len(took)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    model_names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return model_names[0] if model_names else platform.machine()


def _memory_gb() -> float | None:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    return round(pages / 2**30, 1)


def _distribution() -> str:
    if sys.platform != "linux":
        return platform.platform(terse=True)
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"
