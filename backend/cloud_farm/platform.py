"""What differs between Linux, Windows and macOS: user folders, processes, locks, renames over open files."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class UserFolders:
    """Where we keep things for this user.

    Attributes:
        config: Profiles; written by people.
        data: The local farm's volume.
        state: What runs now, logs.
        cache: What can be made again.
    """

    config: Path
    data: Path
    state: Path
    cache: Path


def user_folders(environ: Mapping[str, str] | None = None, *, system: str = sys.platform) -> UserFolders:
    """Return the user's folders by the platform's custom; CLOUD_FARM_HOME puts all of them below one folder."""
    environ = os.environ if environ is None else environ
    home = environ.get("CLOUD_FARM_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        return UserFolders(base, base, base / "state", base / "cache")
    if system == "win32":
        local = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "cloud-farm"
        roaming = Path(environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "cloud-farm"
        return UserFolders(roaming, local, local / "state", local / "cache")
    if system == "darwin":
        support = Path.home() / "Library" / "Application Support" / "cloud-farm"
        return UserFolders(support, support, support / "state", Path.home() / "Library" / "Caches" / "cloud-farm")
    return UserFolders(
        _xdg(environ, "XDG_CONFIG_HOME", ".config"),
        _xdg(environ, "XDG_DATA_HOME", ".local/share"),
        _xdg(environ, "XDG_STATE_HOME", ".local/state"),
        _xdg(environ, "XDG_CACHE_HOME", ".cache"),
    )


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    return Path(environ.get(variable) or Path.home() / default) / "cloud-farm"


# -- processes and locks ------------------------------------------------------------------------------------------------


def start_detached(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, system: str = sys.platform
) -> int:
    """Start a process that outlives us and our terminal; its output goes to `log`. Returns its pid."""
    flags: dict[str, Any] = {"start_new_session": True}
    if system == "win32":
        flags = {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, **flags
        )
    # Nobody waits for it here: without this, Python warns about a child that is meant to live on.
    process.returncode = 0
    return process.pid


def terminate(pid: int) -> None:
    """Ask a process to end; gone already is fine."""
    try:
        os.kill(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError, OSError):
        return


class FileLock:
    """An exclusive lock that the system releases when the last process that holds it is gone.

    On POSIX children that inherit the descriptor hold the lock too: "locked" means "something of it runs".
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    @property
    def descriptor(self) -> int:
        """What children inherit; only while held."""
        assert self._handle is not None, "the lock is not held"
        return self._handle

    def acquire(self) -> bool:
        """Take the lock if it is free; tells whether it is ours now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock(handle):
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Give our hold on the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def is_held(self) -> bool:
        """Tell whether anybody holds it now."""
        if not self._path.exists():
            return False
        if not self.acquire():
            return True
        self.release()
        return False


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# -- what this computer has ----------------------------------------------------------------------------------------------


def usable_cores() -> int:
    """Cores that this process may use: affinity and container limits taken in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cores(Path("/sys/fs/cgroup"))
    return max(1, min(cores, math.ceil(quota))) if quota else max(1, cores)


def usable_memory() -> int:
    """Bytes of memory that this computer has, container limits taken in; 4 GiB where the system doesn't tell."""
    total = 4 << 30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup_memory(Path("/sys/fs/cgroup"))
    return min(total, limit) if limit else total


def _cgroup_cores(root: Path) -> float | None:
    words = _words(root / "cpu.max")
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = _words(root / "cpu" / "cpu.cfs_quota_us"), _words(root / "cpu" / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def _cgroup_memory(root: Path) -> int | None:
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        words = _words(path)
        if words and words[0].isdigit():
            return int(words[0])
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
