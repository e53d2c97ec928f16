"""The artist's way by real clicks in a real window, in order: the extension is installed from its file, a scene is sent by the panel's
button and by the Render menu, frames come in, cells and logs are clicked on, and the extension is disabled and uninstalled."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..rigs.blender_scripts import pixels
from .conftest import PICTURES, prepared
from .preferences import (
    bring_preferences,
    install_from_disk,
    open_menu,
    open_preferences,
    put_preferences_aside,
    tick,
    uninstall,
)
from .window import SUITES, Window, screen_y

_BLOCKED_SECONDS = 0.1
"""Own work of a turn that something heavy slipped into; what turns really take is in docs/addon.md, by a benchmark."""


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Debian's name for where a Blender comes from."""
    return str(request.param)


@pytest.fixture(scope="module")
def blender(suite: str, extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A window with a saved scene open, without the extension."""
    work, pictures = tmp_path_factory.mktemp("work"), PICTURES / SUITES[suite]
    with (
        prepared(suite, extension, work, pictures, installed=False) as made,
        made.open("shot.blend", "--python", "spy.py"),
    ):
        yield made


def sidebar(blender: Window) -> tuple[float, float, float]:
    """Return the middle of the sidebar, its upper edge, and the height of one row, in the screen's pixels."""
    state = blender.wait_for(lambda now: now["sidebar"] == "Cloud Farm", "the sidebar is open on our page")
    x, y, width, height = state["regions"]["IMAGE_EDITOR UI"]
    return x + width / 2, screen_y(y + height), 20.0


def settled_picture(blender: Window, name: str) -> None:
    """Take a picture when Blender has drawn what is so."""
    blender.settle()
    blender.picture(name)


def middle_of(path: Path) -> tuple[int, ...]:
    """Return the pixel in the middle of a square RGBA picture."""
    values = pixels(path)
    side = math.isqrt(len(values) // 4)
    begin = 4 * (side * side // 2 + side // 2)
    return tuple(values[begin : begin + 4])


def test_the_extension_is_installed_from_its_file(blender: Window, extension: Path) -> None:
    open_preferences(blender)
    install_from_disk(blender, blender.work / extension.name)
    put_preferences_aside(blender)
    assert "CLOUD_FARM_OT_send" in blender.state()["operators"]


def test_a_scene_is_sent_by_a_click_and_its_frames_come_into_the_image_editor(blender: Window) -> None:
    open_menu(blender, "Render")
    settled_picture(blender, "0-menu")
    blender.press("Escape")
    settled_picture(blender, "1-panel")
    middle, top, row = sidebar(blender)
    blender.click(middle, top + 4.2 * row)
    blender.wait_for(lambda now: now["sending"] or now["jobs"], "the click was taken")
    blender.picture("2-sending")
    blender.wait_for(lambda now: now["announced"], "it was drawn that a copy is being saved")
    blender.wait_for(lambda now: now["jobs"], "the job is on the farm")
    blender.wait_for(lambda now: now["jobs"] and now["jobs"][0][2] >= 1, "a frame is there")
    settled_picture(blender, "3-rendering")
    state = blender.wait_for(lambda now: now["jobs"][0][1:] == ["done", 4], "all frames are there")
    assert state["problem"] == "" and state["jobs"][0][0] == "shot"
    assert state["images"]["shot (Cloud Farm)"][0] == "SEQUENCE"
    blender.wait_for(lambda now: now["shown"] == ["shot (Cloud Farm)", *now["newest"].values()], "the newest is shown")
    settled_picture(blender, "4-done")
    frames = sorted(path.name for path in (blender.work / "frames").iterdir())
    assert frames == [f"shot_{number:04d}.png" for number in range(1, 5)]
    for name in frames:
        red, green, blue, _ = middle_of(blender.work / "frames" / name)
        assert red > 200 and green < 100 and blue < 100, "what was painted and not saved is there"


def test_a_click_on_a_cell_shows_its_frame_and_stays_there(blender: Window) -> None:
    middle, top, row = sidebar(blender)
    blender.click(middle - 6.0 * row, top + 15.2 * row)
    blender.wait_for(lambda now: now["shown"] == ["shot (Cloud Farm)", 1], "the first frame is shown")
    settled_picture(blender, "5-first-frame")


def test_the_render_menus_last_entry_sends_it_too(blender: Window) -> None:
    before = len(blender.state()["jobs"])
    open_menu(blender, "Render")
    blender.press("Up")  # from the first to the last
    blender.press("Return")
    blender.wait_for(lambda now: len(now["jobs"]) == before + 1, "there is another job")
    blender.wait_for(lambda now: all(job[1:] == ["done", 4] for job in now["jobs"]), "its frames are there")


def test_logs_come_in_a_window_of_their_own_where_there_is_no_text_editor(blender: Window) -> None:
    middle, top, row = sidebar(blender)
    before = len(blender.state()["windows"])
    blender.click(middle + 3.0 * row, top + 17.7 * row)
    state = blender.wait_for(lambda now: now["texts"], "the log is shown")
    assert len(state["windows"]) == before + 1 and state["texts"][0][0].endswith(".log") and state["texts"][0][1] > 5
    settled_picture(blender, "6-logs")


def test_no_turn_of_the_add_on_holds_the_window_up_and_what_they_take_is_written_down(blender: Window) -> None:
    """A turn's own work, which other things that the machine does don't change; how soon frames are seen is for people to look at."""
    state = blender.state()
    assert state["ticks"]
    assert state["slowest ticks"][0][0] < _BLOCKED_SECONDS
    records = {
        f"{path.parents[3].name} {int(path.name.split('.')[1])}": path.stat().st_mtime
        for path in blender.work.rglob("records/r1/*/*.json")
    }
    late = {key: at - records[key] for key, at in state["seen at"].items()}
    assert late
    found = {
        "turns of the add-on": state["ticks"],
        "slowest turns: own seconds, by the clock, number": state["slowest ticks"],
        "seconds from a frame's record to the Image Editor": [round(seconds, 2) for seconds in late.values()],
    }
    (PICTURES / blender.version / "figures.json").write_text(json.dumps(found, indent=1))


def test_the_extension_is_disabled_and_uninstalled_and_nothing_is_left(blender: Window) -> None:
    """By clicks in the preferences; what artists made of it stays."""
    bring_preferences(blender)
    tick(blender, "cloud")
    blender.wait_for(lambda now: not now["enabled"] and not now["operators"], "it is disabled")
    settled_picture(blender, "7-disabled")
    extensions = blender.work / "profile" / "extensions"
    assert (extensions / "user_default" / "cloud_farm").is_dir()
    uninstall(blender)
    blender.wait_for(lambda now: not (extensions / "user_default" / "cloud_farm").exists(), "it is uninstalled")
    settled_picture(blender, "9-uninstalled")
    assert list(extensions.rglob("*cloud_farm*")) == []
    assert len(list((blender.work / "frames").iterdir())) == 4
    printed = (blender.work / "blender.log").read_text(errors="replace")
    assert "Traceback" not in printed and "Error" not in printed, printed[-3000:]
