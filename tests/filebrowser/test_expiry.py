"""The server forgets an upload three minutes after its last sign of life. Waits for that, once: about 200 seconds."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.stores.filebrowser_pieces import FIRST

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from .clients import FOLDER, MIB, PATIENCE, Client, Door, background, content, door_to, make_file, until

SIZE = 20 * MIB  # two pieces
PAUSE_SECONDS = 200.0
OVERHEAD = 256 << 10
PAUSED, ASLEEP, KILLED, WHOLE = (FOLDER / name for name in ("paused", "asleep", "killed", "whole"))
SMALL = {FOLDER / "empty": b"", FOLDER / "byte": b"x"}


class Pause:
    """A user who pauses an upload between two pieces, for longer than the server remembers it."""

    def __init__(self) -> None:
        self.done = 0
        self.paused = False

    def __call__(self, count: int) -> None:
        self.done += count
        if count == 0 and self.done == FIRST:
            time.sleep(PAUSE_SECONDS)
            self.paused = True


def stop_in_the_first_piece(line: FaultProxy, client: Client, how: signal.Signals) -> None:
    line.bytes_per_second = 16 * MIB
    sent = line.bytes_up
    until(lambda: line.bytes_up > sent + 4 * MIB, "four megabytes")
    os.kill(client.pid, how)
    line.bytes_per_second = 0
    line.reset_connections()


def the_part(door: Door, path: PurePosixPath) -> Path:
    [part] = door.on_disk(path).parent.glob(f"{path.name}.*.part")
    return part


@pytest.mark.timeout(500)
def test_what_the_server_forgets_and_what_it_keeps(tmp_path: Path) -> None:
    """All waits at once: an upload that is paused, one of a sleeping computer, killed ones, and files that were done."""
    source = make_file(tmp_path / "source", SIZE)
    with (
        FileBrowserServer(tmp_path / "volume") as server,
        FaultProxy(server.url) as line,
        FaultProxy(server.url) as quiet,
    ):
        door = door_to(server, tmp_path)
        for path, data in SMALL.items():
            assert door.open().put(data, path)
            assert door.open().put(data, path.with_name(f"exclusive {path.name}"), if_absent=True)
        pause = Pause()
        upload = background(lambda: door.at(quiet.url).open(time.sleep).put(source, PAUSED, progress=pause))
        asleep = Client(door.at(line.url), source, ASLEEP)
        stop_in_the_first_piece(line, asleep, signal.SIGSTOP)
        killed = Client(door.at(line.url), source, KILLED)
        stop_in_the_first_piece(line, killed, signal.SIGKILL)
        line.stall_at_request = "checksum=sha256"
        late = Client(door.at(line.url), source, WHOLE)
        until(lambda: line.is_stalled, "a whole part")
        late.kill()
        line.reset_connections()
        line.resume()
        lost = [the_part(door, path) for path in (ASLEEP, KILLED)]
        whole = the_part(door, WHOLE)

        until(lambda: not any(part.exists() for part in lost), "the server's forgetting", seconds=PAUSE_SECONDS + 30)
        assert server.log.count("deleting incomplete upload file") == 2
        os.kill(asleep.pid, signal.SIGCONT)
        assert asleep.result()
        assert upload.result(PATIENCE), "no sign of life reached the server during the pause"
        assert pause.paused
        assert quiet.bytes_up < SIZE + OVERHEAD, "the paused upload was sent again"
        assert whole.exists(), "what was whole is not forgotten"
        sent = line.bytes_up
        assert Client(door.at(line.url), source, WHOLE).result()
        assert line.bytes_up < sent + OVERHEAD, "the whole part was sent again"
        for path in (PAUSED, ASLEEP, WHOLE):
            assert door.on_disk(path).read_bytes() == content(SIZE)
        for path, data in SMALL.items():
            assert door.on_disk(path).read_bytes() == data
            assert door.on_disk(path.with_name(f"exclusive {path.name}")).read_bytes() == data
        assert door.litter() == []
