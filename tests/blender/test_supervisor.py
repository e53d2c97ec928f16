"""The supervisor: nothing unproven runs, every end is told, limits hold, exit codes are those of the contract."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ..rigs.small_disk import fill, small_disk
from .stub_farm import INSIDE, StubJob, is_gone, kill, sha256, wait_for

import attempt  # isort: skip - a script of inside_blender: stub_farm knows where
import volume  # isort: skip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
CHUNK = "r1c00001"


@pytest.fixture
def job(tmp_path: Path) -> StubJob:
    return StubJob(tmp_path).write()


def last_end(job: StubJob) -> dict[str, Any]:
    return job.ends()[-1]


def log_of(job: StubJob) -> str:
    newest = max((job.paths.job_dir / "logs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text()


def leftovers(job: StubJob) -> list[Path]:
    return [*job.paths.job_dir.rglob("*.part"), *(job.base / "scratch").iterdir()]


def test_a_chunk_is_rendered_and_its_attempt_told(job: StubJob) -> None:
    code, output = job.run()
    assert code == 0
    job.check_whole([1, 2, 3, 4])
    end = last_end(job)
    start = volume.read_json(job.paths.attempt_start(end["attempt"]))
    assert end["attempt"].startswith(f"{CHUNK}.") and start["attempt"] == end["attempt"]
    assert (end["exit"], end["done"], end["failed"], end["death"], end["cause"]) == (0, "1-4", [], None, None)
    assert start["blender"] == list(job.blender)
    assert log_of(job) == output
    assert leftovers(job) == [] and list(job.paths.markers.iterdir()) == []


def test_what_is_done_is_not_rendered_again(job: StubJob) -> None:
    job.run()
    before = job.snapshot()
    assert job.run()[0] == 0
    assert job.snapshot() == before and job.rendered() == [1, 2, 3, 4]


# -- what is run is what was submitted -------------------------------------------------------------------------------------


def refused(job: StubJob, *words: str) -> None:
    code, output = job.run()
    assert code == 78
    end = last_end(job)
    assert (end["exit"], end["cause"]) == (78, 17)
    assert all(word in end["reason"] for word in words), end["reason"]
    assert end["reason"] in output
    assert job.rendered() == []


def test_a_changed_plan_is_refused(job: StubJob) -> None:
    job.paths.plan.write_bytes(job.paths.plan.read_bytes() + b" ")
    refused(job, "plan")


@pytest.mark.parametrize("name", ["render_chunk.py", "publish.py", "attempt.py", "volume.py"])
def test_a_changed_script_is_refused_and_not_run(job: StubJob, name: str) -> None:
    planted = f"open({str(job.base / 'planted')!r}, 'w').close()\n".encode()
    script = job.paths.scripts / name
    script.write_bytes(planted + script.read_bytes())
    refused(job, name, "changed")
    assert not (job.base / "planted").exists()


@pytest.mark.parametrize("name", ["json.py", "argparse.py", "ctypes.py", "bpy.py", "sitecustomize.py"])
def test_a_planted_script_is_never_run(job: StubJob, name: str) -> None:
    (job.paths.scripts / name).write_text(f"open({str(job.base / 'planted')!r}, 'w').close()\n")
    assert job.run()[0] == 0
    assert not (job.base / "planted").exists()


def test_a_changed_file_list_is_refused(job: StubJob) -> None:
    job.files["more.png"] = b"more"
    job.write_job_json()
    refused(job, "job.json")


def test_a_chunk_that_the_plan_lacks_is_refused(job: StubJob) -> None:
    assert job.run("r1c00009")[0] == 78


def test_a_plan_that_is_not_there_yet_may_be_tried_again(job: StubJob) -> None:
    job.paths.plan.unlink()
    assert job.run()[0] == 10


def test_a_wrong_command_line_is_never_tried_again(job: StubJob) -> None:
    done = subprocess.run(
        [sys.executable, str(INSIDE / "run_attempt.py"), "--root", "x"], capture_output=True, text=True
    )
    assert done.returncode == 78 and "required" in done.stderr


# -- frames that fail ------------------------------------------------------------------------------------------------------


def test_a_failed_frame_ends_neither_chunk_nor_job_before_its_tries_are_used_up(job: StubJob) -> None:
    assert [job.run(stub={"fail": [2]})[0] for _ in range(3)] == [12, 12, 78]
    end = last_end(job)
    assert (end["cause"], end["done"]) == (12, "1,3-4")
    assert end["failed"] == [{"frame": 2, "camera": None, "message": "The stub does not like this frame."}]
    assert job.rendered() == [1, 3, 4]
    assert job.run()[0] == 78  # given up: not even tried
    assert job.rendered() == [1, 3, 4]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_frame_that_crashes_blender_twice_is_given_up_and_the_rest_done(job: StubJob, name: str) -> None:
    stub = {"crash": {"2": name}}
    assert job.run(stub=stub)[0] == 10
    assert last_end(job)["death"] == {"signal": name, "frame": 2}
    assert name in last_end(job)["reason"] and "frame 2" in last_end(job)["reason"]
    assert job.run(stub=stub)[0] == 10
    assert job.run(stub=stub)[0] == 78
    end = last_end(job)
    assert (end["cause"], end["done"]) == (12, "1,3-4")
    assert end["failed"][0]["frame"] == 2 and name in end["failed"][0]["message"]


def test_a_frame_whose_blender_is_killed_six_times_is_given_up(job: StubJob) -> None:
    stub = {"crash": {"2": "SIGKILL"}}
    assert [job.run(stub=stub)[0] for _ in range(7)] == [10] * 6 + [78]
    assert "memory" in last_end(job)["failed"][0]["message"]
    assert last_end(job)["done"] == "1,3-4"


def test_a_supervisor_that_is_killed_counts_as_unexplained(job: StubJob) -> None:
    for _ in range(6):
        job.fault_file.unlink(missing_ok=True)
        process = job.start(fault="verify:2")
        job.reached()
        kill(process.pid)
        process.communicate()
    assert job.run()[0] == 78
    assert last_end(job)["failed"][0]["frame"] == 2


def test_sigterm_never_counts(job: StubJob) -> None:
    for _ in range(8):
        assert job.run(stub={"crash": {"2": "SIGTERM"}})[0] == 143
    assert job.run()[0] == 0


def test_a_frame_at_which_blender_gives_up_by_itself_does_not_keep_the_rest_out(job: StubJob) -> None:
    codes = [job.run(stub={"raise": [2]})[0] for _ in range(7)]
    assert codes == [10] * 6 + [78]
    assert last_end(job)["done"] == "1,3-4" and "fault of the stub" in last_end(job)["failed"][0]["message"]


def test_a_crash_after_the_last_frame_is_no_failure(job: StubJob) -> None:
    assert job.run(stub={"exit": 139})[0] == 0


@pytest.mark.parametrize(("code", "cause"), [(11, None), (13, None), (16, None), (78, 14), (78, 15)])
def test_what_blender_says_about_its_end_is_passed_on(job: StubJob, code: int, cause: int | None) -> None:
    assert job.run(stub={"fatal": {"code": code, "cause": cause, "message": "It is so."}})[0] == code
    end = last_end(job)
    assert (end["exit"], end["cause"], end["reason"]) == (code, cause, "It is so.")


def test_a_shell_that_tells_of_a_crash_is_understood(job: StubJob) -> None:
    job.blender = ("/bin/sh", "-c", "exit 139")
    assert job.run()[0] == 10
    assert last_end(job)["death"] == {"signal": "SIGSEGV", "frame": None}


def test_a_blender_that_is_not_there_is_named(job: StubJob) -> None:
    job.blender = ("/nowhere/blender",)
    assert job.run()[0] == 10
    assert "/nowhere/blender" in last_end(job)["reason"]


# -- limits ----------------------------------------------------------------------------------------------------------------


def test_a_frame_over_its_time_is_ended_and_counts_as_failed(tmp_path: Path) -> None:
    job = StubJob(tmp_path, frame_seconds=0.4, frame_tries=2).write()
    began = time.monotonic()
    assert job.run(stub={"slow": {"2": 60}})[0] == 12
    assert time.monotonic() - began < 20
    assert last_end(job)["failed"][0]["frame"] == 2
    assert "0.4 s" in last_end(job)["failed"][0]["message"] and last_end(job)["death"] is None
    assert job.run(stub={"slow": {"2": 60}})[0] == 12
    assert job.run(stub={"slow": {"2": 60}})[0] == 78
    assert last_end(job)["done"] == "1,3-4"


def test_the_cost_cap_ends_the_job(tmp_path: Path) -> None:
    job = StubJob(tmp_path, cost_cap=0.01, price_per_hour=3600.0).write()
    assert job.run(stub={"crash": {"3": "SIGKILL"}})[0] == 10
    assert job.run()[0] == 78
    assert last_end(job)["cause"] == 18 and "--cost-cap" in last_end(job)["reason"]
    assert sorted(job.records()) == [1, 2]


def test_the_cost_cap_ends_a_running_blender(tmp_path: Path) -> None:
    job = StubJob(tmp_path, cost_cap=9.0, price_per_hour=3600.0).write()
    began = time.monotonic()
    assert job.run(stub={"slow": {"3": 60}})[0] == 78
    assert 8 < time.monotonic() - began < 30
    assert last_end(job)["cause"] == 18 and last_end(job)["done"] == "1-2"


def test_the_end_says_how_long_loading_and_rendering_took(job: StubJob) -> None:
    assert job.run(stub={"slow": {"2": 1}})[0] == 0
    spent = last_end(job)["spent"]
    assert 0 < spent["loading"] < 30 and 1 <= spent["rendering"] < 60
    assert job.run()[0] == 0
    assert last_end(job)["spent"] == {}, "nothing was left to render"


def test_a_killed_attempt_costs_until_its_last_sign_of_life(job: StubJob) -> None:
    job.paths.attempts.mkdir(parents=True)
    (job.paths.job_dir / "logs").mkdir()
    for name, seconds in (("r1c00001.00000001.start.json", 1000), ("r1c00001.00000001.end.json", 1100)):
        (job.paths.attempts / name).write_text("{}")
        os.utime(job.paths.attempts / name, (seconds, seconds))
    start, log = job.paths.attempt_start("r1c00001.00000002"), job.paths.log("r1c00001.00000002")
    for path, seconds in ((start, 2000), (log, 2050)):
        path.write_text("{}")
        os.utime(path, (seconds, seconds))
    assert attempt.spent(job.paths, 3600.0) == pytest.approx(150)


def test_a_log_past_its_limit_keeps_progress_and_last_words(tmp_path: Path) -> None:
    job = StubJob(tmp_path, log_bytes=5000).write()
    code, output = job.run(stub={"noise": 10_000})
    assert code == 0 and "line 9999" in output
    text = log_of(job)
    assert len(text) < 20_000
    assert "line 10\n" in text and "reached its limit" in text and "line 5000" not in text and "line 9999" in text
    assert text.count('"frame_done"') == 4


# -- stopping --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", ["verify:2", "part:2", "claim:2", "before_record:2"])
def test_a_stop_from_outside_ends_blender_and_leaves_no_parts(job: StubJob, number: int, state: str) -> None:
    process = job.start(fault=state)
    renderer = job.reached()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 143 and is_gone(renderer)
    assert last_end(job)["exit"] == 143
    assert leftovers(job) == []
    claimed = state.startswith(("claim", "before"))
    assert sorted(job.records()) == ([1, 2] if claimed else [1])
    job.check_whole([1, 2] if claimed else [1])
    assert job.run()[0] == 0
    job.check_whole([1, 2, 3, 4])


def test_the_stop_file_ends_a_chunk_between_frames_and_later_ones_before_they_begin(job: StubJob) -> None:
    process = job.start(stub={"slow": {"2": 2}})
    wait_for(lambda: any(job.paths.markers.glob("scene.000002.*")))
    volume.write_file(job.paths.stop, b"paused\n")
    process.communicate(timeout=60)
    assert process.returncode == 143 and sorted(job.records()) == [1, 2]
    assert job.run()[0] == 143
    assert job.rendered() == [1, 2]
    job.paths.stop.unlink()
    assert job.run()[0] == 0


def test_everything_that_blender_started_goes_with_it(job: StubJob, tmp_path: Path) -> None:
    job.blender = ("/bin/sh", "-c", f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    process = job.start()
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    process.terminate()
    process.communicate(timeout=60)
    wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())), 5)


# -- a volume that can't be written -----------------------------------------------------------------------------------------


def test_a_volume_that_is_full_ends_in_13_with_a_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "volume", "1m") as disk:
        job = StubJob(tmp_path).write()
        filler = fill(disk)
        code, output = job.run()
        assert code == 13 and "No space left" in output
        filler.unlink()
        assert job.run()[0] == 0
        job.check_whole([1, 2, 3, 4])
        assert leftovers(job) == []


def test_nobody_who_listens_is_no_reason_to_stop(job: StubJob) -> None:
    process = job.start(stub={"noise": 5000, "seconds": 0.1})
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    job.check_whole([1, 2, 3, 4])


def test_the_plan_names_every_script(job: StubJob) -> None:
    names = set(json.loads(job.paths.plan.read_bytes())["scripts"])
    assert names == {path.name for path in INSIDE.glob("*.py")} and sha256(b"") not in names
