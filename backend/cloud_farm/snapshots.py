"""Snapshots: a scene as it was when the artist sent it, in a folder that outlives Blender until the job is on the farm."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SchemaError
from .frames import FrameRange
from .json_data import from_json
from .platform import FileLock, put_text

if TYPE_CHECKING:
    from .events import CancelToken, Listener
    from .farm import Farm
    from .job import RenderJob
    from .plan import RenderPlan

SNAPSHOT = "snapshot.json"
"""What makes a folder a snapshot of ours: {farm, source, job, home, images}, `source` of what it is a copy, `home` the folder of
the artist's own file or empty, `images` names of painted images to their files in the snapshot."""
HOLD = "hold"
"""A file in a snapshot that waits for the artist's word: it is not sent by itself."""
_JOB_ID = "job_id"
_HOLD_SECONDS = 86400.0
_HALF_SECONDS = 86400.0
_OURS = re.compile(r"[0-9a-f]{32}")
"""How the add-on calls the folders that it makes."""
_REPOINT_SECONDS = 1800.0


@dataclass(frozen=True)
class Snapshot:
    """A scene as it was when the artist sent it.

    Attributes:
        home: What `//` in its output paths means.
    """

    farm: Farm
    job: RenderJob
    home: Path
    images: Mapping[str, str]

    def prepare(self, *, allow_scripts: bool, on_event: Listener, cancel: CancelToken) -> AbstractContextManager[Any]:
        """Pack and plan it and send nothing; as `Farm.prepare`."""
        return self.farm.prepare(
            self.job, allow_scripts=allow_scripts, home=self.home, on_event=on_event, cancel=cancel
        )

    def make_whole(self, cancel: CancelToken) -> None:
        """Have the scene's copy use the pictures beside it; doing it again changes nothing."""
        if not self.images:
            return
        from .blend_file import written_by
        from .blender import find_blender, run_script

        scene_file = Path(self.job.scene_file)
        launcher = find_blender(self.farm.profile.blender or None, file_version=written_by(scene_file))
        arguments = ["--scene-file", str(scene_file), "--images", json.dumps(dict(self.images))]
        run_script(launcher, "repoint_images.py", arguments, timeout=_REPOINT_SECONDS, cancel=cancel)


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        SchemaError: The folder is none.
    """
    from .farm import open_farm
    from .job import RenderJob

    path = folder / SNAPSHOT
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        farm, fields = str(data["farm"]), data["job"]
        home = Path(data.get("home") or Path.home())
        images = {str(name): str(folder / file) for name, file in (data.get("images") or {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"{path} is no snapshot of a scene ({error}). Send the scene again.", path=str(path)
        ) from error
    return Snapshot(open_farm(farm), from_json(RenderJob, fields, where=str(path)), home, images)


def job_id_of(folder: Path, job: RenderJob) -> str:
    """Return the id of the job that a snapshot becomes: drawn once and kept with it, so that sending it again is one job."""
    from .job import new_job_id
    from .layout import is_job_id

    path = folder / _JOB_ID
    known = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
    if is_job_id(known):
        return known
    job_id = new_job_id(job.title)
    put_text(path, job_id)
    return job_id


def sending_lock(folder: Path) -> FileLock:
    """Return what is held by who sends a snapshot."""
    return FileLock(folder / "sending.lock")


def remove_snapshot(folder: Path) -> None:
    """Remove a snapshot; a folder that is none stays, and so does one that somebody is sending."""
    lock = sending_lock(folder)
    if not (folder / SNAPSHOT).is_file() or not lock.acquire():
        return
    (folder / SNAPSHOT).unlink(missing_ok=True)  # from here on it is none
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)  # what a virus scanner holds goes with `_remove_halves`


def waiting_snapshots(below: Path) -> list[dict[str, Any]]:
    """List the snapshots that were not sent to the end: Blender was closed, or the farm was away.

    Those that are `held` are being sent: by another Blender, or by the worker of one that just ends. What can't be sent any more
    is removed: nobody gave the word for it, or it was never saved to its end.
    """
    found = []
    _remove_halves(below)
    for path in sorted(below.glob(f"*/{SNAPSHOT}")):
        if path.with_name(HOLD).exists():
            if time.time() - path.with_name(HOLD).stat().st_mtime > _HOLD_SECONDS:
                remove_snapshot(path.parent)  # nobody came back to it
            continue
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            farm, title = str(data["farm"]), str(data["job"].get("name", ""))
            source = str(data.get("source", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # it can't be sent; nobody else's business either
        is_held = sending_lock(path.parent).is_held()
        found.append({"snapshot": str(path.parent), "farm": farm, "title": title, "source": source, "held": is_held})
    return found


def _remove_halves(below: Path) -> None:
    """Remove copies that a Blender was killed over while it saved them, and what was left when one was removed."""
    for folder in [folder for folder in below.glob("*") if _OURS.fullmatch(folder.name) and folder.is_dir()]:
        if (folder / SNAPSHOT).exists() or sending_lock(folder).is_held():
            continue
        with contextlib.suppress(OSError):  # somebody else removes it
            touched = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - touched > _HALF_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def scout_frames(plan: RenderPlan) -> str:
    """Return the first, the middle and the last frame of a plan."""
    frames = sorted({frame for chunk in plan.chunks for frame in chunk.frames})
    return str(FrameRange.of({frames[0], frames[len(frames) // 2], frames[-1]}))
