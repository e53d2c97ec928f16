"""A submitted job on a real volume, and frames that nobody had to render."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cloud_farm.checks import Check
from cloud_farm.control import publish_plan
from cloud_farm.engines import EngineJob, EngineStatus
from cloud_farm.job import Finding
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan
from cloud_farm.profile import FarmProfile
from cloud_farm.stores import Store

from .test_job import job_json
from .test_plan import JOB_ID, PROFILE, planned

LAYOUT = JobLayout(JOB_ID)


class StillEngine:
    """Runs nothing; remembers what it was given."""

    def __init__(self) -> None:
        self.plans: list[RenderPlan] = []

    def check(self) -> tuple[Finding, ...]:
        return ()

    def try_out(self) -> Iterator[Check]:
        return iter(())

    def manifests(self, plan: RenderPlan) -> tuple[Mapping[str, Any], ...]:
        return ()

    def installed(self) -> tuple[Mapping[str, Any], ...]:
        return ()

    def submit(self, plan: RenderPlan) -> None:
        self.plans.append(plan)

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        return EngineStatus(running=False)

    def page(self, job_id: str) -> str:
        return ""

    def jobs(self) -> tuple[EngineJob, ...]:
        return ()

    def cancel(self, job_id: str) -> None: ...

    def pause(self, job_id: str) -> None: ...

    def resume(self, job_id: str) -> None: ...

    def forget(self, job_id: str) -> None: ...


def submit(store: Store, profile: FarmProfile = PROFILE) -> None:
    """Bring a job of the frames 1 to 24 to the volume, submitted."""
    store.put(json.dumps(job_json(id=JOB_ID)).encode(), LAYOUT.job_json)
    publish_plan(planned(profile=profile), store)


def publish_frame(store: Store, frame: int, *, with_file: bool = True, size: int = 8, **changes: Any) -> bytes:
    """Publish a frame as a renderer does, its file first; returns what is in the file."""
    content = f"frame {frame} ".encode().ljust(size, b".")
    name = f"shot_{frame:04d}.png"
    entry = {"path": name, "role": "main", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record = {
        "schema": 1, "frame": frame, "camera": None, "files": [entry], "render_hash": "h", "seconds": 1.0, "host": "box",
        "attempt": "r1c00001.0000000a", "blender": "4.5.15", **changes,
    }  # fmt: skip
    if with_file:
        store.put(content, LAYOUT.frames(1, frame) / name)
    store.put(json.dumps(record).encode(), LAYOUT.record(1, None, frame))
    return content
