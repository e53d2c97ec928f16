"""What people see: the picture of a job at every width, safe and readable without colour; JSON for programs."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from cloud_farm.cli_picture import Canvas, draw, elapsed, rate_text
from cloud_farm.cli_strip import draw_strip
from cloud_farm.cli_text import ASCII, UNICODE, Glyphs, cells, clean, clock, fit, glyphs_for, paint, wrapped
from cloud_farm.cli_view import LiveView, StepView, transfer_text
from cloud_farm.engines import TaskStatus
from cloud_farm.events import FindingFound, Stage, Transfer
from cloud_farm.status import JobStatus, status_data
from rich.console import Console

from .fake_farm import make_status

LONG = "Cycles ran out of memory on the GPU while it built the scene. Lower the texture size or choose a larger GPU. "


def lines(status: JobStatus, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE, **more: Any) -> list[str]:
    return [paint(line, color=False) for line in draw(status, Canvas(width, height, glyphs, **more))]


CASES = {
    "small": make_status(24, done=12, running=2),
    "one frame": make_status(1, running=1),
    "no frames": make_status(0, state="uploading"),
    "queued": make_status(24, state="queued", tasks=(TaskStatus("prepare", "running"),)),
    "exactly fits": make_status(70, done=3),
    "one too many": make_status(77, done=3),
    "hundreds": make_status(250, done=131, running=16, failed=(7, 80), messages=(LONG, LONG * 5 + "x")),
    "huge": make_status(100_000, done=43_210, running=300),
    "cameras": make_status(
        48, done=60, running=3, cameras=("Camera", "Ein sehr langer Name für eine Kamera", "カメラ")
    ),
    "stages": make_status(24, done=3, stages={"pending": 4000.0, "pulling": 3.0, "loading": 5.0, "rendering": 100.0}),
    "many cameras": make_status(5, done=9, cameras=tuple(f"Cam {n}" for n in range(40))),
    "failed": make_status(24, done=20, failed=(7,), state="failed", messages=(LONG,)),
    "evil": make_status(
        3, cameras=("\x1b[2J\nCam\r",), running=1, messages=("a\x1b]0;title\x07\nb",), last_file="/a\nb\x1b"
    ),
}


@pytest.mark.parametrize("width", [40, 60, 80, 81, 120, 300])
@pytest.mark.parametrize("name", CASES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    for glyphs in (UNICODE, ASCII):
        for line in lines(CASES[name], width, glyphs=glyphs, live=True):
            assert cells(line) <= width or line.startswith(" cloud-farm "), line  # a command is never cut
            assert line == clean(line)


@pytest.mark.parametrize("height", [24, 30, 50])
@pytest.mark.parametrize("name", CASES)
def test_a_live_picture_is_never_higher_than_the_terminal(name: str, height: int) -> None:
    assert len(lines(CASES[name], 80, height, live=True)) <= height


@pytest.mark.parametrize("name", CASES)
def test_where_there_is_no_utf8_all_of_ours_is_ascii(name: str) -> None:
    text = "\n".join(lines(CASES[name], glyphs=ASCII, live=True))
    if name not in ("cameras", "evil"):  # names of the artist stay what they are
        text.encode("ascii")


def test_each_state_has_a_sign_of_its_own() -> None:
    for glyphs in (UNICODE, ASCII):
        assert len({glyphs.of(state) for state in ("done", "rendering", "waiting", "failed")}) == 4


def test_the_strip_has_one_cell_a_frame_while_they_fit() -> None:
    status = make_status(60, done=2, running=1, failed=(60,))
    strip = draw_strip(status.frame_states, width=76, rows=4, glyphs=ASCII)
    (row,) = (paint(line, color=False) for line in strip.lines)
    assert row == " 1 ##>" + "." * 56 + "x 60"


def test_a_bucket_shows_trouble_first() -> None:
    status = make_status(6000, done=3000, failed=(5,))
    strip = draw_strip(status.frame_states, width=70, rows=2, glyphs=ASCII)
    text = "".join(paint(line, color=False) for line in strip.lines)
    assert strip.per_cell > 1
    assert text.count("x") == 1
    assert "#" in text
    assert "." in text


def test_figures_say_what_matters() -> None:
    text = "\n".join(lines(make_status(24, done=12, running=2)))
    for words in ("12 of 24 frames", "50 %", "1.2 frames/s", "0:42 so far", "0:12 left", "frame 13", "7/64 samples"):
        assert words in text
    assert "shot_0012.png" in text


def test_a_failed_job_says_why_and_what_to_do() -> None:
    text = " ".join("\n".join(lines(CASES["failed"])).split())
    assert "failed on local" in text
    assert LONG.strip() in text
    assert "cloud-farm logs shot-20261123-abc123" in text
    assert "cloud-farm retry shot-20261123-abc123" in text
    assert "took 0:31" in text


def test_clocks_of_a_live_picture_go_on_between_two_looks() -> None:
    text = "\n".join(lines(make_status(24, done=12, running=1), late=3.0))
    assert "0:45 so far" in text
    assert "0:09 left" in text
    assert "1:05" in text
    assert elapsed(make_status(started_at=0.0)) == 0.0


def test_the_live_view_draws_and_leaves_the_last_picture() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, color_system="standard")
    with LiveView(console) as view:
        view.status(make_status(24, done=12, running=2))
        view.status(make_status(24, done=24, state="done"))
    assert "24 of 24 frames" in stream.getvalue()
    assert "\x1b[32m" in stream.getvalue()


def test_the_steps_of_a_submission_are_one_line_and_findings_stay() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, no_color=True)
    with StepView(console) as steps:
        steps(Stage("packing", "Packing a\x1b[2Jb.blend"))
        steps(Transfer("upload", "tex/wood.png", 1024, 4096))
        steps(FindingFound("movie_format", "warning", "The scene writes a movie.", fix="Use --encode."))
    text = stream.getvalue()
    assert "\x1b[2J" not in text
    assert "! Warning: The scene writes a movie. Use --encode." in text


def test_a_transfer_shows_bytes_rate_and_time_left_in_eighty_columns() -> None:
    event = Transfer("upload", "textures/" + "long name " * 9, 300 << 20, 3 << 30, 17, 2000, 8.25 * 2**20, 336.0)
    text = transfer_text(event)
    assert text.startswith("Sending 300.0 MiB of 3.0 GiB, 8.2 MiB/s, 5:36 left, 17 of 2000 files  textures/long")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, no_color=True)
    with StepView(console) as steps:
        steps(event)
    line = max(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).splitlines(), key=len)
    assert "8.2 MiB/s, 5:36 left" in line and cells(line) <= 80


def test_a_transfer_that_just_began_has_no_rate() -> None:
    assert transfer_text(Transfer("download", "a\x1b[2J.png", 0, 10)) == "Fetching 0 B of 10 B  a\ufffd[2J.png"


def test_without_colour_no_escape_is_written_but_movement() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, no_color=True)
    with LiveView(console) as view:
        view.status(make_status(24, done=12, running=2))
    assert "\x1b[32m" not in stream.getvalue()


def test_json_has_ranges_not_a_hundred_thousand_frames() -> None:
    data = json.loads(json.dumps(status_data(make_status(100_000, done=43_210, cameras=(None,)))))
    assert data["frame_states"] == [{"camera": None, "done": "1-43210", "waiting": "43211-100000"}]
    assert data["state"] == "rendering"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.9, "1:00"), (754, "12:34"), (3723, "1:02:03"), (-3, "0:00"), (273600, "3 d 4 h")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_slow_renders_have_a_speed_that_can_be_read() -> None:
    assert [rate_text(rate) for rate in (120.4, 2.345, 0.5, 1 / 48)] == ["120 frames/s", "2.3 frames/s", "0.5 frames/s", "0:48 a frame"]  # fmt: skip


def test_text_is_measured_in_cells() -> None:
    assert cells("カメラ") == 6
    assert cells("é") == 1
    assert fit("カメラ", 4, UNICODE) == "カ…"
    assert fit("/a/long/path/frame.png", 10, UNICODE, keep_end=True) == "…frame.png"
    assert [paint(line, color=False) for line in wrapped("ab cd ef gh ij", 12, first=())] == ["ab cd ef gh", "ij"]


def test_the_stream_decides_about_signs() -> None:
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) is ASCII
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) is UNICODE
