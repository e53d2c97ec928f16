"""Runs in a Blender of its own: an artist who presses every button of a job that lives, sends scouts, and keeps presets.

python -I buttons.py ZIP FOLDER ; prints one JSON object, what was done → what came of it
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part, wait_for, make_scene, send = desk.part, desk.wait_for, desk.make_scene, desk.send
state_of, frames = desk.state_of, desk.frames
CONTROLS = ("pause", "resume", "cancel", "retry", "render_again", "delete")
OVERRIDES = {
    "frames": "CUSTOM", "custom_frames": "1-5", "device": "cpu", "use_samples": True, "samples": 7,
    "use_percentage": True, "percentage": 33, "chunk_size": 4,
}  # fmt: skip


def press(button: str, job: str, **words: Any) -> list[str]:
    """Press a button of a job that is the chosen one of the list; Blender raises where it is greyed out."""
    choose(job)
    return sorted(getattr(bpy.ops.cloud_farm, button)(**words))


def choose(job: str) -> None:
    """Click on a job in the list, which is drawn anew at the next turn."""
    part("session").SESSION.show_again()
    part("session").SESSION.tick()
    state = bpy.context.window_manager.cloud_farm
    state.active_job = state.jobs.find(job)


def enabled(job: str) -> list[str]:
    """Return which of the buttons that do something to a job can be pressed now."""
    choose(job)
    return [name for name in CONTROLS if getattr(bpy.ops.cloud_farm, name).poll()]


def done(job: str) -> int:
    """Return how many of a job's frames the list says are done."""
    return int(part("session").SESSION.job(job)["frames_done"])


def snapshots() -> int:
    """Return how many copies of scenes wait on this computer."""
    return len(list(part("session").SESSION.folder("snapshots").iterdir()))


def volume_of(job: str) -> Path:
    """Return a job's folder on the local farm's volume."""
    return Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / "cloud-farm" / "jobs" / job


def editors() -> tuple[Any, Any]:
    """Have an Image Editor and a Text Editor in the window; returns them."""
    areas = sorted(bpy.context.window.screen.areas, key=lambda area: -area.width * area.height)
    areas[0].ui_type, areas[1].ui_type = "IMAGE_EDITOR", "TEXT_EDITOR"
    return areas[0].spaces.active, areas[1].spaces.active


# -- a job ----------------------------------------------------------------------------------------------------------------


def job_lives(folder: Path) -> dict[str, Any]:
    """Pause a slow job, let it go on, cancel it and retry it; then look at it and render a frame again."""
    scene = make_scene(folder, "lives", seconds=1)
    scene.frame_end, scene.cloud_farm.chunk_size = 6, 1
    image_editor, text_editor = editors()
    job = send()
    found: dict[str, Any] = {"job": job, **controlled(job, folder)}
    found |= looked_at(job, folder, image_editor, text_editor)
    found["again"] = rendered_again(job, folder, image_editor)
    found["problem"] = part("session").SESSION.problem
    return found


def controlled(job: str, folder: Path) -> dict[str, Any]:
    """Pause, resume, cancel and retry; what runs is stopped as soon as a frame more is done."""
    found: dict[str, Any] = {}
    session = part("session").SESSION
    wait_for(lambda: state_of(job) == "rendering" and done(job) > 0, "a frame is done")
    found["rendering"] = enabled(job)
    press("pause", job)
    wait_for(lambda: state_of(job) == "paused", "it is paused")
    paused = done(job)
    found["paused"] = [enabled(job), paused < 6]
    press("resume", job)
    wait_for(lambda: done(job) > paused, "it goes on")
    press("cancel", job)
    wait_for(lambda: state_of(job) == "cancelled", "it is cancelled")
    found["cancelled"] = [enabled(job), paused < done(job) < 6]
    press("retry", job)
    # A job is done a moment before its last process is gone; until then nothing of it is rendered again.
    wait_for(lambda: state_of(job) == "done" and not session.following.jobs, "the rest is rendered")
    found["done"] = [enabled(job), done(job), frames(folder, "lives")]
    return found


def looked_at(job: str, folder: Path, image_editor: Any, text_editor: Any) -> dict[str, Any]:
    """Press what shows something of a job: its frames, its folder, what its Blenders said, the command that follows it."""
    found: dict[str, Any] = {}
    part("image_viewer").forget()  # as if it had been rendered before this Blender started
    image_editor.image = None
    press("view", job)
    wait_for(lambda: image_editor.image, "its frames are shown")
    found["view"] = [image_editor.image.name, image_editor.image_user.frame_current]
    press("add_strip", job)
    found["strips"] = [
        [strip.name, len(strip.elements)] for strip in strips_of(bpy.context.scene) if strip.type == "IMAGE"
    ]
    press("logs", job)
    wait_for(lambda: f"{job}.log" in bpy.data.texts, "the logs are here")
    lines = bpy.data.texts[f"{job}.log"].as_string()
    found["logs"] = [text_editor.text.name == f"{job}.log", "Saved" in lines]
    bpy.ops.cloud_farm.open_log()
    found["own log"] = [text_editor.text.name, bool(text_editor.text.as_string())]
    found["opened"] = opened(folder, lambda: press("open_folder", job))
    found["command"] = [*press("copy_command", job), copied(job)]
    return found


