"""Jobs whose frames come here: each is followed once, again when what kept it has passed, and only where that is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .alone import Client, alone

PICTURE = {"event": "status", "state": "rendering"}


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def box(client: Client, tmp_path: Path) -> Any:
    said: list[tuple[str, Any]] = []
    made: Any = alone("following").Following(
        lambda: client,
        on_picture=lambda job, picture: said.append((job, picture["state"])),
        on_frame=lambda job, event: said.append((job, event["path"])),
        on_problem=lambda message: said.append(("problem", message)),
        on_mended=lambda message: said.append(("mended", message)),
        may_reach=lambda farm: farm == "local" or made.is_online,
        folder=lambda: tmp_path,
        clock=lambda: made.now,
    )
    made.said, made.is_online, made.now = said, True, 0.0
    return made


def job(name: str, state: str, *, landed: int = 0, is_ours: bool = True, farm: str = "studio") -> dict[str, Any]:
    return {"id": name, "farm": farm, "state": state, "is_ours": is_ours, "frames_done": 3, "landed": landed}


def failed(kind: str) -> dict[str, Any]:
    return {"kind": kind, "message": "no", "exit_code": 3}


def test_ours_that_run_are_followed_once_and_those_that_ended_elsewhere_fetched(box: Any, client: Client) -> None:
    jobs = [
        job("runs", "rendering"),
        job("another's", "rendering", is_ours=False),
        job("ended", "done"),
        job("here", "done", landed=3),
    ]
    for _ in range(2):
        box.take_list(jobs)
    assert client.asked == [("follow", "runs"), ("follow", "ended")] and box.jobs == ["runs", "ended"]
    client.answer(2, result={"state": "done"})
    box.take_list(jobs)
    assert box.jobs == ["runs"], "it is fetched once"


def test_pictures_and_frames_are_told(box: Any, client: Client) -> None:
    box.begin("a", "local")
    client.answer(1, event=PICTURE)
    client.answer(1, event={"event": "frame_done", "path": "/f_0001.png"})
    client.answer(1, event={"event": "frame_done", "path": ""})
    client.answer(1, result={"state": "done"})
    assert box.said == [("a", "rendering"), ("a", "/f_0001.png"), ("a", "done")] and box.jobs == []


@pytest.mark.parametrize(("kind", "is_again"), [("LandingError", True), ("JobNotFoundError", False)])
def test_what_may_pass_is_tried_again_after_a_while(box: Any, client: Client, kind: str, is_again: bool) -> None:
    box.begin("a", "local")
    client.answer(1, error=failed(kind))
    box.tick()
    assert box.jobs == [] and box.said == [("problem", "no")]
    box.now += 15
    box.tick()
    assert box.jobs == (["a"] if is_again else [])
    if is_again:
        client.answer(2, event={"event": "frame_done", "path": "/f_0001.png"})
        assert box.said[1:] == [("mended", "no"), ("a", "/f_0001.png")]


def test_the_next_worker_goes_on_but_not_for_ever(box: Any, client: Client, tmp_path: Path) -> None:
    box.begin("a", "local")
    for number in (1, 2):
        client.answer(number, error=failed("WorkerDied"))
        box.tick()
        assert box.jobs == ["a"] and box.said == []
    client.answer(3, event={"event": "frame_done", "path": "/f_0001.png"})
    for number in (3, 4, 5):
        client.answer(number, error=failed("WorkerDied"))
        box.tick()
        box.take_list([job("a", "rendering", farm="local")])
    assert box.jobs == [] and box.said == [("a", "/f_0001.png"), ("problem", "no")]
    assert list(tmp_path.iterdir()) == []


def test_without_leave_to_go_online_only_this_computers_are_followed(box: Any, client: Client) -> None:
    box.begin("far", "studio")
    box.begin("near", "local")
    box.is_online = False
    for _ in range(2):
        box.tick()
    assert client.stopped == [1], "once"
    client.answer(1, error=failed("Cancelled"))
    box.tick()
    assert box.jobs == ["near"] and box.said == []
    box.is_online = True
    box.tick()
    assert box.jobs == ["near", "far"], "it is gone on with when that is allowed again"


def test_what_was_followed_when_blender_was_closed_is_followed_at_the_next_start(
    box: Any, client: Client, tmp_path: Path
) -> None:
    for name, farm in (("far", "studio"), ("near", "local"), ("done", "local"), ("gone", "local")):
        box.begin(name, farm)
    client.answer(3, result={"state": "done"})
    client.answer(4, error=failed("JobNotFoundError"))
    assert sorted(note.name for note in tmp_path.iterdir()) == ["far", "near"]
    said: list[Any] = []
    later: Any = alone("following").Following(
        lambda: client, on_picture=print, on_frame=print, on_problem=said.append, on_mended=print,
        may_reach=lambda farm: farm == "local" or box.is_online, folder=lambda: tmp_path, clock=lambda: box.now,
    )  # fmt: skip
    box.is_online = False
    later.look_back()
    later.tick()
    assert later.jobs == ["near"]
    box.is_online = True
    later.tick()
    assert later.jobs == ["near", "far"]
    client.answer(6, error=failed("StoreUnreachableError"))
    assert later.jobs == ["near"] and said == [], "nobody looks at that farm now"
    box.now += 15
    later.tick()
    client.answer(7, event={"event": "frame_done", "path": "/f_0001.png"})
    client.answer(7, error=failed("StoreUnreachableError"))
    assert said == ["no"]


def test_a_note_that_can_not_be_read_is_not_in_the_way_of_the_others(box: Any, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        (tmp_path / name).write_text("local", encoding="utf-8")
    box.look_back()
    box.tick()
    assert sorted(box.jobs) == ["a", "b"]
