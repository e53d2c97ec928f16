"""Downloads over lines that break, of files that change: the target gets all of one version, or stays what it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cloud_farm.errors import HashMismatchError, NotFoundError, StoreError, StoreUnreachableError

from ..rigs.fault_proxy import ALWAYS, FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.reverse_proxy import Nginx
from .clients import BIG, FOLDER, MIB, PATIENCE, Door, background, content, door_to, sha256, until

SIZE = 12 * MIB
RAW = "GET /api/raw/"
HOUR = 3600


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A landing folder of its own, with an older file."""
    path = tmp_path / "landing" / "frame.exr"
    path.parent.mkdir()
    path.write_bytes(b"what was here")
    return path


def lay(door: Door, data: bytes, *, age: float = HOUR) -> None:
    """Put a file on the volume, as a renderer does it, some time ago."""
    path = door.on_disk()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("made")
    part.write_bytes(data)
    now = time.time()
    os.utime(part, (now - age, now - age))
    part.replace(path)


def check_alone(target: Path, data: bytes) -> None:
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == [target.name], "a part was left"


class Breaks:
    """Does something to the line each time that some bytes have come."""

    def __init__(self, action: Callable[[], None], *, times: int, every: int = 2 * MIB) -> None:
        self._action, self._left, self._every = action, times, every
        self._next, self.done = every, 0

    def __call__(self, count: int) -> None:
        self.done += count
        if self._left and self.done >= self._next:
            self._left -= 1
            self._next = self.done + self._every
            self._action()


# -- lines that break ---------------------------------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_was(door: Door, line: FaultProxy, target: Path) -> None:
    data = content(SIZE)
    lay(door, data)
    breaks = Breaks(line.reset_connections, times=4)
    line.bytes_per_second = 24 * MIB  # so that it is still under way when it is broken
    door.at(line.url).open().get(BIG, target, sha256=sha256(data), progress=breaks)
    check_alone(target, data)
    assert breaks.done == SIZE
    assert sum(RAW in request for request in line.requests) == 5
    assert line.bytes_down < SIZE + 4 * 3 * MIB, "what was there came again"


def test_two_versions_of_one_second_are_not_mixed(door: Door, line: FaultProxy, target: Path) -> None:
    """Dates have no fractions here, so a new file's download begins anew."""
    lay(door, content(SIZE, seed=1), age=0)
    date = door.on_disk().stat().st_mtime

    def replace_and_break() -> None:
        lay(door, content(SIZE, seed=2), age=0)
        os.utime(door.on_disk(), (date, date))
        line.reset_connections()

    breaks = Breaks(replace_and_break, times=1)
    line.bytes_per_second = 24 * MIB
    door.at(line.url).open().get(BIG, target, progress=breaks)
    check_alone(target, content(SIZE, seed=2))
    assert breaks.done == SIZE


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_proxy_that_has_no_good_moment(door: Door, line: FaultProxy, target: Path, status: int) -> None:
    lay(door, b"frame")
    line.answer_once(status, "<h1>not now</h1>", matching=RAW)
    store = door.at(line.url).open()
    store.get(BIG, target)
    check_alone(target, b"frame")
    line.answer_once(status, "<h1>not now</h1>", matching=RAW)
    assert store.read(BIG, start=1, length=3) == b"ram"


def test_lost_answers(door: Door, line: FaultProxy, target: Path) -> None:
    lay(door, b"frame")
    store = door.at(line.url).open()
    line.drop_responses, line.drop_matching = 3, RAW
    store.get(BIG, target)
    check_alone(target, b"frame")
    line.drop_responses = 3
    assert store.read(BIG) == b"frame"


def test_a_stalled_line_is_left_for_a_new_connection(door: Door, line: FaultProxy, target: Path) -> None:
    data = content(SIZE)
    lay(door, data)
    store = door.at(line.url, timeout_s=1).open()
    breaks = Breaks(line.stall, times=1)
    download = background(lambda: store.get(BIG, target, progress=breaks))
    until(lambda: line.is_stalled, "some bytes")
    seen = line.connections
    until(lambda: line.connections > seen, "another connection")
    line.resume()
    download.result(PATIENCE)
    check_alone(target, data)


def test_a_line_that_never_carries_anything(door: Door, line: FaultProxy, target: Path) -> None:
    lay(door, b"frame")
    store = door.at(line.url).open(sleep=lambda _seconds: None)
    store.stat(BIG)
    line.drop_responses, line.drop_matching = ALWAYS, RAW
    with pytest.raises(StoreUnreachableError, match=r"download of .*big.bin from .* broke \d+ times. Try again"):
        store.get(BIG, target)
    check_alone(target, b"what was here")
    with pytest.raises(StoreUnreachableError):
        store.read(BIG)


def test_a_server_that_is_killed_and_comes_back(tmp_path: Path, target: Path) -> None:
    data = content(SIZE)
    with FileBrowserServer(tmp_path / "volume") as server, FaultProxy(server.url) as line:
        door = door_to(server, tmp_path)
        lay(door, data)
        store = door.at(line.url).open()
        line.bytes_per_second = 24 * MIB

        def restart() -> None:
            server.kill()
            server.forget_database()
            server.start()

        store.get(BIG, target, progress=Breaks(restart, times=1))
    check_alone(target, data)