def strips_of(scene: Any) -> Any:
    """Return what is in a scene's video sequencer."""
    editor = scene.sequence_editor
    return editor.strips if hasattr(editor, "strips") else editor.sequences  # its name before Blender 4.4


def opened(folder: Path, act: Callable[[], object]) -> list[str]:
    """Return which folders the desktop is asked to open meanwhile: a desktop of which nothing is there but its command."""
    programs, asked, path = folder / "bin", folder / "asked.txt", os.environ["PATH"]
    programs.mkdir()
    (programs / "xdg-open").write_text(f'#!/bin/sh\necho "$1" >> "{asked}"\n', encoding="utf-8")
    (programs / "xdg-open").chmod(0o755)
    os.environ["PATH"] = f"{programs}{os.pathsep}{path}"
    act()
    os.environ["PATH"] = path
    return [str(Path(line).relative_to(folder)) for line in asked.read_text(encoding="utf-8").splitlines()]


def copied(job: str) -> str:
    """Return the command line of a job: without a window Blender has no clipboard, so it is given something like one."""
    manager = SimpleNamespace(clipboard="")
    operator = part("job_operators").CLOUDFARM_OT_copy_command
    operator.act(None, SimpleNamespace(window_manager=manager), part("session").SESSION.job(job))
    return str(manager.clipboard)


def rendered_again(job: str, folder: Path, image_editor: Any) -> dict[str, Any]:
    """Render frame 2 of a finished job again; returns which files are newer, and what the Image Editor makes of it."""
    landing, session = folder / "lives", part("session").SESSION
    written = {path.name: path.stat().st_mtime_ns for path in landing.iterdir()}
    found: dict[str, Any] = {}
    try:
        press("render_again", job, frames="two")
    except RuntimeError as error:
        found["refused"] = str(error)
    bpy.context.window_manager.cloud_farm.follow_newest = True
    found["before"] = image_editor.image_user.frame_current
    press("render_again", job, frames="2")
    wait_for(lambda: landing.joinpath("f_0002.png").stat().st_mtime_ns > written["f_0002.png"], "a newer one lands")
    wait_for(lambda: state_of(job) == "done" and not session.following.jobs, "it is over")
    newer = [path.name for path in landing.iterdir() if path.stat().st_mtime_ns > written.get(path.name, 0)]
    return {**found, "newer": newer, "shown": [image_editor.image.name, image_editor.image_user.frame_current]}


def job_is_deleted(folder: Path) -> dict[str, Any]:
    """Delete a finished job."""
    make_scene(folder, "deleted")
    job, session = send(), part("session").SESSION
    wait_for(lambda: state_of(job) == "done" and not session.following.jobs, "it is rendered")
    before = volume_of(job).is_dir()
    press("delete", job)
    wait_for(lambda: session.job(job) is None, "it is gone from the list")
    session.tick()
    listed = job in bpy.context.window_manager.cloud_farm.jobs
    bpy.ops.cloud_farm.refresh()
    wait_for(lambda: not session.client.busy, "the list is read anew")
    again = session.job(job) is not None
    return {"there": [before, volume_of(job).exists(), listed, again], "frames": frames(folder, "deleted")}


# -- scouts ---------------------------------------------------------------------------------------------------------------


def scouts_are_sent(folder: Path) -> dict[str, Any]:
    """Send scouts, read how long all of it will take, and send all of it."""
    make_scene(folder, "scouted").frame_end = 5
    session = part("session").SESSION
    bpy.ops.cloud_farm.scout()
    wait_for(lambda: session.outbox.sending.error or session.outbox.sending.result, "the scouts are back")
    wait_for(lambda: not session.client.busy, "the list is read")
    sending = session.outbox.sending
    result, scouts = sending.result, session.job(sending.result["job"])
    found: dict[str, Any] = {
        "scouts": [scouts["state"], scouts["frames_total"], frames(folder, "scouted")],
        "all": result["frames"],
        "estimate": result["estimate"],
        "kept": snapshots(),
    }
    before = {job["id"] for job in session.jobs}
    bpy.ops.cloud_farm.send_again()
    wait_for(lambda: {job["id"] for job in session.jobs if job["state"] == "done"} - before, "all of it is rendered")
    wait_for(lambda: len(frames(folder, "scouted")) == 5, "its frames land")
    (job,) = {job["id"] for job in session.jobs} - before
    return {**found, "sent": [done(job), frames(folder, "scouted")], "left": snapshots()}


