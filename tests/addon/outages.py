"""Runs in a Blender of its own: an artist whose farm is behind a FileBrowser, and what may be wrong with the way there.

python -I outages.py ZIP FOLDER PLACE [OUTAGE…] ; prints one JSON object, outage → what came of it. PLACE is a JSON file: {url, root,
user, password, tls: {url, ca}, next_zip}.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import addon_utils  # isort: skip - Python finds it only once there is bpy

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
desk: Any = importlib.import_module("desk")
MODULE, part, wait_for, make_scene = desk.MODULE, desk.part, desk.wait_for, desk.make_scene
FaultProxy: Any = importlib.import_module("tests.rigs.fault_proxy").FaultProxy
MIB = 1 << 20
SLOW = MIB  # bytes a second
SIDE = 1024  # of a picture that takes some seconds of a slow line


class Studio:
    """A farm behind the FileBrowser, with a folder of its own there.

    Attributes:
        name: Of the farm, of the scene, and of the folder.
        root: The farm's volume, on the server's disk.
    """

    place: dict[str, Any]

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.root = Path(self.place["root"]) / name
        self.root.mkdir()
        self._secret = folder / f"{name}.password"
        self.settings: dict[str, Any] = {"user": self.place["user"], "password": {"file": str(self._secret)}}
        self.know(self.place["password"])
        self.settle(self.place["url"])
        bpy.context.preferences.addons[MODULE].preferences.farm = name

    def know(self, password: str) -> None:
        """Keep a password for it."""
        self._secret.write_text(password)

    def settle(self, url: str, **settings: Any) -> None:
        """Say where it is."""
        self.settings |= {"url": url, **settings}
        profile = {
            "schema": 1,
            "engine": "local",
            "store": "filebrowser",
            "volume": {"mount_path": str(self.root), "store_prefix": self.name},
            "limits": {"workers": 1},
            "filebrowser": self.settings,
        }
        path = Path(os.environ["CLOUD_FARM_HOME"]) / "farms" / f"{self.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile))  # JSON is YAML

    @property
    def jobs(self) -> list[str]:
        """The jobs on its volume."""
        return sorted(path.name for path in self.root.glob("cloud-farm/jobs/*"))

    def has_rendered(self) -> bool:
        """Whether a job is done, as far as the add-on knows."""
        return any(job["state"] == "done" and job["farm"] == self.name for job in session().jobs)

    def outcome(self) -> dict[str, Any]:
        """Wait for the frames; returns what is there then."""
        wait_for(self.has_rendered, f"{self.name} is rendered")
        wait_for(lambda: not list(session().folder("snapshots").iterdir()), "the copy is removed")
        # While its line is there: it would be asked for again and again beside the outages that follow.
        wait_for(lambda: not {*self.jobs} & {*session().following.jobs}, "nothing more is to be brought")
        return {"jobs": len(self.jobs), "frames": desk.frames(self.folder, self.name), "problem": session().problem}


def session() -> Any:
    """Return what the add-on knows now."""
    return part("session").SESSION


def sending() -> Any:
    """Return what is on its way."""
    return session().outbox.sending


def begin(*, heavy: bool = False, name: str, folder: Path) -> None:
    """Send a new scene, with a picture that takes its time if wanted."""
    make_scene(folder, name)
    if heavy:
        image = bpy.data.images.new("noise", SIDE, SIDE)
        image.pixels.foreach_set(np.random.default_rng(1).random(SIDE * SIDE * 4, dtype=np.float32))
        image.pack()
        image.use_fake_user = True
    bpy.ops.cloud_farm.send()


@contextmanager
def slow_line(studio: Studio) -> Iterator[Any]:
    """Send a heavy scene over a line that is slow; runs the block in the middle of it."""
    with FaultProxy(studio.place["url"]) as line:
        line.bytes_per_second = SLOW
        studio.settle(line.url)
        begin(heavy=True, name=studio.name, folder=studio.folder)
        wait_for(lambda: line.bytes_up > MIB, "it is under way")
        yield line


def password_is_wrong(folder: Path) -> Any:
    """Have a wrong password, be told, mend it and try again."""
    studio = Studio("wrong", folder)
    studio.know("a password that nobody has")
    begin(name="wrong", folder=folder)
    wait_for(lambda: sending().error, "it is refused")
    said, sent = sending().error, len(studio.jobs)
    studio.know(studio.place["password"])
    bpy.ops.cloud_farm.send_again()
    return {"said": said, "sent": sent, **studio.outcome()}


def authority_is_unknown(folder: Path) -> Any:
    """Have a farm whose certificate nobody signed whom this computer knows."""
    studio = Studio("unknown", folder)
    studio.settle(studio.place["tls"]["url"])
    begin(name="unknown", folder=folder)
    wait_for(lambda: sending().error, "it is refused")
    said = sending().error
    studio.settle(studio.place["tls"]["url"], ca_file=studio.place["tls"]["ca"])
    bpy.ops.cloud_farm.send_again()
    return {"said": said, **studio.outcome()}


def line_breaks(folder: Path) -> Any:
    """Lose the farm for some seconds in the middle of an upload."""
    studio = Studio("breaks", folder)
    with slow_line(studio) as line:
        line.refuse = True
        line.reset_connections()
        refused_at = time.monotonic()
        wait_for(lambda: time.monotonic() - refused_at > 2, "a while")
        error = sending().error
        line.refuse, line.bytes_per_second = False, 0
        return {"error": error, **studio.outcome()}


def farm_is_away(folder: Path) -> Any:
    """Send while the farm is away: it is sent by itself when it is back, nobody presses anything."""
    studio = Studio("away", folder)
    with FaultProxy(studio.place["url"]) as line:
        studio.settle(line.url)
        line.refuse = True
        begin(name="away", folder=folder)
        wait_for(lambda: sending().error, "it is told")
        said = sending().error
        line.refuse = False
        return {"said": said, **studio.outcome()}


def other_frames_are_sent_meanwhile(folder: Path) -> Any:
    """Send a scene and other frames of it while the farm is away, then check it: both are sent by themselves."""
    studio = Studio("both", folder)
    with FaultProxy(studio.place["url"]) as line:
        studio.settle(line.url)
        line.refuse = True
        begin(name="both", folder=folder)
        wait_for(lambda: sending().error, "it is told")
        bpy.context.scene.frame_start, bpy.context.scene.frame_end = 4, 5
        bpy.ops.cloud_farm.send()
        wait_for(lambda: sending().error, "it is told again")
        line.refuse = False
        bpy.ops.cloud_farm.check()
        wait_for(lambda: sending().result is not None, "it is checked")
        everything = [f"f_{frame:04d}.png" for frame in range(1, 6)]
        wait_for(lambda: desk.frames(folder, "both") == everything, "all frames are here")
        found = {"result can still be read": sending().result is not None, **studio.outcome()}
        session().outbox.dismiss()
        return found


def online_access_is_taken_back(folder: Path) -> Any:
    """Forbid online access in the middle of an upload, and allow it again."""
    studio = Studio("offline", folder)
    with slow_line(studio) as line:
        allow_online(False)
        wait_for(lambda: sending().error, "it stops")
        said, is_busy = sending().error, session().outbox.is_busy
        before, begun = (line.connections, line.bytes_up), time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 2, "a while")
        silent = before == (line.connections, line.bytes_up)
        line.bytes_per_second = 0
        allow_online(True)
        return {"said": said, "is busy": is_busy, "silent": silent, **studio.outcome()}


def allow_online(wanted: bool) -> None:
    """Do as the artist does in the preferences."""
    bpy.context.preferences.system.use_online_access = wanted


def add_on_is_disabled(folder: Path) -> Any:
    """Disable the add-on in the middle of an upload, and enable it again."""
    studio = Studio("disabled", folder)
    with slow_line(studio) as line:
        addon_utils.disable(MODULE, default_set=True)
        line.bytes_per_second = 0
        addon_utils.enable(MODULE, default_set=True)
        bpy.context.preferences.addons[MODULE].preferences.farm = "disabled"
        return studio.outcome()


def add_on_is_updated(folder: Path) -> Any:
    """Install the next version in the middle of an upload."""
    studio = Studio("updated", folder)
    with slow_line(studio) as line:
        bpy.ops.extensions.package_install_files(
            filepath=studio.place["next_zip"], repo="user_default", enable_on_install=True
        )
        line.bytes_per_second = 0
        return {"version": part("cloud_farm.version").VERSION, **studio.outcome()}


def worker_dies_after_submitting(folder: Path) -> Any:
    """Lose the worker after the farm took the job and before the scene's copy is removed."""
    studio = Studio("twice", folder)
    begin(name="twice", folder=folder)
    (snapshot,) = session().folder("snapshots").iterdir()
    wait_for(lambda: (snapshot / "job_id").is_file(), "the job has its id")
    kept = folder / "the scene's copy"
    shutil.copytree(snapshot, kept)
    first = studio.outcome()
    job, *_ = studio.jobs
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "twice").iterdir()}
    kept.rename(snapshot)
    addon_utils.disable(MODULE, default_set=True)
    addon_utils.enable(MODULE, default_set=True)
    bpy.context.preferences.addons[MODULE].preferences.farm = "twice"
    again = studio.outcome()
    same = times == {path.name: path.stat().st_mtime_ns for path in (folder / "twice").iterdir()}
    return {"first": first, "again": again, "same job": studio.jobs == [job], "same frames": same}


