"""What differs between Linux, Windows and macOS: user folders, processes, locks, renames over open files."""

from __future__ import annotations

import contextlib
import errno
import importlib
import ipaddress
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""What a file system without hard links says to one."""


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


# -- processes ----------------------------------------------------------------------------------------------------------

_DETACHED_PROCESS = 0x00000008
_CREATE_NEW_PROCESS_GROUP = 0x00000200
_CREATE_NO_WINDOW = 0x08000000


def detached_flags(*, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a process of its own: no terminal, no window, signals of its own."""
    if system == "win32":
        return {"creationflags": _DETACHED_PROCESS | _CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def child_flags(keep: Sequence[int] = (), *, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a child of a detached process that inherits the descriptors `keep`."""
    if system == "win32":
        return {"creationflags": _CREATE_NO_WINDOW}  # locks are not inherited there
    return {"pass_fds": tuple(keep)}


def quiet_child_flags(*, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a child that ends with us, shows no window and gets no Ctrl-C of our terminal."""
    if system == "win32":
        return {"creationflags": _CREATE_NO_WINDOW | _CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


_PIPE_NOWAIT = 0x00000001


def never_wait(descriptor: int, *, system: str = sys.platform) -> None:
    """Make a pipe say at once that it has nothing, or no room, in place of waiting.

    Raises:
        OSError: It is no pipe.
    """
    if system != "win32":
        os.set_blocking(descriptor, False)
        return
    # Python before 3.12 can't do it there.
    ctypes, msvcrt = importlib.import_module("ctypes"), importlib.import_module("msvcrt")
    mode = ctypes.c_ulong(_PIPE_NOWAIT)
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
    if not ctypes.windll.kernel32.SetNamedPipeHandleState(handle, ctypes.byref(mode), None, None):
        raise ctypes.WinError()


def start_detached(
    command: Sequence[str], *, log: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start a process that outlives us and our terminal, as leader of its own group; its output goes to `log`.

    Returns:
        Its pid, which is its group's too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment,
            cwd=cwd,
            **detached_flags(),
        )
    # Whoever lives longer than it must collect it, else a dead process stays in the list.
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def end_group(leader: int, *, force: bool = False, system: str = sys.platform) -> None:
    """Ask a detached process and all that it started to end, or end them at once; gone already is fine.

    The caller makes sure that somebody of the group lives (by a lock that it holds), so that the number is still its own.
    Windows can't ask processes without a window: they are always ended at once there.
    """
    if system == "win32":
        subprocess.run(["taskkill", "/PID", str(leader), "/T", "/F"], capture_output=True, check=False)
        return
    try:
        os.killpg(leader, signal.SIGKILL if force else signal.SIGTERM)
    except ProcessLookupError:
        return


def replace(source: Path, target: Path, *, system: str = sys.platform, patience: float = 2.0) -> None:
    """Rename over `target`. Windows refuses while a viewer or a virus scanner holds it open: we try for a while."""
    deadline = time.monotonic() + patience
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if system != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def put_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file at once: who reads it meanwhile has the old or the new one, and nobody is let in by a wrong mode."""
    part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file to a name that must be new: of many who try at once exactly one succeeds.

    Raises:
        FileExistsError: The name is taken.
        OSError: It can't be done; with one of `NO_LINKS` the file system has no hard links, which this takes.
    """
    if os.name == "nt":
        os.rename(source, target)  # never replaces there
        return
    os.link(source, target)
    source.unlink()


def rename_if_absent(part: Path, target: Path) -> bool:
    """Rename a file to a name that must be new, as well as the file system can; False if it is taken."""
    try:
        rename_new(part, target)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    if os.path.lexists(target):
        return False
    replace(part, target)
    return True


class FileLock:
    """An exclusive lock that the system releases when the last process that holds it is gone.

    On POSIX children that inherit the descriptor hold the lock too: "locked" means "something of it runs".
    """

    def __init__(self, path: Path, *, system: str = sys.platform) -> None:
        self._path = path
        self._system = system
        self._handle: int | None = None

    @property
    def descriptor(self) -> int:
        """What children inherit; only while held."""
        assert self._handle is not None, "the lock is not held"
        return self._handle

    def acquire(self, *, patience: float = 0.0) -> bool:
        """Take the lock, trying for `patience` seconds; tells whether it is ours now."""
        deadline = time.monotonic() + patience
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            locked = _lock(handle, system=self._system)
            if locked and self._is_of(handle):
                self._handle = handle
                return True
            os.close(handle)
            if locked:
                continue  # who held it has removed the file meanwhile
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)

    def release(self, *, remove: bool = False) -> None:
        """Give our hold on the lock back; `remove` takes its file away too, which is only for locks that no child holds."""
        if self._handle is not None:
            if remove:
                with contextlib.suppress(OSError):  # Windows removes no file that is open
                    self._path.unlink()
            os.close(self._handle)
            self._handle = None

    def _is_of(self, handle: int) -> bool:
        """Tell whether an open file still has the lock's name."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def is_held(self) -> bool:
        """Tell whether anybody holds it now. Looking takes a share of it for a moment: who wants it needs some patience."""
        try:
            handle = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _lock(handle, system=self._system, shared=True)
        finally:
            os.close(handle)


def _lock(handle: int, *, system: str, shared: bool = False) -> bool:
    """Try to lock an open file; `shared` lets others look at the same time (Windows has no such thing here)."""
    try:
        if system == "win32":
            msvcrt: Any = importlib.import_module("msvcrt")
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl: Any = importlib.import_module("fcntl")
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_this_computer(host: str) -> bool:
    """Tell whether what goes to a host of that name stays on this computer."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- what this computer has ----------------------------------------------------------------------------------------------

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


def _physical_memory() -> int:
    if sys.platform == "win32":
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
