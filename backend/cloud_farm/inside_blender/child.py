"""The supervisor's child: starts it, reads its log while it is written, keeps limits, and ends it for sure."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import volume

_POLL_SECONDS = 0.1
_BUDGET_SECONDS = 10.0
_GRACE_SECONDS = 20.0
"""Less than Kubernetes' 30 s between SIGTERM and SIGKILL, so that the supervisor itself gets to write the end."""
_PR_SET_PDEATHSIG = 1
_LAST_WORDS = 200
"""Lines of a log that outgrew its limit that are kept of its end."""


class Stopper:
    """Remembers that somebody asked the supervisor to stop; the handler itself does nothing that could fail."""

    def __init__(self, *, stopped: bool = False) -> None:
        self.stopped = stopped
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, _signal: int, _frame: Any) -> None:
        self.stopped = True


@dataclass(frozen=True)
class ChildEnd:
    """How a child ended.

    Attributes:
        code: Its exit code; None if a signal ended it.
        signal: The signal's name; empty if it exited.
        frame: The frame that it rendered then.
        failed: Frame to message of those that failed in it.
        message: What its last `fatal` line says, with `cause`.
        stopped: It was ended because the supervisor was asked to stop.
        timed_out: The frame that took longer than the limit.
        over_budget: It was ended because the job reached its cost cap.
        peak_memory: Largest memory that it reported, bytes.
        spent: Seconds by stage: `loading` until its first frame began, `rendering` from then on.
    """

    code: int | None
    signal: str = ""
    frame: int | None = None
    failed: dict[int, str] = field(default_factory=dict)
    cause: int | None = None
    message: str = ""
    stopped: bool = False
    timed_out: int | None = None
    over_budget: bool = False
    peak_memory: int | None = None
    spent: dict[str, float] = field(default_factory=dict)

    def as_exit(self, code: int) -> ChildEnd:
        """Return the same end as if the child had exited with `code`."""
        return replace(self, code=code, signal="")


class Child:
    """One child process and its log."""

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, volume_log: Path, *, log_bytes: int
    ) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self._copy = _LogCopy(volume_log, log_bytes)
        self._rest = b""
        self._frame: int | None = None
        self._frame_since = 0.0
        self._late: int | None = None
        self._failed: dict[int, str] = {}
        self._fatal: dict[str, Any] = {}
        self._peak: int | None = None
        self._first_frame: float | None = None

    def run(self, stopper: Stopper, *, frame_seconds: float | None, over_budget: Callable[[], bool]) -> ChildEnd:
        """Run the child to its end.

        Args:
            frame_seconds: Longest time of one frame, None for no limit.
            over_budget: Asked now and then; True ends the child.

        Returns:
            Its end. The child and everything that it started are gone then.
        """
        began = time.monotonic()
        with open(self._log, "ab") as sink, open(self._log, "rb") as source:
            try:
                process = _start(self._command, self._environment, sink)
            except OSError as error:
                return ChildEnd(volume.UNHANDLED, message=f"{self._command[0]} can't be started: {error}")
            try:
                why = self._watch(process, source, stopper, frame_seconds, over_budget)
            finally:
                _kill_group(process)
            self._read(source, last=True)
        self._copy.close()
        return replace(self._end(process.returncode, why), spent=self._spent(began, time.monotonic()))

    def _spent(self, began: float, ended: float) -> dict[str, float]:
        loaded = ended if self._first_frame is None else self._first_frame
        return {"loading": round(loaded - began, 2), "rendering": round(ended - loaded, 2)}

    def _watch(
        self, process: subprocess.Popen[bytes], source: BinaryIO, stopper: Stopper, frame_seconds: float | None,
        over_budget: Callable[[], bool],
    ) -> str:  # fmt: skip
        asked_budget = time.monotonic()
        while process.poll() is None:
            self._read(source)
            why = self._why_end(stopper, frame_seconds)
            if not why and time.monotonic() - asked_budget > _BUDGET_SECONDS:
                asked_budget = time.monotonic()
                self._copy.sign_of_life()
                why = "budget" if over_budget() else ""
            if why:
                self._late = self._frame if why == "time" else None
                _end_group(process, gently=why != "time")
                return why
            time.sleep(_POLL_SECONDS)
        return ""

    def _why_end(self, stopper: Stopper, frame_seconds: float | None) -> str:
        if stopper.stopped:
            return "stop"
        if frame_seconds and self._frame is not None and time.monotonic() - self._frame_since > frame_seconds:
            return "time"
        return ""

    def _end(self, code: int, why: str) -> ChildEnd:
        if code > 128 and code != volume.STOPPED:
            code = 128 - code  # a shell around Blender tells of its death so
        name = _signal_name(-code) if code < 0 else ""
        return ChildEnd(
            code=None if name else code,
            signal=name,
            frame=self._frame,
            failed=self._failed,
            cause=self._fatal.get("cause"),
            message=str(self._fatal.get("message", "")),
            stopped=why == "stop",
            timed_out=self._late,
            over_budget=why == "budget",
            peak_memory=self._peak,
        )

    def _read(self, source: BinaryIO, *, last: bool = False) -> None:
        """Take over what the child wrote since: into the volume's log, our stdout, and our picture of it."""
        self._rest += source.read()
        *lines, self._rest = self._rest.split(b"\n")
        if last and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            self._copy.write(lines)
        for line in lines:
            self._note(line)

    def _note(self, line: bytes) -> None:
        if not line.startswith(volume.PROGRESS.encode()):
            return
        try:
            event = json.loads(line)
        except ValueError:
            return  # a line that a kill cut short
        kind = event.get("cloud_farm")
        if kind == "frame_started":
            self._frame, self._frame_since = int(event["frame"]), time.monotonic()
            self._first_frame = self._first_frame or self._frame_since
        elif kind in ("frame_done", "frame_failed"):
            self._frame = None
            if kind == "frame_failed":
                self._failed[int(event["frame"])] = str(event.get("message", ""))
        elif kind == "fatal":
            self._fatal = event
        if event.get("peak_memory"):
            self._peak = max(self._peak or 0, int(event["peak_memory"]))