def blender_is_closed(folder: Path) -> Any:
    """Be killed in the middle of an upload; the next start is `blender_is_started_again`."""
    studio = Studio("closed", folder)
    bpy.ops.wm.save_userpref()
    with slow_line(studio):
        os.kill(os.getpid(), signal.SIGKILL)


def blender_is_started_again(folder: Path) -> Any:
    """Start again: what was left waits for leave to go online, and then goes on."""
    studio = Studio.__new__(Studio)
    studio.name, studio.folder, studio.root = "closed", folder, Path(Studio.place["root"]) / "closed"
    secret = {"file": str(folder / "closed.password")}
    studio.settings = {"user": studio.place["user"], "password": secret}
    studio.settle(studio.place["url"])
    allow_online(False)
    wait_for(lambda: sending() is not None and sending().error, "it is found")
    said = sending().error
    allow_online(True)
    return {"said": said, **studio.outcome()}


OUTAGES = (
    password_is_wrong, authority_is_unknown, line_breaks, farm_is_away, online_access_is_taken_back, add_on_is_disabled,
    worker_dies_after_submitting, add_on_is_updated, other_frames_are_sent_meanwhile,
)  # fmt: skip
ALONE = (blender_is_closed, blender_is_started_again)
"""These take a Blender each."""


def main(zip_file: str, folder: Path, place: Path, *wanted: str) -> dict[str, Any]:
    """Let everything happen, one after the other, or only what is wanted."""
    Studio.place = json.loads(place.read_text())
    if "blender_is_started_again" in wanted:
        desk.start()
    else:
        bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    allow_online(True)
    chosen = [
        outage for outage in (*OUTAGES, *ALONE) if outage.__name__ in wanted or (not wanted and outage in OUTAGES)
    ]
    return {outage.__name__: outage(folder) for outage in chosen}


if __name__ == "__main__":
    importlib.import_module("answering").answer(
        lambda: main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
    )
