"""The add-on's other half: a process of its own, in which everything may wait. JSON lines on standard input and output.

    ← {"protocol": 1, "version": "0.1.0", "pid": 4711}                       once, when it is ready
    → {"id": 7, "do": "follow", "farm": "local", "job": "shot-20261125-abc123"}
    ← {"id": 7, "event": {"event": "frame_done", …}}                         any number of them
    ← {"id": 7, "result": {…}}    or    {"id": 7, "error": {"kind": "StoreLoginError", "message": "…", "exit_code": 3}}

Requests run beside each other, each in a thread; `stop` ends one early. The worker ends with its standard input: jobs that are
on a farm go on, an upload is gone on with by the next worker. Whatever else is printed goes to the log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import CloudFarmError
from .events import CancelToken
from .version import LAST_WORDS_SECONDS, PROTOCOL, VERSION

_LONGEST_LINE = 4 << 20
_LARGEST_LOG = 1 << 20
_log = logging.getLogger(__name__)


class Worker:
    """Answers requests until its input ends.

    Args:
        source: Lines come from here.
        sink: Lines go here; nothing else may write to it.
        on_line: Called with each line that goes there.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO, *, on_line: Callable[[], None]) -> None:
        self._source = source
        self._sink = sink
        self._on_line = on_line
        self._lock = threading.Lock()
        self._running: dict[int, tuple[CancelToken, threading.Thread]] = {}

    def run(self) -> None:
        """Answer until the input ends; what still runs then is told to stop, and all of it given one moment."""
        self._say({"protocol": PROTOCOL, "version": VERSION, "pid": os.getpid()})
        while line := self._source.readline(_LONGEST_LINE):
            self._take(line)
        running = list(self._running.values())
        for cancel, _ in running:
            cancel.cancel()
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        for _, thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _take(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            number, verb = int(request["id"]), str(request["do"])
        except (ValueError, TypeError, KeyError) as error:
            self._say({"id": 0, "error": _described(CloudFarmError(f"This is no request: {line[:200]!r} ({error})."))})
            return
        if verb == "stop":
            self._stop(number, int(request.get("request", 0)))
            return
        cancel = CancelToken()
        thread = threading.Thread(target=self._answer, args=(number, verb, request, cancel), daemon=True)
        self._running[number] = cancel, thread
        thread.start()

    def _stop(self, number: int, wanted: int) -> None:
        """End a request early; one that is over already is as good."""
        cancel, _ = self._running.get(wanted, (None, None))
        if cancel is not None:
            cancel.cancel()
        self._say({"id": number, "result": {}})

    def _answer(self, number: int, verb: str, request: Mapping[str, Any], cancel: CancelToken) -> None:
        from .worker_requests import carry_out

        try:
            result = carry_out(
                verb, request, on_event=lambda event: self._say({"id": number, "event": event}), cancel=cancel
            )
            answer: dict[str, Any] = {"result": result}
        except CloudFarmError as error:
            answer = {"error": _described(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it, and the others go on
            _log.exception("%s failed", verb)
            answer = {"error": _described(error)}
        self._running.pop(number, None)
        self._say({"id": number, **answer})

    def _say(self, data: Mapping[str, Any]) -> None:
        line = json.dumps(data, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._on_line()
            try:
                self._sink.write(line)
                self._sink.flush()
            except OSError:
                _log.info("nobody listens any more")


def _described(error: Exception) -> dict[str, Any]:
    if isinstance(error, CloudFarmError):
        return {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    text = f"Something went wrong that should not: {type(error).__name__}: {error}. The worker's log says where."
    return {"kind": "Unexpected", "message": text, "exit_code": 1}


def main(log: str) -> None:
    """Be the worker of the process that started us.

    Args:
        log: A file that takes whatever is printed; one that grew large becomes `<log>.1`.
    """
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    printed = _Log(Path(log))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _log.info("worker %s, Python %s, %s", VERSION, platform.python_version(), platform.platform())
    Worker(source, sink, on_line=printed.put_aside).run()
    _log.info("the worker's input ended")
    logging.shutdown()
    os._exit(0)  # threads that are in a system call are not waited for


class _Log:
    """Takes what a library or a child prints in place of our standard streams: it must not get among the answers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limit = _LARGEST_LOG
        path.parent.mkdir(parents=True, exist_ok=True)
        _point(0, os.devnull, os.O_RDONLY)
        self._open()
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        self.put_aside()

    def put_aside(self) -> None:
        """Begin another file if this one grew large; other workers write to it too, and one of them may have done so."""
        if os.fstat(2).st_size <= self._limit:
            return
        with contextlib.suppress(OSError):  # Windows moves no file that another worker has open
            is_current = os.path.samestat(os.fstat(2), self._path.stat())
            _point(1, os.devnull, os.O_WRONLY)
            _point(2, os.devnull, os.O_WRONLY)
            if is_current:
                os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
        with contextlib.suppress(OSError):
            self._open()
        self._limit = os.fstat(2).st_size + _LARGEST_LOG

    def _open(self) -> None:
        for stream in (1, 2):
            _point(stream, self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _point(stream: int, path: str | Path, flags: int) -> None:
    """Have a standard stream read or write a file."""
    handle = os.open(path, flags, 0o600)
    os.dup2(handle, stream)
    os.close(handle)
