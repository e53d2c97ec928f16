"""Runs in a Blender of its own: what may happen to an artist between the click and the last frame.

python -I accidents.py ZIP FOLDER NEXT_ZIP [ACCIDENT…] ; prints one JSON object, accident → what came of it
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import bpy

import addon_utils  # isort: skip - Python finds it only once there is bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
MODULE, part, wait_for, make_scene = desk.MODULE, desk.part, desk.wait_for, desk.make_scene
send, state_of, frames = desk.send, desk.state_of, desk.frames
NEXT_ZIP: list[str] = []


def blender_renders_in_background(folder: Path) -> Any:
    """Start without a window, with a scene that an earlier Blender left, and render: nothing is sent, no worker is started."""
    scene = make_scene(folder, "left behind")
    session = part("session").SESSION
    snapshot = part("scene_reader").take_snapshot(scene, farm="local", below=session.folder("snapshots"))
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    bpy.ops.render.render()
    found = [session._client is not None, (snapshot / "snapshot.json").is_file(), bool(frames(folder, "left behind"))]
    shutil.rmtree(snapshot)
    return found


def worker_is_killed(folder: Path) -> Any:
    """Kill the worker while a job renders."""
    make_scene(folder, "killed", seconds=1)
    job = send()
    session = part("session").SESSION
    os.kill(session.client._process.pid, signal.SIGKILL)
    wait_for(lambda: state_of(job) == "done", "a new worker follows")
    return [frames(folder, "killed"), session.problem]


def worker_is_killed_while_it_sends(folder: Path) -> Any:
    """Kill the worker while it packs: the next one goes on."""
    make_scene(folder, "again")
    session = part("session").SESSION
    before = {job["id"] for job in session.jobs}
    bpy.ops.cloud_farm.send()
    killed = kill_while_it_packs(session)
    wait_for(lambda: {job["id"] for job in session.jobs if job["state"] == "done"} - before, "it is sent and rendered")
    return [session.client._process.pid != killed, frames(folder, "again")]


def kill_while_it_packs(session: Any) -> int:
    """Kill the worker once it reads the scene; returns its process, 0 if there comes none."""
    sending = session.outbox.sending
    wait_for(lambda: sending.error or sending.step.startswith("Reading"), "it packs")
    if sending.error:
        return 0
    process = int(session.client._process.pid)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: sending.error or sending.step == "Trying again", "it is noticed")
    return process


def worker_is_killed_each_time(folder: Path) -> Any:
    """Kill every worker that packs: there comes an end, and the artist decides."""
    make_scene(folder, "always")
    session = part("session").SESSION
    bpy.ops.cloud_farm.send()
    killed = 0
    while kill_while_it_packs(session):
        killed += 1
    said, may = session.outbox.sending.error, session.outbox.sending.can_go_on
    before = {job["id"] for job in session.jobs}
    bpy.ops.cloud_farm.send_again()
    wait_for(lambda: {job["id"] for job in session.jobs if job["state"] == "done"} - before, "it is sent and rendered")
    return [killed, said, may, frames(folder, "always")]


def check_is_stopped(folder: Path) -> Any:
    """Stop a check while a Blender in the background reads the scene."""
    make_scene(folder, "stopped")
    session = part("session").SESSION
    wait_for(lambda: not session.client.busy, "nothing else happens")
    bpy.ops.cloud_farm.check()
    wait_for(lambda: children_of(session.client._process.pid), "a Blender reads it")
    reader = children_of(session.client._process.pid)[0]
    bpy.ops.cloud_farm.stop_sending()
    wait_for(lambda: session.outbox.sending is None, "it is over")
    left = Path(f"/proc/{reader}/cmdline")
    wait_for(lambda: not any(session.folder("snapshots").iterdir()), "the copy is removed")
    return bool(left.exists() and left.read_bytes())


def children_of(process: int) -> list[int]:
    """Return the processes that a process started."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def another_file_is_opened(folder: Path) -> Any:
    """Open another file as soon as the scene was sent."""
    make_scene(folder, "left", seconds=1)
    job = send()
    bpy.ops.wm.read_homefile(use_empty=True)
    wait_for(lambda: state_of(job) == "done", "the job is followed")
    part("session").SESSION.tick()
    listed = [item.name for item in bpy.context.window_manager.cloud_farm.jobs]
    shown = [image.name for image in bpy.data.images if image.name.startswith("left")]
    return [frames(folder, "left"), job in listed, shown]


