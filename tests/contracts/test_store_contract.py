"""What every store must do. It is told through the Store protocol only; see subjects.py for who takes it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.errors import ExistsError, HashMismatchError, NotFoundError, StoreError
from cloud_farm.layout import JobLayout, asset
from cloud_farm.profile import FarmProfile
from cloud_farm.stores import Store, open_store

from .subjects import StoreSubject

JOB = "shot-20261123-abc123"
FOLDER = PurePosixPath("cloud-farm/jobs") / JOB
_SPAWN = multiprocessing.get_context("spawn")
_MIB = 1 << 20


@pytest.fixture
def store(store_subject: StoreSubject) -> Store:
    return store_subject.open()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(store: Store, folder: PurePosixPath) -> list[str]:
    return [entry.name for entry in store.list(folder)]


def eventually(condition: Callable[[], bool], subject: StoreSubject) -> None:
    """Another machine may see a change a little later."""
    deadline = time.monotonic() + subject.visibility_s
    while not condition():
        assert time.monotonic() < deadline, f"not seen within {subject.visibility_s:g} s"
        time.sleep(0.02)


# -- whole files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one byte", "1.2 MB"])
def test_what_is_put_is_read_listed_and_fetched(store: Store, tmp_path: Path, content: bytes) -> None:
    path = FOLDER / "a.bin"
    assert store.put(content, path, sha256=sha256(content))
    assert store.read(path) == content
    entry = store.stat(path)
    assert entry is not None and (entry.name, entry.size, entry.is_dir) == ("a.bin", len(content), False)
    assert store.list(FOLDER) == (entry,)
    store.get(path, tmp_path / "here.bin", sha256=sha256(content))
    assert (tmp_path / "here.bin").read_bytes() == content


def test_files_of_this_computer_are_put_and_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"first")
    before = source.stat()
    store.put(source, asset(sha256(b"first")), sha256=sha256(b"first"), if_absent=True)
    with source.open("r+b") as stream:
        stream.write(b"later")
    assert store.read(asset(sha256(b"first"))) == b"first", "a later edit reached the volume"
    assert source.stat().st_ino == before.st_ino
    assert source.stat().st_mode == before.st_mode


def test_a_put_replaces_at_once(store: Store) -> None:
    path = FOLDER / "a.bin"
    store.put(b"old", path)
    assert store.put(b"new and longer", path)
    assert store.read(path) == b"new and longer"
    assert names(store, FOLDER) == ["a.bin"]


def test_ranges(store: Store) -> None:
    path = FOLDER / "digits"
    store.put(b"0123456789", path)
    assert store.read(path, start=4) == b"456789"
    assert store.read(path, start=2, length=3) == b"234"
    assert store.read(path, start=8, length=50) == b"89"
    assert store.read(path, start=10, length=5) == b""
    assert store.read(path, length=0) == b""


def test_another_machine_sees_it(store_subject: StoreSubject) -> None:
    near, far = store_subject.open(0), store_subject.open(1)
    assert far.list(FOLDER) == ()
    near.put(b"hello", FOLDER / "a.bin")
    eventually(lambda: names(far, FOLDER) == ["a.bin"], store_subject)
    assert far.read(FOLDER / "a.bin") == b"hello"
    near.put(b"changed", FOLDER / "a.bin")
    eventually(lambda: far.read(FOLDER / "a.bin") == b"changed", store_subject)


# -- what is not there, and what is not right ---------------------------------------------------------------------------


def test_absent_paths(store: Store, tmp_path: Path) -> None:
    path = FOLDER / "nothing"
    assert store.list(FOLDER) == ()
    assert store.stat(path) is None
    for action in (
        lambda: store.read(path),
        lambda: store.get(path, tmp_path / "x"),
        lambda: store.move(path, FOLDER / "y"),
    ):
        with pytest.raises(NotFoundError) as caught:
            action()
        assert "nothing" in str(caught.value)
    store.trash(path, job_id=JOB)
    assert list(tmp_path.glob("*x*")) == []


def test_below_a_file_there_is_nothing(store: Store) -> None:
    store.put(b"a file", FOLDER / "a")
    assert store.stat(FOLDER / "a" / "b") is None
    with pytest.raises(StoreError):
        store.put(b"x", FOLDER / "a" / "b")
    assert store.read(FOLDER / "a") == b"a file"


def test_a_wrong_hash_publishes_nothing(store: Store, tmp_path: Path) -> None:
    path = FOLDER / "a.bin"
    for source in (b"changed meanwhile", tmp_path / "source"):
        (tmp_path / "source").write_bytes(b"changed meanwhile")
        with pytest.raises(HashMismatchError, match="changed while it was sent"):
            store.put(source, path, sha256=sha256(b"what was promised"))
        assert store.list(FOLDER) == ()
    store.put(b"good", path)
    with pytest.raises(HashMismatchError):
        store.put(b"bad", path, sha256=sha256(b"good"))
    assert store.read(path) == b"good"


def test_a_wrong_hash_fetches_nothing(store: Store, tmp_path: Path) -> None:
    store.put(b"something else", FOLDER / "a.bin")
    target = tmp_path / "landing" / "a.bin"
    target.parent.mkdir()
    target.write_bytes(b"what was here")
    with pytest.raises(HashMismatchError):
        store.get(FOLDER / "a.bin", target, sha256=sha256(b"promised"))
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]
    assert target.read_bytes() == b"what was here"


def test_a_source_that_can_not_be_read_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone.blend on this computer can't be read") as caught:
        store.put(tmp_path / "gone.blend", FOLDER / "a.bin")
    assert not isinstance(caught.value, NotFoundError)
    assert store.list(FOLDER) == ()


# -- exactly one winner -------------------------------------------------------------------------------------------------


def test_if_absent_leaves_the_first(store: Store) -> None:
    path = FOLDER / "a.bin"
    assert store.put(b"first", path, if_absent=True)
    assert not store.put(b"second", path, if_absent=True)
    assert store.read(path) == b"first"
    assert names(store, FOLDER) == ["a.bin"]


def _race(profile: FarmProfile, number: int, count: int, pipe: Connection) -> None:
    store = open_store(profile)
    pipe.send("ready")
    pipe.recv()
    content = bytes([number]) * (200_000 + number)
    pipe.send([i for i in range(count) if store.put(content, FOLDER / "race" / f"{i:03d}", if_absent=True)])


def test_of_many_exclusive_creates_one_wins_and_is_whole(store_subject: StoreSubject) -> None:
    racers, count = 4, 40
    pipes, processes = [], []
    for number in range(racers):
        ours, theirs = _SPAWN.Pipe()
        profile = store_subject.profiles[number % len(store_subject.profiles)]
        process = _SPAWN.Process(target=_race, args=(profile, number, count, theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        assert pipe.recv() == "ready"
    for pipe in pipes:
        pipe.send("go")
    won = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join(30)
    assert sorted(i for indexes in won for i in indexes) == list(range(count)), "not exactly one winner for each name"
    store = store_subject.open()
    assert names(store, FOLDER / "race") == [f"{i:03d}" for i in range(count)]
    for number, indexes in enumerate(won):
        for index in indexes:
            assert store.read(FOLDER / "race" / f"{index:03d}") == bytes([number]) * (200_000 + number)


# -- interrupted --------------------------------------------------------------------------------------------------------


def _put_file(profile: FarmProfile, source: Path, path: PurePosixPath, pipe: Connection) -> None:
    store = open_store(profile)
    store.list(FOLDER)
    pipe.send("begin")
    store.put(source, path)
    pipe.send("end")


def test_a_killed_put_leaves_no_final_name(store_subject: StoreSubject, tmp_path: Path) -> None:
    """Killed at seeded random moments: the name is absent, or there and whole."""
    source = tmp_path / "big.bin"
    size = 96 * _MIB
    with source.open("wb") as stream:
        stream.truncate(size)
    chance, killed_early = random.Random(7), 0  # noqa: S311 - a seed is what we want
    store = store_subject.open()
    for number in range(6):
        ours, theirs = _SPAWN.Pipe()
        path = FOLDER / "killed" / f"{number}.bin"
        process = _SPAWN.Process(target=_put_file, args=(store_subject.profiles[0], source, path, theirs))
        process.start()
        assert ours.recv() == "begin"
        time.sleep(chance.uniform(0.0, 0.06))
        process.kill()
        process.join(30)
        entry = store.stat(path)
        killed_early += entry is None
        assert entry is None or entry.size == size
        assert all(name.endswith(".bin") for name in names(store, FOLDER / "killed"))
        assert store.put(b"again", path), "the leftover is in the way"
    assert killed_early >= 3, "the kills came too late to prove anything"


# -- size ---------------------------------------------------------------------------------------------------------------


def _memory_of_a_big_transfer(profile: FarmProfile, source: Path, target: Path, pipe: Connection) -> None:
    store = open_store(profile)
    store.put(b"warm up", FOLDER / "small")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.put(source, FOLDER / "big.bin")
    store.get(FOLDER / "big.bin", target)
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def test_big_files_take_constant_memory(store_subject: StoreSubject, tmp_path: Path) -> None:
    source, target = tmp_path / "big.bin", tmp_path / "back.bin"
    with source.open("wb") as stream:
        stream.truncate(256 * _MIB)
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_memory_of_a_big_transfer, args=(store_subject.profiles[0], source, target, theirs))
    process.start()
    grown = ours.recv()
    process.join(60)
    assert grown < 32 * _MIB
    assert target.stat().st_size == 256 * _MIB


def _copy_asset(profile: FarmProfile, contents: list[bytes], pipe: Connection) -> None:
    store = open_store(profile)
    pipe.send("ready")
    pipe.recv()
    for content in contents:
        assert store.put(content, asset(sha256(content)), sha256=sha256(content))
    pipe.send("done")


def test_many_who_send_the_same_assets_are_all_right(store_subject: StoreSubject) -> None:
    contents = [bytes([number]) * (100_000 + number) for number in range(12)]
    pipes = []
    for number in range(3):
        ours, theirs = _SPAWN.Pipe()
        profile = store_subject.profiles[number % len(store_subject.profiles)]
        _SPAWN.Process(target=_copy_asset, args=(profile, contents, theirs)).start()
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == ["done"] * 3
    store = store_subject.open()
    for content in contents:
        path = asset(sha256(content))
        assert store.sha256(path) == sha256(content)
        left = [entry.name for entry in store.list(path.parent, unfinished=True) if entry.name.startswith(path.name)]
        assert left == [path.name], "a part stayed"


def test_a_damaged_asset_is_replaced(store: Store) -> None:
    path = asset(sha256(b"right"))
    store.put(b"wrong", path)
    assert store.sha256(path) != path.name
    store.put(b"right", path, sha256=path.name)
    assert store.sha256(path) == path.name


# -- growing files and flat folders -------------------------------------------------------------------------------------


def test_names_are_those_of_a_listing(store: Store) -> None:
    folder = FOLDER / "records" / "r1" / "0"
    for number in range(30):
        store.put(b"{}", folder / f"scene.{number:06d}.json")
        store.put(b"{}", folder / f"scene.{number:06d}.claim")
    store.put(b"", folder / "Shout.JSON")
    store.put(b"", folder / "a space .json")
    found = store.names(folder, ending=".json")
    assert sorted(found) == [name for name in names(store, folder) if name.endswith(".json")]
    assert len(found) == 31
    assert store.names(FOLDER / "nothing", ending=".json") == ()


def test_a_growing_file_is_read_by_what_is_new(store_subject: StoreSubject) -> None:
    store, path = store_subject.open(), FOLDER / "logs" / "a.log"
    store.put(b"0123456789", path)
    assert store.tail(path, known=0, most=4) == (b"6789", 10)
    assert store.tail(path, known=0, most=100) == (b"0123456789", 10)
    assert store.tail(path, known=10, most=100) == (b"", 10)
    store.put(b"0123456789abcdef", path)
    assert store.tail(path, known=10, most=100) == (b"abcdef", 16)
    assert store.tail(path, known=10, most=2) == (b"ef", 16)
    store.put(b"", FOLDER / "empty")
    assert store.tail(FOLDER / "empty", known=0, most=100) == (b"", 0)
    with pytest.raises(NotFoundError):
        store.tail(FOLDER / "nothing", known=0, most=100)


# -- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["plain", "with space", " leading", "-rf", "quote'\"", "new\nline", "tab\t", "日本語 ünï", "e\u0301", "%41%2F", "a&b=c?d#e", "{{x}}", "$(id)", "x" * 200, "日" * 70, "..hidden", ".dot"],
)  # fmt: skip
def test_any_name_comes_back_as_it_was(store: Store, tmp_path: Path, name: str) -> None:
    path = FOLDER / "names" / name
    assert store.put(b"content", path, if_absent=True)
    assert names(store, FOLDER / "names") == [name]
    assert store.read(path) == b"content"
    store.get(path, tmp_path / "back")
    store.move(path, FOLDER / "moved" / name)
    assert (names(store, FOLDER / "names"), names(store, FOLDER / "moved")) == ([], [name])


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "cloud-farm/../../outside", "a/../../b", "nul\x00byte"])
def test_paths_that_lead_out_are_refused(store: Store, tmp_path: Path, path: str) -> None:
    hostile = PurePosixPath(path)
    store.put(b"x", FOLDER / "here")
    for action in (
        lambda: store.put(b"evil", hostile),
        lambda: store.read(hostile),
        lambda: store.get(hostile, tmp_path / "stolen"),
        lambda: store.stat(hostile),
        lambda: store.list(hostile),
        lambda: store.move(FOLDER / "here", hostile),
        lambda: store.move(hostile, FOLDER / "there"),
        lambda: store.trash(hostile, job_id=JOB),
    ):
        with pytest.raises(StoreError):
            action()
    assert names(store, FOLDER) == ["here"]
    assert not (tmp_path / "stolen").exists() and not (tmp_path / "outside").exists()


def test_lists_are_ordered_and_tell_folders(store: Store) -> None:
    for name in ("b", "a", "C", "d/e"):
        store.put(b"12", FOLDER / name)
    found = store.list(FOLDER)
    assert [entry.name for entry in found] == sorted(["b", "a", "C", "d"])
    assert {entry.name: (entry.is_dir, entry.size) for entry in found}["d"] == (True, 0)
    folder = store.stat(FOLDER / "d")
    assert folder is not None and folder.is_dir


# -- moving and the trash -----------------------------------------------------------------------------------------------


def test_move_takes_files_and_folders(store: Store) -> None:
    store.put(b"x", FOLDER / "a" / "x")
    store.move(FOLDER / "a", FOLDER / "new" / "b")
    assert store.read(FOLDER / "new" / "b" / "x") == b"x"
    store.move(FOLDER / "new" / "b" / "x", FOLDER / "y")
    assert store.read(FOLDER / "y") == b"x"
    assert store.stat(FOLDER / "a") is None


def test_move_never_replaces(store: Store) -> None:
    store.put(b"source", FOLDER / "a")
    store.put(b"target", FOLDER / "b")
    store.put(b"in a folder", FOLDER / "c" / "d")
    for target in ("b", "c"):
        with pytest.raises(ExistsError, match="is there already"):
            store.move(FOLDER / "a", FOLDER / target)
    assert [store.read(FOLDER / name) for name in ("a", "b", "c/d")] == [b"source", b"target", b"in a folder"]


def test_the_trash_keeps_the_place_inside_the_job(store: Store) -> None:
    layout = JobLayout(JOB)
    for content in (b"one", b"two"):
        store.put(content, layout.stop)
        store.trash(layout.stop, job_id=JOB)
    assert store.stat(layout.stop) is None
    (day,) = store.list(PurePosixPath("cloud-farm/trash"))
    kept = PurePosixPath("cloud-farm/trash") / day.name / JOB / "control"
    assert day.name == time.strftime("%Y-%m-%d", time.gmtime(store.server_time()))
    assert sorted(store.read(kept / name) for name in names(store, kept)) == [b"one", b"two"]
    assert all(name.startswith("stop.") for name in names(store, kept))


def test_a_whole_job_goes_to_the_trash(store: Store) -> None:
    store.put(b"x", FOLDER / "job.json")
    store.trash(FOLDER, job_id=JOB)
    assert store.list(PurePosixPath("cloud-farm/jobs")) == ()
    (day,) = store.list(PurePosixPath("cloud-farm/trash"))
    (kept,) = store.list(PurePosixPath("cloud-farm/trash") / day.name / JOB)
    assert kept.is_dir and kept.name.startswith(JOB)


# -- the volume itself --------------------------------------------------------------------------------------------------


def test_the_clock_is_the_one_that_dates_files(store: Store) -> None:
    before = store.server_time()
    store.put(b"x", FOLDER / "now")
    entry = store.stat(FOLDER / "now")
    assert entry is not None
    assert before - 1.5 <= entry.mtime <= store.server_time() + 1.5


def test_free_space_is_told_before_and_after_the_first_file(store: Store) -> None:
    first = store.free_space()
    store.put(b"x", FOLDER / "a")
    second = store.free_space()
    assert first is None or first > 0
    assert second is None or second > 0


def test_a_killed_process_does_not_block_the_next(store_subject: StoreSubject, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    with source.open("wb") as stream:
        stream.truncate(64 * _MIB)
    ours, theirs = _SPAWN.Pipe()
    path = FOLDER / "one.bin"
    process = _SPAWN.Process(target=_put_file, args=(store_subject.profiles[0], source, path, theirs))
    process.start()
    assert ours.recv() == "begin"
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        assert store_subject.open(1).put(b"not blocked", FOLDER / "two.bin", if_absent=True)
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
        process.join(60)
    entry = store_subject.open().stat(path)
    assert entry is not None and entry.size == 64 * _MIB
