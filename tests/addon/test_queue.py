"""Scenes that are sent while another one is on its way: they wait, and go on by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .alone import Client
from .test_outbox import SENT, failed
from .test_outbox import box as box
from .test_outbox import client as client
from .test_outbox import outbox as outbox


def queued(box: Any, *names: str) -> None:
    """Send scenes behind the one that is on its way."""
    for name in names:
        box.queue(Path(f"/{name}"), farm="local", title=name, source=name)


def sent_so_far(client: Client) -> list[str]:
    """Return the snapshots that the worker was asked to send, in order."""
    return [snapshot for verb, snapshot in client.asked if verb == "submit"]


@pytest.mark.parametrize("end", [{"result": SENT}, {"error": failed("InvalidJobError")}])
def test_scenes_are_sent_one_after_the_other_whatever_becomes_of_the_first(
    box: Any, client: Client, end: dict[str, Any]
) -> None:
    box.begin(Path("/a"), farm="local", title="a", source="a")
    queued(box, "b", "c")
    assert not box.tick() and sent_so_far(client) == ["/a"]
    client.answer(1, **end)
    assert box.tick() and sent_so_far(client) == ["/a", "/b"]
    box.dismiss()
    box.tick()
    assert box.sending.snapshot == Path("/b"), "it is shown once the first is not"
    client.answer(client.asked.index(("submit", "/b")) + 1, result=SENT)
    assert box.tick() and sent_so_far(client) == ["/a", "/b", "/c"] and box.sending.snapshot == Path("/c")
    assert box.behind == ()


def test_who_stops_what_is_on_its_way_does_not_stop_what_waits(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="a", source="a")
    queued(box, "b")
    box.stop()
    client.answer(1, error=failed("Cancelled"))
    assert box.tick() and sent_so_far(client) == ["/a", "/b"] and client.dropped == ["/a"]


def test_what_waits_can_be_left_and_a_newer_one_takes_its_place(box: Any, client: Client) -> None:
    box.begin(Path("/a"), farm="local", title="a", source="a")
    queued(box, "b", "c")
    box.queue(Path("/newer"), farm="local", title="b", source="b")
    assert client.dropped == ["/b"]
    box.leave(Path("/c"))
    assert client.dropped == ["/b", "/c"] and [one.snapshot for one in box.behind] == [Path("/newer")]


def test_only_another_scene_is_sent_behind_the_one_that_is_on_its_way(box: Any, client: Client) -> None:
    """Of two files that were never saved nobody knows whether they are one."""
    assert not box.may_queue(farm="local", source="a"), "it is sent at once"
    box.begin(Path("/a"), farm="local", title="a", source="a")
    answers = [
        box.may_queue(farm=farm, source=source) for farm, source in (("local", "a"), ("studio", "a"), ("local", ""))
    ]
    assert answers == [False, True, True]
    queued(box, "b")
    assert box.may_queue(farm="local", source="b"), "as it is now"
    box.queue(Path("/c"), farm="local", title="Scene")
    assert not box.may_queue(farm="local", source="")


def test_what_waited_and_was_sent_by_another_blender_is_no_error(box: Any, client: Client, tmp_path: Path) -> None:
    box.begin(Path("/a"), farm="local", title="a", source="a")
    box.queue(tmp_path / "gone", farm="local", title="b", source="b")
    client.answer(1, result=SENT)
    box.tick()
    client.answer(len(client.asked), error=failed("SchemaError"))
    assert (box.sending, box.taken) == (None, ["local"])