class _LogCopy:
    """The attempt's log on the volume, and our own stdout. A full volume costs the log, never the frames.

    Past the limit only progress goes on (few lines a frame, followers live on them); Blender's last words close the log.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._left = most
        self._last_words: deque[bytes] = deque(maxlen=_LAST_WORDS)
        self._stdout: BinaryIO | None = sys.stdout.buffer
        self._stream: BinaryIO | None = None
        try:
            volume.make_folder(path.parent)
            self._stream = open(path, "ab", buffering=0)  # noqa: SIM115 - it lives as long as the child
        except OSError as error:
            sys.stderr.write(f"The log {path} can't be written: {error}\n")

    def write(self, lines: list[bytes]) -> None:
        self._print(b"".join(line + b"\n" for line in lines))
        kept = [line for line in lines if self._keep(line)]
        if kept:
            self._append(b"".join(line + b"\n" for line in kept))

    def _keep(self, line: bytes) -> bool:
        if self._left > 0:
            self._left -= len(line) + 1
            if self._left <= 0:
                self._append(b"(the log reached its limit; from here on it has progress and Blender's last words)\n")
            return self._left > 0
        self._last_words.append(line[:2000])
        return line.startswith(volume.PROGRESS.encode()) and b'"sample"' not in line[:40]

    def _print(self, content: bytes) -> None:
        if self._stdout is None:
            return
        try:
            self._stdout.write(content)
            self._stdout.flush()
        except OSError:
            self._stdout = None  # nobody listens any more; the log on the volume goes on

    def _append(self, content: bytes) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(content)
        except OSError as error:
            sys.stderr.write(f"The log can't be written any more: {error}\n")
            self._stream = None

    def sign_of_life(self) -> None:
        """Show that the attempt runs although Blender says nothing: the log's time is how others tell."""
        try:
            os.utime(self._path)
        except OSError:
            return

    def close(self) -> None:
        said = [line for line in self._last_words if not line.startswith(volume.PROGRESS.encode())]
        self._append(b"".join(line + b"\n" for line in said))
        if self._stream is not None:
            self._stream.close()


def _start(command: list[str], environment: dict[str, str], sink: BinaryIO) -> subprocess.Popen[bytes]:
    """Start in a group of its own that dies with us, so that no Blender renders on unwatched."""
    posix = os.name == "posix"
    us = os.getpid()
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
        start_new_session=posix, preexec_fn=(lambda: _die_with_parent(us)) if sys.platform == "linux" else None,
    )  # fmt: skip


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(volume.UNHANDLED)  # it died before we could ask


def _end_group(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    """Ask the child to end, then see to it. Blender itself does not catch SIGTERM: it dies at once, which is fine."""
    if gently:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        _signal_group(process, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if os.name != "posix":
        process.terminate()
        return
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # everything of the group is gone


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