def scouts_are_stopped(folder: Path) -> dict[str, Any]:
    """Stop scouts when one of them is back."""
    make_scene(folder, "halted", seconds=2).frame_end = 5
    session = part("session").SESSION
    known = {job["id"] for job in session.jobs}
    bpy.ops.cloud_farm.scout()
    wait_for(lambda: frames(folder, "halted"), "one is back")
    bpy.ops.cloud_farm.stop_sending()
    wait_for(lambda: session.outbox.sending is None, "it is over")
    wait_for(lambda: snapshots() == 0, "the copy is removed")
    bpy.ops.cloud_farm.refresh()
    wait_for(lambda: not session.client.busy, "the list is read anew")
    found = [job for job in session.jobs if job["id"] not in known]
    landed = frames(folder, "halted")
    return {"states": [job["state"] for job in found], "landed": landed, "problem": session.problem}


def others_are_sent_meanwhile(folder: Path) -> dict[str, Any]:
    """Send three scenes in a row while the first is on its way, and leave the third."""
    session, send_button = part("session").SESSION, bpy.ops.cloud_farm.send
    make_scene(folder, "one")
    send_button()
    found: dict[str, Any] = {"again": [send_button.poll(), bpy.ops.cloud_farm.check.poll()]}
    for name in ("two", "three"):
        make_scene(folder, name)
        found[name] = [send_button.poll(), bpy.ops.cloud_farm.check.poll(), *send_button()]
    found["copies"] = snapshots()
    layout = importlib.import_module("strict_layout").StrictLayout()
    bpy.types.CLOUDFARM_PT_output.draw(SimpleNamespace(layout=layout), bpy.context)
    found["drawn"] = [[text for text in layout.texts if "Waits" in text], layout.operators.count("cloud_farm.send")]
    bpy.ops.cloud_farm.leave_waiting(snapshot=str(session.outbox.behind[-1].snapshot))
    known = {job["id"] for job in session.jobs}

    def ended() -> int:
        return sum(job["state"] == "done" for job in session.jobs if job["id"] not in known)

    wait_for(lambda: session.outbox.sending is None and ended() == 2, "both are rendered")
    wait_for(lambda: not session.following.jobs, "their frames are here")
    return {**found, "frames": [frames(folder, name) for name in ("one", "two", "three")], "left": snapshots()}


# -- a scene --------------------------------------------------------------------------------------------------------------


def presets_are_kept(folder: Path) -> dict[str, Any]:
    """Keep the overrides of a scene as a preset, take them up in another one, and remove the preset."""
    settings = make_scene(folder, "preset").cloud_farm
    for name, value in OVERRIDES.items():
        setattr(settings, name, value)
    found: dict[str, Any] = {"added": sorted(bpy.ops.cloud_farm.preset_add(name="Night Run"))}
    paths = bpy.utils.preset_paths("cloud_farm")
    (file,) = [path for place in paths for path in Path(place).iterdir()]
    scene = make_scene(folder, "other")
    scene.cloud_farm.camera, scene.cloud_farm.use_view_layers = scene.camera, True
    found["another scene"] = values_of(scene)
    bpy.ops.script.execute_preset(filepath=str(file), menu_idname="CLOUDFARM_PT_presets")
    found["taken up"] = values_of(scene)
    found["its own"] = [scene.cloud_farm.camera == scene.camera, scene.cloud_farm.use_view_layers]
    found["shown"] = bpy.types.CLOUDFARM_PT_presets.bl_label
    name = bpy.path.display_name(file.name, title_case=False)  # as the list of presets has it
    bpy.ops.cloud_farm.preset_add(name=name, remove_name=True)
    return {**found, "file": file.name, "is left": file.exists()}


def values_of(scene: Any) -> dict[str, Any]:
    """Return what of a scene's settings a preset keeps."""
    return {name: getattr(scene.cloud_farm, name) for name in OVERRIDES}


def codes(scene: Any) -> list[str]:
    """Return what is wrong with a scene as far as the panel can tell."""
    return [finding.code for finding in part("preflight").quick_findings(scene)]


def camera_is_chosen(folder: Path) -> dict[str, Any]:
    """Mend a scene without a camera that renders: with none, with two, and with one of them the active object."""
    scene = make_scene(folder, "camera")
    bpy.data.objects.remove(scene.camera)
    button = bpy.ops.cloud_farm.use_camera
    found: dict[str, Any] = {"without": [codes(scene), button.poll()]}
    for name in ("Left", "Right"):
        scene.collection.objects.link(bpy.data.objects.new(name, bpy.data.cameras.new(name)))
    found["not chosen"] = [codes(scene), button.poll()]
    bpy.context.view_layer.objects.active = None
    button()
    found["first"] = [scene.camera.name, codes(scene)]
    scene.camera = None
    bpy.context.view_layer.objects.active = scene.objects["Right"]
    button()
    return {**found, "active": [scene.camera.name, codes(scene)]}


BUTTONS = (
    camera_is_chosen, presets_are_kept, scouts_are_sent, scouts_are_stopped, others_are_sent_meanwhile, job_is_deleted, job_lives,
)  # fmt: skip


def main(zip_file: str, folder: Path, *wanted: str) -> dict[str, Any]:
    """Press everything, or only what is wanted."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    chosen = [one for one in BUTTONS if not wanted or one.__name__ in wanted]
    return {one.__name__: one(folder) for one in chosen}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
