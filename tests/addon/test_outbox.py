"""What is on its way to a farm: an answer belongs to its request, and nothing of the artist's is given up that may still be wanted."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .alone import Client, alone


@pytest.fixture(scope="module")
def outbox() -> ModuleType:
    """The module, which needs no Blender."""
    return alone("outbox")


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def box(outbox: ModuleType, client: Client) -> Any:
    submitted: list[tuple[str, str]] = []
    taken: list[str] = []
    made: Any = outbox.Outbox(
        lambda: client,
        on_submitted=lambda job, farm: submitted.append((job, farm)),
        on_taken=taken.append,
        may_reach=lambda farm: farm == "local" or made.is_online,
        clock=lambda: made.now,
    )
    made.submitted, made.taken, made.is_online, made.now = submitted, taken, False, 0.0
    return made


SENT = {"job": "shot-20261129-abc123", "farm": "local", "findings": []}


def failed(kind: str) -> dict[str, Any]:
    return {"kind": kind, "message": "no", "exit_code": 2}


def test_a_scene_that_is_sent_is_forgotten_and_its_job_told(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    assert box.is_busy
    client.answer(1, result=SENT)
    assert (box.sending, box.submitted, client.dropped) == (None, [(SENT["job"], "local")], [])


@pytest.mark.parametrize("kind", ["StoreUnreachableError", "ProfileError", "LandingError", "Unexpected"])
def test_what_may_pass_keeps_the_snapshot(box: Any, client: Client, kind: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, error=failed(kind))
    assert box.sending.can_go_on and client.dropped == []
    box.send_again()
    assert client.asked[-1] == ("submit", "/a")


@pytest.mark.parametrize("kind", ["InvalidJobError", "WorkerOutdated"])
def test_what_would_end_the_same_way_does_not(box: Any, client: Client, kind: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, error=failed(kind))
    assert not box.sending.can_go_on and client.dropped == ["/a"]


def test_what_is_on_its_way_can_not_be_dismissed(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, event={"event": "finding", "message": "x", "fix": "", "severity": "info"})
    box.dismiss()
    assert box.is_busy
    box.stop()
    assert client.stopped == [1]
    client.answer(1, error=failed("Cancelled"))
    assert box.sending is None, "who stopped it need not be told"
    assert client.dropped == ["/a"]


def test_a_newer_one_of_the_same_source_takes_its_place_and_another_does_not(box: Any, client: Client) -> None:
    """Two scenes of one file, two files of one name and other frames are no newer ones, though they have one title."""
    box.begin(Path("/a"), farm="local", title="shot", source="shot.blend, Scene, 1-100")
    client.answer(1, error=failed("StoreUnreachableError"))
    box.begin(Path("/b"), farm="local", title="shot", source="shot.blend, Scene, 101-200")
    assert client.dropped == []
    client.answer(2, error=failed("StoreUnreachableError"))
    box.begin(Path("/c"), farm="local", title="shot", source="shot.blend, Scene, 101-200")
    assert client.dropped == ["/b"]


def test_scenes_of_files_that_were_never_saved_are_all_kept(box: Any, client: Client) -> None:
    for snapshot in ("/a", "/b"):
        box.begin(Path(snapshot), farm="local", title="Scene")
        client.answer(len(client.asked), error=failed("StoreUnreachableError"))
    assert client.dropped == []


def test_a_newer_one_stops_what_is_on_its_way_beside_it(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot", source="one")
    box.begin(Path("/b"), farm="local", title="other", source="two")
    client.answer(2, result=SENT)
    box.begin(Path("/c"), farm="local", title="shot", source="one")
    assert client.stopped == [1]
    client.answer(1, error=failed("Cancelled"))
    assert client.dropped == ["/a"] and box.sending.snapshot == Path("/c")


@pytest.mark.parametrize("verb", ["preflight", "scout"])
def test_what_waits_goes_on_by_itself_after_a_check_or_scouts(box: Any, client: Client, verb: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot", source="one")
    client.answer(1, error=failed("StoreUnreachableError"))
    box.begin(Path("/b"), farm="local", title="shot", verb=verb)
    box.now += 20
    assert not box.tick() and len(client.asked) == 2, "one after the other"
    client.answer(2, result={**SENT, "estimate": None})
    assert box.tick() and client.asked[-1] == ("submit", "/a")
    assert box.sending.result is not None, "what was found can still be read"
    client.answer(len(client.asked), result=SENT)
    box.now += 1000
    assert not box.tick() and box.sending.snapshot == Path("/b")


def test_what_waits_is_seen_again_once_what_was_said_is_dismissed(box: Any, client: Client, outbox: ModuleType) -> None:
    box.begin(Path("/a"), farm="local", title="shot", source="one")
    client.answer(1, error=failed("ProfileError"))
    box.begin(Path("/b"), farm="local", title="shot", verb=outbox.CHECK)
    client.answer(2, error=failed("InvalidJobError"))
    box.dismiss()
    assert box.tick() and box.sending.snapshot == Path("/a") and box.sending.can_go_on


def test_what_fails_for_good_beside_another_is_told(box: Any, client: Client, outbox: ModuleType) -> None:
    box.begin(Path("/a"), farm="local", title="shot", source="one")
    box.begin(Path("/b"), farm="local", title="other", source="two")
    client.answer(1, error=failed("InvalidJobError"))
    client.answer(2, result=SENT)
    assert box.tick() and (box.sending.snapshot, box.sending.error) == (Path("/a"), "no")


def test_what_is_on_its_way_beside_another_needs_leave_too(box: Any, client: Client) -> None:
    box.is_online = True
    box.begin(Path("/a"), farm="studio", title="shot", source="one")
    box.begin(Path("/b"), farm="local", title="other", source="two")
    box.is_online = False
    assert box.tick() and client.stopped == [1]


@pytest.mark.parametrize("end", ["dismissed", "sent", "stopped"])
def test_what_an_earlier_blender_left_is_looked_for_after_each_that_is_over(
    box: Any, client: Client, tmp_path: Path, end: str
) -> None:
    box.look_back(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    box.begin(tmp_path / "one", farm="local", title="shot")
    if end == "sent":
        client.answer(1, result=SENT)
    elif end == "stopped":
        box.stop()
        client.answer(1, error=failed("Cancelled"))
    else:
        client.answer(1, error=failed("ProfileError"))
        box.dismiss()
    box.tick()
    assert client.asked[-1] == ("waiting", str(tmp_path))
    left = [
        {"snapshot": str(tmp_path / "one"), "farm": "local", "title": "shot", "source": "", "held": False},
        {"snapshot": "/left", "farm": "local", "title": "left", "source": "", "held": False},
    ]
    client.answer(len(client.asked), result={"waiting": left[1:] if end == "sent" else left})
    assert client.asked[-1] == ("submit", "/left"), "what is being dropped is not sent"


def test_an_answer_that_comes_late_is_about_its_own_scene(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    box.begin(Path("/b"), farm="local", title="another")
    client.answer(1, error=failed("InvalidJobError"))
    assert client.dropped == ["/a"]
    assert box.is_busy and box.sending.snapshot == Path("/b") and box.sending.error == ""


def test_a_check_leaves_nothing_and_scouts_wait_for_the_artists_word(
    box: Any, client: Client, outbox: ModuleType
) -> None:
    box.begin(Path("/a"), farm="local", title="shot", verb=outbox.CHECK)
    client.answer(1, result={"findings": [], "estimate": None})
    assert client.dropped == ["/a"] and box.sending.result is not None and box.submitted == []
    box.begin(Path("/b"), farm="local", title="shot", verb=outbox.SCOUT)
    client.answer(3, result={**SENT, "estimate": None})
    assert box.sending.is_held and client.dropped == ["/a"]
    box.send_again()
    assert client.asked[-1] == ("submit", "/b")


def test_scouts_that_are_left_are_dropped(box: Any, client: Client, outbox: ModuleType) -> None:
    box.begin(Path("/a"), farm="local", title="shot", verb=outbox.SCOUT)
    client.answer(1, result={**SENT, "estimate": None})
    box.dismiss()
    assert (box.sending, client.dropped) == (None, ["/a"])


def test_a_worker_that_dies_over_it_is_followed_by_another_but_not_for_ever(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    for number in (1, 2, 3):
        client.answer(number, error=failed("WorkerDied"))
        assert box.is_busy and client.asked[number] == ("submit", "/a")
    client.answer(4, error=failed("WorkerDied"))
    assert not box.is_busy and box.sending.error == "no" and box.sending.can_go_on
    assert client.dropped == []


@pytest.mark.parametrize("kind", ["Cancelled", "WorkerDied"])
def test_what_was_stopped_is_not_sent_whatever_becomes_of_the_worker(box: Any, client: Client, kind: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    box.stop()
    client.answer(1, error=failed(kind))
    box.tick()
    assert box.sending is None and client.dropped == ["/a"]
    assert not any(asked[0] == "submit" for asked in client.asked[1:])


def test_a_worker_that_dies_while_online_access_is_off_is_not_followed_by_another(box: Any, client: Client) -> None:
    box.is_online = True
    box.begin(Path("/a"), farm="studio", title="shot")
    box.is_online = False
    client.answer(1, error=failed("WorkerDied"))
    assert not box.is_busy and "waits to be sent" in box.sending.error and client.dropped == []
    box.is_online = True
    assert box.tick() and box.is_busy


def test_scouts_are_not_begun_twice(box: Any, client: Client, outbox: ModuleType) -> None:
    box.begin(Path("/a"), farm="local", title="shot", verb=outbox.SCOUT)
    client.answer(1, error=failed("WorkerDied"))
    assert box.sending.error == "no" and not box.is_busy


@pytest.mark.parametrize("kind", ["StoreUnreachableError", "EngineUnreachableError"])
def test_a_farm_that_is_away_is_tried_again_ever_more_seldom(box: Any, client: Client, kind: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    times = []
    for number in range(1, 8):
        client.answer(number, error=failed(kind))
        assert not box.tick(), "not at once"
        assert "tried again by itself" in box.sending.error
        begun = box.now
        while not box.tick():
            box.now += 1.0
        times.append(box.now - begun)
    assert times == [10, 30, 60, 120, 300, 300, 300]
    client.answer(8, error=failed(kind))
    box.dismiss()
    box.now += 1000
    assert not box.tick() and client.dropped == ["/a"]


def test_without_leave_to_go_online_it_waits_and_goes_on_with_it(box: Any, client: Client) -> None:
    box.is_online = True
    box.begin(Path("/a"), farm="studio", title="shot")
    assert not box.tick()
    box.is_online = False
    assert box.tick() and client.stopped == [1]
    assert not box.tick(), "it is told once"
    client.answer(1, error=failed("Cancelled"))
    assert "Allow Online Access" in box.sending.error and client.dropped == []
    assert not box.tick()
    box.is_online = True
    assert box.tick() and client.asked[-1] == ("submit", "/a") and box.sending.error == ""


def test_another_blender_that_sends_it_is_no_error(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, error=failed("JobBusyError"))
    assert (box.sending, box.taken, client.dropped) == (None, ["local"], []), "who sends it removes it"


def test_what_an_earlier_blender_left_waits_where_that_needs_leave(box: Any, client: Client, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    box.look_back(tmp_path)
    client.answer(
        1, result={"waiting": [{"snapshot": "/far", "farm": "studio", "title": "a", "source": "", "held": False}]}
    )
    assert "'a' waits to be sent: the farm 'studio'" in box.sending.error and not box.is_busy
    box.is_online = True
    assert box.tick() and client.asked[1:] == [("submit", "/far")]


def test_a_farm_that_is_away_does_not_hold_up_what_was_left_for_others(
    box: Any, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    left = [
        {"snapshot": f"/{farm}", "farm": farm, "title": farm, "source": "", "held": False}
        for farm in ("away", "studio", "other")
    ]
    box.is_online = True
    box.look_back(tmp_path)
    for number, fault in ((1, "StoreUnreachableError"), (3, "ProfileError")):
        client.answer(number, result={"waiting": left})
        client.answer(number + 1, error=failed(fault))
        box.tick()
    client.answer(5, result={"waiting": left})
    sent = [asked for asked in client.asked if asked[0] == "submit"]
    assert sent == [("submit", "/away"), ("submit", "/studio"), ("submit", "/other")]
    client.answer(6, result=SENT)
    box.tick()
    client.answer(7, result={"waiting": left[:2]})
    box.now += 10
    box.tick()
    assert client.asked[7:] == [("submit", "/away")], "it is tried again by itself; the other one waits for the artist"


def test_what_another_blender_still_holds_is_looked_at_again(box: Any, client: Client, tmp_path: Path) -> None:
    """It may be the worker of a Blender that was closed a second ago."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    box.look_back(tmp_path)
    client.answer(
        1, result={"waiting": [{"snapshot": "/near", "farm": "local", "title": "b", "source": "", "held": True}]}
    )
    box.tick()
    assert len(client.asked) == 1
    box.now += 5
    box.tick()
    client.answer(
        2, result={"waiting": [{"snapshot": "/near", "farm": "local", "title": "b", "source": "", "held": False}]}
    )
    assert client.asked[1:] == [("waiting", str(tmp_path)), ("submit", "/near")]
    client.answer(3, result=SENT)
    box.tick()
    client.answer(4, result={"waiting": []})
    box.now += 100
    box.tick()
    assert len(client.asked) == 4, "nothing is held any more"


def test_what_an_earlier_blender_left_is_gone_on_with_where_that_needs_nobodys_leave(
    box: Any, client: Client, tmp_path: Path
) -> None:
    box.look_back(tmp_path)
    assert client.asked == []
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    box.look_back(tmp_path)
    waiting = [
        {"snapshot": "/far", "farm": "studio", "title": "a", "source": "", "held": False},
        {"snapshot": "/near", "farm": "local", "title": "b", "source": "", "held": False},
    ]
    client.answer(1, result={"waiting": waiting})
    assert client.asked[1:] == [("submit", "/near")]
