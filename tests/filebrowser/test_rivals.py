"""Others at the same file: a second client, an editor of the source, and somebody who works on the volume."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cloud_farm.errors import HashMismatchError, StoreError

from ..rigs.fault_proxy import FaultProxy
from .clients import BIG, FOLDER, MIB, PATIENCE, Client, Door, background, content, make_file, sha256, until

SIZE = 20 * MIB  # two pieces


# -- a second client ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False], ids=["same content", "other content"])
@pytest.mark.parametrize("size", [1000, SIZE])
@pytest.mark.parametrize("if_absent", [False, True], ids=["put", "if absent"])
def test_two_processes_put_one_file(door: Door, tmp_path: Path, if_absent: bool, size: int, same: bool) -> None:
    """On one computer, so that both would go on with the same part."""
    sources = [make_file(tmp_path / f"{seed}.bin", size, seed=1 if same else seed) for seed in (1, 2)]
    clients = [Client(door, source, if_absent=if_absent) for source in sources]
    won = [client.result() for client in clients]
    assert won.count(True) == (1 if if_absent else 2)
    found = door.on_disk().read_bytes()
    winners = [source.read_bytes() for source, mine in zip(sources, won, strict=True) if mine]
    assert found in winners, "a mixture"
    assert door.litter() == []


def test_a_client_does_not_wait_for_one_that_hangs(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    line.stall_at_request = "checksum=sha256"
    hanging = Client(door.at(line.url), source)
    until(lambda: line.is_stalled, "the first client's last step")
    other = make_file(tmp_path / "other.bin", SIZE, seed=2)
    assert Client(door, other).result()
    assert door.on_disk().read_bytes() == other.read_bytes()
    line.resume()
    assert hanging.result()
    assert door.on_disk().read_bytes() == source.read_bytes()
    assert door.litter() == []


def test_two_computers_put_one_file(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own part, even if one sleeps in the middle of it."""
    source = make_file(tmp_path / "big.bin", SIZE)
    with FaultProxy(door.url) as line:
        line.bytes_per_second = 16 * MIB
        first = Client(door.at(line.url), source)
        until(lambda: line.bytes_up > 4 * MIB, "four megabytes")
        os.kill(first.pid, signal.SIGSTOP)
        monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path / "another computer"))
        assert Client(door, source).result()
        os.kill(first.pid, signal.SIGCONT)
        assert first.result()
    assert door.on_disk().read_bytes() == source.read_bytes()
    assert door.litter() == []


# -- the source changes -------------------------------------------------------------------------------------------------


def test_a_source_that_becomes_shorter(door: Door, tmp_path: Path) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)

    def cut(count: int) -> None:
        if count > 0:
            os.truncate(source, 5 * MIB)

    check_changed(door, source, cut)


@pytest.mark.parametrize("at", [0, SIZE - 1], ids=["where it was sent already", "where it is still to be sent"])
@pytest.mark.parametrize("promised", [False, True])
def test_a_source_that_is_written_to(door: Door, tmp_path: Path, at: int, promised: bool) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    before = source.read_bytes()
    written: list[int] = []

    def write(count: int) -> None:
        if count > 0 and not written:
            with source.open("r+b") as stream:
                stream.seek(at)
                stream.write(bytes([before[at] ^ 1]))
            written.append(count)

    check_changed(door, source, write, sha256(before) if promised else None)


def test_a_source_that_grows(door: Door, tmp_path: Path) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)

    def add(count: int) -> None:
        if count > 0:
            with source.open("ab") as stream:
                stream.write(b"more")

    check_changed(door, source, add)


def check_changed(door: Door, source: Path, change: object, promised: str | None = None) -> None:
    assert callable(change)
    with pytest.raises(
        HashMismatchError, match=r"big\.bin changed while it was sent\. Submit again when nothing writes"
    ):
        door.open().put(source, BIG, sha256=promised, progress=change)
    assert door.files() == [], "a half of two versions"


def test_a_source_that_is_replaced_is_sent_as_it_was(door: Door, tmp_path: Path) -> None:
    """Editors save by renaming: what was opened is still whole."""
    source = make_file(tmp_path / "big.bin", SIZE)
    before = source.read_bytes()

    def save(count: int) -> None:
        if count > 0:
            make_file(tmp_path / "new", 100, seed=9)
            os.replace(tmp_path / "new", source)

    assert door.open().put(source, BIG, progress=save)
    assert door.on_disk().read_bytes() == before


def test_a_source_that_can_not_be_read(door: Door) -> None:
    """/proc/self/mem can be opened, but has no end, and no beginning that can be read."""
    with pytest.raises(StoreError, match="/proc/self/mem on this computer can't be read: Invalid argument"):
        door.open().put(Path("/proc/self/mem"), BIG)
    assert door.files() == []


# -- the volume changes -------------------------------------------------------------------------------------------------


def test_a_folder_that_is_deleted_around_an_upload(door: Door, line: FaultProxy) -> None:
    data = content(SIZE)
    line.stall_at_answer = "PATCH /api/tus/"
    upload = background(lambda: door.at(line.url).open().put(data, BIG))
    until(lambda: line.is_stalled, "the first piece")
    door.open().trash(FOLDER, job_id="shot")
    line.resume()
    assert upload.result(PATIENCE)
    assert door.on_disk().read_bytes() == data


def test_a_folder_that_takes_the_name_meanwhile(door: Door, line: FaultProxy) -> None:
    """The server deletes a whole folder where some of its answers go wrong: not by us."""
    line.stall_at_request = "checksum=sha256"
    upload = background(lambda: door.at(line.url).open().put(content(SIZE), BIG))
    until(lambda: line.is_stalled, "the question for the hash")
    (door.on_disk() / "below").mkdir(parents=True)
    (door.on_disk() / "below" / "precious").write_bytes(b"precious")
    line.resume()
    with pytest.raises(StoreError):
        upload.result(PATIENCE)
    assert (door.on_disk() / "below" / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("size", [10, SIZE])
def test_a_folder_has_the_name_already(door: Door, size: int) -> None:
    store = door.open()
    store.put(b"precious", BIG / "below")
    with pytest.raises(StoreError, match="is a folder; no file can take its place"):
        store.put(content(size), BIG)
    assert store.read(BIG / "below") == b"precious"
    assert door.litter() == []


def test_bytes_that_rot_on_the_volume_before_they_have_their_name(door: Door, line: FaultProxy) -> None:
    data = content(SIZE)
    line.stall_at_request = "checksum=sha256"
    upload = background(lambda: door.at(line.url).open().put(data, BIG))
    until(lambda: line.is_stalled, "the question for the hash")
    [part] = door.root.rglob("*.part")
    with part.open("r+b") as stream:
        stream.seek(SIZE // 2)
        stream.write(b"rot")
    line.resume()
    assert upload.result(PATIENCE), "once may be an accident: it is sent again"
    assert door.on_disk().read_bytes() == data
    assert door.litter() == []
