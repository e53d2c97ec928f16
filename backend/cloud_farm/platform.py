"""What differs between Linux, Windows and macOS: user folders, processes, locks, renames over open files."""

from __future__ import annotations

import contextlib
import errno
import importlib
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .quiet_child import CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""What a file system without hard links says to one."""
_FICLONE = 0x40049409


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


def detached_flags(*, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a process of its own: no terminal, no window, signals of its own."""
    if system == "win32":
        return {"creationflags": _DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def child_flags(keep: Sequence[int] = (), *, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a child of a detached process that inherits the descriptors `keep`."""
    if system == "win32":
        return {"creationflags": CREATE_NO_WINDOW}  # locks are not inherited there
    return {"pass_fds": tuple(keep)}


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


def rename_new(source: Path, target: Path, *, system: str = sys.platform) -> None:
    """Rename a file to a name that must be new: of many who try at once exactly one succeeds.

    Raises:
        FileExistsError: The name is taken.
        OSError: It can't be done; with one of `NO_LINKS` the file system has no hard links, which this takes.
    """
    if system == "win32":
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


def remove_tree(folder: Path, *, system: str = sys.platform) -> None:
    """Delete a folder of ours with all below it. Windows keeps read-only files, as all assets are, until they are none."""
    if system == "win32":
        for below in folder.rglob("*"):
            below.chmod(0o666)
    shutil.rmtree(folder)


def can_be_named(part: str, *, system: str = sys.platform) -> bool:
    """Tell whether a part of a store path is one name here: Windows takes some signs for a drive or another folder."""
    return system != "win32" or not any(sign in part for sign in "\\:")


def share_folder(folder: Path, mode: int, *, gid: int | None, system: str = sys.platform) -> None:
    """Give a new folder to a group, where folders have one."""
    if system == "win32":
        return
    if gid is not None:
        with contextlib.suppress(PermissionError):  # not our group: the parent's setgid bit decides
            os.chown(folder, -1, gid)
    folder.chmod(mode)


def share_blocks(source: int, sink: int, *, system: str = sys.platform) -> bool:
    """Have a file share another's blocks, where the file system copies on write (btrfs, XFS): no time, no space.

    Later edits of the source do not reach the clone. Hard links would not do: they are the same file.

    Args:
        source, sink: File descriptors.

    Returns:
        Whether it could.
    """
    if system != "linux":
        return False
    with contextlib.suppress(OSError):
        importlib.import_module("fcntl").ioctl(sink, _FICLONE, source)
        return True
    return False


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