def scene_is_deleted(folder: Path) -> Any:
    """Delete the scene while it renders."""
    scene = make_scene(folder, "deleted", seconds=1)
    bpy.data.scenes.new("Other")
    job = send()
    bpy.data.scenes.remove(scene)
    wait_for(lambda: state_of(job) == "done", "it is rendered all the same")
    return frames(folder, "deleted")


def file_is_moved(folder: Path) -> Any:
    """Move the file away while it renders: frames land where it was."""
    make_scene(folder, "moved", seconds=1)
    job = send()
    (folder / "moved.blend").rename(folder / "elsewhere.blend")
    wait_for(lambda: state_of(job) == "done", "it is rendered all the same")
    return frames(folder, "moved")


def add_on_is_disabled(folder: Path) -> Any:
    """Disable the add-on while a job renders, and enable it again."""
    make_scene(folder, "disabled", seconds=1)
    job = send()
    addon_utils.disable(MODULE, default_set=True)
    addon_utils.enable(MODULE, default_set=True)
    part("session").SESSION.watch("local")
    wait_for(lambda: state_of(job) == "done", "it is found again")
    return frames(folder, "disabled")


def add_on_is_updated(folder: Path) -> Any:
    """Install the next version while a job renders."""
    make_scene(folder, "updated", seconds=1)
    job = send()
    bpy.ops.extensions.package_install_files(filepath=NEXT_ZIP[0], repo="user_default", enable_on_install=True)
    part("session").SESSION.watch("local")
    wait_for(lambda: state_of(job) == "done", "it is found again")
    return [part("cloud_farm.version").VERSION, frames(folder, "updated")]


def factory_settings_are_read(folder: Path) -> Any:
    """Reset Blender to factory settings while a job renders: the add-on goes, and finds the job when it is enabled again."""
    make_scene(folder, "factory", seconds=1)
    job = send()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    is_there = MODULE in bpy.context.preferences.addons
    addon_utils.enable(MODULE, default_set=True)
    part("session").SESSION.watch("local")
    wait_for(lambda: state_of(job) == "done", "it is found again")
    return [is_there, frames(folder, "factory")]


def scene_is_linked(folder: Path) -> Any:
    """Send a scene that is linked from another file."""
    make_scene(folder, "origin").name = "Shot"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(folder / "origin.blend"), link=True) as (_source, wanted):
        wanted.scenes = ["Shot"]
    bpy.context.window.scene = bpy.data.scenes["Shot"]
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "linked.blend"))
    job = send()
    wait_for(lambda: state_of(job) == "done", "it is rendered")
    return frames(folder, "origin")


def scene_has_a_namesake(folder: Path) -> Any:
    """Send a linked scene that is called as a scene of the file itself."""
    make_scene(folder, "namesake").name = "Shot"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.name = "Shot"
    with bpy.data.libraries.load(str(folder / "namesake.blend"), link=True) as (_source, wanted):
        wanted.scenes = ["Shot"]
    bpy.context.window.scene = next(scene for scene in bpy.data.scenes if scene.library)
    try:
        bpy.ops.cloud_farm.send()
    except RuntimeError as error:
        return str(error)
    return ""


def edit_is_undone(folder: Path) -> Any:
    """Send after an Undo, and undo after sending."""
    scene = make_scene(folder, "undone")
    bpy.ops.ed.undo_push(message="Before")
    scene.frame_end = 1
    bpy.ops.ed.undo_push(message="Shorter")
    bpy.ops.ed.undo()
    end = bpy.context.scene.frame_end
    job = send()
    bpy.ops.ed.undo_push(message="After")
    bpy.ops.ed.undo()
    wait_for(lambda: state_of(job) == "done", "it is rendered")
    return [end, frames(folder, "undone")]


