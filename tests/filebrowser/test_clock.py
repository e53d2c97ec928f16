"""A computer whose clock is wrong: logins and uploads don't mind, and the volume's time is told all the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ..rigs.fault_proxy import ALWAYS, FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from .clients import BIG, MIB, Door, content, door_to

TWO_HOURS = 7200
TOLERANCE_S = 3.0


@pytest.fixture(params=[-TWO_HOURS, TWO_HOURS], ids=["two hours slow", "two hours fast"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this process's clock wrong; the server's is right."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)


def right_time() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


@pytest.mark.usefixtures("wrong_clock")
def test_the_volumes_time_is_told(door: Door) -> None:
    assert door.open().server_time() == pytest.approx(right_time(), abs=TOLERANCE_S)
    assert door.files() == []


@pytest.mark.usefixtures("wrong_clock")
def test_where_nothing_can_be_made_the_servers_own_clock_tells(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    line.answer_once(403, "403 Forbidden\n", {"Content-Type": "text/plain"}, matching="POST /api/resources/")
    assert store.server_time() == pytest.approx(right_time(), abs=TOLERANCE_S)


def test_lost_answers_leave_no_litter_and_no_wrong_time(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    line.drop_responses, line.drop_matching = 2, "POST /api/resources/"
    assert store.server_time() == pytest.approx(right_time(), abs=TOLERANCE_S)
    line.drop_responses, line.drop_matching = ALWAYS, "POST /api/resources/"
    assert door.at(line.url).open().server_time() == pytest.approx(right_time(), abs=TOLERANCE_S)
    assert door.files() == []


@pytest.mark.usefixtures("wrong_clock")
def test_logins_live_as_long_as_the_server_says(tmp_path: Path) -> None:
    """By its own clock the token would have ended long ago, or would never end."""
    with FileBrowserServer(tmp_path / "volume", token_expiration="2h") as server, FaultProxy(server.url) as line:
        door = door_to(server, tmp_path)
        store = door.at(line.url).open()
        assert store.put(content(5 * MIB), BIG)
        assert store.read(BIG) == content(5 * MIB)
        asked = [request for request in line.requests if request.startswith(("POST /api/login", "POST /api/renew"))]
        assert len(asked) == 1
