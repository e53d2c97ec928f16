"""The same scene submitted twice through a real FileBrowser: what the second time sends, and how long it takes.

uv run python benchmarks/bench_store_again.py [--textures 2000] [--mib 1024] [--latency-ms 0]

The first step of a submission is always Blender reading the scene; the time without it is what we are answerable for.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from cloud_farm import RenderJob
from cloud_farm.blender import find_blender, probe
from cloud_farm.events import Event, Stage
from cloud_farm.sending import send
from cloud_farm.submission import prepared
from store_bench import Bench, Line, arguments, bench, random_file

_BUILD = """
import bpy, sys
from pathlib import Path
target, folder = map(Path, sys.argv[-2:])
bpy.ops.wm.read_homefile(use_factory_startup=True)
bpy.ops.wm.save_as_mainfile(filepath=str(target))
material = bpy.data.objects["Cube"].data.materials[0]
material.use_nodes = True
for path in sorted(folder.iterdir()):
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path))
bpy.ops.file.make_paths_relative()
bpy.ops.wm.save_mainfile()
"""


class Clock:
    """Notes when each stage of a submission began."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Stage):
            self.stages.append((event.stage, time.perf_counter()))

    def seconds(self, name: str) -> float:
        """How long a stage took, until the next one began."""
        ends = [*(at for _, at in self.stages[1:]), time.perf_counter()]
        return sum(end - at for (stage, at), end in zip(self.stages, ends, strict=True) if stage == name)


def build(folder: Path, textures: int, mib: int) -> Path:
    """Make a scene that links so many files."""
    size = (mib << 20) // textures
    for number in range(textures):
        random_file(folder / "textures" / f"{number:05d}.exr", size)
    scene, script = folder / "scene.blend", folder / "build.py"
    script.write_text(_BUILD)
    command = [*find_blender().argv, "-b", "--python-exit-code", "10", "--python", str(script), "--", str(scene)]
    subprocess.run(
        [*command, str(folder / "textures")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return scene


def submit(made: Bench, line: Line, scene: Path, title: str) -> None:
    """Submit the scene up to the moment from which it runs, and print what that took."""
    clock, before, begin = Clock(), line.traffic(), time.perf_counter()
    profile, store = made.profile(line.url, mount_path=str(made.server.root)), made.store(line.url)
    with prepared(RenderJob(str(scene)), profile, scene_file=scene, on_event=clock) as ready:
        assets = ready.pack.assets()
        send(ready, store, on_event=clock)
    spent, passed = time.perf_counter() - begin, line.traffic().since(before)
    stages = {name: clock.seconds(name) for name in dict.fromkeys(name for name, _ in clock.stages)}
    shown = ", ".join(f"{name} {taken:.2f}" for name, taken in stages.items())
    reading = stages.get("probing", 0.0) + stages.get("reading", 0.0)
    print(
        f"{title}: {len(assets)} files, {spent - reading:.2f} s and {reading:.2f} s of Blender reading, {passed.requests} requests,"
        f" {passed.bytes_up / 1e6:.3f} MB up, {passed.bytes_down / 1e6:.3f} MB down ({shown})"
    )


def main() -> None:
    """Print a line for each submission."""
    options = arguments(textures=2000, mib=1024, latency_ms=0)
    with bench(options.folder) as made:
        print(f"Blender {probe(find_blender()).version}, {options.latency_ms} ms of a round trip")
        scene = build(made.folder / "project", options.textures, options.mib)
        time.sleep(2.5)  # a file that has just been written is not remembered
        with made.line(latency_s=options.latency_ms / 2000) as line:
            submit(made, line, scene, "first time")
            submit(made, line, scene, "second time")


if __name__ == "__main__":
    main()
