"""Headless: submit.py in a background Blender, with nothing installed; all it takes lies beside it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import click
import pytest
from cloud_farm.blender import SCRIPTS, Launcher, run_script
from cloud_farm.cli_render import render
from cloud_farm.farm import open_farm
from cloud_farm.options import FRONT_OPTIONS, JOB_OPTIONS

import build

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_LAUNCHER = SCRIPTS / "bpy_launcher.py"
_SMALL = ("--samples", "1", "--percentage", "10", "-o")


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
    script: Path, scene: Path | None, home: Path, *words: str, online: bool = False, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it as Blender would."""
    opened = [str(scene)] if scene else []
    return subprocess.run(
        [sys.executable, str(_LAUNCHER), "-b", *before, *opened, *(["--online-mode"] if online else []), "--python", str(script), "--", *words],
        env=environment(home), capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    """A farm and a Blender profile of the test's own."""
    return {**os.environ, "CLOUD_FARM_HOME": str(home), "BLENDER_USER_RESOURCES": str(home / "profile")}


def test_a_scene_is_sent_followed_and_its_frames_land(script: Path, scene: Path, tmp_path: Path) -> None:
    words = ("--frames", "2-3", *_SMALL, str(tmp_path / "out" / "f_####"), "--wait", "--json")
    done = blender(script, scene, tmp_path / "home", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sorted(event["frame"] for event in events if event["event"] == "frame_done") == [2, 3]
    result = {key: events[-1][key] for key in ("event", "state", "done", "total")}
    assert result == {"event": "result", "state": "done", "done": 2, "total": 2}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f_0002.png", "f_0003.png"]


def test_frames_that_were_put_beside_something_newer_are_told(script: Path, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f_0002.png").write_bytes(b"painted over")
    os.utime(tmp_path / "out" / "f_0002.png", (time.time() + 3600, time.time() + 3600))
    done = blender(
        script, scene, tmp_path / "home", "--frames", "2-3", *_SMALL, str(tmp_path / "out" / "f_####"), "--wait"
    )
    (aside,) = tmp_path.glob("out (*)")
    said = f"1 frame file was put into {aside}: something newer has its name."
    assert (done.returncode, said in done.stderr) == (0, True), done.stdout + done.stderr
    assert (aside / "f_0002.png").is_file()


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


def test_a_job_that_fails_says_why(script: Path, scene: Path, tmp_path: Path) -> None:
    words = ("--frames", "1", "--device", "metal", *_SMALL, str(tmp_path / "f_####"), "--wait")
    done = blender(script, scene, tmp_path / "home", *words)
    assert (done.returncode, "no METAL device" in done.stdout) == (1, True), done.stdout + done.stderr


def test_a_farm_that_does_not_answer_is_not_reachable(script: Path, scene: Path, tmp_path: Path) -> None:
    farm = tmp_path / "away.yaml"
    farm.write_text(
        "store: filebrowser\nvolume: {mount_path: /mnt}\nfilebrowser: {url: 'http://127.0.0.1:9', single_user: true}\n"
    )
    done = blender(script, scene, tmp_path, "--farm", str(farm), "--frames", "1", online=True)
    assert (done.returncode, "127.0.0.1:9" in done.stderr) == (3, True), done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way there")
def test_interrupted_it_says_so_and_the_job_goes_on(
    script: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C goes to all that the terminal started; a Blender without a window has a handler of its own, which only counts."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    words = ("--frames", "1-2", *_SMALL, str(tmp_path / "out" / "f_####"), "--wait", "--json")
    command = [
        sys.executable, str(_LAUNCHER), "-b", "--python-expr", ignore, str(scene), "--python", str(script), "--", *words
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        submitted = json.loads(next(line for line in process.stdout if '"submitted"' in line))
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "goes on" in said) == (130, True), said
    monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path))
    assert open_farm().follow(submitted["job"]).state == "done"


def test_an_unknown_farm_is_named_where_blender_may_go_online(script: Path, scene: Path, tmp_path: Path) -> None:
    done = blender(script, scene, tmp_path, "--farm", "nowhere", online=True)
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_without_a_scene_it_says_how(script: Path, tmp_path: Path) -> None:
    done = blender(script, None, tmp_path)
    assert done.returncode == 2
    assert "blender -b scene.blend" in done.stderr


def test_the_installed_extension_sends_too_by_its_script_and_by_blenders_command(
    extension: Path, scene: Path, tmp_path: Path
) -> None:
    install = f"import bpy; bpy.ops.extensions.package_install_files(filepath={str(extension)!r}, repo='user_default', enable_on_install=True)"
    script = tmp_path / "profile" / "extensions" / "user_default" / "cloud_farm" / "submit.py"
    by_script = blender(script, scene, tmp_path, "--frames", "1-10", "--dry-run", before=("--python-expr", install))
    assert (by_script.returncode, "10 frames in " in by_script.stdout) == (0, True), by_script.stdout + by_script.stderr
    command = (
        tmp_path / "command.py"
    )  # what Blender calls for `--command cloud_farm …`; a real one does it in tests/gui
    command.write_text(
        "import sys; from bl_ext.user_default.cloud_farm import submit\n"
        "sys.exit(submit.command(sys.argv[sys.argv.index('--') + 1 :]))"
    )
    enable = "import addon_utils; addon_utils.enable('bl_ext.user_default.cloud_farm')"
    for words, code, said in (
        (("submit", "--frames", "1-10", "--dry-run"), 0, "10 frames in "),
        (("submit", "--help"), 0, "--frames"),
        (("send",), 2, "--command cloud_farm submit"),
    ):
        done = blender(command, scene, tmp_path, *words, before=("--python-expr", enable))
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_it_works_where_cloud_farm_is_checked_out(scene: Path, tmp_path: Path) -> None:
    script = submit_script(build.ROOT / "backend")
    assert script == build.ADDON / "submit.py"
    done = blender(script, scene, tmp_path, "--frames", "1-10", "--dry-run")
    assert (done.returncode, "10 frames in " in done.stdout) == (0, True), done.stdout + done.stderr


def test_it_works_where_cloud_farm_is_installed_and_blenders_own_libraries_come_first(
    scene: Path, tmp_path: Path
) -> None:
    command = [*build.pip(), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(build.ROOT)]
    subprocess.run(command, check=True)
    installed = tmp_path / "site-packages"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    (installed / "blender_asset_tracer").mkdir()
    (installed / "blender_asset_tracer" / "__init__.py").write_text("raise ImportError('compiled for another Python')")
    script = submit_script(installed)
    assert script == installed / "cloud_farm" / "addon" / "submit.py"
    done = blender(script, scene, tmp_path, "--frames", "1-10", "--dry-run")
    assert (done.returncode, "10 frames in " in done.stdout) == (0, True), done.stdout + done.stderr


def submit_script(backend: Path) -> Path:
    """What `cloud-farm submit-script` prints where the backend is in this folder."""
    command = [sys.executable, "-m", "cloud_farm", "submit-script"]
    told = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(backend)}, capture_output=True, text=True, check=True
    )
    return Path(told.stdout.strip())


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
