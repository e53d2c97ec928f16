"""A submission that is repeated with the id of an earlier try, which was killed somewhere: it goes on, and there is one job."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cloud_farm import Farm, RenderJob, open_farm
from cloud_farm.blender import find_blender, run_script
from cloud_farm.errors import InvalidJobError, JobBusyError
from cloud_farm.events import Event, Stage
from cloud_farm.layout import JOBS, JobLayout
from cloud_farm.upload_lock import upload_lock

pytestmark = pytest.mark.blender

JOB = "shot-20261130-abc123"
KILLED = 9
KILL_AT = {
    "job.json is there": "cloud_farm.sending.Delivery.missing",
    "the files are there": "cloud_farm.sending.publish_plan",
    "the plan is there": "cloud_farm.history.append_event",
    "it is submitted": "cloud_farm.engines.local.LocalEngine.submit",
    "it runs": "cloud_farm.submitting.Submission",
}
"""What was done last before the program is killed, and what it would have called next."""
_KILLED_SUBMISSION = """
import os, pkgutil, sys, cloud_farm, cloud_farm.submitting
from cloud_farm import RenderJob, open_farm
volume, scene, landing, job, name = sys.argv[1:]
holder, _, last = name.rpartition(".")
setattr(pkgutil.resolve_name(holder), last, lambda *given, **named: os._exit(9))
farm = open_farm(flags={"volume.mount_path": volume, "limits.workers": 2})
farm.submit(RenderJob(scene, frames="1-4", percentage=8, samples=1, chunk_size=2, landing=landing), job_id=job)
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "shot.blend"
    run_script(find_blender(), "demo_scene.py", ["--output", str(path)], timeout=120)
    return path


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 2})


@pytest.fixture
def job(scene: Path, tmp_path: Path) -> RenderJob:
    return RenderJob(
        str(scene), frames="1-4", percentage=8, samples=1, chunk_size=2, landing=str(tmp_path / "land" / "f_####")
    )


def attempts(farm: Farm) -> list[str]:
    return sorted(entry.name for entry in farm.store.list(JobLayout(JOB).attempts))


def jobs_on_volume(farm: Farm) -> list[str]:
    return [entry.name for entry in farm.store.list(JOBS)]


def stages_of_submission(farm: Farm, job: RenderJob) -> list[str]:
    events: list[Event] = []
    assert farm.submit(job, job_id=JOB, on_event=events.append).job_id == JOB
    return [event.stage for event in events if isinstance(event, Stage)]


@pytest.mark.parametrize("done", KILL_AT)
def test_a_submission_that_was_killed_goes_on(farm: Farm, job: RenderJob, done: str) -> None:
    volume, name = str(farm.profile.volume.mount_path), KILL_AT[done]
    words = [sys.executable, "-c", _KILLED_SUBMISSION, volume, job.scene_file, job.landing, JOB, name]
    killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=120)
    assert killed.returncode == KILLED
    assert jobs_on_volume(farm) == [JOB]
    packs_again = "packing" in stages_of_submission(farm, job)
    assert packs_again is (done not in ("it is submitted", "it runs"))
    status = farm.follow(JOB)
    assert (status.state, status.frames_done) == ("done", 4)
    assert jobs_on_volume(farm) == [JOB]
    assert len([name for name in attempts(farm) if name.endswith(".start.json")]) == 3, "prepare and two chunks, once"
    assert sorted(path.name for path in Path(job.landing).parent.iterdir()) == [f"f_000{n}.png" for n in range(1, 5)]


def test_what_is_over_is_not_rendered_again(farm: Farm, job: RenderJob) -> None:
    farm.submit(job, job_id=JOB)
    farm.follow(JOB)
    before = attempts(farm)
    farm.engine.forget(JOB)  # as a cluster forgets a Workflow whose time to live is over
    assert stages_of_submission(farm, job) == ["submitting"]
    assert farm.status(JOB).state == "done"
    assert attempts(farm) == before


def test_what_was_cancelled_stays_so_and_that_is_said(farm: Farm, job: RenderJob) -> None:
    long = dataclasses.replace(job, samples=400, percentage=60)
    farm.submit(long, job_id=JOB)
    farm.cancel(JOB)
    before = attempts(farm)
    with pytest.raises(InvalidJobError, match=f"is cancelled. Go on with: cloud-farm retry {JOB}"):
        farm.submit(long, job_id=JOB)
    assert farm.status(JOB).state == "cancelled"
    assert attempts(farm) == before


def test_chunks_that_the_engine_was_never_told_of_are_rendered_and_no_frame_twice(farm: Farm, job: RenderJob) -> None:
    """As where two of many Workflows were made before the submitter died, and ended before anybody came back."""
    farm.submit(job, job_id=JOB)
    farm.follow(JOB)
    farm.engine.forget(JOB)
    folder = Path(farm.profile.volume.mount_path) / JobLayout(JOB).folder
    last = sorted(path.name.partition(".")[0] for path in (folder / "attempts").iterdir())[-1]
    records = folder / "records" / "r1" / "0"
    for path in (*(folder / "attempts").glob(f"{last}.*"), *records.glob("*.00000[34].*")):
        path.unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert len(kept) == 2
    stages_of_submission(farm, job)
    assert farm.follow(JOB).state == "done"
    assert kept.items() < {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}.items()


def test_another_job_does_not_get_the_id(farm: Farm, job: RenderJob) -> None:
    farm.submit(job, job_id=JOB)
    with pytest.raises(InvalidJobError, match="frames, samples differ. Choose another id"):
        farm.submit(dataclasses.replace(job, frames="1-2", samples=2), job_id=JOB)
    farm.follow(JOB)
    path = Path(farm.profile.volume.mount_path) / JobLayout(JOB).job_json
    path.write_text(json.dumps({**json.loads(path.read_text()), "owner": "grace"}))
    with pytest.raises(InvalidJobError, match="is grace's"):
        open_farm(flags={"volume.mount_path": farm.profile.volume.mount_path}).submit(job, job_id=JOB)


def test_an_id_that_is_none_is_refused_before_anything_is_sent(farm: Farm, job: RenderJob) -> None:
    for wrong in ("shot", "../../x-20261130-abc123", "shot-20261130-ABC123"):
        with pytest.raises(InvalidJobError, match="is no job's id"):
            farm.submit(job, job_id=wrong)
    assert jobs_on_volume(farm) == []


def test_a_job_of_this_id_that_somebody_else_sends_is_left_alone(farm: Farm, job: RenderJob) -> None:
    with upload_lock(JOB), pytest.raises(JobBusyError, match="Another program on this computer"):
        farm.submit(job, job_id=JOB)
    theirs = farm.submit(job).job_id
    folder = Path(farm.profile.volume.mount_path) / JobLayout(theirs).folder
    document = json.loads((folder / "job.json").read_text())
    ours = folder.with_name(JOB)
    ours.mkdir()
    (ours / "job.json").write_text(json.dumps({**document, "id": JOB, "host": "elsewhere"}))
    with pytest.raises(JobBusyError, match="from elsewhere"):
        farm.submit(job, job_id=JOB)
    assert json.loads((ours / "job.json").read_text())["host"] == "elsewhere"
