"""Runs in a Blender of its own: an artist who opens jobs that somebody evil put on the farm's volume.

python -I hostile.py ZIP FOLDER ; prints one JSON object, job → what came of it
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
ESCAPED = "escaped"
"""In the name of everything that is not to come into being."""


def evil_job(kind: str, edit: Callable[[Path], None]) -> str:
    """Put a copy of the finished job on the volume, as an edited one; returns its id."""
    jobs = Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / "cloud-farm" / "jobs"
    (good,) = [path for path in jobs.iterdir() if path.name.startswith("good-")]
    made = jobs / f"{kind}-20261130-abc123"
    shutil.copytree(good, made)
    for path in made.rglob("*.json"):
        path.write_text(path.read_text().replace(good.name, made.name))
    edit(made)
    return made.name


def frame_names_that_lead_out(job: Path) -> None:
    """Have records name files outside of the frames' folder, which are there."""
    block = next((job / "frames" / "r1").iterdir())
    names = ("../../../escaped.png", str(job.parents[3] / "escaped.png"), "escaped\u202egnp.png")
    for record, name in zip(sorted((job / "records" / "r1").rglob("*.json")), names, strict=True):
        data = json.loads(record.read_text())
        file = data["files"][0]
        if name.startswith(".."):
            shutil.copy(block / file["path"], block / name)
        file["path"] = name
        record.write_text(json.dumps(data))


def a_job_that_lies(job: Path) -> None:
    """Have its job.json name paths and commands; the scene is to be made anew from it."""
    marker = str(job.parents[3] / ESCAPED)
    data = json.loads((job / "job.json").read_text())
    data["job"] |= {"landing": "../../escaped/f_####", "name": "../../escaped", "scene_file": "../../escaped.blend"}
    data["pack"]["files"][0]["path"] = "../../escaped.blend"
    data |= {"command": ["touch", marker], "hooks": {"before": f"touch {marker}"}}
    data["blender"] |= {"program": f"touch {marker}", "hash": f"$(touch {marker})"}
    (job / "job.json").write_text(json.dumps(data))
    shutil.rmtree(job / "scene")
    (job / "scene.ready").unlink()


def look_at(job: str) -> dict[str, Any]:
    """Do with a job what an artist does: view, read the logs, render again; returns what was said."""
    session = desk.part("session").SESSION
    said = set()

    def settle() -> None:
        desk.wait_for(lambda: not session.client.busy, "it is answered")
        known = session.job(job) or {"message": ""}
        said.update(desk.part("jobs_panel").messages_of(known, session.pictures.get(job, {})))
        said.update(filter(None, [session.problem]))
        session.problem = ""

    session.refresh("local")
    settle()
    listed = [known["title"] for known in session.jobs if known["id"] == job]

    def view() -> None:
        session.ask_for_frames(job, "local")

    def follow() -> None:
        session.following.begin(job, "local")

    def read_logs() -> None:
        session.ask_for_logs(job, "local")

    def render_again() -> None:
        session.render_again(job, "local", "1")

    for act in (view, follow, read_logs, render_again, follow):
        act()
        settle()
    return {"listed": listed, "said": sorted(said)}


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Render one good job, then open the evil ones."""
    os.environ["HOME"] = str(folder / "home of the artist")
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    desk.make_scene(folder, "good")
    good = desk.send()
    desk.wait_for(lambda: desk.state_of(good) == "done", "the good one is rendered")
    evil = {
        edit.__name__: evil_job(kind, edit)
        for kind, edit in (("names", frame_names_that_lead_out), ("lies", a_job_that_lies))
    }
    known = set(folder.parent.rglob(f"*{ESCAPED}*"))
    found: dict[str, Any] = {kind: look_at(job) for kind, job in evil.items()}
    found["escaped"] = [str(path) for path in set(folder.parent.rglob(f"*{ESCAPED}*")) - known]
    found["landed"] = sorted(path.name for path in (folder / "home of the artist").rglob("*") if path.is_file())
    found["images"] = [image.filepath for image in bpy.data.images if ESCAPED in image.filepath]
    return found


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
