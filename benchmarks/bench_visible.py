"""How long it takes from a frame's record on the volume to its picture in Blender, in seconds, against the store's own pace of looking.

uv run python benchmarks/bench_visible.py [--frames 20] [--pause 2.7] [--stores filebrowser folder] [--folder DIR]

For a farm behind a real FileBrowser and for one whose volume is a folder. One frame after the other gets its record; a frame is
seen when it is in `bpy.data.images` and every Image Editor was told.
"""

from __future__ import annotations

from addon_bench import arguments, drive, farm, percentile, work_folder
from cloud_farm.profile import load_profile
from cloud_farm.stores import open_store

_GOAL = 10.0


def main() -> None:
    """Measure and print."""
    words = arguments(frames=20, pause=2.7)
    for store in words.stores:
        with work_folder(words.folder) as folder, farm(folder, store=store) as volume:
            pace = open_store(load_profile(str(folder / "home" / "farms" / "bench.yaml"))).poll_seconds
            plan = {"mebibytes": 0, "frames": words.frames, "pause": words.pause, "volume": str(volume)}
            late = drive(folder, plan, wheels=words.wheels)["late"]
        middle, most = percentile(late, 0.5), max(late)
        print(
            f"{store:<12} {len(late)} frames  min {min(late):5.2f}  median {middle:5.2f}  max {most:5.2f} s; the store is looked at every"
            f" {pace:g} s: {middle / pace:5.2f}x; goal {_GOAL:g} s: {most / _GOAL:5.2f}x"
        )


if __name__ == "__main__":
    main()