def test_through_a_proxy_that_buffers(door: Door, target: Path) -> None:
    data = content(SIZE)
    lay(door, data)
    with Nginx(door.url, request_buffering=True) as proxy, FaultProxy(proxy.url) as line:
        line.bytes_per_second = 24 * MIB
        door.at(line.url).open().get(BIG, target, progress=Breaks(line.reset_connections, times=2))
    check_alone(target, data)


# -- files that change --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE, SIZE // 4], ids=["as long", "shorter"])
@pytest.mark.parametrize("age", [0, 2 * HOUR], ids=["new", "of another day"])
def test_a_file_that_is_replaced_between_two_ranges(
    door: Door, line: FaultProxy, target: Path, size: int, age: float
) -> None:
    lay(door, content(SIZE, seed=1))
    other = content(size, seed=2)

    def replace_and_break() -> None:
        lay(door, other, age=age)
        line.reset_connections()

    line.bytes_per_second = 24 * MIB
    breaks = Breaks(replace_and_break, times=1, every=5 * MIB)
    door.at(line.url).open().get(BIG, target, progress=breaks)
    check_alone(target, other)
    assert breaks.done == size


def test_a_file_that_is_written_in_place_is_not_the_promised_one(door: Door, line: FaultProxy, target: Path) -> None:
    data = content(SIZE)
    lay(door, data)

    def overwrite() -> None:
        with door.on_disk().open("r+b") as stream:
            stream.seek(SIZE - 10)
            stream.write(b"otherwise")

    line.bytes_per_second = 24 * MIB
    with pytest.raises(HashMismatchError, match=r"big.bin on the volume is not what its record says"):
        door.at(line.url).open().get(BIG, target, sha256=sha256(data), progress=Breaks(overwrite, times=1))
    check_alone(target, b"what was here")


def test_a_file_that_is_cut_while_it_comes(door: Door, line: FaultProxy, target: Path) -> None:
    lay(door, content(SIZE))
    line.bytes_per_second = 24 * MIB

    def cut() -> None:
        os.truncate(door.on_disk(), MIB)

    door.at(line.url).open().get(BIG, target, progress=Breaks(cut, times=1))
    check_alone(target, content(SIZE)[:MIB])


def test_a_file_that_is_deleted_while_it_comes(door: Door, line: FaultProxy, target: Path) -> None:
    lay(door, content(SIZE))
    line.bytes_per_second = 24 * MIB

    def delete() -> None:
        door.on_disk().unlink()
        line.reset_connections()

    with pytest.raises(NotFoundError, match="big.bin is not on the farm's volume"):
        door.at(line.url).open().get(BIG, target, progress=Breaks(delete, times=1))
    check_alone(target, b"what was here")


def test_a_folder_is_no_file(door: Door, target: Path) -> None:
    """The server sends it as a zip: a small one with a length, a large one without."""
    store = door.open()
    for size in (1, MIB):
        lay(door, content(size))
        for action in (lambda: store.get(FOLDER, target), lambda: store.read(FOLDER)):
            with pytest.raises(StoreError, match="is a folder, not a file"):
                action()
    check_alone(target, b"what was here")


# -- a proxy without ranges ---------------------------------------------------------------------------------------------


def no_ranges(line: FaultProxy, data: bytes, times: int) -> None:
    headers = {"Content-Type": "application/octet-stream", "Last-Modified": "Wed, 25 Nov 2026 02:03:22 GMT"}
    for _ in range(times):
        line.answer_once(200, data.decode("ascii"), headers, matching=RAW)


def test_a_proxy_that_knows_no_ranges(door: Door, line: FaultProxy, target: Path) -> None:
    data = bytes(range(48, 122)) * 50_000
    lay(door, data)
    store = door.at(line.url).open()
    no_ranges(line, data, 3)
    assert store.read(BIG, start=1_000_000, length=10) == data[1_000_000:1_000_010]
    assert store.read(BIG, start=len(data) - 5) == data[-5:]
    assert store.read(BIG, start=len(data), length=5) == b""
    no_ranges(line, data, 1)
    store.get(BIG, target)
    check_alone(target, data)


def test_a_resumed_download_that_gets_everything_begins_anew(door: Door, line: FaultProxy, target: Path) -> None:
    data = bytes(range(48, 122)) * 50_000
    lay(door, data)

    def cut() -> None:
        no_ranges(line, data, 1)
        line.reset_connections()

    line.bytes_per_second = 8 * MIB
    breaks = Breaks(cut, times=1, every=MIB)
    door.at(line.url).open().get(BIG, target, progress=breaks)
    check_alone(target, data)
    assert breaks.done == len(data)


# -- this computer ------------------------------------------------------------------------------------------------------


def test_progress_may_end_a_download(door: Door, target: Path) -> None:
    lay(door, content(SIZE))

    def end(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.open().get(BIG, target, progress=end)
    check_alone(target, b"what was here")
