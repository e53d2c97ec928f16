"""Uploads over a line that breaks, stalls, lags and loses answers: whole, under their name, and never sent twice for nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cloud_farm.stores import filebrowser_wire
from cloud_farm.stores.filebrowser_pieces import FIRST
from cloud_farm.stores.filebrowser_upload import SMALL

from ..rigs.fault_proxy import FaultProxy
from .clients import BIG, FOLDER, MIB, PATIENCE, Door, background, content, make_file, sha256, until

OVERHEAD = 256 << 10  # all requests of an upload that carry no data


def check_whole(door: Door, data: bytes) -> None:
    assert door.on_disk().read_bytes() == data
    assert door.litter() == []


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, FIRST, FIRST + 1])
def test_any_size_arrives_once(door: Door, line: FaultProxy, size: int) -> None:
    data = content(size)
    told: list[int] = []
    assert door.at(line.url).open().put(data, BIG, sha256=sha256(data), progress=told.append)
    check_whole(door, data)
    assert sum(told) == size
    assert line.bytes_up < size + OVERHEAD


@pytest.mark.parametrize(("every", "size"), [(3 * MIB, 20 * MIB), (128 << 10, 6 * MIB)])
def test_a_line_that_breaks_again_and_again(door: Door, line: FaultProxy, every: int, size: int) -> None:
    data = content(size)
    told: list[int] = []
    line.reset_every = every
    assert door.at(line.url).open().put(data, BIG, progress=told.append)
    check_whole(door, data)
    assert sum(told) == size
    assert line.connections > size // every
    assert line.bytes_up < 1.5 * size, "more was sent again than was under way"


def test_small_files_on_such_a_line_arrive_in_pieces_in_the_end(door: Door, line: FaultProxy) -> None:
    data = content(2 * MIB)
    line.reset_every = 512 << 10
    assert door.at(line.url).open().put(data, BIG)
    check_whole(door, data)


LOST = ["POST /api/tus/", "PATCH /api/tus/", "checksum=sha256", "action=rename"]


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize("lost", LOST)
def test_a_lost_answer_is_found_out_without_sending_again(
    door: Door, line: FaultProxy, lost: str, if_absent: bool
) -> None:
    """The last PATCH's answer too: the server knows a finished upload as little as one that never was."""
    data = content(SMALL + 100)
    line.drop_responses, line.drop_matching = 1, lost
    assert door.at(line.url).open().put(data, BIG, if_absent=if_absent)
    assert line.drop_responses == 0
    check_whole(door, data)
    assert line.bytes_up < len(data) + OVERHEAD


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize("lost", ["POST /api/resources/", *LOST[2:]])
def test_a_lost_answer_of_a_small_file(door: Door, line: FaultProxy, lost: str, if_absent: bool) -> None:
    data = content(1000)
    line.drop_responses, line.drop_matching = 1, lost
    assert door.at(line.url).open().put(data, BIG, if_absent=if_absent)
    assert line.drop_responses == 0
    check_whole(door, data)


def test_a_lost_rename_over_an_older_file(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    store.put(b"old", BIG)
    line.drop_responses, line.drop_matching = 1, "action=rename"
    assert store.put(b"new", BIG)
    check_whole(door, b"new")


def test_a_lost_move_is_done_once(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    store.put(b"x", BIG)
    line.drop_responses, line.drop_matching = 1, "action=rename"
    store.move(BIG, FOLDER / "other")
    assert door.files() == [str(FOLDER / "other")]


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
@pytest.mark.parametrize("where", ["POST /api/tus/", "PATCH /api/tus/", "GET /api/resources/", "action=rename"])
def test_a_proxy_that_has_no_good_moment(door: Door, line: FaultProxy, where: str, status: int) -> None:
    data = content(SMALL + 100)
    line.answer_once(status, "<h1>not now</h1>", matching=where)
    assert door.at(line.url).open().put(data, BIG)
    check_whole(door, data)


def test_a_busy_server_is_given_the_time_it_asks_for(door: Door, line: FaultProxy) -> None:
    waits: list[float] = []
    store = door.at(line.url).open(sleep=waits.append)
    assert store.stat(BIG) is None
    line.answer_once(429, headers={"Retry-After": "7"}, matching="GET /api/resources/")
    line.answer_once(503, headers={"Retry-After": "3600"}, matching="GET /api/resources/")
    assert store.stat(BIG) is None
    assert waits[0] == 7
    assert waits[1] == 60, "nobody waits an hour without a word"


def test_a_far_server(door: Door, line: FaultProxy) -> None:
    data = content(20 * MIB)
    line.latency_s = 0.15
    assert door.at(line.url).open().put(data, BIG)
    check_whole(door, data)
    assert len(line.requests) < 20


def test_a_stalled_line_is_left_for_a_new_connection(door: Door, line: FaultProxy) -> None:
    data = content(20 * MIB)
    line.stall_at_answer = "PATCH /api/tus/"
    store = door.at(line.url, timeout_s=1).open()
    upload = background(lambda: store.put(data, BIG))
    until(lambda: line.is_stalled, "the first answer")
    seen = line.connections
    until(lambda: line.connections > seen, "another connection")
    line.resume()
    assert upload.result(PATIENCE)
    check_whole(door, data)


@pytest.mark.parametrize("size", [SMALL, 12 * MIB])
def test_a_slow_reader_only_takes_longer(
    door: Door, line: FaultProxy, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A whole file takes longer than the socket's patience, each block far less."""
    monkeypatch.setattr(filebrowser_wire, "_SEND_SECONDS", 1.0)
    store = door.at(line.url).open()
    store.list(FOLDER)  # logged in before the line gets slow
    line.bytes_per_second = 3 * MIB
    store.put(content(size), BIG)
    check_whole(door, content(size))
    carriers = [request for request in line.requests if request.startswith(("PATCH /api/tus/", "POST /api/resources/"))]
    assert len(carriers) == 1, "patience ended in the middle"


def test_many_threads_on_a_bad_line(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    files = {FOLDER / str(number): content(size, number) for number, size in enumerate([6 * MIB, 2 * MIB, 1000, 0] * 4)}
    store.list(FOLDER)
    line.reset_every = 1500 << 10
    line.drop_responses, line.drop_matching = 8, "/api/resources/"
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda item: store.put(item[1], item[0]), files.items()))
    assert door.files() == sorted(str(path) for path in files)
    for path, data in files.items():
        assert door.on_disk(path).read_bytes() == data


def test_waits_grow_up_to_a_limit_and_are_never_in_step(door: Door) -> None:
    waits: list[list[float]] = [[], []]
    for wait in waits:
        connection = door.connect(wait.append)
        for tried in range(200):
            connection.back_off(tried % 20)
    for wait in waits:
        assert all(0 <= seconds <= min(20, 0.25 * 2 ** (number % 20)) for number, seconds in enumerate(wait))
        assert max(wait) > 15
    assert waits[0] != waits[1]


def test_progress_may_end_a_transfer(door: Door, tmp_path: Path) -> None:
    source = make_file(tmp_path / "big.bin", 20 * MIB)

    def end(count: int) -> None:
        if count > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.open().put(source, BIG, progress=end)
    assert not door.on_disk().exists()
    assert len(door.litter()) == 1, "what was sent is kept to go on from"
    assert door.open().put(source, BIG)
    check_whole(door, source.read_bytes())
