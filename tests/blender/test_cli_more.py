"""The command line with a real Blender, after the first render: retries, new revisions, scenes on the volume, movies."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.blender import find_blender, probe

from .test_cli_render import cloud_farm_command, events, in_blender, jobs_on_the_volume

pytestmark = pytest.mark.blender
_SCENE = """
bpy.ops.wm.read_homefile(use_factory_startup=True)
scene = bpy.context.scene
scene.render.engine = 'CYCLES'
scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = 1, False, False
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 32, 32, 100
scene.render.filepath = '//out/f_####'
scene.frame_start, scene.frame_end = 1, 4
cube = bpy.data.objects['Cube']
cube.keyframe_insert('location', frame=1)
cube.location.x = 2
cube.keyframe_insert('location', frame=4)
"""
_TRAP = """
import bpy, os, signal

def spring(scene, *_):
    if scene.frame_current == 2 and os.path.exists({trap!r}):
        os.kill(os.getpid(), signal.SIGSEGV)

bpy.app.handlers.frame_change_post.append(spring)
"""


def build(folder: Path, *more: str, name: str = "shot.blend") -> Path:
    """Save a cube that moves for four frames of 32 pixels; `more` sees `scene` and `cube`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    in_blender(folder, _SCENE, *more, f"bpy.ops.wm.save_as_mainfile(filepath={str(path)!r})")
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("scene"))


def volume() -> Path:
    return Path(os.environ["CLOUD_FARM_HOME"]) / "farm"


