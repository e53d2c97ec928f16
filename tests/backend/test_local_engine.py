"""The local engine's own promises: how many Blenders fit, what an exit code means, and what a killed runner leaves behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_farm.engines.local import default_workers, open_engine, threads_per_worker
from cloud_farm.engines.local_files import JobFolder, Slots
from cloud_farm.engines.local_verdict import MOST_STRIKES, explain, judge
from cloud_farm.errors import EngineError, JobBusyError
from cloud_farm.platform import user_folders

from ..contracts.contract_job import ContractJob, wait_for
from ..contracts.subjects import EngineSubject, folder_profile, local_processes, local_subject

GIB = 1 << 30


@pytest.fixture
def subject(tmp_path: Path) -> EngineSubject:
    profile = folder_profile(tmp_path / "volume")
    return local_subject(profile, profile)


# -- how many fit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "cores", "memory", "workers"),
    [
        ("cpu", 1, 64, 1), ("cpu", 2, 64, 2), ("cpu", 7, 64, 2), ("cpu", 8, 64, 2), ("cpu", 16, 64, 4), ("cpu", 64, 256, 16),
        ("cpu", 64, 8, 4), ("cpu", 8, 3, 1), ("cpu", 8, 1, 1), ("optix", 64, 256, 1), ("metal", 8, 16, 1),
    ],
)  # fmt: skip
def test_workers_fit_cores_and_memory(device: str, cores: int, memory: int, workers: int) -> None:
    assert default_workers(device, cores=cores, memory=memory * GIB) == workers


@pytest.mark.parametrize(("workers", "cores", "threads"), [(1, 8, 8), (2, 8, 4), (3, 8, 2), (4, 2, 1), (2, 7, 3)])
def test_threads_use_each_core_once(workers: int, cores: int, threads: int) -> None:
    assert threads_per_worker(workers, cores=cores) == threads


# -- what an end means --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "phase"),
    [(0, "done"), (10, "backing_off"), (11, "failed"), (12, "backing_off"), (13, "backing_off"), (16, "backing_off"), (78, "failed"),
     (143, "backing_off"), (1, "backing_off"), (2, "backing_off"), (-9, "backing_off"), (-11, "backing_off"), (-64, "backing_off")],
)  # fmt: skip
def test_exit_codes(code: int, phase: str) -> None:
    verdict = judge("r1c00001", code, 0, {})
    assert verdict.phase == phase
    assert bool(verdict.message) == (phase != "done")


def test_waits_grow_to_half_a_minute() -> None:
    longest = [judge("c", 13, strikes, {}, chance=lambda _a, b: b).wait_seconds for strikes in range(8)]
    assert longest == [1, 2, 4, 8, 16, 30, 30, 30]
    assert judge("c", 13, 3, {}, chance=lambda a, _b: a).wait_seconds == 4


def test_after_twenty_strikes_it_is_over() -> None:
    assert judge("c", 13, MOST_STRIKES - 2, {}).phase == "backing_off"
    last = judge("c", 13, MOST_STRIKES - 1, {"reason": "The volume is full."})
    assert last.phase == "failed"
    assert "The volume is full." in last.message and "20" in last.message


@pytest.mark.parametrize(("code", "end"), [(12, {}), (10, {"death": {"signal": "SIGSEGV", "frame": 4}})])
def test_what_a_frame_is_to_blame_for_is_no_strike(code: int, end: dict[str, object]) -> None:
    verdict = judge("c", code, MOST_STRIKES - 1, end)
    assert (verdict.phase, verdict.strike) == ("backing_off", False)


def test_ends_are_explained() -> None:
    assert "SIGKILL" in explain("r1c00001", -9, {"reason": "of an older attempt"})
    assert (
        explain("r1c00001", 10, {"reason": "Blender was ended by SIGSEGV."})
        == "Chunk r1c00001: Blender was ended by SIGSEGV."
    )
    assert "exit code 2" in explain("prepare", 2, {}) and explain("prepare", 2, {}).startswith("Preparing the scene")
    assert "signal 50" in explain("c", -50, {})


# -- places -------------------------------------------------------------------------------------------------------------


def test_who_gives_a_place_back_stands_behind_those_who_wait(tmp_path: Path) -> None:
    first, second = Slots(tmp_path, 1), Slots(tmp_path, 1)
    held = first.take()
    assert held is not None
    assert second.take() is None  # waits, and has the turn now
    held.release()
    assert first.take() is None
    again = second.take()
    assert again is not None
    again.release()
    assert first.take() is not None


def test_higher_priority_goes_first_even_where_another_has_the_turn(tmp_path: Path) -> None:
    usual, urgent = Slots(tmp_path, 1, owner="a"), Slots(tmp_path, 1, owner="b", priority=80)
    held = usual.take()
    assert held is not None
    assert usual.take() is None  # has the turn
    assert urgent.take() is None
    held.release()
    assert usual.take() is None
    first = urgent.take()
    assert first is not None
    first.release()
    assert usual.take() is None, "the urgent one may want another"
    urgent.leave()
    assert usual.take() is not None
    usual.leave()
    assert not list(tmp_path.glob("wish*"))


def test_a_killed_job_of_high_priority_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "wish.100.gone").touch()
    assert Slots(tmp_path, 1, owner="a").take() is not None


def test_an_urgent_job_passes_one_that_came_first(subject: EngineSubject, tmp_path: Path) -> None:
    usual = ContractJob(subject, tmp_path, "1-14", seconds=0.25).submit()
    usual.wait_for_frames(1)
    urgent = ContractJob(subject, tmp_path, "1-6", seconds=0.25, priority=90).submit()
    for job in (usual, urgent):
        job.wait_until_still()
    begun = [sorted(float(record.extra["began"]) for record in job.records().values()) for job in (usual, urgent)]
    assert (len(begun[0]), len(begun[1])) == (14, 6)
    between = [began for began in begun[0] if begun[1][0] < began < begun[1][-1]]
    assert len(between) <= 2, "turns were shared evenly"


# -- a runner that dies -------------------------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the Blenders of this computer put what is not published yet."""
    folder = tmp_path / "scratch"
    monkeypatch.setenv("CLOUD_FARM_SCRATCH", str(folder))
    return folder