def frame_is_rendered_here(folder: Path) -> Any:
    """Send while this Blender itself renders."""
    scene = make_scene(folder, "busy")
    jobs: list[str] = []

    def send_meanwhile(*_arguments: object) -> None:
        bpy.app.handlers.render_pre.remove(send_meanwhile)
        jobs.append(send())

    bpy.app.handlers.render_pre.append(send_meanwhile)
    bpy.ops.render.render(scene=scene.name)
    wait_for(lambda: state_of(jobs[0]) == "done", "it is rendered")
    return frames(folder, "busy")


def job_ends_while_nobody_looks(folder: Path) -> Any:
    """Disable the add-on until a job is over: its frames land when it is enabled again."""
    make_scene(folder, "unseen", seconds=1)
    job = send()
    addon_utils.disable(MODULE, default_set=True)
    records = Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / "cloud-farm" / "jobs" / job / "records"
    deadline = time.monotonic() + desk.PATIENCE_SECONDS
    while len(list(records.rglob("*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = frames(folder, "unseen")
    addon_utils.enable(MODULE, default_set=True)
    part("session").SESSION.watch("local")
    wait_for(lambda: len(frames(folder, "unseen")) == 3, "its frames land")
    wait_for(lambda: not part("session").SESSION.following.jobs, "it is noted")
    moved = [path.rename(folder / path.name) for path in (folder / "unseen").iterdir()]
    part("session").SESSION.refresh("local")
    wait_for(lambda: not part("session").SESSION.client.busy, "the list is fresh")
    return [len(before) < 3, len(moved), frames(folder, "unseen")]


def another_computer_sends(folder: Path) -> Any:
    """Find a job on the volume that another computer began to send."""
    make_scene(folder, "sent")
    job = send()
    jobs = Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / "cloud-farm" / "jobs"
    other = jobs / "theirs-20261130-abc123"
    other.mkdir()
    text = (jobs / job / "job.json").read_text().replace(job, other.name)
    (other / "job.json").write_text(json.dumps({**json.loads(text), "host": "far-away"}))
    session = part("session").SESSION
    session.refresh("local")
    wait_for(lambda: state_of(other.name), "it is listed")
    known = session.job(other.name)
    return [known["state"], part("jobs_panel").messages_of(known, {})]


def saved_by_a_newer_add_on(folder: Path) -> Any:
    """Open what a newer add-on wrote: values and choices that this one does not have."""
    scene = make_scene(folder, "newer")
    stored = scene.cloud_farm
    stored["frames"], stored["device"], stored["holography"] = 99, 99, {"depth": 3}
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(folder / "newer.blend"))
    opened = bpy.context.scene.cloud_farm
    assert (opened.frames, opened.device) == ("", ""), "the choices are none of this add-on's"
    assert opened["holography"]["depth"] == 3, "what the newer one wrote is kept"
    job = send()
    wait_for(lambda: state_of(job) == "done", "it is rendered")
    return frames(folder, "newer")


def scene_is_sent_again_meanwhile(folder: Path) -> Any:
    """Send a scene again, with wider pictures, while it renders: both jobs land in one folder."""
    scene = make_scene(folder, "tweaked", seconds=3)
    scene.frame_end = 5  # the second is on its way before all of them are done
    jobs = {"first": send()}
    wait_for(lambda: frames(folder, "tweaked"), "a frame is here")
    scene.render.resolution_x, scene.cycles.samples = 64, 1
    jobs["second"] = send()
    overlaps = state_of(jobs["first"]) != "done"
    wait_for(lambda: {state_of(job) for job in jobs.values()} == {"done"}, "both are rendered")
    wait_for(lambda: not part("session").SESSION.following.jobs, "all frames are here")
    said = {name: said_of(job) for name, job in jobs.items()}
    bpy.context.window.screen.areas[0].ui_type = "IMAGE_EDITOR"
    widths = {name: [width_of(job, frame) for frame in range(1, 6)] for name, job in jobs.items()}
    return {"overlaps": overlaps, "said": said, "widths": widths, "problem": part("session").SESSION.problem}


def width_of(job: str, frame: int) -> int:
    """Click on a frame of a job; returns how wide the picture is that its image shows then."""
    bpy.ops.cloud_farm.show_frame(job=job, frame=frame)
    wait_for(lambda: not part("session").SESSION.client.busy, "it is shown")
    return int(part("image_viewer")._found(job).size[0])


def said_of(job: str) -> list[str]:
    """Return what the panel says of a job."""
    session = part("session").SESSION
    told = part("jobs_panel").messages_of(session.job(job), session.pictures.get(job, {}))
    return [*told, *part("image_viewer").problems_of(job)]


def frames_are_rubbish(folder: Path) -> Any:
    """Have frames spoilt before the add-on had a turn, and go on with another job."""
    make_scene(folder, "spoilt", seconds=1)
    spoilt = send()
    deadline = time.monotonic() + desk.PATIENCE_SECONDS
    while len(frames(folder, "spoilt")) < 3:  # the worker lands them, whether the add-on listens or not
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for path in (folder / "spoilt").iterdir():
        path.write_bytes(b"rubbish")
    wait_for(lambda: state_of(spoilt) == "done", "it is known")
    make_scene(folder, "sound")
    sound = send()
    wait_for(lambda: state_of(sound) == "done", "the other one is rendered")
    wait_for(lambda: not part("session").SESSION.following.jobs, "its frames are here")
    shown = [image.name for image in bpy.data.images if image.get(part("image_viewer").JOB_MARK)]
    said = [text.replace(str(folder), "") for text in said_of(spoilt)]
    return {"said": said, "sound": said_of(sound), "shown": shown, "listed": states_in_list([spoilt, sound])}


def states_in_list(jobs: list[str]) -> list[str]:
    """Return the states of jobs as Blender's own list has them."""
    return [bpy.context.window_manager.cloud_farm.jobs[job].state for job in jobs]


def output_path_is_invalid(folder: Path) -> Any:
    """Have frames land where no folder can be."""
    scene = make_scene(folder, "invalid")
    (folder / "a file").write_text("")
    scene.render.filepath = "//a file/f_####"
    bpy.ops.cloud_farm.send()
    session = part("session").SESSION
    wait_for(lambda: session.outbox.sending.error, "it is refused")
    said, may = session.outbox.sending.error, session.outbox.sending.can_go_on
    bpy.ops.cloud_farm.dismiss()
    wait_for(lambda: not any(session.folder("snapshots").iterdir()), "what was refused is removed")
    return [said, may]


def farm_asks_for_online_access(_folder: Path) -> Any:
    """Choose a farm over the network while Blender may not go online."""
    bpy.context.preferences.addons[MODULE].preferences.farm = "studio"
    try:
        bpy.ops.cloud_farm.send()
    except RuntimeError as error:
        return str(error)
    finally:
        bpy.context.preferences.addons[MODULE].preferences.farm = "local"
    return ""


ACCIDENTS = (
    blender_renders_in_background, worker_is_killed, worker_is_killed_while_it_sends, worker_is_killed_each_time, check_is_stopped, another_file_is_opened, scene_is_deleted, file_is_moved, add_on_is_disabled,
    saved_by_a_newer_add_on, output_path_is_invalid, farm_asks_for_online_access, scene_is_linked, scene_has_a_namesake, edit_is_undone, frame_is_rendered_here, factory_settings_are_read, add_on_is_updated, job_ends_while_nobody_looks, another_computer_sends,
    scene_is_sent_again_meanwhile, frames_are_rubbish,
)  # fmt: skip


def main(zip_file: str, folder: Path, next_zip: str, *wanted: str) -> dict[str, Any]:
    """Let everything happen, one after the other, or only what is wanted."""
    NEXT_ZIP.append(next_zip)
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    chosen = [accident for accident in ACCIDENTS if not wanted or accident.__name__ in wanted]
    return {accident.__name__: accident(folder) for accident in chosen}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