def status(cwd: Path) -> dict[str, Any]:
    done = cloud_farm_command("status", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


# -- retry ----------------------------------------------------------------------------------------------------------------


def test_retry_renders_the_frame_that_failed_and_no_other(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    text = _TRAP.format(trap=str(trap))
    scene = build(tmp_path, "text = bpy.data.texts.new('trap.py')", f"text.write({text!r})", "text.use_module = True")
    words = ("-f", "1-3", "-o", "out/f_####", "--allow-scripts")
    done = cloud_farm_command("render", str(scene), *words, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 of 3 frames" in done.stderr
    assert "SIGSEGV" in done.stderr
    before = contents(tmp_path / "out")
    assert list(before) == ["f_0001.png", "f_0003.png"]

    trap.unlink()
    (job,) = jobs_on_the_volume()
    again = cloud_farm_command("retry", job, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    last = events(again.stdout)[-1]
    assert {name: last[name] for name in ("event", "job", "state", "done", "total")} == {
        "event": "result", "job": job, "state": "done", "done": 3, "total": 3,
    }  # fmt: skip
    assert set(last["stages"]) == {"loading", "rendering"}
    after = contents(tmp_path / "out")
    assert list(after) == ["f_0001.png", "f_0002.png", "f_0003.png"]
    assert {name: after[name] for name in before} == before
    records = volume() / "cloud-farm" / "jobs" / job / "records"
    assert [path.name for path in records.iterdir()] == ["r1"], "the same revision went on"


def test_retry_renders_a_frame_that_the_volume_lost(scene: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(scene), "-f", "1-3", "-o", "out/f_####", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (job,) = jobs_on_the_volume()
    folder = volume() / "cloud-farm" / "jobs" / job
    (record,) = (folder / "records").rglob("*000002.json")
    untouched = {path: path.stat().st_mtime_ns for path in (folder / "records").rglob("*.json") if path != record}
    record.unlink()
    state = status(tmp_path)
    assert (state["state"], state["frames_done"]) == ("failed", 2)
    again = cloud_farm_command("retry", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert status(tmp_path)["frames_done"] == 3
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def test_a_cancelled_job_has_no_movie_and_goes_on_with_other_values(scene: Path, tmp_path: Path) -> None:
    words = ("-f", "1-2", "-o", "out/f_####", "--samples", "1000000", "--detach")
    assert cloud_farm_command("render", str(scene), *words, cwd=tmp_path).returncode == 0
    assert cloud_farm_command("cancel", cwd=tmp_path).returncode == 0
    assert cloud_farm_command("follow", cwd=tmp_path).returncode == 1
    refused = cloud_farm_command("fetch", "--encode", cwd=tmp_path)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "has no finished frames yet" in refused.stderr
    again = cloud_farm_command("retry", "--samples", "1", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert list(contents(tmp_path / "out")) == ["f_0001.png", "f_0002.png"]


def test_a_forced_retry_is_a_new_revision_whose_frames_land(scene: Path, tmp_path: Path) -> None:
    done = cloud_farm_command("render", str(scene), "-f", "1-3", "-o", "out/f_####", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = contents(tmp_path / "out")
    (job,) = jobs_on_the_volume()
    words = ("--frames", "2", "--samples", "3", "--force")
    again = cloud_farm_command("retry", *words, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert [event["frame"] for event in events(again.stdout) if event["event"] == "frame_done"][-1] == 2
    plan = json.loads((volume() / "cloud-farm" / "jobs" / job / "plans" / "2.json").read_text())
    assert (plan["settings"]["samples"], [chunk["frames"] for chunk in plan["chunks"]]) == (3, ["2"])
    after = contents(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {"f_0002.png"}
    assert list(after) == list(before)
    state = status(tmp_path)
    assert (state["state"], state["frames_done"], state["frames_total"]) == ("done", 3, 3)
    (rendered,) = (volume() / "cloud-farm" / "jobs" / job / "frames" / "r2").rglob("*.png")
    assert rendered.read_bytes() == after["f_0002.png"]
    fetched = cloud_farm_command("fetch", "-o", "elsewhere", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert contents(tmp_path / "elsewhere") == after


def test_a_retry_renders_with_the_blender_that_the_job_was_submitted_with(scene: Path, tmp_path: Path) -> None:
    blender = tmp_path / "my blender"
    command = shlex.join(find_blender().argv)
    blender.write_text(f'#!/bin/sh\necho x >> "$0.calls"\n[ "$1" = --version ] && exit 0\nexec {command} "$@"\n')
    blender.chmod(0o755)
    words = ("render", str(scene), "-f", "1", "-o", "out/f_####", "--blender", str(blender))
    done = cloud_farm_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = len((tmp_path / "my blender.calls").read_text())
    again = cloud_farm_command("retry", "--frames", "1", "--force", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "my blender.calls").read_text()) > before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "has all its 3 frames"),
        (["--frames", "9", "--force"], "9 is not among them"),
        (["--frames", "2"], "add --force"),
        (["--frames", "2", "--force", "--samples", "0"], "at least 1"),
        (["no-such-job"], "no job 'no-such-job'"),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(
    words: list[str], message: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_FARM_HOME", str(finished / "home"))
    refused = cloud_farm_command("retry", *words, cwd=finished)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert message in refused.stderr
    (job,) = jobs_on_the_volume()
    plans = volume() / "cloud-farm" / "jobs" / job / "plans"
    assert [path.name for path in plans.iterdir()] == ["1.json"]


@pytest.fixture(scope="module")
def finished(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `home`, in which a job of the frames 1, 2 and 5 is done, and its frames in `out`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUD_FARM_HOME", str(folder / "home"))
        done = cloud_farm_command("render", str(scene), "-f", "1,2,5", "-o", "out/f_####", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


# -- before anything is sent ----------------------------------------------------------------------------------------------

_MOVIE = (
    "settings = scene.render.image_settings",
    "if hasattr(settings, 'media_type'): settings.media_type = 'VIDEO'",
    "settings.file_format = 'FFMPEG'",
)


def test_a_plan_shows_files_chunks_and_whole_commands_and_sends_nothing(encodes: bool, tmp_path: Path) -> None:
    scene = build(tmp_path / "two words", *(_MOVIE if encodes else ()))
    shown = cloud_farm_command("plan", str(scene), "--chunk-size", "3", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Frames   4 in 2 chunks, named f_####" in shown.stdout
    assert f"Landing  {scene.parent / 'out'}" in shown.stdout
    told = events(cloud_farm_command("plan", str(scene), "--chunk-size", "3", "--json", cwd=tmp_path).stdout)
    plan = told[-1]
    assert [chunk["frames"] for chunk in plan["plan"]["chunks"]] == ["1-3", "4"]
    assert [task["id"] for task in plan["tasks"]] == ["prepare", "r1c00001", "r1c00002"]
    first = shlex.split(shown.stdout.splitlines()[-1])
    # The job's id, and with it the plan's hash, is drawn anew each time.
    same = [index for index, word in enumerate(first) if first[index - 1] != "--plan-sha256" and "shot-" not in word]
    assert [first[index] for index in same] == [plan["tasks"][1]["command"][index] for index in same]
    assert [entry["path"] for entry in plan["pack"]["files"]] == ["shot.blend"]
    if encodes:
        (finding,) = [event for event in told if event["event"] == "finding"]
        assert (finding["code"], finding["severity"]) == ("movie_format", "warning")
        assert "fetch" in finding["fix"] and "--encode" in finding["fix"]
        assert plan["plan"]["settings"]["format"] == "PNG"
    assert jobs_on_the_volume() == []
    assert not (scene.parent / "out").exists()


def test_a_pack_lists_every_file(scene: Path, tmp_path: Path) -> None:
    listed = cloud_farm_command("pack", str(scene), cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    row, total = listed.stdout.splitlines()
    assert row.split() == [
        hashlib.sha256(scene.read_bytes()).hexdigest()[:12],
        f"{scene.stat().st_size:,}",
        "shot.blend",
    ]
    assert total == f"1 file, {scene.stat().st_size:,} bytes"
    assert jobs_on_the_volume() == []


def test_a_farm_that_can_not_be_written_is_refused(scene: Path, tmp_path: Path) -> None:
    (volume().parent / "state" / "local").parent.mkdir(parents=True, exist_ok=True)
    (volume().parent / "state" / "local").write_text("a file where jobs are kept")
    refused = cloud_farm_command("render", str(scene), "-f", "1", "-o", "out/f_####", cwd=tmp_path)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "can't be written" in refused.stderr and "CLOUD_FARM_HOME" in refused.stderr
    assert jobs_on_the_volume() == []
    assert not (tmp_path / "out").exists()


# -- scenes on the volume -------------------------------------------------------------------------------------------------


def test_a_scene_on_the_volume_renders_with_what_it_links(tmp_path: Path) -> None:
    project = volume() / "projects" / "film one"
    (tmp_path / "library").mkdir()
    build(project / "props", name="props.blend")
    picture = project / "tex" / "grey.png"
    picture.parent.mkdir()
    build(
        project,
        f"image = bpy.data.images.new('grey', 4, 4); image.filepath_raw = {str(picture)!r}",
        "image.file_format = 'PNG'; image.save(); image.filepath = '//tex/grey.png'; image.use_fake_user = True",
        f"with bpy.data.libraries.load({str(project / 'props' / 'props.blend')!r}, link=True) as (there, here):",
        "    here.materials = there.materials[:1]",
        "cube.data.materials[0] = here.materials[0]",
        f"bpy.ops.wm.save_as_mainfile(filepath={str(project / 'shot.blend')!r})",
        "bpy.ops.file.make_paths_relative()",
    )
    untouched = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    words = ("--on-volume", "projects/film one/shot.blend", "-f", "1-2", "-o", "out/f_####")
    done = cloud_farm_command("render", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(contents(tmp_path / "out")) == ["f_0001.png", "f_0002.png"]
    (job,) = jobs_on_the_volume()
    packed = json.loads((volume() / "cloud-farm" / "jobs" / job / "job.json").read_text())["pack"]
    assert {Path(entry["path"]).name for entry in packed["files"]} == {"shot.blend", "props.blend", "grey.png"}
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()} == untouched


def test_frames_of_a_scene_on_the_volume_land_where_they_stay(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary = tmp_path / "user", tmp_path / "temporary"
    for variable, folder in (("HOME", home), ("TMPDIR", temporary)):
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    (volume() / "projects").mkdir(parents=True)
    (volume() / "projects" / "shot.blend").write_bytes(scene.read_bytes())
    done = cloud_farm_command("render", "--on-volume", "projects/shot.blend", "-f", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = jobs_on_the_volume()
    assert list(contents(home / "cloud-farm" / job)) == ["f_0001.png"]


@pytest.mark.parametrize("path", ["projects/absent.blend", "../outside.blend", "/etc/passwd", "projects", ""])
def test_what_is_no_scene_on_the_volume_is_refused(path: str, tmp_path: Path) -> None:
    (volume() / "projects").mkdir(parents=True)
    (volume().parent / "outside.blend").write_bytes(b"BLENDER-v405")
    refused = cloud_farm_command("render", "--on-volume", path, "-f", "1", "-o", "out/f_####", cwd=tmp_path)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert refused.stderr.startswith("Error: ")
    assert jobs_on_the_volume() == []


# -- movies ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encodes(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether this Blender can write movies at all."""
    return "can encode" in in_blender(
        tmp_path_factory.mktemp("asked"), "print('can encode' if bpy.app.build_options.codec_ffmpeg else 'no FFmpeg')"
    )


def movie_length(movie: Path, tmp_path: Path) -> int:
    said = in_blender(tmp_path, f"print('length', bpy.data.movieclips.load({str(movie)!r}).frame_duration)")
    return int(said.rpartition("length ")[2].split()[0])


def test_a_movie_goes_where_it_is_told_and_holds_frames_over_gaps(
    finished: Path, encodes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_FARM_HOME", str(finished / "home"))
    movie = tmp_path / "new folder" / "my movie.mp4"
    made = cloud_farm_command("fetch", "--encode", "--movie", str(movie), cwd=finished)
    if not encodes:
        assert made.returncode == 2
        assert "built without FFmpeg" in made.stderr
        return
    assert made.returncode == 0, made.stdout + made.stderr
    assert str(movie) in made.stdout
    assert [path.name for path in movie.parent.iterdir()] == ["my movie.mp4"]
    assert movie_length(movie, tmp_path) == 5
    assert list(contents(finished / "out")) == ["f_0001.png", "f_0002.png", "f_0005.png"]


def test_each_camera_has_its_own_movie(encodes: bool, tmp_path: Path) -> None:
    scene = build(
        tmp_path,
        "other = bpy.data.objects.new('Left eye', scene.camera.data)",
        "scene.collection.objects.link(other)",
        "other.matrix_world = scene.camera.matrix_world",
    )
    words = ("-f", "1-2", "--camera", "Camera", "--camera", "Left eye", "-o", "out/f_####")
    done = cloud_farm_command("render", str(scene), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = cloud_farm_command("fetch", "--encode", "--json", cwd=tmp_path)
    if not encodes:
        assert made.returncode == 2
        return
    assert made.returncode == 0, made.stdout + made.stderr
    movies = [Path(event["path"]) for event in events(made.stdout) if event["event"] == "movie"]
    assert sorted(path.name for path in movies) == ["shot_camera.mp4", "shot_left-eye.mp4"]
    assert [movie_length(movie, tmp_path) for movie in movies] == [2, 2]


def test_a_movie_that_can_not_be_written_is_refused_and_leaves_nothing(
    finished: Path, encodes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_FARM_HOME", str(finished / "home"))
    (tmp_path / "file").write_text("no folder")
    refused = cloud_farm_command("fetch", "--encode", "--movie", str(tmp_path / "file" / "m.mp4"), cwd=finished)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_cluster_would_be_sent_is_printed(scene: Path, tmp_path: Path) -> None:
    version = probe(find_blender()).version
    minor = ".".join(version.split(".")[:2])
    (tmp_path / "studio.yaml").write_text(
        f"schema: 1\nengine: argo\nvolume: {{claim: shared-data-pvc, mount_path: /data}}\nargo_version: 3.7.14\ngpu: {{device: cpu}}\n"
        f"images: {{'{minor}': registry.example.com/blender:{version}}}\n"
    )
    done = cloud_farm_command("plan", str(scene), "--farm", "studio.yaml", "--yaml", "--chunk-size", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [workflow] = yaml.safe_load_all(done.stdout)
    assert workflow["kind"] == "Workflow"
    parameters = {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}
    assert [chunk["frames"] for chunk in json.loads(parameters["chunks"])] == ["1-3", "4"]
    refused = cloud_farm_command("plan", str(scene), "--yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "renders on this computer" in refused.stderr
