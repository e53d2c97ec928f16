"""What is on its way to a farm: an answer belongs to its request, and nothing of the artist's is given up that may still be wanted."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_SOURCE = Path(__file__).parents[2] / "blender_addon" / "outbox.py"


@pytest.fixture(scope="module")
def outbox() -> ModuleType:
    """The module, which needs no Blender."""
    spec = importlib.util.spec_from_file_location("outbox_alone", _SOURCE)
    assert spec is not None and spec.loader is not None
    module = sys.modules["outbox_alone"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """Takes requests, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.stopped: list[int] = []
        self._answers: list[Callable[[dict[str, Any]], None]] = []

    def ask(self, verb: str, answer: Callable[[dict[str, Any]], None], **data: Any) -> int:
        self.asked.append((verb, str(data.get("snapshot", data.get("folder", "")))))
        self._answers.append(answer)
        return len(self.asked)

    def stop(self, number: int) -> None:
        self.stopped.append(number)

    def answer(self, number: int, **line: Any) -> None:
        self._answers[number - 1](line)

    @property
    def dropped(self) -> list[str]:
        return [snapshot for verb, snapshot in self.asked if verb == "drop"]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def box(outbox: ModuleType, client: Client) -> Any:
    submitted: list[tuple[str, str]] = []
    made = outbox.Outbox(
        lambda: client,
        on_submitted=lambda job, farm: submitted.append((job, farm)),
        may_go_on=lambda farm: farm == "local",
    )
    made.submitted = submitted
    return made


SENT = {"job": "shot-20261129-abc123", "farm": "local", "findings": []}


def failed(kind: str) -> dict[str, Any]:
    return {"kind": kind, "message": "no", "exit_code": 2}


def test_a_scene_that_is_sent_is_forgotten_and_its_job_told(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    assert box.is_busy
    client.answer(1, result=SENT)
    assert (box.sending, box.submitted, client.dropped) == (None, [(SENT["job"], "local")], [])


@pytest.mark.parametrize("kind", ["StoreUnreachableError", "ProfileError", "LandingError", "WorkerDied", "Unexpected"])
def test_what_may_pass_keeps_the_snapshot(box: Any, client: Client, kind: str) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, error=failed(kind))
    assert box.sending.can_go_on and client.dropped == []
    box.send_again()
    assert client.asked[-1] == ("submit", "/a")


@pytest.mark.parametrize("kind", ["InvalidJobError", "Cancelled", "JobBusyError"])
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


def test_a_newer_one_of_the_same_scene_takes_its_place_and_another_scene_does_not(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="shot")
    client.answer(1, error=failed("StoreUnreachableError"))
    box.begin(Path("/b"), farm="local", title="another")
    assert client.dropped == []
    client.answer(2, error=failed("StoreUnreachableError"))
    box.begin(Path("/c"), farm="local", title="another")
    assert client.dropped == ["/b"]


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


def test_what_an_earlier_blender_left_is_gone_on_with_where_that_needs_nobodys_leave(
    box: Any, client: Client, tmp_path: Path
) -> None:
    box.look_back(tmp_path)
    assert client.asked == []
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "snapshot.json").write_text("{}")
    box.look_back(tmp_path)
    waiting = [
        {"snapshot": "/far", "farm": "studio", "title": "a"},
        {"snapshot": "/near", "farm": "local", "title": "b"},
    ]
    client.answer(1, result={"waiting": waiting})
    assert client.asked[1:] == [("submit", "/near")]
