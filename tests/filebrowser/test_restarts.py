"""The server is killed in the middle of things and comes back without its memory: uploads go on, or begin anew, by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from cloud_farm.errors import NotFoundError, StoreUnreachableError
from cloud_farm.stores import silent

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from .clients import BIG, FOLDER, MIB, PATIENCE, Door, background, content, door_to, until

SIZE = 20 * MIB  # two pieces
OVERHEAD = 256 << 10


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[FileBrowserServer]:
    """A server that the test may stop."""
    with FileBrowserServer(tmp_path / "volume") as running:
        yield running


@pytest.fixture
def own_line(own_server: FileBrowserServer) -> Iterator[FaultProxy]:
    with FaultProxy(own_server.url) as running:
        yield running


@pytest.fixture
def own_door(own_server: FileBrowserServer, own_line: FaultProxy, tmp_path: Path) -> Door:
    return door_to(own_server, tmp_path).at(own_line.url)


def putting(door: Door, data: bytes, told: list[int] | None = None) -> Future[bool]:
    """Begin a put that is stopped at an answer of the server while that is killed and started again."""
    progress = silent if told is None else told.append
    return background(lambda: door.open().put(data, BIG, progress=progress))


def restart(server: FileBrowserServer) -> None:
    server.kill()
    server.start()


def restart_without_database(server: FileBrowserServer) -> None:
    server.kill()
    server.forget_database()
    server.start()


def restart_gently(server: FileBrowserServer) -> None:
    server.stop()
    server.start()


def remove_part(door: Door) -> None:
    [part] = door.root.rglob("*.part")
    part.unlink()


@pytest.mark.parametrize("again", [restart, restart_without_database, restart_gently])
def test_a_server_that_is_lost_in_the_middle_of_a_piece(
    own_server: FileBrowserServer, own_line: FaultProxy, own_door: Door, again: Callable[[FileBrowserServer], None]
) -> None:
    data = content(SIZE)
    told: list[int] = []
    own_line.bytes_per_second = 20 * MIB
    upload = putting(own_door, data, told)
    until(lambda: own_line.bytes_up > 8 * MIB, "eight megabytes")
    again(own_server)
    assert upload.result(PATIENCE)
    assert own_door.on_disk().read_bytes() == data
    assert own_door.litter() == [], "a part whose registration is gone would stay for ever"
    assert sum(told) == SIZE


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("POST /api/tus/", False),
        ("PATCH /api/tus/", False),
        ("checksum=sha256", True),
        ("action=rename", True),
    ],
)
def test_a_server_that_is_lost_with_its_answer(
    own_server: FileBrowserServer, own_line: FaultProxy, own_door: Door, where: str, kept: bool
) -> None:
    """What was whole before it is not sent again."""
    data = content(SIZE)
    own_line.stall_at_answer = where
    upload = putting(own_door, data)
    until(lambda: own_line.is_stalled, where)
    restart(own_server)
    own_line.reset_connections()
    own_line.resume()
    assert upload.result(PATIENCE)
    assert own_door.on_disk().read_bytes() == data
    assert own_door.litter() == []
    if kept:
        assert own_line.bytes_up < SIZE + OVERHEAD


def test_a_server_that_is_lost_in_the_middle_of_a_small_file(
    own_server: FileBrowserServer, own_line: FaultProxy, own_door: Door
) -> None:
    """It can't clean up what it was writing; we do."""
    data = content(3 * MIB)
    own_line.bytes_per_second = 6 * MIB
    upload = putting(own_door, data)
    until(lambda: own_line.bytes_up > MIB, "a megabyte")
    restart(own_server)
    assert upload.result(PATIENCE)
    assert own_door.on_disk().read_bytes() == data
    assert own_door.litter() == []


def test_a_server_that_stays_away(own_server: FileBrowserServer, own_line: FaultProxy, own_door: Door) -> None:
    own_line.stall_at_answer = "PATCH /api/tus/"
    store = own_door.open(sleep=lambda _seconds: None)
    store.list(FOLDER)
    upload = background(lambda: store.put(content(SIZE), BIG))
    until(lambda: own_line.is_stalled, "the first piece")
    own_server.kill()
    own_line.resume()
    with pytest.raises(StoreUnreachableError, match=r"broke 31 times .* what is there is kept"):
        upload.result(PATIENCE)
    assert not own_door.on_disk().exists()
    own_server.start()
    assert own_door.open().put(content(SIZE), BIG), "it is in the way of the next try"
    assert own_door.litter() == []


def test_a_part_that_somebody_deletes_meanwhile(own_line: FaultProxy, own_door: Door) -> None:
    data = content(SIZE)
    own_line.stall_at_answer = "PATCH /api/tus/"
    upload = putting(own_door, data)
    until(lambda: own_line.is_stalled, "the first piece")
    remove_part(own_door)
    own_line.resume()
    assert upload.result(PATIENCE)
    assert own_door.on_disk().read_bytes() == data
    assert own_door.litter() == []


def test_a_whole_part_that_somebody_deletes_before_it_is_verified(own_line: FaultProxy, own_door: Door) -> None:
    data = content(SIZE)
    own_line.stall_at_request = "checksum=sha256"
    upload = putting(own_door, data)
    until(lambda: own_line.is_stalled, "the question for the hash")
    remove_part(own_door)
    own_line.resume()
    assert upload.result(PATIENCE)
    assert own_door.on_disk().read_bytes() == data


def test_a_whole_part_that_somebody_deletes_before_it_has_its_name(own_line: FaultProxy, own_door: Door) -> None:
    own_line.stall_at_request = "action=rename"
    upload = putting(own_door, content(SIZE))
    until(lambda: own_line.is_stalled, "the rename")
    remove_part(own_door)
    own_line.resume()
    with pytest.raises(NotFoundError, match=r"is gone .* Does something delete unfinished uploads there"):
        upload.result(PATIENCE)
    assert own_door.files() == []
