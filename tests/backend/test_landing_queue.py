"""Bringing frames here: one that can't come does not keep the others, and a file that is seen late is waited for."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from cloud_farm.engines import EngineStatus
from cloud_farm.errors import (
    Cancelled,
    CloudFarmError,
    EngineForbiddenError,
    EngineLoginError,
    EngineUnreachableError,
    LandingError,
    ProfileError,
)
from cloud_farm.events import CancelToken, Event, FrameDone, Note, Transfer
from cloud_farm.job import parse_job
from cloud_farm.landed import Landing
from cloud_farm.status import StatusReader
from cloud_farm.stores.folder import FolderStore

from ..rigs.small_disk import small_disk
from .test_plan import JOB_ID, PROFILE
from .volume_job import LAYOUT, StillEngine, publish_frame, submit


class Follower:
    """Looks at a job as `follow` does."""

    def __init__(self, store: FolderStore, folder: Path) -> None:
        document = parse_job(store.read(LAYOUT.job_json), where="job.json")
        self.reader = StatusReader(store, StillEngine(), document, landing=folder)
        self.landing = Landing(store, JOB_ID, folder, created=0.0)
        self.events: list[Event] = []

    def look(self) -> tuple[str, ...]:
        """Look once; returns why frames could not come."""
        return self.reader.read(on_event=self.events.append, landing=self.landing).not_landed

    def landed(self) -> list[int]:
        """Frames that were told; several land at a time, so their order is anyone's."""
        return sorted(event.frame for event in self.events if isinstance(event, FrameDone))

    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    found = FolderStore(tmp_path / "volume")
    submit(found, dataclasses.replace(PROFILE, visibility_s=60.0))
    return found


@pytest.fixture
def follower(store: FolderStore, tmp_path: Path) -> Follower:
    return Follower(store, tmp_path / "frames")


@pytest.mark.parametrize("damage", ["file", "record", "hostile name"])
def test_a_frame_that_can_not_come_is_told_and_the_others_land(
    store: FolderStore, follower: Follower, damage: str
) -> None:
    for frame in (1, 2, 3):
        publish_frame(store, frame)
    if damage == "file":
        store.put(b"frame X", LAYOUT.frames(1, 2) / "shot_0002.png")
    elif damage == "record":
        store.put(b'{"schema": 1, "fra', LAYOUT.record(1, None, 2))
    else:
        record = json.loads(store.read(LAYOUT.record(1, None, 2)))
        record["files"][0]["path"] = "../../outside.png"
        store.put(json.dumps(record).encode(), LAYOUT.record(1, None, 2))
    reasons = follower.look()
    assert len(reasons) == 1
    assert follower.notes() == list(reasons)
    assert follower.landed() == [1, 3]
    assert sorted(path.name for path in follower.landing.folder.iterdir()) == ["shot_0001.png", "shot_0003.png"]
    assert not follower.reader.is_landing
    assert follower.look() == reasons, "it is not forgotten"
    assert len(follower.notes()) == 1, "but told once"


def test_a_record_that_is_seen_before_its_file_is_waited_for(store: FolderStore, follower: Follower) -> None:
    content = publish_frame(store, 1, with_file=False)
    assert follower.look() == ()
    assert follower.reader.is_landing
    store.put(content, LAYOUT.frames(1, 1) / "shot_0001.png")
    assert follower.look() == ()
    assert not follower.reader.is_landing
    assert follower.landed() == [1]
    assert (follower.landing.folder / "shot_0001.png").read_bytes() == content


def test_a_file_that_caches_do_not_explain_is_missed(store: FolderStore, follower: Follower, tmp_path: Path) -> None:
    publish_frame(store, 1, with_file=False)
    os.utime(tmp_path / "volume" / LAYOUT.record(1, None, 1), (1000, 1000))
    (reason,) = follower.look()
    assert "shot_0001.png is not on the farm's volume" in reason
    assert not follower.reader.is_landing


def test_a_folder_that_can_not_be_written_stops_and_loses_nothing(
    store: FolderStore, follower: Follower, tmp_path: Path
) -> None:
    for frame in (1, 2):
        publish_frame(store, frame)
    (tmp_path / "frames").write_text("a file where the folder should be")
    with pytest.raises(LandingError, match="can't be written"):
        follower.look()
    (tmp_path / "frames").unlink()
    assert follower.look() == ()
    assert follower.landed() == [1, 2]


def test_a_full_disk_is_told_and_nothing_half_written_is_left(store: FolderStore, tmp_path: Path) -> None:
    with small_disk(tmp_path / "frames", "96k") as disk:
        follower = Follower(store, disk)
        for frame in (1, 2, 3, 4):
            publish_frame(store, frame, size=40_000)
        with pytest.raises(LandingError, match=r"can't be written to .*No space left.*-o"):
            follower.look()
        here = {path.name: path.stat().st_size for path in disk.iterdir()}
        assert set(here.values()) <= {40_000} and 1 <= len(here) <= 2
        assert all(name.startswith("shot_") for name in here)


def test_a_transfer_is_told_with_a_size_that_is_guessed_by_what_is_done(store: FolderStore, follower: Follower) -> None:
    for frame in range(1, 21):
        publish_frame(store, frame)
    follower.look()
    last = [event for event in follower.events if isinstance(event, Transfer)][-1]
    assert (last.direction, last.done_files, last.total_files) == ("download", 20, 20)
    here = sum(path.stat().st_size for path in follower.landing.folder.iterdir())
    assert last.done_bytes == last.total_bytes == here > 0


def test_a_cancel_ends_the_landing_and_loses_nothing(store: FolderStore, follower: Follower) -> None:
    for frame in range(1, 21):
        publish_frame(store, frame)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        follower.reader.read(on_event=follower.events.append, landing=follower.landing, cancel=cancel)
    assert follower.landed() == []
    assert follower.look() == ()
    assert follower.landed() == list(range(1, 21))


@pytest.mark.parametrize("kind", [EngineUnreachableError, EngineLoginError, EngineForbiddenError, ProfileError])
def test_frames_land_while_the_cluster_can_not_be_asked(
    store: FolderStore, tmp_path: Path, kind: type[CloudFarmError]
) -> None:
    class Unreachable(StillEngine):
        def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
            raise kind("The cluster does not answer.")

    document = parse_job(store.read(LAYOUT.job_json), where="job.json")
    reader = StatusReader(store, Unreachable(), document, landing=tmp_path)
    landing = Landing(store, JOB_ID, tmp_path / "frames", created=0.0)
    for frame in range(1, 25):
        status = reader.read(landing=landing)
        assert (status.state, status.is_final) == ("rendering" if frame > 1 else "queued", False)
        assert "The cluster does not answer." in status.messages
        publish_frame(store, frame)
    status = reader.read(landing=landing)
    assert (status.state, status.is_final) == ("done", True), "nobody waits for an engine that can't be asked"
    assert len(list((tmp_path / "frames").iterdir())) == 24
