"""Publishing: first wins, what a dead winner began is finished, what is broken makes way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .stub_farm import INSIDE, RENDER_HASH, StubJob, sha256

import publish  # isort: skip - a script of inside_blender: stub_farm knows where
import volume  # isort: skip

OLD, NEW = "r1c00001.0000000a", "r1c00001.0000000b"
RACER = Path(__file__).with_name("racer.py")


@pytest.fixture
def job(tmp_path: Path) -> StubJob:
    return StubJob(tmp_path)


def frame_of(job: StubJob, attempt: str, frame: int = 7) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """A rendered frame of two files, as render_chunk hands it over."""
    files, entries = [], []
    for name in (f"f_{frame:04d}.png", f"depth/f_{frame:04d}.exr"):
        source = job.base / "scratch" / attempt / name
        source.parent.mkdir(parents=True, exist_ok=True)
        content = f"{name} by {attempt} ".encode() * (100 if attempt == OLD else 120)
        source.write_bytes(content)
        files.append((source, name))
        entries.append({"path": name, "role": "main", "bytes": len(content), "sha256": sha256(content)})
    record = {"frame": frame, "camera": None, "files": entries, "render_hash": RENDER_HASH, "attempt": attempt}
    return {"schema": 1, **record}, files


def publish_as(job: StubJob, attempt: str) -> dict[str, Any]:
    record, files = frame_of(job, attempt)
    return publish.publish(job.paths, record, files)


def claim_as(job: StubJob, attempt: str) -> dict[str, Any]:
    """What is on the volume when a winner dies right after its claim."""
    record, files = frame_of(job, attempt)
    publish._write_parts(job.paths, record, files)
    assert volume.link_exclusive(publish._record_part(job.paths, record), job.paths.claim("scene", 7))
    return record


def finished(job: StubJob) -> dict[str, Any] | None:
    return publish.finished_record(job.paths, "scene", 7, RENDER_HASH)


def trashed(job: StubJob) -> list[str]:
    return sorted(
        path.name.rpartition(".")[0] for path in (job.root / "cloud-farm" / "trash").rglob("*") if path.is_file()
    )


def test_a_published_frame_is_whole_and_found(job: StubJob) -> None:
    assert publish_as(job, OLD)["attempt"] == OLD
    job.check_whole([7])
    assert finished(job) == job.records()[7]


def test_the_first_wins_and_the_loser_gets_its_record(job: StubJob) -> None:
    publish_as(job, OLD)
    before = job.snapshot()
    assert publish_as(job, NEW)["attempt"] == OLD
    assert job.snapshot() == before
    job.check_whole([7])


def test_a_claim_without_record_is_finished_from_its_parts(job: StubJob) -> None:
    claim_as(job, OLD)
    found = finished(job)
    assert found is not None and found["attempt"] == OLD
    job.check_whole([7])


def test_who_loses_against_a_dead_winner_finishes_its_frame(job: StubJob) -> None:
    claim_as(job, OLD)
    assert publish_as(job, NEW)["attempt"] == OLD
    job.check_whole([7])


def test_a_winner_that_wakes_after_others_finished_its_frame_changes_nothing(job: StubJob) -> None:
    record = claim_as(job, OLD)
    finished(job)
    before = job.snapshot()
    assert publish._finish(job.paths, record)["attempt"] == OLD
    assert job.snapshot() == before


def test_a_half_renamed_frame_is_finished(job: StubJob) -> None:
    record = claim_as(job, OLD)
    name = record["files"][0]["path"]
    os.replace(publish._file_part(job.paths, record, name), job.paths.frames(7) / name)
    found = finished(job)
    assert found is not None and found["attempt"] == OLD
    job.check_whole([7])


def test_a_claim_whose_parts_are_gone_makes_way(job: StubJob) -> None:
    record = claim_as(job, OLD)
    publish._file_part(job.paths, record, record["files"][1]["path"]).unlink()
    assert finished(job) is None
    assert trashed(job) == ["scene.000007.claim"]
    assert publish_as(job, NEW)["attempt"] == NEW
    job.check_whole([7])


def test_a_claim_whose_parts_are_damaged_makes_way(job: StubJob) -> None:
    record = claim_as(job, OLD)
    part = publish._file_part(job.paths, record, record["files"][0]["path"])
    part.write_bytes(b"x" * record["files"][0]["bytes"])  # the right size, but not the frame
    assert finished(job) is None
    assert publish_as(job, NEW)["attempt"] == NEW
    job.check_whole([7])


def test_a_torn_claim_makes_way_after_a_moment(job: StubJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_TORN_SECONDS", 0.3)
    volume.write_file(job.paths.claim("scene", 7), b'{"frame": 7, "att')
    began = time.monotonic()
    assert publish_as(job, NEW)["attempt"] == NEW
    assert time.monotonic() - began >= 0.3
    assert trashed(job) == ["scene.000007.claim"]
    job.check_whole([7])


@pytest.mark.parametrize("damage", ["file gone", "file short", "torn record", "other settings", "other frame"])
def test_a_broken_record_makes_way(job: StubJob, damage: str) -> None:
    publish_as(job, OLD)
    path = job.paths.record("scene", 7)
    record = volume.read_json(path)
    if damage == "file gone":
        (job.paths.frames(7) / "f_0007.png").unlink()
    elif damage == "file short":
        (job.paths.frames(7) / "f_0007.png").write_bytes(b"cut")
    elif damage == "torn record":
        path.write_bytes(path.read_bytes()[:40])
    else:
        change = {"render_hash": "6" * 64} if damage == "other settings" else {"frame": 8}
        volume.write_json(path, {**record, **change})
    assert finished(job) is None
    assert "scene.000007.json" in trashed(job)
    assert publish_as(job, NEW)["attempt"] == NEW
    job.check_whole([7])


@pytest.mark.parametrize("path", ["../../../../outside.png", "/tmp/outside.png", "a//b.png", "a/./b.png", "a\nb.png"])
def test_a_claim_that_names_files_elsewhere_is_not_carried_out(
    job: StubJob, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_TORN_SECONDS", 0.0)
    record, _ = frame_of(job, OLD)
    record["files"][0]["path"] = path
    volume.write_file(job.paths.claim("scene", 7), json.dumps(record).encode())
    assert finished(job) is None
    assert not list(job.base.rglob("outside.png"))


def test_what_another_put_in_place_of_a_broken_file_is_put_back(job: StubJob) -> None:
    publish_as(job, OLD)
    path = job.paths.record("scene", 7)
    volume.discard(job.paths, path, b"the broken record that was seen before")
    assert finished(job) is not None
    assert trashed(job) == []


def test_without_hard_links_the_claim_is_made_by_exclusive_create(
    job: StubJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_more: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert publish_as(job, OLD)["attempt"] == OLD
    assert publish_as(job, NEW)["attempt"] == OLD
    job.check_whole([7])


def test_a_link_whose_answer_was_lost_counts_as_won(job: StubJob, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def twice(source: Any, target: Any) -> None:
        real(source, target)
        real(source, target)  # as NFS repeats a request: the second says that the name is taken

    monkeypatch.setattr(os, "link", twice)
    assert publish_as(job, OLD)["attempt"] == OLD
    job.check_whole([7])


def test_a_failing_write_leaves_no_parts(job: StubJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    record, files = frame_of(job, OLD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish.publish(job.paths, record, files)
    assert not [path for path in job.paths.job_dir.rglob("*") if path.is_file()]


def test_a_frame_that_changed_after_its_check_is_refused(job: StubJob) -> None:
    record, files = frame_of(job, OLD)
    files[0][0].write_bytes(b"y" * record["files"][0]["bytes"])
    with pytest.raises(OSError, match="changed after it was checked"):
        publish.publish(job.paths, record, files)
    assert finished(job) is None


def test_parts_of_an_ended_attempt_go_but_not_those_it_holds_the_claim_of(job: StubJob) -> None:
    claim_as(job, OLD)
    record, files = frame_of(job, OLD, frame=8)
    publish._write_parts(job.paths, record, files)
    publish.remove_parts_of(job.paths, OLD, [7, 8], "scene")
    assert {path.name.split(".")[1] for path in job.paths.record("scene", 7).parent.glob("*.part")} == {"000007"}
    assert finished(job) is not None
    publish.sweep(job.paths, "r1c00001", [7, 8], "scene")
    job.check_whole([7])


def test_folders_are_for_the_group(job: StubJob) -> None:
    before = os.umask(0o002)
    try:
        publish_as(job, OLD)
    finally:
        os.umask(before)
    assert (job.paths.frames(7) / "depth").stat().st_mode & 0o7777 == 0o2775
    assert (job.paths.frames(7) / "f_0007.png").stat().st_mode & 0o777 == 0o664


def test_two_attempts_at_one_frame_have_one_winner(job: StubJob) -> None:
    race(job, [job.root, job.root, job.root], rounds=100)


def race(job: StubJob, roots: list[Path], *, rounds: int) -> None:
    """Let processes publish the same frames at the same moments: all agree on who won, and on what is there."""
    shutil.rmtree(job.root, ignore_errors=True)
    begin = str(time.time() + 1.5)
    racers = [
        subprocess.Popen(
            [
                sys.executable,
                str(RACER),
                str(INSIDE),
                str(root),
                job.job,
                f"r1c00001.0000000{number}",
                str(rounds),
                begin,
            ],
            stdout=subprocess.PIPE,
        )
        for number, root in enumerate(roots)
    ]
    told = [json.loads(racer.communicate(timeout=120)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(roots)
    on_disk = {str(frame): record["attempt"] for frame, record in job.records().items()}
    assert all(answer == on_disk for answer in told)
    assert len(on_disk) == rounds
    job.check_whole(range(rounds))
