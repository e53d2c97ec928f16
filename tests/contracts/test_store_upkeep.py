"""What every store must do for those who look after the volume: trees, hashes, unfinished uploads, the trash."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest
from cloud_farm.errors import ExistsError, NotFoundError, StoreError
from cloud_farm.stores import Store

from .subjects import StoreSubject

JOB = "shot-20261123-abc123"
FOLDER = PurePosixPath("cloud-farm/jobs") / JOB
TRASH = PurePosixPath("cloud-farm/trash")


@pytest.fixture
def store(store_subject: StoreSubject) -> Store:
    return store_subject.open()


def test_it_says_what_it_is(store: Store) -> None:
    found = store.describe()
    assert found.program.split()[0] in ("folder", "FileBrowser")
    assert found.place


def test_a_tree_is_walked_to_its_ends(store: Store) -> None:
    for path in ("a", "b/c", "b/d/e f", "b/d/100%", "ünï/日本"):
        store.put(path.encode(), FOLDER / path)
    found = dict(store.walk(FOLDER))
    files = {str(path.relative_to(FOLDER)): entry.size for path, entry in found.items() if not entry.is_dir}
    assert files == {path: len(path.encode()) for path in ("a", "b/c", "b/d/e f", "b/d/100%", "ünï/日本")}
    folders = {str(path.relative_to(FOLDER)) for path, entry in found.items() if entry.is_dir}
    assert folders == {"b", "b/d", "ünï"}
    assert all(path.name == entry.name for path, entry in found.items())
    assert not any(entry.size for entry in found.values() if entry.is_dir)
    assert dict(store.walk(FOLDER / "nothing")) == {}


def test_unfinished_files_are_listed_for_those_who_ask(store_subject: StoreSubject, store: Store) -> None:
    """A `.part` can't be put under that name by a store's own hand in any other way than this: it is a name like others."""
    store.put(b"whole", FOLDER / "a")
    store.put(b"half", FOLDER / "b.0123456789abcdef.part")
    assert [entry.name for entry in store.list(FOLDER)] == ["a"]
    assert [entry.name for entry in store.list(FOLDER, unfinished=True)] == ["a", "b.0123456789abcdef.part"]
    assert len(dict(store.walk(FOLDER))) == 2


def test_a_file_is_hashed_where_it_lies(store: Store) -> None:
    for content in (b"", b"abc", b"\0" * 3_000_000):
        store.put(content, FOLDER / "a")
        assert store.sha256(FOLDER / "a") == hashlib.sha256(content).hexdigest()
    with pytest.raises(NotFoundError):
        store.sha256(FOLDER / "nothing")
    with pytest.raises(StoreError):
        store.sha256(FOLDER)


# -- the trash ----------------------------------------------------------------------------------------------------------


def test_what_went_to_the_trash_can_be_brought_back(store: Store) -> None:
    store.put(b"content", FOLDER / "a")
    kept = store.trash(FOLDER / "a", job_id=JOB)
    assert kept is not None and TRASH in kept.parents
    assert store.stat(FOLDER / "a") is None
    store.move(kept, FOLDER / "a")
    assert store.read(FOLDER / "a") == b"content"
    assert store.stat(kept) is None
    assert store.trash(FOLDER / "nothing", job_id=JOB) is None


def test_emptying_the_trash_deletes_one_entry_of_it(store: Store) -> None:
    for day in ("2026-11-01", "2026-11-02"):
        store.put(day.encode(), TRASH / day / JOB / "deep" / "file")
    store.put(b"stays", FOLDER / "a")
    store.empty_trash("2026-11-01")
    assert [entry.name for entry in store.list(TRASH)] == ["2026-11-02"]
    assert store.read(TRASH / "2026-11-02" / JOB / "deep" / "file") == b"2026-11-02"
    assert store.read(FOLDER / "a") == b"stays"
    store.empty_trash("2026-11-01")


@pytest.mark.parametrize("name", ["", ".", "..", "../jobs", "2026-11-01/..", "/etc", "a/b", "*", "2026-11-01\n"])
def test_nothing_but_an_entry_of_the_trash_is_ever_deleted(store: Store, name: str) -> None:
    store.put(b"x", TRASH / "2026-11-01" / "a")
    store.put(b"x", FOLDER / "a")
    with pytest.raises(StoreError, match="no entry of the farm's trash"):
        store.empty_trash(name)
    assert store.read(FOLDER / "a") == store.read(TRASH / "2026-11-01" / "a") == b"x"


def test_a_volume_without_trash_is_emptied_already(store: Store) -> None:
    store.empty_trash("2026-11-01")


# -- many hands ---------------------------------------------------------------------------------------------------------


def at_once(hands: Sequence[Store], action: Callable[[Store], bool]) -> int:
    """Let several do the same thing at the same moment; returns how many say that they did it."""
    barrier = threading.Barrier(len(hands))

    def run(store: Store) -> bool:
        barrier.wait()
        return action(store)

    with ThreadPoolExecutor(len(hands)) as pool:
        return sum(pool.map(run, hands))


def test_of_many_who_move_the_same_thing_one_does_and_it_is_there(store_subject: StoreSubject) -> None:
    store, *hands = (store_subject.open() for _ in range(4))
    source, goal = FOLDER / "source", FOLDER / "moved" / "goal"

    def move(mover: Store) -> bool:
        try:
            mover.move(source, goal)
        except StoreError:
            return False
        return True

    for _ in range(20):
        store.put(b"content", source)
        assert at_once(hands, move) == 1
        assert store.read(goal) == b"content"
        assert store.trash(goal, job_id=JOB) is not None


def test_of_many_who_trash_the_same_thing_one_does_and_it_lies_there_once(store_subject: StoreSubject) -> None:
    store, *hands = (store_subject.open() for _ in range(4))
    for _ in range(20):
        store.put(b"content", FOLDER / "a")
        assert at_once(hands, lambda hand: hand.trash(FOLDER / "a", job_id=JOB) is not None) == 1
    assert len([path for path, entry in store.walk(TRASH) if not entry.is_dir]) == 20


def test_of_two_things_that_go_to_one_place_the_second_stays(store: Store) -> None:
    store.put(b"first", FOLDER / "a")
    store.put(b"second", FOLDER / "b")
    store.move(FOLDER / "a", FOLDER / "goal")
    with pytest.raises(ExistsError, match="is there already"):
        store.move(FOLDER / "b", FOLDER / "goal")
    assert store.read(FOLDER / "goal") == b"first"
    assert store.read(FOLDER / "b") == b"second"
