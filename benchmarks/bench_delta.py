"""One object moved in a large .blend, saved in another session of Blender: bytes that must be sent, and the time to find out.

uv run python benchmarks/bench_delta.py [--megabytes 500]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from cloud_farm.blender import Launcher, find_blender, probe
from cloud_farm.delta import SMALLEST
from cloud_farm.hashing import packed_files
from cloud_farm.job import PackedFile
from cloud_farm.tracing import TracedFile

_BUILD = """
import bpy, numpy, os, sys
target, wanted = sys.argv[-2], int(sys.argv[-1])
bpy.ops.wm.read_homefile(use_factory_startup=True)
draw = numpy.random.default_rng(1)
number = 0
while not os.path.exists(target) or os.path.getsize(target) < wanted:
    for _ in range(5):
        bpy.ops.mesh.primitive_grid_add(x_subdivisions=300, y_subdivisions=300, location=(number, 0, 0))
        mesh = bpy.context.object.data
        places = numpy.empty(len(mesh.vertices) * 3, dtype='f4')
        mesh.vertices.foreach_get('co', places)
        mesh.vertices.foreach_set('co', places + draw.random(len(places), dtype='f4') * 0.01)
        for _ in range(10):
            bpy.ops.mesh.primitive_uv_sphere_add(location=(number, 5, 0))
            bpy.context.object.data.materials.append(bpy.data.materials.new('Material'))
        number += 1
    image = bpy.data.images.new('Noise', 1024, 1024)
    image.pixels.foreach_set(draw.random(1024 * 1024 * 4, dtype='f4'))
    image.pack()
    bpy.ops.wm.save_as_mainfile(filepath=target, compress=False)
"""
_EDIT = """
import bpy, sys
source, target, compress = sys.argv[-3:]
bpy.ops.wm.open_mainfile(filepath=source)
bpy.data.objects['Grid.001'].location.z += 1.5
bpy.ops.wm.save_as_mainfile(filepath=target, compress=compress == 'zstd')
"""


def run_blender(launcher: Launcher, folder: Path, code: str, *words: str) -> None:
    """Run Python in a Blender of its own."""
    script = folder / "script.py"
    script.write_text(code)
    command = [*launcher.argv, "-b", "--python-exit-code", "10", "--python", str(script), "--", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pack(path: Path, folder: Path) -> tuple[PackedFile, float]:
    """Cut and hash a scene as a submission does; (its entry, seconds)."""
    begin = time.perf_counter()
    traced = [TracedFile(path, path.name)]
    (folder / "work").mkdir(exist_ok=True)
    [entry] = packed_files(traced, workdir=folder / "work", pieces_from=SMALLEST, cache=folder / "hashes.sqlite")
    return entry, time.perf_counter() - begin


def sha256sum(path: Path) -> float:
    """Seconds that the anchor takes for the same file."""
    begin = time.perf_counter()
    subprocess.run(["sha256sum", str(path)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Print bytes sent and times for the first upload, the edits, and an unchanged scene."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=500)
    wanted = parser.parse_args().megabytes * 10**6
    launcher = find_blender()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Blender {probe(launcher).version}; seconds: cut and hash, and sha256sum"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene, moved, packed = (folder / f"{word}.blend" for word in ("scene", "moved", "moved_zstd"))
        run_blender(launcher, folder, _BUILD, str(scene), str(wanted))
        run_blender(launcher, folder, _EDIT, str(scene), str(moved), "plain")
        run_blender(launcher, folder, _EDIT, str(scene), str(packed), "zstd")
        time.sleep(2.5)  # a file that has just been written is not remembered
        known: set[str] = set()
        for label, path in (
            ("first upload", scene),
            ("one object moved", moved),
            ("the same as zstd", packed),
            ("unchanged", moved),
        ):
            anchor = sha256sum(path)
            entry, seconds = pack(path, folder)
            new = {part.sha256: part.size for part in entry.assets() if part.sha256 not in known}
            known |= new.keys()
            sent = sum(new.values())
            print(
                f"{label:<18} {path.stat().st_size / 1e6:7.1f} MB  sent {sent / 1e6:7.2f} MB in {len(new):4} assets = {sent / entry.size:8.3%}"
                f"   {seconds:6.2f} s, anchor {anchor:5.2f} s: {seconds / anchor:5.2f}x"
            )


if __name__ == "__main__":
    main()
