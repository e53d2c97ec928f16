"""Headless: submit.py in a background Blender, with nothing installed; all it takes lies beside it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from cloud_farm.blender import SCRIPTS, Launcher, run_script
from cloud_farm.cli_render import render
from cloud_farm.options import FRONT_OPTIONS, JOB_OPTIONS

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_LAUNCHER = SCRIPTS / "bpy_launcher.py"


@pytest.fixture(scope="module")
def script(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked zip's submit.py, in a folder with another name than the package's."""
    folder = tmp_path_factory.mktemp("unpacked") / "farm zip"
    with zipfile.ZipFile(extension) as archive:
        archive.extractall(folder)
    return folder / "submit.py"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "demo.blend"
    run_script(
        Launcher((sys.executable, str(_LAUNCHER)), "wheel"), "demo_scene.py", ["--output", str(path)], timeout=120
    )
    return path


def blender(
    script: Path, scene: Path | None, home: Path, *words: str, online: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it as Blender would."""
    opened = [str(scene)] if scene else []
    command = [
        sys.executable,
        str(_LAUNCHER),
        "-b",
        *opened,
        *(["--online-mode"] if online else []),
        "--python",
        str(script),
    ]
    environment = {**os.environ, "CLOUD_FARM_HOME": str(home)}
    return subprocess.run(
        [*command, "--", *words], env=environment, capture_output=True, text=True, check=False, timeout=400
    )


def test_a_scene_is_sent_followed_and_its_frames_land(script: Path, scene: Path, tmp_path: Path) -> None:
    words = (
        "--frames",
        "2-3",
        "--samples",
        "1",
        "--percentage",
        "10",
        "-o",
        str(tmp_path / "out" / "f_####"),
        "--wait",
        "--json",
    )
    done = blender(script, scene, tmp_path / "home", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sorted(event["frame"] for event in events if event["event"] == "frame_done") == [2, 3]
    assert events[-1]["event"] in ("state", "progress")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f_0002.png", "f_0003.png"]


def test_a_dry_run_sends_nothing(script: Path, scene: Path, tmp_path: Path) -> None:
    done = blender(script, scene, tmp_path, "--frames", "1-10", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 frames in " in done.stdout
    assert "Nothing was sent" in done.stdout
    assert not list(tmp_path.rglob("job.json"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--frames", "ten"), 2, "ten"),
        (("--no-such-option",), 2, "--no-such-option"),
        (("--farm", "nowhere"), 3, "--online-mode"),
        (("--scene", "Nowhere"), 2, "Nowhere"),
        (("--camera", "Nobody"), 2, "Nobody"),
    ],
)
def test_what_can_not_be_is_refused(
    script: Path, scene: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = blender(script, scene, tmp_path, *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stdout + done.stderr


def test_an_unknown_farm_is_named_where_blender_may_go_online(script: Path, scene: Path, tmp_path: Path) -> None:
    done = blender(script, scene, tmp_path, "--farm", "nowhere", online=True)
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_without_a_scene_it_says_how(script: Path, tmp_path: Path) -> None:
    done = blender(script, None, tmp_path)
    assert done.returncode == 2
    assert "blender -b scene.blend" in done.stderr


def test_its_options_are_those_of_the_command_line(script: Path, scene: Path, tmp_path: Path) -> None:
    shown = blender(script, scene, tmp_path, "--help").stdout
    ours = {flag for option in (*JOB_OPTIONS, *FRONT_OPTIONS) for flag in option.flags} | {"--wait", "--detach"}
    assert flags_in(shown) == ours | {"-h", "--help"}
    theirs = {
        flag
        for parameter in render.params
        if isinstance(parameter, click.Option)
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    assert theirs - ours == {"--blender", "--workers", "--on-volume"}, "only what this front can't have"


def flags_in(text: str) -> set[str]:
    """The options that a help text explains."""
    lines = [line.split("  ")[1] for line in text.splitlines() if line.startswith("  -")]
    return {word.strip(" ,").split(" ")[0] for line in lines for word in line.replace(",", " , ").split(" , ")} - {""}


def test_the_flags_reader_reads_flags() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-f", "--frames", metavar="F", help="a, b: --not-me")
    assert flags_in(parser.format_help()) == {"-f", "--frames"}
