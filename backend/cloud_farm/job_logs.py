"""The logs of a job on the volume, attempt by attempt; each look costs what is new."""

from __future__ import annotations

import collections
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import UsageError
from .layout import JobLayout
from .stores import Store, StoreEntry

_SHOWN = 10
PROGRESS = '{"cloud_farm":'
"""How the lines begin that our scripts print for programs (`inside_blender/volume.py`)."""


class JobLogs:
    """Reads a job's logs again and again.

    Args:
        chunk: Only this chunk (or `prepare`), or this one attempt; None reads all.
    """

    def __init__(self, store: Store, job_id: str, *, chunk: str | None = None) -> None:
        self._store = store
        self._folder = JobLayout(job_id).logs
        self._job_id = job_id
        self._chunk = chunk
        self._read: dict[str, int] = {}
        self._last = ""

    def check(self) -> None:
        """Refuse a chunk that has no log.

        Raises:
            UsageError: There is none; says which there are.
        """
        if self._chunk is None or self._wanted():
            return
        names = [_attempt(entry) for entry in self._entries()]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UsageError(
            f"Job {self._job_id} has no log of '{self._chunk}'. It has: {', '.join(names[:_SHOWN]) or 'none yet'}{more}."
        )

    def new_lines(self, *, over: bool) -> Iterator[str]:
        """Yield what came since the last call; a line `== <attempt>` stands before those of another attempt.

        Args:
            over: Nothing more will come: a last line without an end counts too.
        """
        for entry in self._wanted():
            attempt, start = _attempt(entry), self._read.get(entry.name, 0)
            if entry.size <= start:
                continue
            content = self._store.read(self._folder / entry.name, start=start)
            whole = content if over else content[: content.rfind(b"\n") + 1]
            self._read[entry.name] = start + len(whole)
            if whole and attempt != self._last:
                self._last = attempt
                yield f"== {attempt}"
            yield from whole.decode("utf-8", "replace").splitlines()

    def _wanted(self) -> list[StoreEntry]:
        return [e for e in self._entries() if self._chunk in (None, _attempt(e), _attempt(e).rpartition(".")[0])]

    def _entries(self) -> list[StoreEntry]:
        """Every log, in the order in which they were last written."""
        found = (entry for entry in self._store.list(self._folder) if entry.name.endswith(".log"))
        return sorted(found, key=lambda entry: (entry.mtime, entry.name))


def save_log(lines: Iterable[str], path: Path, *, last: int) -> tuple[list[str], int]:
    """Write a log, as people read it, into a file of this computer; returns its last lines, and how many it has."""
    tail: collections.deque[str] = collections.deque(maxlen=last)
    count, part = 0, path.with_name(f"{uuid.uuid4().hex}.part")
    try:
        with part.open("w", encoding="utf-8") as whole:
            for line in (line for line in lines if not line.startswith(PROGRESS)):
                whole.write(f"{line}\n")
                tail.append(line)
                count += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return list(tail), count


def _attempt(entry: StoreEntry) -> str:
    return entry.name.removesuffix(".log")
