"""Planning, manifests and status for many frames: linear, in milliseconds, and what memory it takes.

Each size's time for a frame is printed as a ratio to that of the smallest size: 1.00x is linear.

uv run python benchmarks/bench_plan.py [--sizes 1000 10000 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cloud_farm.control import publish_plan
from cloud_farm.engines import open_engine
from cloud_farm.engines.argo_manifest import workflows
from cloud_farm.job import JobDocument, JobPack, PackedFile, PackSummary, RenderJob, SceneFacts, SceneInfo
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan, Toolchain, plan
from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume
from cloud_farm.status import StatusReader
from cloud_farm.stores import Store, open_store

JOB = "bench-20261123-abc123"
LAYOUT = JobLayout(JOB)
TOOLS = Toolchain("4.5.15", ("python3",), ("blender",), {"render_chunk.py": "00", "run_attempt.py": "00"})
CLUSTER = FarmProfile(
    "cluster", engine="argo", volume=Volume(claim="data", mount_path="/data"), gpu=Gpu(device="optix"),
    limits=Limits(parallelism=1000), images={"4.5": f"registry.example.com/blender:4.5.15@sha256:{'0' * 64}"},
)  # fmt: skip
SCENE = SceneInfo("S", 1, 9, 1, 24.0, "CYCLES", ("C",), "C", (), ("V",), (64, 36), "//x_", "PNG", False)
FACTS = SceneFacts("4.5.15", (SCENE,), "S")
PACK = JobPack("s.blend", (PackedFile("s.blend", Path("s.blend"), 1, "0" * 64),), FACTS)
QUIET_SECONDS = 3.5
"""After this long no folder counts as just changed."""


def profile_of(root: Path) -> FarmProfile:
    """Describe a local farm on a folder."""
    return FarmProfile("local", volume=Volume(mount_path=str(root)), gpu=Gpu(device="cpu"), limits=Limits(workers=2))


def best(action: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of a few runs, seconds."""
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def make_plan(frames: int, profile: FarmProfile) -> RenderPlan:
    """Plan a job of that many frames."""
    return plan(RenderJob("s.blend", frames=f"1-{frames}"), PACK, profile, JOB, tools=TOOLS)


def fill(root: Path, store: Store, planned: RenderPlan) -> None:
    """Lay out a submitted job whose frames are all recorded."""
    publish_plan(planned, store)
    for chunk in planned.chunks:
        for frame in chunk.frames:
            path = root / LAYOUT.record(1, None, frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"schema": 1}))


def reader_of(store: Store, profile: FarmProfile, frames: int) -> StatusReader:
    """Return what `status` and `follow` look through."""
    summary = PackSummary("s.blend", (), FACTS, PACK.manifest_sha256)
    job = RenderJob("s.blend", frames=f"1-{frames}")
    document = JobDocument(1, JOB, "bench", "here", "2026-11-23T00:00:00Z", "0", {}, "local", job, summary)
    return StatusReader(store, open_engine(profile), document, landing=Path("frames"))


def measure(frames: int) -> tuple[float, float, float, float]:
    """Return the seconds of planning, of a cluster's manifests, of a first look and of a later one."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLOUD_FARM_HOME"] = folder
        root = Path(folder) / "volume"
        profile = profile_of(root)
        store = open_store(profile)
        planned = best(lambda: make_plan(frames, profile))
        on_cluster = make_plan(frames, CLUSTER)
        manifests = best(lambda: workflows(on_cluster, CLUSTER))
        fill(root, store, make_plan(frames, profile))
        first = best(lambda: reader_of(store, profile, frames).read())
        reader = reader_of(store, profile, frames)
        reader.read()
        time.sleep(QUIET_SECONDS)
        assert reader.read().frames_done == frames
        return planned, manifests, first, best(reader.read)


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    sizes = parser.parse_args().sizes
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; best of 3, milliseconds")
    print(f"for one frame, against {sizes[0]} frames, in brackets")
    anchors: list[float] = []
    for frames in sizes:
        spent = measure(frames)
        anchors = anchors or [seconds / frames for seconds in spent]
        columns = [
            f"{name} {seconds * 1e3:8.1f} ({seconds / frames / anchor:4.2f}x)"
            for name, seconds, anchor in zip(
                ("plan", "manifests", "first status", "later status"), spent, anchors, strict=True
            )
        ]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{frames:>7} frames: {'  '.join(columns)}  peak memory {memory:5.0f} MiB")


if __name__ == "__main__":
    main()