@pytest.fixture
def job(subject: EngineSubject, tmp_path: Path, scratch: Path) -> Iterator[ContractJob]:
    """Eight frames in chunks of four; the first is being rendered."""
    made = ContractJob(subject, tmp_path, "1-8", chunk_size=4, seconds=0.4).submit()
    made.wait_for_frames(1)
    yield made
    made.engine.cancel(made.id)


def folder_of(job: ContractJob) -> JobFolder:
    return JobFolder(user_folders().state / "local", job.id)


def runner_of(job: ContractJob) -> int:
    return int(folder_of(job).read(folder_of(job).state)["pid"])


def supervisors(job: ContractJob) -> list[int]:
    return [int(line.split()[0]) for line in local_processes(job.id) if "run_attempt.py" in line and "stub" in line]


def test_a_killed_runner_is_seen_and_what_it_started_goes_on(job: ContractJob) -> None:
    os.kill(runner_of(job), signal.SIGKILL)
    wait_for(lambda: not folder_of(job).leader.is_held(), 5)
    status = job.status()
    assert status.running and status.known
    assert "was killed" in status.message
    with pytest.raises(JobBusyError):
        job.engine.forget(job.id)
    status = job.wait_until_still()
    assert status.known and "ended before it was done" in status.message
    assert sorted(job.records()) == list(range(1, 9)), "both chunks were running and end by themselves"
    job.engine.resume(job.id)
    assert {task.phase for task in job.wait_until_still().tasks} == {"done"}


def test_a_machine_that_lost_power_goes_on_where_it_stood(job: ContractJob, scratch: Path) -> None:
    os.killpg(runner_of(job), signal.SIGKILL)
    wait_for(lambda: not job.status().running, 5)
    status = job.status()
    assert status.known and "restarted" in status.message
    assert any(task.phase == "running" for task in status.tasks), "the state is what it was"
    wait_for(lambda: local_processes(job.id) == [], 5, what="the end of every renderer")
    before = {frame: record.attempt for frame, record in job.records().items()}
    assert len(before) < 8
    assert list(scratch.rglob("cloud-farm-r1c*")), "nothing was left behind that could be cleared"
    job.engine.resume(job.id)
    job.wait_until_still()
    assert list(scratch.iterdir()) == []
    after = {frame: record.attempt for frame, record in job.records().items()}
    assert sorted(after) == list(range(1, 9))
    assert {frame: after[frame] for frame in before} == before


