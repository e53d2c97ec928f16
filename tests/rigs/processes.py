"""What the rigs that start servers share: programs that may be absent, free ports, and a server process with a log."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

READY_SECONDS = 30.0


class RigUnavailable(Exception):
    """This machine lacks what the rig needs; the message is the sentence to skip with."""


def program(name: str, *, package: str) -> str:
    """Find a program; the folders of system daemons are not on every user's PATH.

    Raises:
        RigUnavailable: It is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/go/bin")
    if found is None:
        raise RigUnavailable(f"the rig needs {name}: apt-get install {package}")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Tell whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Daemon:
    """One server process; what it prints, over all its lives, is in `log`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """The running process, for a test that suspends or watches it."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self, command: Sequence[str], *, ready: Callable[[], bool], umask: int = -1) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: It ends or is not ready in time; the message has the end of the log.
        """
        assert self._process is None, "it runs already"
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, umask=umask
            )
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise RuntimeError(f"{command[0]} does not start: {self.log[-1000:]}")
            time.sleep(0.01)

    def end(self, sign: signal.Signals, *, patience: float = 15.0) -> None:
        """Send a signal and wait; one that does not obey is killed. Nothing happens if none runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
        process.kill()
        process.wait()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
