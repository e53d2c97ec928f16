"""How much of this computer we may use: cores and memory, as affinity and containers limit them."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_UNKNOWN_MEMORY = 4 << 30


def usable_cores(*, cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return how many cores this process may use: affinity and container limits taken in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _own_folders(cgroups, own, "cpu") if (quota := _cores_of(folder))]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def usable_memory(*, cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the bytes of memory that this process may use; 4 GiB where the system doesn't tell."""
    limits = [limit for folder in _own_folders(cgroups, own, "memory") if (limit := _memory_of(folder))]
    return min([_physical_memory(), *limits])


def _physical_memory(*, system: str = sys.platform) -> int:
    if system == "win32":
        return _windows_memory()
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _UNKNOWN_MEMORY


def _windows_memory() -> int:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("size", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((f"n{i}", ctypes.c_uint64) for i in range(7)),
        ]

    status = Status(size=ctypes.sizeof(Status))
    kernel: Any = ctypes.windll.kernel32 if hasattr(ctypes, "windll") else None
    if kernel is None or not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return _UNKNOWN_MEMORY
    return int(status.n0)


def _own_folders(cgroups: Path, own: Path, controller: str) -> list[Path]:
    """Return the control groups that bind this process, from its own up to the root, of version 2 and 1."""
    places = [cgroups, cgroups / controller]
    for line in _lines(own):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = cgroups / controllers
        group = base / path.strip("/")
        places.extend(folder for folder in (group, *group.parents) if base in folder.parents)
    return places


def _cores_of(folder: Path) -> float | None:
    words = " ".join(_lines(folder / "cpu.max")).split()
    if not words:
        words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def _memory_of(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        for word in _lines(folder / name):
            if word.isdigit():
                return int(word)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
