"""The order in which a job comes to the volume, what an interruption leaves, and whether there is room."""

from __future__ import annotations

import dataclasses
import datetime
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.cli_jobs import job_table
from cloud_farm.cli_text import paint
from cloud_farm.errors import JobBusyError, SchemaError, StoreError, StoreFullError
from cloud_farm.events import Event, FindingFound
from cloud_farm.farm import Farm, open_farm
from cloud_farm.job import FileRecord, FrameRecord, parse_job
from cloud_farm.json_data import to_json
from cloud_farm.layout import JOBS, TRASH, JobLayout, asset
from cloud_farm.sending import send
from cloud_farm.space import frame_bytes
from cloud_farm.status import StatusReader
from cloud_farm.stores.folder import FolderStore
from cloud_farm.toolchain import own_scripts
from cloud_farm.upload_lock import is_being_sent, upload_lock

from .prepared_jobs import SCENE, prepare, sha256
from .volume_job import StillEngine

_SPAWN = multiprocessing.get_context("spawn")
CONTENTS = {"shot.blend": b"BLENDER shot", "tex/wood.png": b"wood", "tex/same.png": b"wood"}


class WatchedStore(FolderStore):
    """Notes what is written and looked at, in order; `on_put` may interfere."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notes: list[str] = []
        self.on_put: Callable[[PurePosixPath], None] = lambda path: None

    def put(self, source: Path | bytes, path: PurePosixPath, **more: object) -> bool:
        self.on_put(path)
        self.notes.append(f"put {path}")
        return super().put(source, path, **more)  # type: ignore[arg-type]

    def list(self, folder: PurePosixPath, *, unfinished: bool = False):  # type: ignore[no-untyped-def]
        self.notes.append(f"list {folder}")
        return super().list(folder, unfinished=unfinished)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "gpu.device": "cpu"})


def test_job_json_is_first_the_assets_are_looked_at_last_and_submitted_ends_it(tmp_path: Path) -> None:
    store, ready = WatchedStore(tmp_path / "volume"), prepare(tmp_path / "scene", CONTENTS)
    send(ready, store)
    layout, looks = JobLayout(ready.plan.job_id), sorted({str(asset(sha).parent) for sha in ready.pack.assets()})
    puts = [note for note in store.notes if note.startswith("put")]
    assert puts[0] == f"put {layout.job_json}"
    assert puts[-1] == f"put {layout.events / '00000001.submitted.json'}"
    begin, end = store.notes.index(puts[0]), store.notes.index(f"put {layout.plan(1)}")
    before, after = store.notes[:begin], store.notes[begin:end]
    for look in looks:
        assert f"list {look}" not in before, "looked before the job was known"
        places = [number for number, note in enumerate(after) if note == f"list {look}"]
        last_asset = max(number for number, note in enumerate(after) if note.startswith("put cloud-farm/assets"))
        assert places[0] < last_asset < places[-1]
    assert {path.name: path.read_bytes() for path in (tmp_path / "volume" / layout.scripts).iterdir()} == own_scripts()
    named = {entry["sha256"] for entry in json.loads(store.read(layout.job_json))["pack"]["files"]}
    assert named == set(ready.pack.assets())
    assert all(sha256(store.read(asset(sha))) == sha for sha in named)
    assert len(named) == 2, "what two files share is sent once"


def test_an_asset_that_a_clean_up_takes_during_the_upload_is_there_at_the_end(tmp_path: Path) -> None:
    store, first = WatchedStore(tmp_path / "volume"), prepare(tmp_path / "scene", CONTENTS)
    send(first, store)
    victim = asset(sha256(b"wood"))

    def collect(path: PurePosixPath) -> None:
        if path.parent.name == "scripts" and store.stat(victim):
            store.trash(victim, job_id=first.plan.job_id)
            store.on_put = lambda path: None

    store.on_put = collect
    send(prepare(tmp_path / "scene", CONTENTS), store)
    assert store.read(victim) == b"wood"


def test_what_fails_on_the_way_leaves_no_job_and_keeps_the_assets(tmp_path: Path) -> None:
    store, ready = WatchedStore(tmp_path / "volume"), prepare(tmp_path / "scene", CONTENTS)

    def fail(path: PurePosixPath) -> None:
        if path.name == "volume.py":
            raise StoreError("The volume is gone.")

    store.on_put = fail
    with pytest.raises(StoreError, match="is gone"):
        send(ready, store)
    assert store.list(JOBS) == ()
    assert store.list(TRASH)
    assert store.stat(asset(sha256(b"wood"))) is not None
    assert not is_being_sent(ready.plan.job_id)
    send(prepare(tmp_path / "scene", CONTENTS), FolderStore(tmp_path / "volume"))


def test_a_taken_id_is_refused_and_the_other_job_stays(tmp_path: Path) -> None:
    store, ready = FolderStore(tmp_path / "volume"), prepare(tmp_path / "scene", CONTENTS)
    layout = JobLayout(ready.plan.job_id)
    store.put(b"another's", layout.job_json)
    with pytest.raises(SchemaError, match="is not JSON"):
        send(ready, store)
    assert store.read(layout.job_json) == b"another's"


def test_a_disk_that_forgets_in_silence_is_found_out_by_the_job_and_mended_by_the_next(tmp_path: Path) -> None:
    """Size and time say that nothing happened, so the memory of what was verified is wrong until a job complains."""
    store, first = FolderStore(tmp_path / "volume"), prepare(tmp_path / "scene", CONTENTS)
    send(first, store)
    place = tmp_path / "volume" / asset(sha256(b"wood"))
    before = place.stat()
    place.chmod(0o644)
    place.write_bytes(b"wo0d")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = prepare(tmp_path / "scene", CONTENTS)
    assert send(second, store) == ()
    layout = JobLayout(second.plan.job_id)
    end = {"schema": 1, "exit": 78, "cause": 17, "reason": "its hash differs", "revision": 1, "chunk": "prepare"}
    store.put(json.dumps(end).encode(), layout.attempts / "prepare.0badcafe.end.json")
    document = parse_job(store.read(layout.job_json), where="job.json")
    status = StatusReader(store, StillEngine(), document, landing=tmp_path).read()
    assert status.state == "failed" and "its hash differs" in status.messages[0]
    assert [found.code for found in send(prepare(tmp_path / "scene", CONTENTS), store)] == ["asset_corrupted"]
    assert place.read_bytes() == b"wood"


# -- interrupted --------------------------------------------------------------------------------------------------------


def _send_and_stop(root: Path, folder: Path, where: str) -> None:
    store = WatchedStore(root)

    def stop(path: PurePosixPath) -> None:
        if path.name == where:
            (root / "stopped").touch()
            time.sleep(600)

    store.on_put = stop
    send(prepare(folder, CONTENTS), store)


@pytest.mark.parametrize("where", [sha256(b"wood"), "run_attempt.py", "1.json", "00000001.submitted.json"])
def test_a_killed_submission_is_shown_as_interrupted_and_can_be_deleted(farm: Farm, tmp_path: Path, where: str) -> None:
    root = tmp_path / "volume"
    process = _SPAWN.Process(target=_send_and_stop, args=(root, tmp_path / "scene", where))
    process.start()
    deadline = time.monotonic() + 60
    while not (root / "stopped").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (summary,) = farm.jobs()
    assert (summary.state, summary.stalled) == ("uploading", False), "it is being sent"
    with pytest.raises(JobBusyError, match="just being sent"):
        farm.delete(summary.id)
    process.kill()
    process.join(30)
    (summary,) = farm.jobs()
    assert (summary.state, summary.stalled) == ("uploading", True)
    assert "interrupted" in paint(job_table([summary])[1], color=False)
    status = farm.status(summary.id)
    assert status.is_final, "follow would wait for ever"
    assert f"cloud-farm delete {summary.id}" in status.messages[0]
    assert [job.id for job in farm.older_than(-datetime.timedelta(days=1))] == [summary.id]
    farm.delete(summary.id)
    assert farm.jobs() == ()


def test_a_job_counts_as_queued_until_what_renders_was_told(farm: Farm, tmp_path: Path) -> None:
    ready = prepare(tmp_path / "scene", CONTENTS)
    seen: list[str] = []
    send(ready, farm.store, start=lambda: seen.append(farm.status(ready.plan.job_id).state))
    assert seen == ["queued"]
    assert farm.status(ready.plan.job_id).stalled, "whoever sent it died before it told anybody"


def test_an_upload_from_another_computer_is_believed_for_a_day(farm: Farm, tmp_path: Path) -> None:
    ready = prepare(tmp_path / "scene", CONTENTS)
    layout = JobLayout(ready.plan.job_id)
    send(ready, farm.store)
    document = {**json.loads(farm.store.read(layout.job_json)), "host": "far-away"}
    farm.store.trash(layout.events, job_id=ready.plan.job_id)
    farm.store.put(json.dumps(document).encode(), layout.job_json)
    (summary,) = farm.jobs()
    assert (summary.state, summary.stalled) == ("uploading", False)
    assert summary.message.startswith("Waiting for far-away, which sends it")
    farm.store.put(json.dumps({**document, "created": "2026-01-01T00:00:00Z"}).encode(), layout.job_json)
    (summary,) = Farm(farm.profile).jobs()  # who listed it before takes job.json for known: it is written once
    assert summary.stalled and summary.message.startswith("Its submission from far-away was interrupted.")


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    with upload_lock("shot-20261123-abc123"):
        assert is_being_sent("shot-20261123-abc123")
    assert not is_being_sent("shot-20261123-abc123")


# -- room ---------------------------------------------------------------------------------------------------------------


class SmallStore(FolderStore):
    """Has as much room as it is told."""

    def __init__(self, root: Path, free: int | None) -> None:
        super().__init__(root)
        self.free = free

    def free_space(self) -> int | None:
        return self.free


def test_what_does_not_fit_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    store = SmallStore(tmp_path / "volume", 10_000)
    with pytest.raises(StoreFullError, match="0 MiB free, the scene needs 1 MiB more"):
        send(prepare(tmp_path / "scene", {"shot.blend": b"x" * 1_000_000}), store)
    assert store.list(JOBS) == () and not (tmp_path / "volume" / "cloud-farm").exists()


def test_what_is_there_needs_no_room(tmp_path: Path) -> None:
    contents = {"shot.blend": b"small", "a.vdb": b"x" * 1_000_000}
    send(prepare(tmp_path / "scene", contents), SmallStore(tmp_path / "volume", None))
    send(prepare(tmp_path / "scene", contents), SmallStore(tmp_path / "volume", 10_000))


def warned(ready: object, store: FolderStore) -> list[str]:
    events: list[Event] = []
    found = send(ready, store, on_event=events.append)  # type: ignore[arg-type]
    assert [f.code for f in found] == [event.code for event in events if isinstance(event, FindingFound)]
    return [f"{f.severity} {f.code}: {f.message}" for f in found]


def test_output_that_probably_does_not_fit_is_a_warning(tmp_path: Path) -> None:
    guess = 24 * 640 * 360 * 4
    ready = prepare(tmp_path / "scene", CONTENTS, frames="1-24")
    assert warned(ready, SmallStore(tmp_path / "a", 2 * guess)) == []
    (text,) = warned(prepare(tmp_path / "scene", CONTENTS, frames="1-24"), SmallStore(tmp_path / "b", guess // 2))
    assert text.startswith("warning output_may_not_fit: The farm's volume will have 11 MiB free")
    assert "21 MiB (a guess by resolution and format)" in text


def test_frames_of_this_scene_that_are_there_tell_better(tmp_path: Path) -> None:
    store = SmallStore(tmp_path / "volume", None)
    first = prepare(tmp_path / "scene", CONTENTS, frames="1-24")
    send(first, store)
    for frame in range(1, 9):
        entry = FileRecord(f"x_{frame:04d}.png", "main", 50_000, "ab" * 32)
        record = FrameRecord(1, frame, None, (entry,), "h", 1.0, "box", "a", "4.5.15", resolution=(320, 180))
        path = JobLayout(first.plan.job_id).record(1, None, frame)
        store.put(json.dumps(to_json(record)).encode(), path)
    need = 24 * 50_000 * 4  # four times the pixels
    store.free = need + 100_000
    assert warned(prepare(tmp_path / "scene", CONTENTS, frames="1-24"), store) == []
    store.free = need - 100_000
    (text,) = warned(prepare(tmp_path / "scene", CONTENTS, frames="1-24"), store)
    assert "5 MiB (as large as frames of this scene were before)" in text


@pytest.mark.parametrize(
    ("changes", "settings", "pixels"),
    [
        ({}, {}, 4.0),
        ({"file_format": "OPEN_EXR_MULTILAYER"}, {}, 32.0),
        ({}, {"format": "JPEG"}, 1.0),
        ({"views": ("left", "right")}, {}, 8.0),
        ({"file_outputs": 2}, {}, 20.0),
        ({}, {"percentage": 50}, 1.0),
        ({"file_format": "FUTURE"}, {}, 8.0),
    ],
)
def test_the_guess_is_by_resolution_channels_and_depth(
    changes: dict[str, object], settings: dict[str, object], pixels: float
) -> None:
    scene = dataclasses.replace(SCENE, **changes)  # type: ignore[arg-type]
    guess = frame_bytes(scene, {"format": None, "percentage": None, **settings})
    assert guess == pytest.approx(640 * 360 * pixels)
