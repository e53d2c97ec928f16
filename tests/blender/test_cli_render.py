"""The command line with a real Blender: renders, refuses bad input before anything is sent, makes movies, proves devices."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloud_farm.farm
import pytest
import zstandard
from cloud_farm.blender import find_blender, run_script

from ..rigs.blender_scripts import run_text_in_blender

pytestmark = pytest.mark.blender
BACKEND = Path(cloud_farm.farm.__file__).parents[1]
SMALL = ("--percentage", "8", "--samples", "1")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.blend"
    run_script(find_blender(), "demo_scene.py", ["--output", str(path)], timeout=120)
    return path


def cloud_farm_command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud_farm", *words],
        env={**os.environ, "PYTHONPATH": str(BACKEND)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def in_blender(tmp_path: Path, *lines: str) -> str:
    """Run lines of Python in a background Blender; returns what they printed."""
    return run_text_in_blender(tmp_path, "\n".join(("import bpy", *lines)))


def jobs_on_the_volume() -> list[str]:
    folder = Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / "cloud-farm" / "jobs"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def as_it_is(content: bytes) -> bytes:
    return content


@pytest.mark.parametrize(
    ("name", "saved"),
    [("shot.blend", as_it_is), ("two words.blend", as_it_is), ("it's \"quoted\".blend", as_it_is), ("çà 影 ☃.blend", as_it_is),
     ("-dash.blend", as_it_is), ("gzip.blend", gzip.compress), ("zstd.blend", zstandard.compress)],
)  # fmt: skip
def test_a_scene_of_any_name_and_compression_renders(
    name: str, saved: Callable[[bytes], bytes], demo: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(saved(demo.read_bytes()))
    (tmp_path / "stripes.png").write_bytes((demo.parent / "stripes.png").read_bytes())
    done = cloud_farm_command("render", "-f", "1", *SMALL, "-o", "//out/f_####", "--json", "--", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert events(done.stdout)[-1]["state"] == "done"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f_0001.png"]


def test_bad_scenes_are_refused_and_leave_nothing(demo: Path, tmp_path: Path) -> None:
    whole = demo.read_bytes()
    bad = {
        "absent.blend": (None, "no file"),
        "notes.blend": (b"Dear diary", "blend"),
        "empty.blend": (b"", "blend"),
        "cut.blend": (whole[: len(whole) // 2], "is not whole"),
        "cut.gz.blend": (gzip.compress(whole)[:-900], "is not whole"),
        "cut.zst.blend": (zstandard.compress(whole)[:-900], "is not whole"),
        "line\nbreak.blend": (whole, "Rename the file"),
        "newer.blend": (re.sub(rb"v\d", b"v9", whole[:17], count=1) + whole[17:], "newer"),
    }
    for name, (content, words) in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = cloud_farm_command("render", name, "-f", "1", cwd=tmp_path)
        assert done.returncode == 2, (name, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert words in done.stderr, (name, done.stderr)
    assert jobs_on_the_volume() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scene", "Nope"], "no scene 'Nope'"),
        (["--camera", "Nope"], "no camera 'Nope'"),
        (["--view-layer", "Nope"], "no view layer 'Nope'"),
        (["-o", "/proc/nowhere/f_####"], "can't be written"),
        (["--blender", "/nowhere/blender"], "/nowhere/blender"),
    ],
)
def test_wrong_names_are_refused_and_leave_nothing(words: list[str], message: str, demo: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(demo), "-f", "1", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert jobs_on_the_volume() == []


def test_a_scene_without_camera_is_refused(demo: Path, tmp_path: Path) -> None:
    path = tmp_path / "blind.blend"
    in_blender(
        tmp_path,
        f"bpy.ops.wm.open_mainfile(filepath={str(demo)!r})",
        "bpy.context.scene.camera = None",
        f"bpy.ops.wm.save_as_mainfile(filepath={str(path)!r}, relative_remap=True)",
    )
    done = cloud_farm_command("render", str(path), cwd=tmp_path)
    assert done.returncode == 2
    assert "no active camera" in done.stderr
    assert jobs_on_the_volume() == []


def test_an_output_without_a_frame_number_gets_one_and_says_so(demo: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(demo), "-f", "1-2", *SMALL, "-o", "out/still", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    codes = [event["code"] for event in events(done.stdout) if event["event"] == "finding"]
    assert codes == ["frame_number_added"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["still0001.png", "still0002.png"]


def test_a_dry_run_sends_nothing(demo: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(demo), "-f", "1-9", "--chunk-size", "3", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Frames   9 in 3 chunks" in done.stdout
    assert jobs_on_the_volume() == []


def test_a_detached_job_is_followed_from_elsewhere(demo: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(demo), "-f", "1-3", *SMALL, "-o", "out/f_####", "--detach", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "elsewhere").mkdir()
    followed = cloud_farm_command("follow", cwd=tmp_path / "elsewhere")
    assert followed.returncode == 0, followed.stderr
    assert "Done: 3 frames" in followed.stdout
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert "done" in cloud_farm_command("status", cwd=tmp_path).stdout
    assert "== prepare." in cloud_farm_command("logs", cwd=tmp_path).stdout


def test_selftest_is_green_on_the_cpu_and_red_without_the_device(tmp_path: Path) -> None:
    green = cloud_farm_command("selftest", "--device", "cpu", "--json", cwd=tmp_path)
    assert green.returncode == 0, green.stderr
    result = events(green.stdout)[-1]
    assert result["devices"] == ["CPU"]
    red = cloud_farm_command("selftest", "--device", "metal" if sys.platform != "darwin" else "cuda", cwd=tmp_path)
    assert red.returncode == 1
    assert red.stderr.startswith("red:")


def test_a_movie_has_every_frame_and_the_scenes_sound(demo: Path, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 22050, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 8))) for n in range(22050)))
    path = tmp_path / "loud.blend"
    said = in_blender(
        tmp_path,
        f"bpy.ops.wm.open_mainfile(filepath={str(demo)!r})",
        "editor = bpy.context.scene.sequence_editor_create()",
        "strips = editor.strips if hasattr(editor, 'strips') else editor.sequences",
        "if bpy.app.build_options.audaspace:",
        f"    strips.new_sound(name='tone', filepath={str(tmp_path / 'tone.wav')!r}, channel=1, frame_start=1)",
        "    print('with sound')",
        f"bpy.ops.wm.save_as_mainfile(filepath={str(path)!r}, relative_remap=True)",
    )
    done = cloud_farm_command("render", str(path), "-f", "1-12", *SMALL, "-o", "//out/f_####", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = cloud_farm_command("fetch", "--encode", "--json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    movie = events(made.stdout)[-1]
    assert Path(movie["path"]) == tmp_path / "out" / "loud.mp4"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *(f"f_{n:04d}.png" for n in range(1, 13)),
        "loud.mp4",
    ]
    content = Path(movie["path"]).read_bytes()
    assert (b"soun" in content) is ("with sound" in said)  # the handler of an MP4's sound track
    in_blender(
        tmp_path,
        f"clip = bpy.data.movieclips.load({movie['path']!r})",
        "assert clip.frame_duration == 12, clip.frame_duration",
    )
