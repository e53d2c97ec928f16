"""Planning and status for many frames: linear, in milliseconds. Prints the ratio of each size to the one before it.

uv run python benchmarks/bench_plan.py [--sizes 1000 10000 100000]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from cloud_farm.job import JobPack, PackedFile, RenderJob, SceneFacts, SceneInfo
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan, Toolchain, plan
from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume
from cloud_farm.stores.folder import FolderStore
from cloud_farm.tracking import JobTracker

JOB = "bench-20261123-abc123"
TOOLS = Toolchain("4.5.15", ("python3",), ("blender",), {"render_chunk.py": "00"})
PROFILE = FarmProfile("local", volume=Volume(mount_path="/farm"), gpu=Gpu(device="cpu"), limits=Limits(workers=2))
SCENE = SceneInfo("S", 1, 9, 1, 24.0, "CYCLES", ("C",), "C", (), ("V",), (64, 36), "//x_", "PNG", False)
PACK = JobPack("s.blend", (PackedFile("s.blend", Path("s.blend"), 1, "0" * 64),), SceneFacts("4.5.15", (SCENE,), "S"))


def best(action: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of a few runs, seconds."""
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def make_plan(frames: int) -> RenderPlan:
    """Plan a job of that many frames."""
    return plan(RenderJob("s.blend", frames=f"1-{frames}"), PACK, PROFILE, JOB, tools=TOOLS)


def fill(root: Path, frames: int) -> FolderStore:
    """Lay out a job whose frames are all recorded."""
    store = FolderStore(root)
    layout = JobLayout(JOB)
    store.put(make_plan(frames).content, layout.plan(1))
    for frame in range(1, frames + 1):
        path = root / PurePosixPath(layout.record(1, None, frame))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": 1}))
    return store


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    sizes = parser.parse_args().sizes
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; best of 3, milliseconds")
    before: tuple[int, float] | None = None
    for frames in sizes:
        planned = best(lambda frames=frames: make_plan(frames))  # type: ignore[misc]
        with tempfile.TemporaryDirectory() as folder:
            store = fill(Path(folder), frames)
            first = best(lambda store=store: JobTracker(store, JOB).refresh((1,)))  # type: ignore[misc]
            tracker = JobTracker(store, JOB)
            tracker.refresh((1,))
            time.sleep(3.5)  # until no folder counts as just changed
            tracker.refresh((1,))
            again = best(lambda tracker=tracker: tracker.refresh((1,)))  # type: ignore[misc]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        growth = f", per frame {planned / frames / (before[1] / before[0]):.2f}x the size before" if before else ""
        print(
            f"{frames:>7} frames: plan {planned * 1e3:8.1f}  first status {first * 1e3:8.1f}"
            f"  refresh {again * 1e3:6.1f}  peak memory {memory:5.0f} MiB{growth}"
        )
        before = (frames, planned)


if __name__ == "__main__":
    main()
