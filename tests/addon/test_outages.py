"""A farm behind a real FileBrowser, and what may be wrong with the way there: the artist reads a sentence, and there is one job."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ..rigs.filebrowser_server import BOT, FileBrowserServer
from ..rigs.processes import RigUnavailable
from ..rigs.reverse_proxy import Nginx
from .conftest import NEXT_VERSION, run_in_blender, start_in_blender

pytestmark = pytest.mark.blender
WHOLE = {"jobs": 1, "frames": ["f_0001.png", "f_0002.png", "f_0003.png"], "problem": ""}
"""One job, all frames, and nothing to complain of."""
OUTAGES = (
    "password_is_wrong", "authority_is_unknown", "line_breaks", "farm_is_away", "online_access_is_taken_back", "add_on_is_disabled",
    "worker_dies_after_submitting", "add_on_is_updated", "other_frames_are_sent_meanwhile",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen(extension: Path, next_extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each outage. Logins last three seconds, so that every one of them sees some expire."""
    volume, folder = tmp_path_factory.mktemp("volume"), tmp_path_factory.mktemp("outages")
    try:
        with FileBrowserServer(volume, token_expiration="3s") as server, Nginx(server.url, tls=True) as gate:
            place = folder / "place.json"
            where = {
                "url": server.url, "root": str(volume), "user": BOT.name, "password": BOT.password,
                "tls": {"url": gate.url, "ca": str(gate.ca)}, "next_zip": str(next_extension),
            }  # fmt: skip
            place.write_text(json.dumps(where))
            found = run_in_blender("outages.py", extension, folder, str(place), *OUTAGES)
            found["closed"] = start_in_blender(
                "outages.py", extension, folder, str(place), "blender_is_closed"
            ).returncode
            return found | run_in_blender("outages.py", extension, folder, str(place), "blender_is_started_again")
    except RigUnavailable as why:
        pytest.skip(str(why))


def whole(outcome: dict[str, Any]) -> dict[str, Any]:
    return {key: outcome[key] for key in WHOLE}


@pytest.mark.parametrize("outage", [*OUTAGES[:6], "add_on_is_updated", "blender_is_started_again"])
def test_nothing_is_lost_and_nothing_doubled(seen: dict[str, Any], outage: str) -> None:
    assert whole(seen[outage]) == WHOLE


def test_a_wrong_password_is_told_before_anything_is_sent(seen: dict[str, Any]) -> None:
    assert "User 'bot' was not accepted by http://127.0.0.1:" in seen["password_is_wrong"]["said"]
    assert seen["password_is_wrong"]["sent"] == 0


def test_an_unknown_authority_is_told_with_what_to_do(seen: dict[str, Any]) -> None:
    said = seen["authority_is_unknown"]["said"]
    assert "The certificate of https://127.0.0.1:" in said and "is not trusted" in said and "the farm's CA File" in said


def test_a_line_that_breaks_for_seconds_is_not_worth_a_word(seen: dict[str, Any]) -> None:
    assert seen["line_breaks"]["error"] == ""


def test_other_frames_of_a_scene_that_waits_take_nobodys_place(seen: dict[str, Any]) -> None:
    found = seen["other_frames_are_sent_meanwhile"]
    assert found == {
        "result can still be read": True,
        "jobs": 2,
        "frames": [f"f_000{number}.png" for number in range(1, 6)],
        "problem": "",
    }


def test_a_farm_that_is_away_is_told_and_tried_again(seen: dict[str, Any]) -> None:
    said = seen["farm_is_away"]["said"]
    assert "can't be reached (Connection refused)" in said and said.endswith("It is tried again by itself.")


def test_without_online_access_not_a_byte_leaves_and_the_panel_says_what_waits(seen: dict[str, Any]) -> None:
    found = seen["online_access_is_taken_back"]
    assert (found["is busy"], found["silent"]) == (False, True)
    assert found["said"].startswith("'offline' waits to be sent: the farm 'offline' is over the network")


def test_a_blender_that_was_killed_goes_on_when_it_is_started_again(seen: dict[str, Any]) -> None:
    assert seen["closed"] == -signal.SIGKILL
    assert seen["blender_is_started_again"]["said"].startswith("'closed' waits to be sent")


def test_a_worker_that_dies_after_submitting_makes_no_second_job(seen: dict[str, Any]) -> None:
    found = seen["worker_dies_after_submitting"]
    assert (found["first"], found["again"]) == (WHOLE, WHOLE)
    assert found["same job"] and found["same frames"]


def test_an_update_goes_on_with_the_upload_of_the_old_version(seen: dict[str, Any]) -> None:
    assert seen["add_on_is_updated"]["version"] == NEXT_VERSION
