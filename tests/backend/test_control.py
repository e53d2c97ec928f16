"""Changing a job on the volume: who comes second is refused, a killed retry is in nobody's way, another Blender is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cloud_farm.control import JobControl
from cloud_farm.errors import InvalidJobError, JobBusyError, SchemaError
from cloud_farm.frames import FrameRange
from cloud_farm.history import read_history, revisions
from cloud_farm.job import parse_job
from cloud_farm.profile import FarmProfile, Volume
from cloud_farm.stores import Progress, silent
from cloud_farm.stores.folder import FolderStore

from .fake_blender import binary
from .fake_farm import make_status
from .test_plan import JOB_ID, PROFILE, planned
from .volume_job import LAYOUT, StillEngine, submit


class InterruptedStore(FolderStore):
    """A folder store; the first time that a plan is written, somebody else acts just before."""

    meanwhile: Callable[[], object] | None = None

    def put(
        self, source: Path | bytes, path: PurePosixPath, *, sha256: str | None = None, if_absent: bool = False,
        progress: Progress = silent,
    ) -> bool:  # fmt: skip
        act, self.meanwhile = (self.meanwhile, None) if path.parent == LAYOUT.plans else (None, self.meanwhile)
        if act is not None:
            act()
        return super().put(source, path, sha256=sha256, if_absent=if_absent, progress=progress)


@pytest.fixture
def engine() -> StillEngine:
    return StillEngine()


@pytest.fixture
def store(tmp_path: Path) -> InterruptedStore:
    """A volume with one submitted job of the frames 1 to 24."""
    found = InterruptedStore(tmp_path / "volume")
    submit(found)
    return found


def control(store: FolderStore, engine: StillEngine, tmp_path: Path, version: str = "4.5.3") -> JobControl:
    blender = binary(tmp_path / f"blender-{version}", version)
    volume = Volume(mount_path=str(tmp_path / "volume"))
    profile: FarmProfile = dataclasses.replace(PROFILE, volume=volume, blender=str(blender))
    document = parse_job(store.read(LAYOUT.job_json), where="job.json")
    return JobControl(store, engine, profile, document)


def settings_of(store: FolderStore, revision: int) -> dict[str, Any]:
    return dict(json.loads(store.read(LAYOUT.plan(revision)))["settings"])


def test_of_two_new_revisions_at_once_one_is_refused(
    store: InterruptedStore, engine: StillEngine, tmp_path: Path
) -> None:
    first, second = (control(store, engine, tmp_path) for _ in range(2))
    store.meanwhile = lambda: first.new_revision(FrameRange.parse("3"), {"samples": 8})
    with pytest.raises(JobBusyError, match="revision 2"):
        second.new_revision(FrameRange.parse("3"), {"samples": 99})
    assert revisions(read_history(store, JOB_ID)) == (1, 2)
    assert settings_of(store, 2)["samples"] == 8
    assert [plan.content for plan in engine.plans] == [store.read(LAYOUT.plan(2))], "what runs is what the volume says"


def test_the_same_revision_twice_at_once_is_submitted_once(
    store: InterruptedStore, engine: StillEngine, tmp_path: Path
) -> None:
    first, second = (control(store, engine, tmp_path) for _ in range(2))
    store.meanwhile = lambda: first.new_revision(None, {"samples": 8})
    with pytest.raises(JobBusyError):
        second.new_revision(None, {"samples": 8})
    assert [event.kind for event in read_history(store, JOB_ID)] == ["submitted", "submitted"]


def test_a_retry_that_was_killed_before_it_said_so_keeps_no_number(
    store: InterruptedStore, engine: StillEngine, tmp_path: Path
) -> None:
    store.put(planned(revision=2).content, LAYOUT.plan(2))
    assert control(store, engine, tmp_path).new_revision(None, {"samples": 8}) == 3
    assert revisions(read_history(store, JOB_ID)) == (1, 3)


def test_going_on_with_another_blender_is_refused_and_changes_nothing(
    store: InterruptedStore, engine: StillEngine, tmp_path: Path
) -> None:
    other = control(store, engine, tmp_path, "5.0.1")
    store.put(b"paused", LAYOUT.stop)
    for act, state in ((other.resume, "paused"), (other.retry_missing, "failed")):
        with pytest.raises(InvalidJobError, match=r"planned for Blender 4\.5, but the Blender here is 5\.0\.1"):
            act(make_status(24, done=3, state=state))
    assert [event.kind for event in read_history(store, JOB_ID)] == ["submitted"]
    assert store.stat(LAYOUT.stop) is not None and engine.plans == []
    assert other.new_revision(None, {}) == 2
    assert json.loads(store.read(LAYOUT.plan(2)))["blender"] == "5.0"
    assert store.stat(LAYOUT.stop) is None


def test_a_job_of_a_newer_version_is_only_cancelled(
    store: InterruptedStore, engine: StillEngine, tmp_path: Path
) -> None:
    newer = {**json.loads(store.read(LAYOUT.job_json)), "schema": 2}
    store.put(json.dumps(newer).encode(), LAYOUT.job_json)
    found = control(store, engine, tmp_path)
    acts: list[Callable[[], object]] = [
        lambda: found.pause(make_status(24, state="rendering")),
        lambda: found.resume(make_status(24, state="paused")),
        lambda: found.retry_missing(make_status(24, state="failed")),
        lambda: found.new_revision(None, {}),
    ]
    for act in acts:
        with pytest.raises(SchemaError, match="newer Cloud Farm"):
            act()
    assert [event.kind for event in read_history(store, JOB_ID)] == ["submitted"]
    found.cancel()
    assert [event.kind for event in read_history(store, JOB_ID)] == ["submitted", "cancelled"]
    assert engine.plans == []
