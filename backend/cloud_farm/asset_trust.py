"""Which assets of a volume were seen to be what their names say, remembered on this computer.

An asset is known by size and time: one that was replaced, and one of a volume that was made anew, has another time and is
looked at again.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .platform import FileLock, replace, user_folders
from .stores import StoreEntry

_MOST = 100_000
"""Assets of one volume; those that were used last are kept. About 10 MB."""
_PATIENCE_SECONDS = 5.0
_LINE = re.compile(r"([0-9a-f]{64}) (\d+) (\d+(?:\.\d+)?) (\d+)")


class _Seen(NamedTuple):
    size: int
    mtime: float
    day: int


class AssetTrust:
    """The verified assets of one volume.

    Args:
        volume: Names the volume among all that this user has; see `Store.volume`.
    """

    def __init__(self, volume: str, *, most: int = _MOST) -> None:
        name = hashlib.sha256(volume.encode()).hexdigest()[:16]
        self._path = user_folders().state / "assets" / f"{name}.txt"
        self._most = most
        self._seen = _read(self._path)
        self._fresh: dict[str, _Seen] = {}

    def knows(self, sha256: str, entry: StoreEntry) -> bool:
        """Tell whether this very file was verified."""
        seen = self._fresh.get(sha256) or self._seen.get(sha256)
        if seen is None or (seen.size, seen.mtime) != (entry.size, entry.mtime):
            return False
        self.add(sha256, entry)
        return True

    def add(self, sha256: str, entry: StoreEntry) -> None:
        """Remember that this file was verified. Threads may call it."""
        self._fresh[sha256] = _Seen(entry.size, entry.mtime, int(time.time() // 86400))

    def save(self) -> None:
        """Write down what is new, together with what other processes wrote meanwhile.

        Failing to is no reason to stop: it costs a look at the server's checksums next time.
        """
        if all(self._seen.get(sha) == seen for sha, seen in self._fresh.items()):
            return
        self._rewrite(self._fresh, forget=())

    def forget(self, hashes: Iterable[str]) -> None:
        """Trust these assets no more: somebody found them damaged."""
        forget = set(hashes)
        self._fresh = {sha: seen for sha, seen in self._fresh.items() if sha not in forget}
        if forget & self._seen.keys():
            self._rewrite(self._fresh, forget=forget)

    def _rewrite(self, fresh: Mapping[str, _Seen], *, forget: Collection[str]) -> None:
        lock = FileLock(self._path.with_suffix(".lock"))
        try:
            if not lock.acquire(patience=_PATIENCE_SECONDS):
                return
            try:
                kept = {sha: seen for sha, seen in _read(self._path).items() if sha not in forget}
                self._seen = {**kept, **fresh}
                _write(self._path, self._seen, self._most)
            finally:
                lock.release()
        except OSError:
            return


def _read(path: Path) -> dict[str, _Seen]:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return {}
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return {m[1]: _Seen(int(m[2]), float(m[3]), int(m[4])) for m in matches if m is not None}


def _write(path: Path, seen: Mapping[str, _Seen], most: int) -> None:
    newest = sorted(seen.items(), key=lambda item: item[1].day)[-most:]
    part = path.with_suffix(".part")
    part.write_text("".join(f"{sha} {s.size} {s.mtime!r} {s.day}\n" for sha, s in newest), encoding="ascii")
    replace(part, path)
