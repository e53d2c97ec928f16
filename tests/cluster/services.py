"""Background processes that outlive the program which started them, known by files with their numbers."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloud_farm.platform import start_detached

_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Component:
    """One program of the cluster.

    Attributes:
        name: Also the name of its log.
        command: What starts it.
        ready: Tells whether it does its work.
        environment: What it needs besides ours.
        lives: How often it may die while it starts, because something that it needs is not there yet.
        patience: Seconds in which it must be ready.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    lives: int = 1
    patience: float = 60.0


class Services:
    """The processes whose files are in one folder, also those that another program started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, name: str) -> Path:
        """Where the process writes what it prints, over all its lives."""
        return self._folder / f"{name}.log"

    def names(self) -> list[str]:
        """Return all that were started and not stopped; they may have died."""
        return sorted(path.stem for path in self._folder.glob("*.pid"))

    def pid(self, name: str) -> int | None:
        """Return the number of the process, None if it does not run."""
        try:
            number, began = self._file(name).read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(number) if _began(int(number)) == began else None

    def start(self, component: Component) -> None:
        """Start a program and wait until it is ready.

        Raises:
            RuntimeError: It dies or is not ready in time; the message has the end of its log.
        """
        assert self.pid(component.name) is None, f"{component.name} runs already"
        deadline = time.monotonic() + component.patience
        lives = 0
        while True:
            if self.pid(component.name) is None:
                if lives == component.lives:
                    raise RuntimeError(f"{component.name} does not start: {self._tail(component.name)}")
                lives += 1
                self._spawn(component)
            if component.ready() and self.pid(component.name) is not None:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{component.name} is not ready after {component.patience:g} s: {self._tail(component.name)}"
                )
            time.sleep(0.1)

    def stop(self, name: str, sign: signal.Signals = signal.SIGTERM, *, patience: float = 10.0) -> None:
        """Send a signal and wait until the process is gone; one that does not obey is killed. Nothing happens if none runs."""
        pid = self.pid(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
            if not self._gone_within(name, patience):
                os.kill(pid, signal.SIGKILL)
                self._gone_within(name, patience)
        self._file(name).unlink(missing_ok=True)

    def check(self) -> None:
        """Look after all that were started.

        Raises:
            RuntimeError: One of them died; the message has the end of its log.
        """
        for name in self.names():
            if self.pid(name) is None:
                raise RuntimeError(f"{name} died: {self._tail(name)}")

    def memory(self, name: str) -> int:
        """Return the bytes of memory that the process holds now; 0 if it does not run."""
        pid = self.pid(name)
        if pid is None:
            return 0
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _spawn(self, component: Component) -> None:
        environment = {**os.environ, **component.environment}
        environment["PATH"] = f"{environment.get('PATH', '')}:{_SYSTEM_PATH}"  # iptables and mount, for a kubelet
        log = self.log(component.name)
        pid = start_detached(component.command, log=log, cwd=self._folder, environment=environment)
        self._file(component.name).write_text(f"{pid} {_began(pid)}")

    def _gone_within(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid(name) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.pid"

    def _tail(self, name: str) -> str:
        log = self.log(name)
        return log.read_text(errors="replace")[-1500:] if log.exists() else "it printed nothing"


def _began(pid: int) -> str:
    """Return when a process began, so that a number used again is not taken for it; empty if it is gone or only a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    threads, began = int(rest[16]), rest[18]
    is_gone = state in "ZX" and threads <= 1  # one with other threads still holds its ports
    return "" if is_gone else began
