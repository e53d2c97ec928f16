"""What every engine must do. It is told through the Engine and Store protocols only; see subjects.py for who takes it."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.engines import open_engine
from cloud_farm.errors import JobBusyError
from cloud_farm.history import user_name
from cloud_farm.job import FrameRecord, RenderJob
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan
from cloud_farm.profile import FarmProfile

from .contract_job import ContractJob, wait_for
from .subjects import WORKERS, EngineSubject

_SPAWN = multiprocessing.get_context("spawn")
UNKNOWN = "nobody-20261123-000000"


class Farmer:
    """Makes jobs of one subject and sees to it that none outlives its test."""

    def __init__(self, subject: EngineSubject, folder: Path) -> None:
        self.subject = subject
        self._folder = folder
        self._jobs: list[ContractJob] = []

    def job(self, frames: str = "1-4", **more: Any) -> ContractJob:
        """Make a job that is not sent yet."""
        job = ContractJob(self.subject, self._folder, frames, **more)
        self._jobs.append(job)
        return job

    def clear(self) -> None:
        for job in self._jobs:
            job.engine.cancel(job.id)


@pytest.fixture
def farm(engine_subject: EngineSubject, tmp_path: Path) -> Iterator[Farmer]:
    farmer = Farmer(engine_subject, tmp_path)
    yield farmer
    farmer.clear()


def phases(job: ContractJob) -> dict[str, str]:
    return {task.id: task.phase for task in job.status().tasks}


def snapshot(records: dict[int, FrameRecord]) -> dict[int, str]:
    """Who rendered each frame: equal later means that none was rendered again."""
    return {frame: record.attempt for frame, record in records.items()}


# -- the way it should go -----------------------------------------------------------------------------------------------


def test_an_engine_that_is_fine_has_no_findings(farm: Farmer) -> None:
    assert farm.subject.engine().check() == ()


def test_an_engine_that_is_fine_has_green_lights_only(farm: Farmer) -> None:
    lights = list(farm.subject.engine().try_out())
    assert lights and {light.level for light in lights} == {"green"}, lights


def test_a_job_is_seen_through(farm: Farmer) -> None:
    job = farm.job("1-4", chunk_size=2).submit()
    assert job.status().known
    status = job.wait_until_still()
    assert phases(job) == {"prepare": "done", "r1c00001": "done", "r1c00002": "done"}
    assert status.message == ""
    assert sorted(job.records()) == [1, 2, 3, 4]
    job.check_files()
    assert len(job.attempts()) == 2, "a chunk was begun more than once"


def test_prepare_comes_before_everything_else(farm: Farmer) -> None:
    job = farm.job("1-2").submit()
    job.wait_until_still()
    starts = {name: json.loads(job.store.read(job.layout.attempts / f"{name}.start.json")) for name in job.attempts("")}
    (prepare,) = [start for name, start in starts.items() if name.startswith("prepare.")]
    assert all(prepare["started"] <= start["started"] for start in starts.values())
    assert job.store.read(job.layout.scene_ready).decode().strip() == job.pack.manifest_sha256


def test_each_attempt_leaves_a_log_on_the_volume(farm: Farmer) -> None:
    job = farm.job("1-2").submit()
    job.wait_until_still()
    logs = {entry.name for entry in job.store.list(job.layout.logs)}
    assert {f"{name}.log" for name in job.attempts()} <= logs
    for name in job.attempts():
        assert b'{"cloud_farm": "frame_done"' in job.store.read(job.layout.logs / f"{name}.log")


def test_another_program_sees_the_same(farm: Farmer) -> None:
    job = farm.job("1-6", seconds=0.3).submit()
    assert farm.subject.engine().status(job.id).running
    job.wait_until_still()
    assert farm.subject.engine().status(job.id) == job.status()


def test_a_job_is_listed_as_long_as_the_engine_knows_of_it(farm: Farmer) -> None:
    job = farm.job("1-2", seconds=0.3).submit()
    listed = {found.id: found for found in farm.subject.engine().jobs()}
    assert listed[job.id].running and listed[job.id].owner == user_name()
    assert abs(datetime.fromisoformat(listed[job.id].created).timestamp() - time.time()) < 60
    job.wait_until_still()
    wait_for(lambda: not {found.id: found for found in job.engine.jobs()}[job.id].running)
    job.engine.forget(job.id)
    wait_for(lambda: job.id not in {found.id for found in job.engine.jobs()})


# -- what it does not know ----------------------------------------------------------------------------------------------


def test_unknown_jobs_are_no_error(farm: Farmer) -> None:
    engine = farm.subject.engine()
    status = engine.status(UNKNOWN)
    assert (status.known, status.running, status.tasks) == (False, False, ())
    engine.cancel(UNKNOWN)
    engine.pause(UNKNOWN)
    engine.forget(UNKNOWN)
    assert not engine.status(UNKNOWN).known


@pytest.mark.parametrize("job_id", ["", "..", "../../etc", "a/b", "x\x00y", "UPPER-20261123-abc123"])
def test_what_is_no_job_id_is_unknown(farm: Farmer, job_id: str) -> None:
    engine = farm.subject.engine()
    assert not engine.status(job_id).known
    engine.cancel(job_id)
    engine.forget(job_id)


# -- once and only once -------------------------------------------------------------------------------------------------


def test_the_second_submit_of_a_revision_is_the_same_job(farm: Farmer) -> None:
    job = farm.job("1-4", chunk_size=2, seconds=0.3).submit()
    job.engine.submit(job.plan)
    farm.subject.engine().submit(job.plan)
    job.wait_until_still()
    assert len(job.attempts()) == 2
    before = snapshot(job.records())
    job.engine.submit(job.plan)
    job.wait_until_still()
    assert snapshot(job.records()) == before, "a finished frame was rendered again"


def _submit_at_once(profile: FarmProfile, plan: RenderPlan, pipe: Connection) -> None:
    engine = open_engine(profile)
    pipe.send("ready")
    pipe.recv()
    engine.submit(plan)
    pipe.send("done")


def test_submits_at_the_same_moment_are_one_job(farm: Farmer) -> None:
    job = farm.job("1-4", chunk_size=2, seconds=0.3).send()
    pipes = []
    for _ in range(3):
        ours, theirs = _SPAWN.Pipe()
        _SPAWN.Process(target=_submit_at_once, args=(farm.subject.there, job.plan, theirs), daemon=True).start()
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == ["done"] * 3
    job.wait_until_still()
    assert sorted(job.records()) == [1, 2, 3, 4]
    assert len(job.attempts()) == 2


def test_while_it_runs_no_other_revision_is_taken_and_it_is_not_forgotten(farm: Farmer) -> None:
    job = farm.job("1-4", seconds=0.5).submit()
    second = job.make_plan(2)
    job.send(second)
    with pytest.raises(JobBusyError, match="still runs"):
        job.engine.submit(second)
    with pytest.raises(JobBusyError, match="still runs"):
        job.engine.forget(job.id)
    job.wait_until_still()
    assert job.store.list(job.layout.records(2)) == ()
    job.engine.submit(second)
    job.wait_until_still()
    assert sorted(job.records(2)) == [1, 2, 3, 4]


def test_a_forgotten_job_is_unknown_and_its_frames_stay(farm: Farmer) -> None:
    job = farm.job("1").submit()
    job.wait_until_still()
    job.engine.forget(job.id)
    job.engine.forget(job.id)
    assert not job.status().known
    assert sorted(job.records()) == [1]


# -- cancel, pause, resume ----------------------------------------------------------------------------------------------


def test_cancel_ends_everything_and_may_be_said_twice(farm: Farmer) -> None:
    job = farm.job("1-8", chunk_size=4, seconds=farm.subject.frame_s).submit()
    job.wait_for_frames(1)
    job.engine.cancel(job.id)
    assert not job.status().running
    assert farm.subject.processes(job.id) == []
    job.engine.cancel(job.id)
    assert not job.status().running
    assert "running" not in phases(job).values()
    before = snapshot(job.records())
    assert 1 <= len(before) < 8
    job.check_files()
    job.engine.submit(job.plan)
    job.wait_until_still()
    assert sorted(job.records()) == list(range(1, 9))
    assert {frame: who for frame, who in snapshot(job.records()).items() if frame in before} == before


def test_cancel_of_a_job_that_is_over_changes_nothing(farm: Farmer) -> None:
    job = farm.job("1-2").submit()
    job.wait_until_still()
    before = job.status()
    job.engine.cancel(job.id)
    assert job.status() == before


def test_pause_lets_frames_end_and_resume_renders_only_the_rest(farm: Farmer) -> None:
    job = farm.job("1-10", chunk_size=5, seconds=0.3).submit()
    job.wait_for_frames(2)
    job.stop()
    status = job.wait_until_still()
    assert status.known
    before = snapshot(job.records())
    assert 2 <= len(before) < 10
    assert farm.subject.processes(job.id) == []
    job.go_on()
    assert job.status().running
    job.wait_until_still()
    after = snapshot(job.records())
    assert sorted(after) == list(range(1, 11))
    assert {frame: after[frame] for frame in before} == before


def test_pause_and_resume_at_once_loses_nothing(farm: Farmer) -> None:
    job = farm.job("1-8", chunk_size=2, seconds=0.15).submit()
    job.wait_for_frames(1)
    for _ in range(3):
        job.stop()
        job.go_on()
    job.wait_until_still()
    assert sorted(job.records()) == list(range(1, 9))


# -- what goes wrong ----------------------------------------------------------------------------------------------------


def test_a_failing_frame_is_named_and_the_others_are_rendered(farm: Farmer) -> None:
    job = farm.job("1-6", chunk_size=3, tries=2, fail=[2]).submit()
    job.wait_until_still()
    assert sorted(job.records()) == [1, 3, 4, 5, 6]
    assert phases(job) == {"prepare": "done", "r1c00001": "failed", "r1c00002": "done"}
    task = job.task(1)
    assert "frame 2" in task.message
    assert len(job.attempts("r1c00001")) == 2, "a frame is tried as often as the job says"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_crashed_blender_is_named_and_tried_again(farm: Farmer, name: str) -> None:
    job = farm.job("1-3", chunk_size=3, crash={"2": [name, 1]}).submit()
    assert "frame 2" in job.wait_for_message(name)
    job.wait_until_still()
    assert sorted(job.records()) == [1, 2, 3]
    assert phases(job)["r1c00001"] == "done"
    assert len(job.attempts("r1c00001")) == 2


def test_a_frame_that_always_crashes_blender_is_given_up(farm: Farmer) -> None:
    job = farm.job("1-3", chunk_size=3, crash={"2": ["SIGSEGV", 99]}).submit()
    job.wait_until_still()
    assert sorted(job.records()) == [1, 3]
    assert "SIGSEGV" in job.task(1).message
    assert phases(job)["r1c00001"] == "failed"


def test_an_unwritable_output_is_tried_again(farm: Farmer) -> None:
    job = farm.job("1-2", chunk_size=2, exit=[13, 2, "The volume is full."]).submit()
    job.wait_until_still()
    assert sorted(job.records()) == [1, 2]
    assert job.task(1).attempts == 3


@pytest.mark.parametrize("code", [78, 11], ids=["never", "device absent"])
def test_what_can_never_work_here_is_not_tried_again(farm: Farmer, code: int) -> None:
    job = farm.job("1-2", chunk_size=2, exit=[code, 1, "There is no such thing."]).submit()
    job.wait_until_still()
    task = job.task(1)
    assert task.phase == "failed"
    assert "There is no such thing." in task.message
    assert len(job.attempts(task.id)) == 1 and job.records() == {}


def test_a_scene_that_can_not_be_prepared_fails_every_chunk_at_once(farm: Farmer) -> None:
    job = farm.job("1-3").send(with_assets=False)
    job.engine.submit(job.plan)
    job.wait_until_still()
    assert set(phases(job).values()) == {"failed"}
    assert all("shot.blend" in task.message for task in job.status().tasks)
    assert job.attempts() == [] and job.records() == {}


def test_a_changed_plan_is_never_run(farm: Farmer) -> None:
    job = farm.job("1-2").send()
    job.store.put(job.plan.content.replace(b"1-2", b"1-9") + b" ", job.layout.plan(1))
    job.engine.submit(job.plan)
    job.wait_until_still()
    assert set(phases(job).values()) == {"failed"}
    assert job.records() == {}


# -- nobody need watch --------------------------------------------------------------------------------------------------


def _submit_and_wait(profile: FarmProfile, plan: RenderPlan, pipe: Connection) -> None:
    open_engine(profile).submit(plan)
    pipe.send(os.getpid())
    signal.pause()


def test_the_job_outlives_the_program_that_submitted_it(farm: Farmer) -> None:
    job = farm.job("1-4", seconds=0.2).send()
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_submit_and_wait, args=(farm.subject.there, job.plan, theirs))
    process.start()
    os.kill(ours.recv(), signal.SIGKILL)
    process.join(10)
    assert job.status().running
    job.wait_until_still()
    assert sorted(job.records()) == [1, 2, 3, 4]


def test_two_jobs_share_the_places_and_both_get_on(farm: Farmer) -> None:
    jobs = [farm.job("1-8", seconds=0.3).submit(), farm.job("1-8", seconds=0.3).submit()]
    for job in jobs:
        job.wait_until_still()
        assert sorted(job.records()) == list(range(1, 9))
    spans = [[(r.extra["began"], r.extra["ended"]) for r in job.records().values()] for job in jobs]
    times = sorted(itertools.chain(*spans))
    for began, _ in times:
        assert sum(first <= began < last for first, last in times) <= WORKERS, (
            "more Blenders at once than there is room for"
        )
    for mine, other in (spans, reversed(spans)):
        assert min(began for began, _ in mine) < max(ended for _, ended in other), (
            "one job waited for the whole other one"
        )


# -- with a real Blender ------------------------------------------------------------------------------------------------


@pytest.mark.blender
def test_a_real_blender_renders_a_real_scene(engine_subject: EngineSubject, tmp_path: Path) -> None:
    from cloud_farm.sending import send
    from cloud_farm.submission import prepared

    scene = engine_subject.scene(tmp_path)
    job = RenderJob(str(scene), frames="1-4", chunk_size=2, percentage=10, samples=1)
    store, engine = engine_subject.store(), engine_subject.engine()
    with prepared(job, engine_subject.there, scene_file=scene) as ready:
        send(ready, store)
        engine.submit(ready.plan)
    job_id = ready.plan.job_id
    wait_for(lambda: not engine.status(job_id).running, 120 * engine_subject.patience, what="the end")
    assert {task.phase for task in engine.status(job_id).tasks} == {"done"}
    layout = JobLayout(job_id)
    for frame in range(1, 5):
        content = json.loads(store.read(layout.record(1, None, frame)))
        assert (content["device"], content["host"]) == ("CPU", engine_subject.host)
        picture = store.read(layout.frames(1, frame) / content["files"][0]["path"])
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
