"""What a client takes: connections that are used again and closed, memory that does not grow, room that may run out."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import subprocess
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as PipeEnd
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.errors import StoreError, StoreFullError, StoreUnreachableError
from cloud_farm.platform import user_folders

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from .clients import BIG, FOLDER, MIB, Door, content, door_to, make_file, until

# -- connections --------------------------------------------------------------------------------------------------------


def test_calls_share_one_connection(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    for number in range(10):
        store.put(content(1000), FOLDER / str(number))
    assert line.connections == 1


def test_threads_that_come_and_go_use_the_connections_that_are_there(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: store.put(content(1000), FOLDER / str(number)), range(12)))
    assert line.connections <= 4


def test_connections_end_with_the_store(door: Door, line: FaultProxy) -> None:
    def use() -> None:
        store = door.at(line.url).open()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda number: store.put(content(1000), FOLDER / str(number)), range(12)))
        assert line.open_connections >= 1

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        use()
        gc.collect()
        until(lambda: line.open_connections == 0, "the end of the connections")
    assert [str(warning.message) for warning in warned] == []


def test_closed_connections_are_made_again(door: Door, line: FaultProxy) -> None:
    connection = door.at(line.url).connect()
    connection.call("GET", "usage/")
    connection.close()
    until(lambda: line.open_connections == 0, "the end of the connection")
    connection.call("GET", "usage/")
    assert sum(request.startswith("POST /api/login") for request in line.requests) == 1


def test_nobody_gives_signs_of_life_after_an_upload(door: Door) -> None:
    door.open().put(content(5 * MIB), BIG)
    until(lambda: "sign of life" not in {thread.name for thread in threading.enumerate()}, "the end of the thread")


# -- this computer ------------------------------------------------------------------------------------------------------


def test_nothing_is_left_on_this_computer(door: Door) -> None:
    door.open().put(content(5 * MIB), BIG)
    assert list((user_folders().state / "uploads").iterdir()) == []


def test_a_computer_without_a_place_to_remember_uploads(door: Door, line: FaultProxy) -> None:
    """It can't go on with an interrupted one, so it leaves none."""
    user_folders().state.write_text("no folder")
    assert door.open().put(content(5 * MIB), BIG)
    assert door.on_disk().read_bytes() == content(5 * MIB)
    line.answer_once(418, matching="checksum=sha256")
    with pytest.raises(StoreError, match="418"):
        door.at(line.url).open().put(content(5 * MIB, seed=2), BIG)
    assert door.on_disk().read_bytes() == content(5 * MIB)
    assert door.litter() == []


def test_who_failed_does_not_wait_long_to_clean_up(door: Door, line: FaultProxy) -> None:
    waits: list[float] = []
    store = door.at(line.url).open(sleep=waits.append)
    store.list(FOLDER)
    line.refuse = True
    line.reset_connections()
    with pytest.raises(StoreUnreachableError):
        store.put(b"x", PurePosixPath("cloud-farm/assets/ab/cd"))
    assert len(waits) < 10


# -- memory -------------------------------------------------------------------------------------------------------------


def _memory_grown(door: Door, source: Path, target: Path, pipe: PipeEnd) -> None:
    store = door.open()
    store.put(content(5 * MIB), FOLDER / "warm up")
    store.get(FOLDER / "warm up", target)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.put(source, BIG)
    after_put = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.get(BIG, target)
    after_get = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.read(BIG, start=source.stat().st_size - 10, length=10)
    pipe.send(((after_put - before) >> 10, (after_get - after_put) >> 10))


def test_memory_does_not_grow_with_the_file(door: Door, tmp_path: Path) -> None:
    """Half a GiB of holes; a process of its own, since peaks are only ever raised."""
    source, target = tmp_path / "big.bin", tmp_path / "back.bin"
    with source.open("wb") as stream:
        stream.truncate(512 * MIB)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_memory_grown, args=(door, source, target, theirs))
    process.start()
    theirs.close()
    put_mib, get_mib = ours.recv()
    process.join()
    assert (put_mib < 16, get_mib < 16) == (True, True), (put_mib, get_mib)
    assert target.stat().st_size == 512 * MIB
    door.on_disk().unlink()
    target.unlink()


# -- room ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Door]:
    """A volume of 16 MiB."""
    root = tmp_path / "tight"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(root)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs root to mount a small volume: {mounted.stderr.strip()}")
    try:
        with FileBrowserServer(root) as server:
            yield door_to(server, tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.mark.parametrize("size", [3 * MIB, 8 * MIB], ids=["small", "in pieces"])
def test_a_full_volume_is_said_and_harms_nothing(tight: Door, tmp_path: Path, size: int) -> None:
    store = tight.open()
    store.put(b"the older file", BIG)
    ballast = make_file(tight.root / "ballast", 14 * MIB)
    source = make_file(tmp_path / "big.bin", size)
    words = r"volume is full: \d MiB are free, .*big\.bin needs \d MiB more\. Free some space: cloud-farm delete"
    with pytest.raises(StoreFullError, match=words):
        store.put(source, BIG)
    assert tight.on_disk().read_bytes() == b"the older file"
    ballast.unlink()
    assert store.put(source, BIG), "it does not go on when there is room again"
    assert tight.on_disk().read_bytes() == source.read_bytes()
    assert tight.litter() == []
