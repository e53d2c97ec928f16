"""What was hashed before, so that an unchanged scene is not read again: a small database in the user's state folder.

A file is known again by size, times, inode and device, as in git's index. One that changed only just before it was hashed is
not remembered: a later change could leave the same times. The database may vanish, be locked or be damaged at any moment;
that only costs time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_VERSION = 1
_SETTLED_NS = 2_000_000_000
"""The coarsest clock of a file system that we may meet (FAT)."""
_BUSY_SECONDS = 5.0
_TABLES = {
    "files": "path BLOB PRIMARY KEY, state TEXT, sha256 TEXT, used INTEGER",
    "cuts": "path BLOB PRIMARY KEY, state TEXT, cut TEXT, used INTEGER",
    "pieces": "name TEXT PRIMARY KEY, level INTEGER, sha256 TEXT, size INTEGER, used INTEGER",
}
_MOST_ROWS = {"files": 100_000, "cuts": 32, "pieces": 200_000}
"""Some 20 MB each; what was not used for longest goes."""
_LONGEST_CUT = 4 << 20
_FORGET = "DELETE FROM {0} WHERE rowid IN (SELECT rowid FROM {0} ORDER BY used DESC LIMIT -1 OFFSET ?)"


class FileState(NamedTuple):
    """How a file's bytes are known to be the same without reading them; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """Take it from the system's answer."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

    @property
    def text(self) -> str:
        """All of it in one word."""
        return ":".join(map(str, self))

    def is_settled(self, now_ns: int) -> bool:
        """Tell whether a change from `now_ns` on must change the times."""
        return max(self.mtime_ns, self.ctime_ns) + _SETTLED_NS < now_ns


class StoredPiece(NamedTuple):
    """A piece of a file as the volume keeps it.

    Attributes:
        plain: sha256 before packing.
        level: zlib's, with which it is packed.
        sha256: Of what is stored.
        size: Bytes of what is stored.
    """

    plain: str
    level: int
    sha256: str
    size: int


class HashCache:
    """Hashes by file; several threads may ask. Use it in a `with` block: what was learned is written at its end."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._file = file
        self._damaged = False
        self._database = _open(file)
        self._learned: dict[str, dict[object, tuple[object, ...]]] = {table: {} for table in _TABLES}

    def __enter__(self) -> HashCache:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:  # after an interruption a thread may still be about to ask
            database, self._database = self._database, None
            if database is not None:
                with self._trouble():
                    self._write(database)
                database.close()
        if self._damaged:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def file(self, path: Path, state: FileState) -> str | None:
        """Return the sha256 of a file, if it did not change since."""
        return self._text("files", "sha256", path, state.text)

    def learn_file(self, path: Path, state: FileState, sha256: str, *, looked_ns: int) -> None:
        """Remember a file's hash. `looked_ns` is when its reading began, nanoseconds since 1970."""
        if state.is_settled(looked_ns):
            self._learn("files", os.fsencode(path), state.text, sha256)

    def cut(self, path: Path, state: FileState) -> str | None:
        """Return what was remembered of how a file was cut, if it did not change since."""
        return self._text("cuts", "cut", path, state.text)

    def learn_cut(self, path: Path, state: FileState, cut: str, *, looked_ns: int) -> None:
        """Remember how a file was cut, as text."""
        if state.is_settled(looked_ns) and len(cut) <= _LONGEST_CUT:
            self._learn("cuts", os.fsencode(path), state.text, cut)

    def piece(self, plain: str, packer: str) -> StoredPiece | None:
        """Return how a piece was stored before, packed by the same `packer`."""
        rows = self._rows("SELECT level, sha256, size FROM pieces WHERE name = ?", (f"{packer}:{plain}",))
        return StoredPiece(plain, *rows[0]) if rows else None

    def learn_pieces(self, pieces: Iterable[StoredPiece], packer: str) -> None:
        """Remember how pieces are stored."""
        for piece in pieces:
            self._learn("pieces", f"{packer}:{piece.plain}", *piece[1:])

    # -- inner ------------------------------------------------------------------------------------------------------

    def _text(self, table: str, column: str, path: Path, state: str) -> str | None:
        sql = f"SELECT {column} FROM {table} WHERE path = ? AND state = ?"  # noqa: S608 - both names are ours
        rows = self._rows(sql, (os.fsencode(path), state))
        return str(rows[0][0]) if rows else None

    def _learn(self, table: str, key: object, *values: object) -> None:
        with self._lock:
            self._learned[table][key] = (key, *values, int(time.time()))

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self._lock, self._trouble():
            if self._database is not None:
                rows = self._database.execute(sql, values).fetchall()
        return rows

    def _write(self, database: sqlite3.Connection) -> None:
        with database:
            for table, rows in self._learned.items():
                marks = ", ".join("?" * (_TABLES[table].count(",") + 1))
                sql = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 - the name is ours
                database.executemany(sql, rows.values())
                database.execute(_FORGET.format(table), (_MOST_ROWS[table],))

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Go on without what the database can't tell or take."""
        try:
            yield
        except sqlite3.Error as error:
            self._damaged |= type(error) is sqlite3.DatabaseError


def _open(file: Path) -> sqlite3.Connection | None:
    """Open the database, a new one in place of one that is damaged or of another version; None where there can be none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(file)
        except sqlite3.OperationalError:
            return None  # locked, or the folder can't be written
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            return _connect(file)
    except (OSError, sqlite3.Error):
        return None


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        [(version,)] = database.execute("PRAGMA user_version").fetchall()
        if version != _VERSION:
            _make_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_tables(database: sqlite3.Connection) -> None:
    with database:
        for table, columns in _TABLES.items():
            database.execute(f"DROP TABLE IF EXISTS {table}")
            database.execute(f"CREATE TABLE {table} ({columns})")
        database.execute(f"PRAGMA user_version = {_VERSION}")
