"""How large pieces are and how fast they go: sizes that adapt, and a limit that holds in bytes, up and down."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import pytest
from cloud_farm.stores import silent
from cloud_farm.stores.filebrowser_delivery import deliver
from cloud_farm.stores.filebrowser_download import Download
from cloud_farm.stores.filebrowser_pieces import FIRST, LEAST, MOST, SECONDS, PieceSize
from cloud_farm.stores.filebrowser_source import Source
from cloud_farm.stores.rate_limit import RateLimit

from .clients import BIG, MIB, Door, content, sha256

# -- sizes --------------------------------------------------------------------------------------------------------------


def send(pieces: PieceSize, speed: float, count: int) -> list[int]:
    """Send pieces over a line of so many bytes a second; returns their sizes."""
    sizes = []
    for _ in range(count):
        sizes.append(pieces.bytes)
        pieces.took(pieces.bytes, pieces.bytes / speed)
    return sizes


@pytest.mark.parametrize("speed", [100_000, 1_000_000, 12_500_000, 125_000_000])
def test_pieces_come_to_take_their_time(speed: float) -> None:
    pieces = PieceSize()
    send(pieces, speed, 20)
    assert pieces.bytes == pytest.approx(min(speed * SECONDS, MOST), rel=0.01)


def test_pieces_grow_by_doubling_and_shrink_at_once() -> None:
    pieces = PieceSize()
    assert send(pieces, 1e9, 4) == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    pieces.took(pieces.bytes, 800.0)
    assert pieces.bytes == 16 * FIRST // 100


def test_pieces_stay_within_bounds() -> None:
    fast, slow = PieceSize(), PieceSize()
    send(fast, 1e12, 50)
    send(slow, 1.0, 50)
    assert (fast.bytes, slow.bytes) == (MOST, LEAST)


def test_the_short_last_piece_of_a_file_says_only_what_it_can() -> None:
    pieces = PieceSize()
    pieces.took(1000, 0.001)
    assert pieces.bytes == FIRST, "quick, but tiny"
    pieces.took(MIB, 16.0)
    assert pieces.bytes == MIB // 2, "slow even so"


def test_what_a_proxy_refuses_is_never_tried_again() -> None:
    pieces = PieceSize()
    assert pieces.refused(FIRST)
    assert pieces.refused(FIRST // 2)
    assert pieces.bytes == pieces.most == FIRST // 4
    assert set(send(pieces, 1e9, 10)) == {FIRST // 4}
    while pieces.bytes > LEAST:
        assert pieces.refused(pieces.bytes)
    assert not pieces.refused(LEAST), "there is no smaller one"


def test_pieces_become_what_a_breaking_line_carries() -> None:
    pieces = PieceSize()
    pieces.broke(3 * MIB)
    assert pieces.bytes == 3 * MIB
    pieces.broke(0)
    assert pieces.bytes == 3 * MIB // 2
    for _ in range(20):
        pieces.broke(0)
    assert pieces.bytes == LEAST
    pieces.broke(100 * MIB)
    assert pieces.bytes == LEAST, "a break is no reason to grow"


def test_blocks_leave_within_a_fraction_of_a_piece() -> None:
    """A block has to go out within the socket's patience, however slow the line is."""
    pieces = PieceSize()
    assert pieces.block == 256 << 10
    send(pieces, 10_000, 20)
    assert pieces.block == 16 << 10


# -- the limit ----------------------------------------------------------------------------------------------------------


class Clock:
    """Time that only passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def limit(self, rate: float | None) -> RateLimit:
        return RateLimit(rate, clock=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize("size", [1_000_000, 6_000_000], ids=["small", "in pieces"])
def test_the_limit_holds_for_uploads_and_downloads(door: Door, size: int) -> None:
    data, place, rate = content(size), PurePosixPath(door.prefix) / BIG, 100_000
    connection = door.connect()
    clock = Clock()
    source = Source(io.BytesIO(data), size, "")
    deliver(connection, source, place, sha256=sha256(data), limit=clock.limit(rate), progress=silent)
    assert clock.now - 1000 == pytest.approx(size / rate, abs=1)
    assert door.on_disk().read_bytes() == data
    clock, sink = Clock(), io.BytesIO()
    Download(connection, place, sink, limit=clock.limit(rate), progress=silent).run()
    assert clock.now - 1000 == pytest.approx(size / rate, abs=1)
    assert sink.getvalue() == data


def test_the_limit_counts_all_who_share_it_and_forgets_idle_time() -> None:
    clock = Clock()
    limit = clock.limit(1000)
    for _ in range(10):
        limit.take(500)
    assert clock.now == pytest.approx(1005, abs=0.3)
    clock.now += 3600
    before = clock.now
    limit.take(5000)
    assert clock.now - before == pytest.approx(5, abs=0.3), "an idle hour is no credit"


def test_no_limit_never_waits() -> None:
    clock = Clock()
    clock.limit(None).take(1 << 40)
    assert clock.now == 1000
