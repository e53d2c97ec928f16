"""The memory of hashes: it knows a file by its state, forgets the oldest, and never stands in the way."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest
from cloud_farm import hash_cache
from cloud_farm.hash_cache import FileState, HashCache, StoredPiece

STATE = FileState(10, 5_000_000_000, 5_000_000_000, 7, 1)
LATER = 9_000_000_000
FILE = Path("/scenes/wood.png")
PIECE = StoredPiece("11" * 32, 6, "22" * 32, 1000)


def learn(database: Path, path: Path = FILE, state: FileState = STATE, *, looked_ns: int = LATER) -> None:
    with HashCache(database) as cache:
        cache.learn_file(path, state, "ab" * 32, looked_ns=looked_ns)


def ask(database: Path, path: Path = FILE, state: FileState = STATE) -> str | None:
    with HashCache(database) as cache:
        return cache.file(path, state)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hashes.sqlite"


def test_what_was_learned_is_known_by_the_next_run(database: Path) -> None:
    assert ask(database) is None
    learn(database)
    assert ask(database) == "ab" * 32
    assert ask(database, Path("/scenes/other.png")) is None


@pytest.mark.parametrize("field", FileState._fields)
def test_a_file_in_any_other_state_is_not_known(database: Path, field: str) -> None:
    learn(database)
    assert ask(database, state=STATE._replace(**{field: getattr(STATE, field) + 1})) is None


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize("ago_ns", [-3_600_000_000_000, 0, 1_000_000, 1_999_000_000])
def test_a_file_that_changed_just_before_is_not_remembered(database: Path, field: str, ago_ns: int) -> None:
    """A later change within one tick of the file system's clock would leave the same times."""
    learn(database, state=STATE._replace(**{field: LATER - ago_ns}))
    assert ask(database, state=STATE._replace(**{field: LATER - ago_ns})) is None


def test_names_that_are_no_text_are_names(database: Path) -> None:
    path = Path(os.fsdecode(b"/scenes/\xff\xfe'\".png"))
    learn(database, path)
    assert ask(database, path) == "ab" * 32


def test_cuts_and_pieces_are_remembered(database: Path) -> None:
    with HashCache(database) as cache:
        cache.learn_cut(FILE, STATE, "[1, 2]", looked_ns=LATER)
        cache.learn_cut(Path("/scenes/new.blend"), STATE, "[3]", looked_ns=STATE.mtime_ns)
        cache.learn_pieces([PIECE], "zlib 1")
    with HashCache(database) as cache:
        assert cache.cut(FILE, STATE) == "[1, 2]"
        assert cache.cut(Path("/scenes/new.blend"), STATE) is None
        assert cache.piece(PIECE.plain, "zlib 1") == PIECE
        assert cache.piece(PIECE.plain, "zlib 2") is None


def test_the_oldest_go_when_there_are_too_many(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_cache, "_MOST_ROWS", {"files": 3, "cuts": 1, "pieces": 1})
    days = iter(range(1, 100))
    monkeypatch.setattr("time.time", lambda: next(days) * 86_400)
    for number in range(5):
        learn(database, Path(f"/scenes/{number}.png"))
    assert [ask(database, Path(f"/scenes/{number}.png")) is not None for number in range(5)] == [False] * 2 + [True] * 3
    learn(database, Path("/scenes/2.png"))
    learn(database, Path("/scenes/5.png"))
    assert ask(database, Path("/scenes/2.png")) is not None
    assert ask(database, Path("/scenes/3.png")) is None


@pytest.mark.parametrize("content", [b"", b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_made_anew(database: Path, content: bytes) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    learn(database)
    learn(database)
    assert ask(database) == "ab" * 32


def test_damage_in_the_middle_only_costs_time(database: Path) -> None:
    with HashCache(database) as cache:
        for number in range(3000):
            cache.learn_file(Path(f"/scenes/{number}.png"), STATE, "ab" * 32, looked_ns=LATER)
    raw = bytearray(database.read_bytes())
    raw[4096:-4096] = b"\xff" * (len(raw) - 8192)
    database.write_bytes(raw)
    assert ask(database, Path("/scenes/7.png")) in (None, "ab" * 32)
    learn(database)
    learn(database)
    assert ask(database) == "ab" * 32


def test_a_database_of_another_version_is_made_anew(database: Path) -> None:
    learn(database)
    with sqlite3.connect(database) as other:
        other.execute("ALTER TABLE files DROP COLUMN sha256")
        other.execute("PRAGMA user_version = 99")
    other.close()
    assert ask(database) is None
    learn(database)
    assert ask(database) == "ab" * 32


def test_where_there_can_be_no_database_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    learn(tmp_path / "file" / "hashes.sqlite")
    assert ask(tmp_path / "file" / "hashes.sqlite") is None
    monkeypatch.setattr(hash_cache, "_BUSY_SECONDS", 0.05)
    learn(tmp_path / "locked.sqlite")
    other = sqlite3.connect(tmp_path / "locked.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    learn(tmp_path / "locked.sqlite", Path("/scenes/2.png"))
    assert ask(tmp_path / "locked.sqlite") is None
    other.execute("ROLLBACK")
    other.close()
    assert ask(tmp_path / "locked.sqlite") == "ab" * 32


def _learn_many(database: Path, first: int) -> None:
    for number in range(first, first + 40):
        learn(database, Path(f"/scenes/{number}.png"))


def test_several_processes_may_learn_at_once(database: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_learn_many, args=(database, first)) for first in (0, 100, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    known = [ask(database, Path(f"/scenes/{first + number}.png")) for first in (0, 100, 200) for number in range(40)]
    assert all(known)
