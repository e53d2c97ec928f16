"""One job on a subject's volume, submitted through the real store and plan, rendered by the stub Blender."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloud_farm.engines import EngineStatus, TaskStatus
from cloud_farm.job import FrameRecord, JobPack, PackedFile, RenderJob, SceneFacts, SceneInfo, parse_record
from cloud_farm.layout import JobLayout, asset
from cloud_farm.plan import RenderPlan, Toolchain, plan
from cloud_farm.stores import Store
from cloud_farm.toolchain import own_scripts

from .subjects import EngineSubject

_SCENE = SceneInfo(
    "Scene", 1, 4, 1, 24.0, "CYCLES", ("Cam",), "Cam", (), ("ViewLayer",), (4, 4), "//shot_", "PNG", False
)


def wait_for(condition: Callable[[], object], seconds: float = 60, *, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.03)


class ContractJob:
    """A job; `submit` sends it.

    Args:
        frames: What it renders, `1-4`.
        chunk_size: Frames a task.
        tries: How often a frame that fails is tried.
        priority: 0 to 100.
        title: What people call it.
        wants: Further fields of the RenderJob.
        behaviour: What the stub Blender does; see stub_blender.py.
    """

    def __init__(
        self,
        subject: EngineSubject,
        folder: Path,
        frames: str = "1-4",
        *,
        chunk_size: int = 1,
        tries: int = 3,
        priority: int = 50,
        title: str = "",
        wants: Mapping[str, Any] | None = None,
        **behaviour: Any,
    ) -> None:
        self.subject = subject
        self.engine = subject.engine()
        self.store: Store = subject.store()
        self.id = f"contract-20261123-{secrets.token_hex(3)}"
        self.layout = JobLayout(self.id)
        self._folder = folder
        self._job = RenderJob(
            "shot.blend", frames=frames, chunk_size=chunk_size, retries=tries, priority=priority, name=title, **(wants or {})
        )  # fmt: skip
        self._behaviour = behaviour
        self.pack = self._packed()
        self.plan = self.make_plan()

    def _packed(self) -> JobPack:
        source = self._folder / f"{self.id}.blend"
        source.write_bytes(b"BLENDER of " + self.id.encode())
        content = source.read_bytes()
        entry = PackedFile("shot.blend", source, len(content), hashlib.sha256(content).hexdigest())
        return JobPack("shot.blend", (entry,), SceneFacts("4.5.15", (_SCENE,), "Scene"))

    def make_plan(self, revision: int = 1, **behaviour: Any) -> RenderPlan:
        """Plan a revision."""
        scripts = {name: hashlib.sha256(content).hexdigest() for name, content in own_scripts().items()}
        launcher = self.subject.blender({**self._behaviour, **behaviour}, self.id)
        tools = Toolchain("4.5.15", self.subject.supervisor, launcher, scripts)
        return plan(self._job, self.pack, self.subject.there, self.id, tools=tools, revision=revision)

    def send(self, planned: RenderPlan | None = None, *, with_assets: bool = True) -> ContractJob:
        """Bring everything to the volume; nothing runs yet."""
        planned = planned or self.plan
        job_json = {"schema": 1, "id": self.id, "pack": self.pack.to_json()}
        self.store.put(json.dumps(job_json).encode(), self.layout.job_json, if_absent=True)
        for name, content in own_scripts().items():
            self.store.put(content, self.layout.scripts / name, if_absent=True)
        for entry in self.pack.files if with_assets else ():
            self.store.put(entry.source, asset(entry.sha256), sha256=entry.sha256, if_absent=True)
        self.store.put(planned.content, self.layout.plan(planned.revision), if_absent=True)
        return self

    def submit(self) -> ContractJob:
        """Send it and have the engine take it."""
        self.send()
        self.engine.submit(self.plan)
        return self

    def status(self) -> EngineStatus:
        return self.engine.status(self.id)

    def task(self, number: int) -> TaskStatus:
        """The state of the chunk with this number, from 1."""
        return next(task for task in self.status().tasks if task.id == self.plan.chunks[number - 1].id)

    def wait_for_message(self, text: str, seconds: float = 30) -> str:
        """Wait until a task's message has `text`; returns that message."""
        seen: list[str] = []

        def said() -> bool:
            seen.extend(task.message for task in self.status().tasks if text in task.message)
            return bool(seen)

        wait_for(said, seconds * self.subject.patience, what=f"a message with {text}")
        return seen[0]

    def wait_until_still(self, seconds: float = 90) -> EngineStatus:
        wait_for(lambda: not self.status().running, seconds * self.subject.patience, what="the end")
        return self.status()

    def wait_for_frames(self, count: int, seconds: float = 60) -> None:
        wait_for(lambda: len(self.records()) >= count, seconds * self.subject.patience, what=f"frame {count}")

    def records(self, revision: int = 1) -> dict[int, FrameRecord]:
        """Every frame that is done; each file is what its record says."""
        found = {}
        blocks = [entry for entry in self.store.list(self.layout.records(revision)) if entry.is_dir]
        for block in blocks:
            folder = self.layout.records(revision) / block.name
            for entry in self.store.list(folder):
                if entry.name.endswith(".json"):
                    record = parse_record(self.store.read(folder / entry.name), where=entry.name)
                    found[record.frame] = record
        return found

    def check_files(self, revision: int = 1) -> None:
        """Every finished frame was rendered where frames can be, and its files are those that its record promises."""
        for frame, record in self.records(revision).items():
            assert record.host == self.subject.host
            for item in record.files:
                content = self.store.read(self.layout.frames(revision, frame) / item.path)
                assert hashlib.sha256(content).hexdigest() == item.sha256

    def attempts(self, task_id: str = "r") -> list[str]:
        """Names of the attempts that began, of one task or all chunks."""
        ends = (".start.json",)
        names = [entry.name for entry in self.store.list(self.layout.attempts) if entry.name.endswith(ends)]
        return [name.removesuffix(".start.json") for name in names if name.startswith(task_id)]

    def stop(self) -> None:
        """Write the stop file and tell the engine."""
        self.store.put(b"paused\n", self.layout.stop)
        self.engine.pause(self.id)

    def go_on(self) -> None:
        """Take the stop file away and tell the engine."""
        self.store.trash(self.layout.stop, job_id=self.id)
        self.engine.resume(self.id)

    def with_pack(self, **changes: Any) -> ContractJob:
        """Change the pack, before it is sent."""
        self.pack = dataclasses.replace(self.pack, **changes)
        self.plan = self.make_plan()
        return self
