"""The whole way through the house on the embedded local farm, with a real Blender: submit, control, revisions, landing."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cloud_farm import Farm, FrameRange, RenderJob, open_farm
from cloud_farm.blender import find_blender, run_script
from cloud_farm.errors import (
    BlenderError,
    CloudFarmError,
    InvalidJobError,
    JobBusyError,
    JobNotFoundError,
    LandingError,
    SchemaError,
)
from cloud_farm.events import Event
from cloud_farm.layout import JOBS, JobLayout
from cloud_farm.status import JobStatus
from cloud_farm.tracking import JobTracker

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo scene, built by this Blender."""
    path = tmp_path_factory.mktemp("scene") / "demo scene.blend"
    run_script(find_blender(), "demo_scene.py", ["--output", str(path)], timeout=120)
    return path


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 2})


def tiny(path: Path, tmp_path: Path, /, frames: str = "1-3", **more: object) -> RenderJob:
    """Some forty pixels wide, one sample: a frame costs milliseconds."""
    values: dict[str, object] = {"percentage": 8, "samples": 1, "landing": str(tmp_path / "landing" / "f_####"), **more}
    return RenderJob(str(path), frames=frames, **values)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def records(farm: Farm, job_id: str, revision: int = 1) -> dict[str, float]:
    folder = JobLayout(job_id).records(revision) / "0"
    return {entry.name: entry.mtime for entry in farm.store.list(folder) if entry.name.endswith(".json")}


def volume_jobs(farm: Farm) -> list[str]:
    return [entry.name for entry in farm.store.list(JOBS)]


