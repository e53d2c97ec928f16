"""SIGKILL at every named state, of the renderer and of the supervisor: no frame is lost, none is rendered twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .stub_farm import LAUNCHER, StubJob, is_gone, kill, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

STATES = ("verify", "part", "claim", "between_files", "before_record", "between_frames")
CLAIMED = ("claim", "between_files", "before_record")
MAKE_SCENE = """
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.render.resolution_x, scene.render.resolution_y = 32, 18
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""


def run_until_done(job: StubJob, *, most: int = 3) -> None:
    for _ in range(most):
        code, output = job.run()
        if code == 0:
            return
    raise AssertionError(f"not done after {most} attempts: {code}\n{output}")


def kill_at(job: StubJob, state: str, victim: str, *, task: str = "r1c00001") -> None:
    """Bring an attempt to a state, prove that it is there, kill renderer or supervisor; both are gone afterwards."""
    process = job.start(task, fault=state)
    renderer = job.reached()
    assert job.fault_file.read_text().split()[0] == state.split(":")[0]
    kill(renderer if victim == "renderer" else process.pid)
    process.communicate(timeout=60)
    wait_for(lambda: is_gone(renderer))
    assert (process.returncode == -9) == (victim == "supervisor")


@pytest.mark.parametrize("victim", ["renderer", "supervisor"])
@pytest.mark.parametrize("state", STATES)
def test_a_kill_at_a_named_state_loses_nothing(tmp_path: Path, state: str, victim: str) -> None:
    job = StubJob(tmp_path).write()
    kill_at(job, f"{state}:2", victim)
    if victim == "renderer":
        assert ("SIGKILL" in job.ends()[-1]["reason"]) and job.ends()[-1]["exit"] == 10
    before = job.snapshot()
    run_until_done(job)
    job.check_whole([1, 2, 3, 4])
    assert {name: job.snapshot()[name] for name in before} == before
    twice = 2 if state in ("verify", "part") else 1
    assert [job.rendered().count(frame) for frame in (1, 2, 3, 4)] == [1, twice, 1, 1]


def test_parts_of_killed_attempts_go_even_if_nothing_is_left_to_render(tmp_path: Path) -> None:
    job = StubJob(tmp_path).write()
    for state in ("part:3", "before_record:4"):
        kill_at(job, state, "supervisor")
        job.fault_file.unlink()
    assert list(job.paths.frames(3).glob("*.part"))
    assert job.run()[0] == 0
    job.check_whole([1, 2, 3, 4])
    assert job.rendered() == [1, 2, 3, 3, 4]


@pytest.mark.parametrize("victim", ["renderer", "supervisor"])
def test_a_kill_during_prepare_leaves_no_half_scene(tmp_path: Path, victim: str) -> None:
    job = StubJob(tmp_path).write()
    kill_at(job, "prepare", victim, task="prepare")
    assert not job.paths.scene.exists() and not job.paths.scene_ready.exists()
    assert job.run("prepare")[0] == 0
    assert {str(p.relative_to(job.paths.scene)) for p in job.paths.scene.rglob("*") if p.is_file()} == set(job.files)
    assert job.paths.scene_ready.read_text() == job.manifest()["manifest_sha256"]


@pytest.mark.parametrize("seed", range(20))
def test_random_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    job = StubJob(tmp_path, "1-6").write()
    seen: dict[str, tuple[int, int]] = {}
    for _ in range(dice.randint(2, 4)):
        process = job.start(stub={"seconds": 0.03})
        time.sleep(dice.uniform(0.05, 0.7))
        kill_one(process, dice.choice(("renderer", "supervisor")))
        process.communicate(timeout=60)
        now = job.snapshot()
        assert {name: now[name] for name in seen} == seen
        seen = now
    run_until_done(job)
    job.check_whole(range(1, 7))
    final = job.snapshot()
    assert {name: final[name] for name in seen} == seen


def kill_one(process: subprocess.Popen[str], victim: str) -> None:
    """Kill the supervisor, or its child if it has one now."""
    pids = [process.pid]
    if victim == "renderer":
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    for pid in pids:
        if process.poll() is None and not is_gone(pid):
            kill(pid)


# -- with a real Blender ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("scene") / "shot.blend"
    subprocess.run([*LAUNCHER, "-b", "--python-expr", MAKE_SCENE, "--", str(path)], check=True, capture_output=True)
    return path.read_bytes()


@pytest.mark.blender
@pytest.mark.parametrize("victim", ["renderer", "supervisor"])
@pytest.mark.parametrize("state", [state for state in STATES if state != "between_files"])  # it has one file
def test_a_killed_blender_loses_nothing(tmp_path: Path, blend: bytes, state: str, victim: str) -> None:
    job = StubJob(tmp_path, "1-3", blender=LAUNCHER)
    job.files = {"shot.blend": blend}
    job.write()
    assert job.run("prepare")[0] == 0
    kill_at(job, f"{state}:2", victim)
    before = job.snapshot()
    first = {record["attempt"] for record in job.records().values()} or {""}
    run_until_done(job)
    job.check_whole([1, 2, 3])
    assert {name: job.snapshot()[name] for name in before} == before
    if state in CLAIMED:
        assert {job.records()[2]["attempt"]} == first  # finished from its parts, not rendered again
