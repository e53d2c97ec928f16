"""One and two workers of ours against bare Blender that renders the same animation in one process: time per frame, ratio.

uv run python benchmarks/bench_render.py [--frames 24] [--percentage 50] [--samples 8]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from cloud_farm import RenderJob, open_farm
from cloud_farm.blender import Launcher, find_blender, probe, run_script

_BARE = """
import bpy, sys
blend, output, frames, percentage, samples = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.open_mainfile(filepath=blend)
scene = bpy.context.scene
scene.render.resolution_percentage, scene.cycles.samples = int(percentage), int(samples)
scene.frame_end, scene.render.filepath = int(frames), output
bpy.ops.render.render(animation=True)
"""


def bare(launcher: Launcher, scene: Path, folder: Path, options: argparse.Namespace) -> float:
    """Render the animation in one plain Blender, start included; seconds."""
    script = folder / "bare.py"
    script.write_text(_BARE)
    words = [
        str(scene),
        str(folder / "bare" / "f_####"),
        str(options.frames),
        str(options.percentage),
        str(options.samples),
    ]
    begin = time.perf_counter()
    command = [*launcher.argv, "-b", "--factory-startup", "--python", str(script), "--", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def ours(scene: Path, folder: Path, options: argparse.Namespace, workers: int) -> float:
    """Render the same on the local farm, from the submit's end to the last landed frame; seconds."""
    farm = open_farm(flags={"limits.workers": workers, "volume.mount_path": str(folder / f"volume{workers}")})
    job = RenderJob(
        str(scene),
        frames=f"1-{options.frames}",
        chunk_size=-(-options.frames // workers),
        percentage=options.percentage,
        samples=options.samples,
        landing=str(folder / f"ours{workers}" / "f_####"),
    )
    made = farm.submit(job)
    begin = time.perf_counter()
    status = farm.follow(made.job_id, poll_seconds=0.1)
    assert status.state == "done", status.messages
    return time.perf_counter() - begin


def main() -> None:
    """Print seconds per frame and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--percentage", type=int, default=50)
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    launcher = find_blender()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Blender {probe(launcher).version}, {options.frames} frames")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["CLOUD_FARM_HOME"] = str(folder / "home")
        scene = folder / "demo.blend"
        run_script(launcher, "demo_scene.py", ["--output", str(scene)], timeout=300)
        anchor = bare(launcher, scene, folder, options) / options.frames
        print(f"bare Blender   {anchor:6.3f} s a frame")
        for workers in (1, 2):
            spent = ours(scene, folder, options, workers) / options.frames
            print(
                f"{workers} worker{'s' if workers > 1 else ' '}      {spent:6.3f} s a frame   {spent / anchor:5.2f}x bare Blender"
            )


if __name__ == "__main__":
    main()