def test_a_job_renders_lands_and_tells_what_happens(farm: Farm, scene: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    made = farm.submit(tiny(scene, tmp_path, "1-3,7"), on_event=events.append)
    status = farm.follow(made.job_id, on_event=events.append)
    assert (status.state, status.frames_done, status.frames_total) == ("done", 4, 4)
    landed = sorted(path.name for path in (tmp_path / "landing").iterdir())
    assert landed == ["f_0001.png", "f_0002.png", "f_0003.png", "f_0007.png"]
    kinds = [event.kind for event in events]
    assert kinds.count("frame_done") == 4
    assert kinds.index("state") < kinds.index("frame_done")
    document = farm.document(made.job_id)
    assert str(tmp_path) not in json.dumps(document.job.scene_file + document.job.landing), (
        "the artist's folders stay at home"
    )


@pytest.mark.parametrize("engine", ["BLENDER_EEVEE", "BLENDER_WORKBENCH"])
def test_other_engines_render_where_there_is_opengl(farm: Farm, scene: Path, tmp_path: Path, engine: str) -> None:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pytest.skip("EEVEE and Workbench need OpenGL: libEGL.so.1 is not on this machine")
    made = farm.submit(tiny(scene, tmp_path, frames="2", engine=engine))
    status = farm.follow(made.job_id)
    assert status.state == "done", status.messages
    record = JobTracker(farm.store, made.job_id)
    [frame] = [record.record(found) for found in record.refresh((1,))]
    assert (frame.device, frame.samples) == (None, None), "Cycles' words about an engine that is not Cycles"
    assert (tmp_path / "landing" / "f_0002.png").stat().st_size > 500


def test_a_second_look_says_the_same(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-2"))
    first = farm.follow(made.job_id)
    again = open_farm(flags={"volume.mount_path": str(tmp_path / "volume")}).status(made.job_id)
    assert (again.state, again.frames_done, again.frame_states) == (first.state, first.frames_done, first.frame_states)
    assert [job.id for job in farm.jobs()] == [made.job_id]
    assert farm.find("last") == farm.find(made.job_id[:6]) == made.job_id


def test_pause_resume_and_nothing_rendered_twice(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-12", chunk_size=6, percentage=30, samples=16))
    wait_for(lambda: farm.status(made.job_id).frames_done >= 1)
    farm.pause(made.job_id)
    wait_for(lambda: not farm.engine.status(made.job_id).running)
    paused = farm.status(made.job_id)
    assert paused.state == "paused"
    assert 1 <= paused.frames_done < 12
    before = records(farm, made.job_id)
    farm.resume(made.job_id)
    assert farm.follow(made.job_id).state == "done"
    after = records(farm, made.job_id)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before


def test_cancel_leaves_no_process_and_retry_renders_the_rest(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-8", chunk_size=4, percentage=40, samples=32))
    wait_for(lambda: farm.status(made.job_id).running)
    with pytest.raises(JobBusyError):
        farm.retry(made.job_id)
    with pytest.raises(JobBusyError):
        farm.delete(made.job_id)
    farm.cancel(made.job_id)
    farm.cancel(made.job_id)
    assert not farm.engine.status(made.job_id).running
    assert farm.status(made.job_id).state == "cancelled"
    parts = [path for path in (tmp_path / "volume").rglob("*.part")]
    assert parts == []
    before = records(farm, made.job_id)
    farm.retry(made.job_id)
    assert farm.follow(made.job_id).state == "done"
    assert {name: records(farm, made.job_id)[name] for name in before} == before


def test_a_new_revision_replaces_the_frames_it_renders(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-3"))
    farm.follow(made.job_id)
    landing = tmp_path / "landing"
    before = {path.name: path.read_bytes() for path in landing.iterdir()}
    assert farm.retry(made.job_id, frames=FrameRange.parse("2"), overrides={"samples": 3}, force=True) == 2
    status = farm.follow(made.job_id)
    assert (status.state, status.revision, status.frames_total) == ("done", 2, 3)
    after = {path.name: path.read_bytes() for path in landing.iterdir()}
    assert after["f_0002.png"] != before["f_0002.png"]
    assert (after["f_0001.png"], after["f_0003.png"]) == (before["f_0001.png"], before["f_0003.png"])


def test_retry_of_a_whole_job_or_of_strange_frames_is_refused(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1"))
    farm.follow(made.job_id)
    with pytest.raises(InvalidJobError, match="has all its 1 frames"):
        farm.retry(made.job_id)
    with pytest.raises(InvalidJobError, match="9 is not among them"):
        farm.retry(made.job_id, frames=FrameRange.parse("9"), force=True)
    with pytest.raises(InvalidJobError, match="can't change 'frames'"):
        farm.retry(made.job_id, overrides={"frames": "1-2"})


def test_the_job_outlives_the_program_that_submitted_it(scene: Path, tmp_path: Path) -> None:
    """The submitter is killed the moment the submit returns; the frames come all the same."""
    import signal
    import subprocess
    import sys

    script = (
        "import os, signal, sys; from cloud_farm import open_farm, RenderJob\n"
        f"farm = open_farm(flags={{'volume.mount_path': {str(tmp_path / 'volume')!r}, 'limits.workers': 2}})\n"
        f"made = farm.submit(RenderJob({str(scene)!r}, frames='1-4', percentage=8, samples=1))\n"
        "print(made.job_id, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = str(Path(open_farm.__code__.co_filename).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume")})
    assert farm.follow(done.stdout.split()[0], land=False).state == "done"


def test_a_killed_runner_is_told_and_resumed(farm: Farm, scene: Path, tmp_path: Path) -> None:
    import signal

    made = farm.submit(tiny(scene, tmp_path, "1-8", chunk_size=2, percentage=30, samples=16))
    wait_for(lambda: farm.status(made.job_id).frames_done >= 1)
    state = json.loads(next((Path(os.environ["CLOUD_FARM_HOME"]) / "state" / "local").glob("*/state.json")).read_text())
    os.kill(state["pid"], signal.SIGKILL)
    wait_for(lambda: not farm.engine.status(made.job_id).running)
    status = farm.status(made.job_id)
    assert (status.state, status.stalled) == ("failed", True) or status.state == "done"
    if status.stalled:
        assert "cloud-farm resume" in " ".join(status.messages)
        farm.resume(made.job_id)
    assert farm.follow(made.job_id).state == "done"


def test_delete_moves_to_the_trash_and_keeps_landed_frames(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1"))
    farm.follow(made.job_id)
    farm.delete(made.job_id)
    assert volume_jobs(farm) == []
    assert (tmp_path / "landing" / "f_0001.png").is_file()
    assert list((tmp_path / "volume" / "cloud-farm" / "trash").rglob("job.json"))
    with pytest.raises(JobNotFoundError):
        farm.status(made.job_id)


def test_a_newer_file_is_not_overwritten(farm: Farm, scene: Path, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "f_0001.png").write_bytes(b"older: may go")
    os.utime(landing / "f_0001.png", (1, 1))
    made = farm.submit(tiny(scene, tmp_path, "1-2"))
    (landing / "f_0002.png").write_bytes(b"painted over while it rendered")
    os.utime(landing / "f_0002.png", (time.time() + 60, time.time() + 60))
    status = farm.follow(made.job_id)
    assert (landing / "f_0001.png").read_bytes().startswith(b"\x89PNG")
    assert (landing / "f_0002.png").read_bytes() == b"painted over while it rendered"
    assert [Path(path).name for path in status.set_aside] == ["f_0002.png"]
    assert Path(status.set_aside[0]).read_bytes().startswith(b"\x89PNG")


def test_fetch_brings_everything_to_another_folder(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-2"))
    farm.follow(made.job_id, land=False)
    found = farm.fetch(made.job_id, target=tmp_path / "elsewhere")
    assert (found.frames, found.not_landed) == (2, ())
    assert sorted(path.name for path in found.folder.iterdir()) == ["f_0001.png", "f_0002.png"]


def test_a_scene_on_the_volume_renders_like_a_local_one(farm: Farm, scene: Path, tmp_path: Path) -> None:
    from pathlib import PurePosixPath

    farm.store.put(scene, PurePosixPath("projects/x/demo.blend"))
    farm.store.put(scene.parent / "stripes.png", PurePosixPath("projects/x/stripes.png"))
    made = farm.submit(tiny(Path("projects/x/demo.blend"), tmp_path, "1", on_volume=True))
    assert farm.follow(made.job_id).state == "done"
    with pytest.raises(InvalidJobError, match=r"no file projects/nope\.blend"):
        farm.submit(tiny(Path("projects/nope.blend"), tmp_path, "1", on_volume=True))


def test_logs_are_on_the_volume_chunk_by_chunk(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-2", chunk_size=1))
    farm.follow(made.job_id)
    lines = list(farm.logs(made.job_id, chunk="r1c00002"))
    assert [line for line in lines if line.startswith("== ")][0].startswith("== r1c00002.")
    assert any('"frame_done"' in line for line in lines)
    assert not any('"frame": 1,' in line for line in lines)


@pytest.mark.parametrize(
    ("job", "error", "says"),
    [
        ({"cameras": ("Nope",)}, InvalidJobError, "no camera 'Nope'"),
        ({"scene": "Nope"}, InvalidJobError, "no scene 'Nope'"),
        ({"frames": "5-1"}, CloudFarmError, "Did you mean 1-5"),
        ({"frames": "abc"}, CloudFarmError, "not a frame"),
        ({"frames": "1-1000000"}, CloudFarmError, "at most 500,000"),
    ],
)
def test_bad_jobs_are_refused_before_anything_is_on_the_volume(
    farm: Farm, scene: Path, tmp_path: Path, job: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        farm.submit(tiny(scene, tmp_path, **job))  # type: ignore[arg-type]
    assert volume_jobs(farm) == []
    assert not (tmp_path / "landing").exists()


def test_an_absent_device_fails_the_job_with_a_sentence(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1", device="cuda"))
    status = farm.follow(made.job_id)
    assert status.state == "failed"
    assert "no CUDA device" in " ".join(status.messages)
    assert status.frames_done == 0


def test_an_unwritable_landing_is_refused_before_anything_is_sent(farm: Farm, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "landing").write_text("a file, not a folder")
    with pytest.raises(LandingError, match="can't be written"):
        farm.submit(tiny(scene, tmp_path))
    assert volume_jobs(farm) == []


def test_an_edited_job_json_is_named_and_hides_no_other_job(farm: Farm, scene: Path, tmp_path: Path) -> None:
    good = farm.submit(tiny(scene, tmp_path, "1"))
    bad = farm.submit(tiny(scene, tmp_path, "1"))
    for made in (good, bad):
        farm.follow(made.job_id)
    path = tmp_path / "volume" / JobLayout(bad.job_id).job_json
    path.write_text('{"schema": 1, "id": 7}')
    with pytest.raises(SchemaError, match=r"job\.json"):
        farm.status(bad.job_id)
    states = {job.id: job.state for job in farm.jobs()}
    assert states == {good.job_id: "done", bad.job_id: "unreadable"}


def test_a_newer_schema_is_shown_and_not_changed(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1"))
    farm.follow(made.job_id)
    path = tmp_path / "volume" / JobLayout(made.job_id).job_json
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2, "novelty": True}))
    assert farm.status(made.job_id).state == "done"
    with pytest.raises(SchemaError, match="newer Cloud Farm"):
        farm.retry(made.job_id, force=True)


def test_no_blender_and_a_wrong_one_are_told(tmp_path: Path, scene: Path) -> None:
    nonsense = tmp_path / "not blender"
    nonsense.write_text("#!/bin/sh\necho I am a shell script\n")
    nonsense.chmod(0o755)
    for blender in ("no-such-program", str(nonsense)):
        farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "blender": blender})
        with pytest.raises(BlenderError) as caught:
            farm.submit(tiny(scene, tmp_path))
        assert caught.value.exit_code == 2


def test_status_has_the_states_of_all_frames(farm: Farm, scene: Path, tmp_path: Path) -> None:
    made = farm.submit(tiny(scene, tmp_path, "1-4", chunk_size=1))
    pictures: list[JobStatus] = []
    farm.follow(made.job_id, on_status=pictures.append, poll_seconds=0.1)
    assert {len(picture.frame_states) for picture in pictures} == {4}
    assert [frame.state for frame in pictures[-1].frame_states] == ["done"] * 4
    assert pictures[0].frames_done < 4
