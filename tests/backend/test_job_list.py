"""Jobs that only the engine knows of are listed, and can be cleared away."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.cli import run
from cloud_farm.engines import EngineJob, EngineStatus
from cloud_farm.engines.local_files import JobFolder
from cloud_farm.errors import (
    EngineUnreachableError,
    JobBusyError,
    JobNotFoundError,
    ProfileError,
    StoreUnreachableError,
)
from cloud_farm.farm import Farm, open_farm
from cloud_farm.history import CANCELLED, append_event
from cloud_farm.platform import user_folders
from cloud_farm.profile import FarmProfile, load_profile
from cloud_farm.worker_listing import Listings

from .test_plan import JOB_ID, PROFILE
from .volume_job import StillEngine, submit

STRAY = EngineJob("gone-20261123-abc123", "Ada Lovelace", "2026-11-23T21:30:00Z", running=True)


class KnowingEngine(StillEngine):
    """Knows jobs."""

    def __init__(self, *jobs: EngineJob) -> None:
        super().__init__()
        self.known = {job.id: job for job in jobs}
        self.calls: list[tuple[str, str]] = []

    def jobs(self) -> tuple[EngineJob, ...]:
        return tuple(self.known.values())

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        job = self.known.get(job_id)
        return EngineStatus(running=bool(job and job.running), known=job is not None)

    def cancel(self, job_id: str) -> None:
        self.calls.append(("cancel", job_id))
        self.known[job_id] = dataclasses.replace(self.known[job_id], running=False)

    def forget(self, job_id: str) -> None:
        if self.known[job_id].running:
            raise JobBusyError("It runs.")
        self.calls.append(("forget", job_id))
        del self.known[job_id]


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    made = open_farm(flags={"volume.mount_path": str(tmp_path)})
    submit(made.store, PROFILE)
    made.engine = KnowingEngine(STRAY, EngineJob(JOB_ID, "somebody", "2026-11-24T00:00:00Z", running=False))
    return made


def test_a_job_that_only_the_engine_knows_is_listed_with_what_to_do(farm: Farm) -> None:
    listed = {job.id: job for job in farm.jobs()}
    assert set(listed) == {JOB_ID, STRAY.id}
    stray = listed[STRAY.id]
    assert (stray.state, stray.owner, stray.created) == ("not on volume", "Ada Lovelace", STRAY.created)
    assert stray.message.endswith(f"cloud-farm cancel {STRAY.id}")
    assert listed[JOB_ID].state != "not on volume"


@pytest.mark.parametrize("calls", [("jobs", "status"), ("status",)], ids=["always", "from then on"])
@pytest.mark.parametrize("fault", [EngineUnreachableError("away"), ProfileError("no kubeconfig")], ids=str)
def test_what_is_on_the_volume_is_listed_where_the_engine_can_not_be_asked(
    farm: Farm, fault: Exception, calls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> tuple[EngineJob, ...]:
        raise fault

    for name in calls:
        monkeypatch.setattr(farm.engine, name, asked)
    (job,) = farm.jobs()
    assert job.id == JOB_ID
    assert job.state != "unreadable"


def test_it_is_stopped_and_forgotten_like_any_other(farm: Farm) -> None:
    assert farm.find(STRAY.id) == STRAY.id
    with pytest.raises(JobBusyError):
        farm.delete(STRAY.id)
    farm.cancel(STRAY.id)
    (message,) = (job.message for job in farm.jobs() if job.id == STRAY.id)
    assert message.endswith(f"cloud-farm delete --yes {STRAY.id}")
    farm.delete(STRAY.id)
    assert [job.id for job in farm.jobs()] == [JOB_ID]
    with pytest.raises(JobNotFoundError):
        farm.find(STRAY.id)
    with pytest.raises(JobNotFoundError):
        farm.delete(STRAY.id)


def test_a_job_is_stopped_although_the_volume_does_not_answer(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise StoreUnreachableError("The volume does not answer.")

    for name in ("list", "read"):
        monkeypatch.setattr(farm.store, name, away)
    assert farm.find(STRAY.id) == STRAY.id
    with pytest.raises(StoreUnreachableError, match="was told to stop"):
        farm.cancel(STRAY.id)
    assert isinstance(farm.engine, KnowingEngine) and farm.engine.calls == [("cancel", STRAY.id)]
    with pytest.raises(StoreUnreachableError):
        farm.find("last")


def test_what_is_known_of_a_job_is_not_read_again(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = farm.store.read

    def noted(path: PurePosixPath) -> bytes:
        reads.append(path.name)
        return read(path)

    monkeypatch.setattr(farm.store, "read", noted)
    first = farm.jobs()
    assert "job.json" in reads
    reads.clear()
    assert farm.jobs() == first
    assert reads == []
    append_event(farm.store, JOB_ID, CANCELLED)
    assert {job.id: job.state for job in farm.jobs()}[JOB_ID] == "cancelled", "but what is new is seen"


def test_the_beginning_of_its_id_is_not_enough(farm: Farm) -> None:
    with pytest.raises(JobNotFoundError):
        farm.find("gone")


def test_a_job_that_is_deleted_while_we_look_is_not_shown(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farm.engine, "status", lambda _job: EngineStatus(running=False, known=False))
    assert [job.id for job in farm.jobs()] == [JOB_ID]


def test_an_engine_that_does_not_answer_hides_no_job_of_the_volume(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> tuple[EngineJob, ...]:
        raise EngineUnreachableError("nobody answers")

    monkeypatch.setattr(farm.engine, "jobs", unreachable)
    assert [job.id for job in farm.jobs()] == [JOB_ID]


def test_the_local_engine_lists_what_runs_on_its_own_folder(tmp_path: Path) -> None:
    one, two = (open_farm(flags={"volume.mount_path": str(tmp_path / name)}) for name in ("one", "two"))
    folder = JobFolder(user_folders().state / "local", JOB_ID)
    folder.write(folder.tasks, {"root": str(tmp_path / "one")})
    assert [(job.id, job.running) for job in one.engine.jobs()] == [(JOB_ID, False)]
    assert two.engine.jobs() == ()


def test_the_list_says_what_to_do_about_it(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cloud_farm.cli_jobs.get_farm", lambda _name: farm)
    assert run(["jobs"]) == 0
    said = capsys.readouterr().out
    assert f"{STRAY.id}  not on volume" in said
    assert f"cloud-farm cancel {STRAY.id}" in " ".join(said.split())


def test_who_lists_again_keeps_the_farm_until_its_profile_changes(tmp_path: Path) -> None:
    def profile(folder: str) -> FarmProfile:
        return load_profile("local", flags={"volume.mount_path": str(tmp_path / folder)})

    listings = Listings()
    submit(Farm(profile("a")).store, PROFILE)
    with listings.farm(profile("a")) as first:
        assert [job.id for job in first.jobs()] == [JOB_ID]
    with listings.farm(profile("a")) as second:
        assert second is first
    with listings.farm(profile("b")) as other:
        assert other.jobs() == ()
