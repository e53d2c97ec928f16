"""What a Workflow's containers do: a real scene, packed and sent, rendered by a real Blender with just the mounts that pods get."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.blender import find_blender, probe, run_script
from cloud_farm.engines.argo_manifest import workflows
from cloud_farm.job import FrameRecord, RenderJob, parse_record
from cloud_farm.layout import JobLayout
from cloud_farm.sending import send
from cloud_farm.stores.folder import FolderStore
from cloud_farm.submission import Prepared, prepared

from ..backend.argo_farm import IMAGE, chunks, container, farm, filled
from ..rigs.pod import Pod, why_not
from .stub_farm import LAUNCHER

pytestmark = [pytest.mark.blender, pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")]
CPU = {"gpu__device": "cpu", "volume__gid": None, "volume__mount_path": "/farm-volume"}


@dataclasses.dataclass
class SentJob:
    """A job on a claim, and the containers that render it."""

    job_id: str
    store: FolderStore
    workflow: Any
    pod: Pod

    def prepare(self) -> tuple[int, str]:
        return self.pod.run(filled(self.workflow, "prepare"))

    def render(self, item: dict[str, str]) -> tuple[int, str]:
        return self.pod.run(filled(self.workflow, "render", item))

    def record(self, frame: int) -> FrameRecord:
        path = JobLayout(self.job_id).record(1, None, frame)
        return parse_record(self.store.read(path), where=str(path))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """The demo scene, packed and planned for a cluster whose image has this Blender."""
    scene = tmp_path_factory.mktemp("scene") / "demo.blend"
    run_script(find_blender(), "demo_scene.py", ["--output", str(scene)], timeout=120)
    version = probe(find_blender()).version
    profile = farm(images={".".join(version.split(".")[:2]): IMAGE.replace("4.5.15", version)}, **CPU)
    job = RenderJob(str(scene), frames="1-3", chunk_size=2, percentage=8, samples=1)
    with prepared(job, profile, scene_file=scene) as made:
        assert not [finding for finding in made.findings if finding.severity != "info"]
        yield made


@pytest.fixture
def sent(tmp_path: Path, ready: Prepared) -> SentJob:
    store = FolderStore(tmp_path / "claim" / "team")
    send(ready, store)
    [workflow] = workflows(ready.plan, ready.profile)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "blender").write_text(f'#!/bin/sh\nexec "{LAUNCHER[0]}" "{LAUNCHER[1]}" "$@"\n')
    (programs / "blender").chmod(0o755)
    pod = Pod(tmp_path / "pod", tmp_path / "claim", path=f"{programs}:/usr/bin:/bin")
    return SentJob(ready.plan.job_id, store, workflow, pod)


def test_the_containers_of_a_workflow_render_the_job_and_touch_nothing_else(sent: SentJob) -> None:
    code, output = sent.prepare()
    assert code == 0, output
    for item in chunks(sent.workflow):
        code, output = sent.render(item)
        assert code == 0, output
    for frame in (1, 2, 3):
        record = sent.record(frame)
        assert (record.host, record.device) == ("node-1", "CPU")
        assert record.image == container(sent.workflow, "render")["image"]
        data = sent.store.read(JobLayout(sent.job_id).frames(1, frame) / record.main.path)
        assert len(data) == record.main.bytes
    assert sent.pod.last_words == ""


def test_what_is_broken_on_the_volume_stays_beside_where_the_trash_can_not_be_written(sent: SentJob) -> None:
    sent.prepare()
    [first, _] = chunks(sent.workflow)
    assert sent.render(first)[0] == 0
    layout = JobLayout(sent.job_id)
    sent.store.put(b"torn", layout.record(1, None, 2))
    code, output = sent.render(first)
    assert code == 0, output
    assert sent.record(2).frame == 2
    names = [entry.name for entry in sent.store.list(layout.records(1) / "0")]
    assert len([name for name in names if name.endswith(".trash")]) >= 1


def test_a_render_can_not_change_what_it_only_reads(sent: SentJob) -> None:
    sent.prepare()
    shell = ["sh", "-c", 'for name in "$@"; do (echo x >> "$name") 2>/dev/null && echo "$name"; done; exit 0', "sh"]
    job = f"/farm-volume/{JobLayout(sent.job_id).folder}"
    read = [
        "/scene/demo.blend",
        "/scene.ready",
        "/scripts/run_attempt.py",
        "/plans/1.json",
        "/job.json",
        "/control/stop",
        "/new",
    ]
    written = ["/frames/x", "/records/x", "/markers/x", "/attempts/x", "/logs/x"]
    names = [job + name for name in (*read, *written)] + ["/farm-volume/cloud-farm/assets/x", "/farm-volume/x"]
    code, output = sent.pod.run({**filled(sent.workflow, "render"), "command": shell, "args": names})
    assert code == 0
    assert output.split() == [job + name for name in written]


def test_a_scene_that_was_not_prepared_is_told_in_the_last_words(sent: SentJob) -> None:
    layout = JobLayout(sent.job_id)
    sent.store.put(b"changed", layout.plan(1))
    code, output = sent.prepare()
    assert code == 78, output
    assert "plan on the volume is not the one that was submitted" in sent.pod.last_words
