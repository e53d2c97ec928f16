"""The only owner of the worker process: starts it, speaks to it over pipes that never wait, and starts it again if it dies.

Nothing here blocks and nothing here is a thread: `poll` is called by a timer, and hands each answer to who asked.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy

from .cloud_farm import quiet_child
from .cloud_farm.version import LAST_WORDS_SECONDS, PROTOCOL

Answer = Callable[[Mapping[str, Any]], None]
_START = (
    "import json, sys; first, last = json.loads(sys.argv[1]); sys.path[1:1] = first; sys.path += last;"
    " from cloud_farm.worker import main; main(sys.argv[2])"
)
_READ = 1 << 16
_MOST_LINES = 50  # a tick; the rest waits for the next one
_EXIT_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0


def worker_path() -> tuple[list[str], list[str]]:
    """Return where the worker finds its modules, before and after those of its Python.

    Before: the backend, what Blender unpacked for us, and the packages themselves. These come last: another extension that brings
    an older PyYAML may take ours with it when it goes. After: the libraries of a `cloud-farm` that is installed or checked out.
    Some of them are compiled for another Python than this one; those Blender has itself.
    """
    home, backend = Path(__file__).parent, Path(quiet_child.__file__).parents[1]
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    unpacked = bpy.utils.user_resource("EXTENSIONS", path=f".local/lib/{version}/site-packages")
    first = [unpacked, *map(str, sorted((home / "wheels").glob("*.whl")))]
    if home.parents[1] == backend:
        return first, [str(backend)]
    environment = backend.parent / ".venv"  # uv's, in a checkout
    last = [*environment.glob("lib/python3*/site-packages"), *environment.glob("Lib/site-packages")]
    return [str(backend), *first], [str(path) for path in last]


class WorkerClient:
    """Speaks to the worker.

    Args:
        log: Where the worker writes what happens.
        reword: Changes what the worker said for who reads it.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        log: Path,
        *,
        reword: Callable[[Any], Any] = lambda data: data,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._reword = reword
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self._greeted = False
        self._received = b""
        self._unsent = b""
        self._next = 1
        self._asked: dict[int, Answer] = {}
        self._deaths = 0
        self._not_before = 0.0

    # -- asking ---------------------------------------------------------------------------------------------------------

    def ask(self, verb: str, answer: Answer, **data: Any) -> int:
        """Send a request; `answer` is called with each line about it, the last of which has `result` or `error`.

        Returns:
            The request's number, for `stop`.
        """
        number, self._next = self._next, self._next + 1
        self._asked[number] = answer
        self._unsent += json.dumps({"id": number, "do": verb, **data}).encode() + b"\n"
        return number

    def stop(self, number: int) -> None:
        """End a request early; its answer is an error of the kind `Cancelled`."""
        self.ask("stop", lambda _line: None, request=number)

    @property
    def busy(self) -> bool:
        """Whether anything is asked that has no last answer yet."""
        return bool(self._asked)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    # -- the process ------------------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Send and receive what can be without waiting; tells whether anything came.

        A worker that died is started again, later each time: what was asked is answered with an error first.
        """
        if self._process is None:
            if not self.busy or self._clock() < self._not_before:
                return False
            if not self._command:
                self._command = self._make_command()  # looks at the disk: a turn of its own
                return False
            self._start()
            if self._process is None:
                return True
        if self._is_dead():
            return True
        self._write()
        return self._read()

    def close(self) -> None:
        """End the worker: it ends by itself with its input, and is ended if it does not."""
        process, self._process = self._process, None
        self._asked.clear()
        self._unsent = b""
        if process is None:
            return
        atexit.unregister(self.close)
        _close(process)
        try:
            process.wait(LAST_WORDS_SECONDS + _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _make_command(self) -> list[str]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [*getattr(bpy.app, "python_args", ()), "-c", _START, json.dumps(worker_path()), str(self.log)]
        return [sys.executable, *arguments]

    def _start(self) -> None:
        environment = dict(os.environ)
        if bpy.app.binary_path and "CLOUD_FARM_BLENDER" not in environment:
            environment["CLOUD_FARM_BLENDER"] = bpy.app.binary_path
        with open(self.log, "ab") as log:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    **quiet_child.quiet_child_flags(),
                )
            except OSError as error:
                self._give_up(f"Cloud Farm's worker process can't be started: {error}")
                return
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            quiet_child.never_wait(stream.fileno())
        self._received, self._greeted = b"", False
        atexit.register(self.close)

    def _is_dead(self) -> bool:
        """Notice a worker that ended; everybody who waits for it is told."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        while self._read():  # its last words
            pass
        if self._process is not None:  # else they were no answers, and that was told
            self._give_up(f"Cloud Farm's worker process ended unexpectedly (exit code {code}). Its log: {self.log}")
        return True

    def _give_up(self, why: str, *, kind: str = "WorkerDied") -> None:
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.close)
            _close(process)
            if process.poll() is None:
                process.kill()
                process.wait()
        self._deaths += 1
        self._not_before = self._clock() + min(_LONGEST_PAUSE_SECONDS, 2.0**self._deaths - 1)
        self._unsent = b""
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            try:
                answer({"error": {"kind": kind, "message": why, "exit_code": 1}})
            except Exception:  # noqa: BLE001 - what one does wrong must not leave the others waiting
                traceback.print_exc()

    def _write(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        if not self._unsent:
            return
        try:
            written = os.write(self._process.stdin.fileno(), self._unsent[:_READ])
        except BlockingIOError:
            return
        except OSError:
            return  # it died; the next look finds out
        self._unsent = self._unsent[written:]

    def _read(self) -> bool:
        """Take what came, a bounded number of lines at a time; tells whether there was a whole one."""
        process = self._process
        if process is None or process.stdout is None:
            return False
        try:
            received = os.read(process.stdout.fileno(), _READ)
        except OSError:  # nothing there, or nobody
            received = b""
        self._received += received
        lines = self._received.split(b"\n")
        self._received = b"\n".join(lines[_MOST_LINES:]) if len(lines) > _MOST_LINES else lines[-1]
        for line in lines[: min(_MOST_LINES, len(lines) - 1)]:
            if self._process is not process:
                break  # it was given up over a line before: what was asked since is for the next worker
            try:
                self._take(line)
            except Exception:  # noqa: BLE001 - what one line does wrong must not cost the others
                traceback.print_exc()
        return len(lines) > 1

    def _take(self, line: bytes) -> None:
        try:
            data = json.loads(line)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            self._give_up(f"Cloud Farm's worker process sent something that is no answer. Its log: {self.log}")
            return
        if not self._greeted:
            self._greet(data)
            return
        answer = self._asked.get(data.get("id", 0))
        if answer is None:
            return
        if "event" not in data:
            del self._asked[data["id"]]
            self._deaths = 0
        answer(self._reword(data))

    def _greet(self, data: Mapping[str, Any]) -> None:
        self._greeted = True
        if data.get("protocol") != PROTOCOL:
            self._give_up("Cloud Farm was updated while Blender ran. Restart Blender.", kind="WorkerOutdated")


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue  # what was not sent yet can't be any more
