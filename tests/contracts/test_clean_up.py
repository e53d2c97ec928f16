"""Cleaning up, on every kind of volume: beside submitters, beside other clean-ups, and killed in the middle.

The grace of a day is taken away here, so that only the order of things protects a job.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cloud_farm.collector import Collected, Collector
from cloud_farm.events import CancelToken, Event
from cloud_farm.gc import GcPlan, plan_gc
from cloud_farm.layout import ASSETS, JOBS, TRASH, JobLayout, asset
from cloud_farm.profile import FarmProfile
from cloud_farm.sending import send
from cloud_farm.stores import Store, StoreEntry, open_store

from ..backend.prepared_jobs import prepare
from .subjects import StoreSubject

JOB = "shot-20261123-abc123"
_SPAWN = multiprocessing.get_context("spawn")
CONTENTS = [f"asset {number}".encode() for number in range(8)]
SHARED = [f"shared {number}".encode() for number in range(16)]
SUBMIT_SECONDS, SEEN_SECONDS = 4.0, 30.0
FEWEST_JOBS = 8  # on a busy machine too: else there is no garbage that anybody could take


@pytest.fixture
def store(store_subject: StoreSubject) -> Store:
    return store_subject.open()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put_assets(store: Store, *contents: bytes) -> None:
    for content in contents:
        store.put(content, asset(sha256(content)), sha256=sha256(content))


def put_job(store: Store, *contents: bytes, job_id: str = JOB) -> None:
    files = [{"path": f"{n}.png", "size": len(data), "sha256": sha256(data)} for n, data in enumerate(contents)]
    document = {"schema": 1, "id": job_id, "pack": {"scene": "0.png", "files": files}}
    store.put(json.dumps(document).encode(), JobLayout(job_id).job_json, if_absent=True)


def assets_of(store: Store) -> set[str]:
    return {path.name for path, entry in store.walk(ASSETS) if not entry.is_dir}


def hashes(*contents: bytes) -> set[str]:
    return {sha256(content) for content in contents}


def collector_of(store: Store, *, over: bool = False) -> Collector:
    return Collector(store, lambda _job: over)


def clean_up(store: Store, *, over: bool = False, **more: Any) -> Collected:
    collector = collector_of(store, over=over)
    return collector.collect(plan_gc(collector.survey(), asset_grace=0.0, upload_grace=0.0), **more)


def plan_of(store: Store) -> GcPlan:
    return plan_gc(collector_of(store).survey(), asset_grace=0.0, upload_grace=0.0)


# -- alone --------------------------------------------------------------------------------------------------------------


def test_what_no_job_needs_goes_to_the_trash_and_a_second_run_has_nothing_to_do(store: Store) -> None:
    put_assets(store, *CONTENTS)
    put_job(store, *CONTENTS[:3])
    done = clean_up(store)
    assert {item.path.name for item in done.assets} == hashes(*CONTENTS[3:])
    assert assets_of(store) == hashes(*CONTENTS[:3])
    kept = {store.read(path) for path, entry in store.walk(TRASH) if not entry.is_dir}
    assert kept == set(CONTENTS[3:])
    assert plan_of(store).is_empty


def test_with_its_day_of_grace_nothing_goes(store: Store) -> None:
    put_assets(store, *CONTENTS)
    store.put(b"half", asset(sha256(b"x")).with_name("x.0123456789abcdef.part"))
    plan = plan_gc(collector_of(store).survey())
    assert plan.is_empty
    assert plan.young == len(CONTENTS)


def test_unfinished_uploads_go_and_scene_trees_of_jobs_that_are_over(store: Store) -> None:
    put_assets(store, CONTENTS[0])
    put_job(store, CONTENTS[0])
    upload = asset(sha256(b"x")).with_name(f"{sha256(b'x')}.0123456789abcdef.part")
    scene = JobLayout(JOB).folder / "scene.prepare.0badcafe.part"
    clock = PurePosixPath("clock-0123456789abcdef.part")
    for path in (upload, scene / "deep" / "a.png", clock, PurePosixPath("film.mkv.part")):
        store.put(b"half", path)
    assert {item.path for item in clean_up(store).unfinished} == {upload, clock}
    assert {item.path for item in clean_up(store, over=True).unfinished} == {scene}
    assert [entry.name for entry in store.list(JobLayout(JOB).folder, unfinished=True)] == ["job.json"]
    assert store.stat(PurePosixPath("film.mkv.part")) is not None, "somebody else's"


def test_a_submit_that_died_before_its_job_json_keeps_nothing(store: Store) -> None:
    put_assets(store, CONTENTS[0])
    store.put(b"half", JobLayout(JOB).folder / "job.json.0123456789abcdef.part")
    done = clean_up(store)
    assert {item.path.name for item in done.assets} == hashes(CONTENTS[0])
    assert [item.path.name for item in done.unfinished] == ["job.json.0123456789abcdef.part"]


@pytest.mark.parametrize("raw", [b"{}", b'{"schema": 99, "pack": {"files": []}}', b"\xff"])
def test_a_job_that_nobody_understands_keeps_everything(store: Store, raw: bytes) -> None:
    put_assets(store, *CONTENTS)
    store.put(raw, JobLayout(JOB).job_json)
    plan = plan_of(store)
    assert JOB in plan.problems[0]
    assert plan.assets == ()


def test_old_trash_is_deleted_and_nothing_else(store: Store) -> None:
    put_assets(store, CONTENTS[0])
    put_job(store, CONTENTS[0])
    store.put(b"old", TRASH / "2020-01-01" / "old-job" / "deep" / "file")
    store.put(b"try", TRASH / "check-0badcafe" / "speed")
    store.put(b"mine", TRASH / "keep this" / "file")
    done = clean_up(store)
    assert [(entry.name, entry.files, entry.item.size) for entry in done.emptied] == [("2020-01-01", 1, 3)]
    assert sorted(entry.name for entry in store.list(TRASH)) == ["check-0badcafe", "keep this"]
    assert assets_of(store) == hashes(CONTENTS[0])


# -- beside a submitter -------------------------------------------------------------------------------------------------


def test_a_job_that_comes_after_the_plan_keeps_its_assets(store: Store) -> None:
    put_assets(store, *CONTENTS)
    collector = collector_of(store)
    plan = plan_gc(collector.survey(), asset_grace=0.0)
    put_job(store, *CONTENTS[:3])
    done = collector.collect(plan)
    assert {item.path.name for item in done.assets} == hashes(*CONTENTS[3:])
    assert assets_of(store) == hashes(*CONTENTS[:3])


def test_a_job_that_comes_while_assets_move_gets_them_back(store: Store) -> None:
    """The worst moment: after we looked for jobs, before the first asset moves."""
    put_assets(store, *CONTENTS)

    def publish(_event: Event) -> None:
        put_job(store, *CONTENTS[:3])

    done = clean_up(store, on_event=publish)
    assert {item.path.name for item in done.assets} == hashes(*CONTENTS[3:])
    assert assets_of(store) == hashes(*CONTENTS[:3])


def test_a_job_that_nobody_understands_gets_back_all_that_just_moved(store: Store) -> None:
    put_assets(store, *CONTENTS)
    done = clean_up(store, on_event=lambda _event: store.put(b'{"schema": 99}', JobLayout(JOB).job_json))
    assert done.assets == ()
    assert assets_of(store) == hashes(*CONTENTS)


def test_an_interrupt_leaves_the_rest_as_it_was(store: Store) -> None:
    put_assets(store, *CONTENTS)
    token = CancelToken()
    token.cancel()
    assert clean_up(store, cancel=token).assets == ()
    assert assets_of(store) == hashes(*CONTENTS)


class AnotherCleanUp:
    """A store on which another clean-up works: as we bring an asset back, it did so just before, and took it again at once.

    A moment later it finds the job that needs it.
    """

    def __init__(self, store: Store, content: bytes) -> None:
        self._store = store
        self._content = content
        self._kept: PurePosixPath | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        put_assets(self._store, self._content)
        try:
            self._store.move(source, target)
        finally:
            self._kept = self._store.trash(target, job_id="assets")

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        seen = self._store.stat(path)
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._store.move(kept, path)
        return seen


def test_an_asset_that_another_clean_up_is_at_is_waited_for(store: Store) -> None:
    put_assets(store, CONTENTS[0])
    kept = store.trash(asset(sha256(CONTENTS[0])), job_id="assets")
    assert kept is not None
    put_job(store, CONTENTS[0])
    beside: Any = AnotherCleanUp(store, CONTENTS[0])
    assert clean_up(beside).restored == 1
    assert assets_of(store) == hashes(CONTENTS[0])


class StopsInTheTrash:
    """A store of which a program that moves something to the trash sees no end: there it is killed."""

    def __init__(self, store: Store, pipe: Connection, after: int) -> None:
        self._store = store
        self._pipe = pipe
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def trash(self, path: PurePosixPath, *, job_id: str) -> PurePosixPath | None:
        kept = self._store.trash(path, job_id=job_id)
        self._left -= 1
        if self._left <= 0:
            self._pipe.send("moved")
            time.sleep(600)
        return kept


def _collect_until_killed(profile: FarmProfile, after: int, pipe: Connection) -> None:
    store: Any = StopsInTheTrash(open_store(profile), pipe, after)
    store.connections = 1
    clean_up(store)


def test_what_a_killed_clean_up_took_from_a_job_the_next_one_brings_back(store_subject: StoreSubject) -> None:
    store = store_subject.open()
    put_assets(store, *CONTENTS)
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_collect_until_killed, args=(store_subject.profiles[0], 5, theirs))
    process.start()
    assert ours.recv() == "moved"
    put_job(store, *CONTENTS)  # it looked for jobs before, and never looks again
    process.kill()
    process.join(30)
    assert len(assets_of(store)) == len(CONTENTS) - 5, "it was not killed where it should have been"
    plan = plan_of(store)
    assert len(plan.restore) == 5
    assert clean_up(store).restored == 5
    assert assets_of(store) == hashes(*CONTENTS)
    assert plan_of(store).is_empty


# -- everybody at once --------------------------------------------------------------------------------------------------


def _collect_for_ever(profile: FarmProfile, seed: int, pipe: Connection) -> None:
    """Clean up again and again, and fall asleep between looking for jobs and moving assets.

    Unfinished things keep their day: else what is just being sent would go from under it.
    """
    store = open_store(profile)
    chance = random.Random(seed)
    taken = 0

    def sleep(_event: Event) -> None:
        time.sleep(chance.uniform(0.0, 0.8))

    pipe.send("ready")
    while not pipe.poll():
        collector = collector_of(store)
        taken += len(collector.collect(plan_gc(collector.survey(), asset_grace=0.0), on_event=sleep).assets)
    pipe.send(taken)


def _submit_many(profile: FarmProfile, folder: Path, seed: int, pipe: Connection) -> None:
    """Submit jobs that share their files with those of others; most are deleted, so that their files are garbage."""
    store = open_store(profile)
    chance = random.Random(seed)
    standing: list[tuple[str, list[bytes]]] = []
    end, sent = time.monotonic() + SUBMIT_SECONDS, 0
    while sent < FEWEST_JOBS or time.monotonic() < end:
        chosen = chance.sample(SHARED, 4)
        ready = prepare(folder / uuid.uuid4().hex, {f"{n}.png": data for n, data in enumerate(chosen)})
        send(ready, store)
        sent += 1
        wait_until_complete(store, chosen)
        standing.append((ready.plan.job_id, chosen))
        if len(standing) > 1:
            job_id, _ = standing.pop(0)
            store.trash(JobLayout(job_id).folder, job_id=job_id)
    pipe.send(standing)


def wait_until_complete(store: Store, contents: list[bytes]) -> None:
    """What a clean-up took at the last moment it brings back at once."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not hashes(*contents) <= assets_of(store):
        assert time.monotonic() < deadline, "a job lacks a file"
        time.sleep(0.02)


@contextmanager
def running(target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """Run a function in a process of its own for the time of the block."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()  # so that its death ends our reading
    try:
        yield ours
        process.join(SEEN_SECONDS)
    finally:
        process.kill()


def test_no_submitted_job_lacks_a_file_beside_two_clean_ups(store_subject: StoreSubject, tmp_path: Path) -> None:
    profile = store_subject.profiles[0]
    with running(_collect_for_ever, profile, 3) as one, running(_collect_for_ever, profile, 4) as other:
        assert one.recv() == other.recv() == "ready"
        with (
            running(_submit_many, profile, tmp_path, 1) as first,
            running(_submit_many, profile, tmp_path, 2) as second,
        ):
            standing = [*first.recv(), *second.recv()]
        for pipe in (one, other):
            pipe.send("end")
        taken = one.recv() + other.recv()
    store = store_subject.open()
    needed = {content for _, contents in standing for content in contents}
    assert len(standing) == 2
    assert taken, "nobody was in anybody's way"
    assert hashes(*needed) <= assets_of(store)
    assert all(store.read(asset(sha256(content))) == content for content in needed)
    assert {entry.name for entry in store.list(JOBS)} == {job_id for job_id, _ in standing}
