"""Tiny scenes, and `render_chunk.py` run on them as the supervisor runs it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .stub_farm import INSIDE, LAUNCHER, StubJob

ATTEMPT = "r1c00001.0123abcd"
_BASE = """
import bpy, sys
from pathlib import Path
out = Path(sys.argv[-1])
bpy.ops.wm.read_homefile(use_factory_startup=True)
scene = bpy.context.scene
scene.name = 'Shot'
scene.render.engine = 'CYCLES'
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 36, 100
scene.cycles.samples = 1
scene.cycles.use_denoising = False
camera = scene.camera
bpy.ops.wm.save_as_mainfile(filepath=str(out))
"""
_SAVE = "\nbpy.ops.wm.save_as_mainfile(filepath=str(out))\n"


@dataclass(frozen=True)
class Ran:
    """How a chunk ended."""

    code: int
    output: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith('{"cloud_farm":')]
        return [line for line in lines if line["cloud_farm"] == kind]

    def fatal(self) -> dict[str, Any]:
        return self.events("fatal")[-1]


def run_inside(script: Path, *arguments: str, env: dict[str, str] | None = None, log: Path | None = None) -> Ran:
    """Run a script in a Blender of its own; `log` is what the supervisor would keep."""
    command = [*LAUNCHER, "-b", "--factory-startup", "--disable-autoexec", "--python", str(script), "--", *arguments]
    log = log or script.with_suffix(".log")
    # Blender's own temporary folder lies where the test's files go.
    environment = {**os.environ, "TMPDIR": str(log.parent), **(env or {})}
    with open(log, "wb") as stream:
        done = subprocess.run(command, env=environment, stdout=stream, stderr=stream, timeout=240, check=False)
    return Ran(done.returncode, log.read_text(errors="replace"))


def make_job(base: Path, change: str = "", frames: str = "1", **settings: Any) -> StubJob:
    """A job whose scene is already prepared; `change` is Python that sees `scene`, `camera` and `out`."""
    job = StubJob(base, frames)
    job.settings.update(settings)
    job.write()
    script = base / "build.py"
    script.write_text(_BASE + change + _SAVE, encoding="utf-8")
    job.paths.scene.mkdir(parents=True)
    built = run_inside(script, str(job.paths.scene / "shot.blend"))
    assert built.code == 0, built.output
    return job


def render(job: StubJob, frames: str = "1", *, camera: str = "", before: str = "", scratch: Path | None = None) -> Ran:
    """Render frames; `before` is Python that runs first in the same Blender, to fake what is not there."""
    scratch = scratch or job.base / "scratch"
    scratch.mkdir(exist_ok=True)
    log = job.base / "render.log"
    script = INSIDE / "render_chunk.py"
    if before:
        script = job.base / "before.py"
        inside = f"import runpy, sys\nsys.path.insert(0, {str(INSIDE)!r})\n"
        script.write_text(
            f"{inside}{before}\nrunpy.run_path({str(INSIDE / 'render_chunk.py')!r}, run_name='__main__')\n",
            encoding="utf-8",
        )
    arguments = ["--root", str(job.root), "--job", job.job, "--revision", "1", "--chunk", "r1c00001"]
    env = {"CLOUD_FARM_LOG": str(log), "CLOUD_FARM_SCRATCH": str(scratch), "CLOUD_FARM_THREADS": "2"}
    env |= {"GLOG_logtostderr": "1", "GLOG_vmodule": "session=2"}
    return run_inside(
        script, *arguments, "--camera", camera, "--attempt", ATTEMPT, f"--frames={frames}", env=env, log=log
    )