def test_resume_after_a_killed_runner_does_not_render_twice_at_once(job: ContractJob) -> None:
    os.kill(runner_of(job), signal.SIGKILL)
    wait_for(lambda: not folder_of(job).leader.is_held(), 5)
    old = supervisors(job)
    job.engine.resume(job.id)
    assert not set(old) & set(supervisors(job)), "what the dead runner had started still runs beside the new one's"
    job.wait_until_still()
    assert sorted(job.records()) == list(range(1, 9))


def test_cancel_reaches_what_a_killed_runner_left(job: ContractJob) -> None:
    os.kill(runner_of(job), signal.SIGKILL)
    wait_for(lambda: not folder_of(job).leader.is_held(), 5)
    job.engine.cancel(job.id)
    assert local_processes(job.id) == []
    status = job.status()
    assert not status.running and status.message == ""
    assert "running" not in {task.phase for task in status.tasks}


def test_a_killed_supervisor_is_named_and_its_chunk_tried_again(job: ContractJob, scratch: Path) -> None:
    victims = supervisors(job)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    job.wait_for_message("SIGKILL")
    job.wait_until_still()
    assert list(scratch.iterdir()) == []
    assert sorted(job.records()) == list(range(1, 9))
    assert {task.phase for task in job.status().tasks} == {"done"}


def test_a_supervisor_stopped_by_somebody_else_is_tried_again(job: ContractJob) -> None:
    for pid in supervisors(job):
        os.kill(pid, signal.SIGTERM)
    job.wait_until_still()
    assert sorted(job.records()) == list(range(1, 9))


def test_sigterm_to_the_runner_ends_everything_cleanly(job: ContractJob) -> None:
    os.kill(runner_of(job), signal.SIGTERM)
    job.wait_until_still(40)
    assert local_processes(job.id) == []
    assert {task.phase for task in job.status().tasks} <= {"done", "stopped"}
    assert list(Path(job.subject.there.volume.mount_path).rglob("*.part")) == []


def test_a_stale_number_of_a_runner_is_never_killed(job: ContractJob) -> None:
    job.wait_until_still()
    folder = folder_of(job)
    folder.write(folder.state, {**folder.read(folder.state), "pid": os.getpid(), "over": False})
    job.engine.cancel(job.id)  # would end this very test


def test_a_damaged_state_is_no_crash(job: ContractJob) -> None:
    job.engine.cancel(job.id)
    for text in ("", "{", "[1]", "null"):
        folder_of(job).state.write_text(text)
        status = job.status()
        assert status.known and not status.running
    job.engine.resume(job.id)
    job.wait_until_still()
    assert sorted(job.records()) == list(range(1, 9))


# -- this computer ------------------------------------------------------------------------------------------------------


def test_the_runner_is_not_fooled_by_the_folder_it_is_started_in(
    subject: EngineSubject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "artist"
    trap.mkdir()
    for name in ("json.py", "random.py", "cloud_farm.py"):
        (trap / name).write_text("raise SystemExit('a file of the artist was run')")
    monkeypatch.chdir(trap)
    made = ContractJob(subject, tmp_path, "1").submit()
    made.wait_until_still()
    assert sorted(made.records()) == [1]


def test_a_state_folder_that_can_not_be_written_is_told(
    subject: EngineSubject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path / "blocked"))
    engine = open_engine(subject.there)
    (finding,) = engine.check()
    assert (finding.code, finding.severity) == ("state_unwritable", "error")
    made = ContractJob(subject, tmp_path, "1").send()
    with pytest.raises(EngineError, match="CLOUD_FARM_HOME"):
        engine.submit(made.plan)


def test_each_blender_gets_its_share_of_threads(subject: EngineSubject, tmp_path: Path) -> None:
    made = ContractJob(subject, tmp_path, "1-4").submit()
    document = json.loads((folder_of(made).tasks).read_text())
    assert document["workers"] == 2
    assert document["threads"] == threads_per_worker(2)
    made.wait_until_still()
