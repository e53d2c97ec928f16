"""The loader of a pod: the supervisor runs on a real Blender's Python, only if it is what was submitted, and its end is the pod's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.images import FarmImage
from cloud_farm.toolchain import pod_supervisor

from .stub_farm import INSIDE, LAUNCHER, STUB, StubJob, sha256, wait_for

pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(sys.platform == "win32", reason="pods run Linux"),
]


@pytest.fixture
def image(tmp_path: Path) -> FarmImage:
    """What a container's `blender` is: here the bpy wheel behind a program of that name."""
    program = tmp_path / "blender"
    program.write_text(f'#!/bin/sh\nexec "{LAUNCHER[0]}" "{LAUNCHER[1]}" "$@"\n')
    program.chmod(0o755)
    return FarmImage("registry.example.com/blender:4.5.3", "4.5.3", str(program))


def load(
    image: FarmImage, script: Path, text: str, *arguments: str, expected: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    script.write_text(text)
    head = pod_supervisor(image, expected or sha256(text.encode()))
    environment = {**os.environ, "CLOUD_FARM_LAST_WORDS": str(script.with_name("words")), **env}
    command = [*head, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.mark.parametrize(
    ("text", "code"),
    [("import sys; sys.exit(78)", 78), ("import sys; sys.exit()", 0), ("import sys; sys.exit('no')", 10), ("1 +", 10)],
)
def test_how_the_supervisor_ends_is_how_the_container_ends(
    tmp_path: Path, image: FarmImage, text: str, code: int
) -> None:
    assert load(image, tmp_path / "run_attempt.py", text).returncode == code


def test_the_supervisor_sees_what_plain_python_would_show_it(tmp_path: Path, image: FarmImage) -> None:
    script = tmp_path / "run_attempt.py"
    text = "import sys; print(__name__, __file__); print(sys.argv)"
    done = load(image, script, text, "--task", "r1c00001", "--", "blender", "-x")
    lines = done.stdout.splitlines()
    assert lines[-2:] == [f"__main__ {script}", str([str(script), "--task", "r1c00001", "--", "blender", "-x"])]


def test_a_changed_supervisor_is_not_run(tmp_path: Path, image: FarmImage) -> None:
    planted = f"open({str(tmp_path / 'planted')!r}, 'w')"
    done = load(image, tmp_path / "run_attempt.py", planted, expected=sha256(b"what was submitted"))
    assert done.returncode == 78 and "changed after the job was submitted" in done.stderr
    assert not (tmp_path / "planted").exists()
    assert (tmp_path / "words").read_text() in done.stderr


def test_a_volume_that_is_not_there_yet_may_be_tried_again(tmp_path: Path, image: FarmImage) -> None:
    absent = tmp_path / "absent" / "run_attempt.py"
    command = [*pod_supervisor(image, "0" * 64), str(absent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 10 and "volume" in done.stderr


def test_argo_and_kubernetes_find_nothing_to_fill_in_in_the_loader() -> None:
    text = (INSIDE / "pod_loader.py").read_text()
    assert "{{" not in text and "$(" not in text


class PodJob(StubJob):
    """A job whose attempts are started as in a pod."""

    def __init__(self, base: Path, image: FarmImage, blender: Sequence[str] = STUB, **limits: Any) -> None:
        super().__init__(base, blender=blender, **limits)
        self.image = image

    def command(self, task: str) -> list[str]:
        plain = super().command(task)
        return [*pod_supervisor(self.image, sha256((INSIDE / "run_attempt.py").read_bytes())), *plain[1:]]


@pytest.mark.every_blender
def test_a_chunk_renders_and_prepare_runs_where_only_blender_has_a_python(tmp_path: Path, image: FarmImage) -> None:
    job = PodJob(tmp_path, image, blender=(image.program,)).write()
    code, output = job.run("prepare")
    assert code == 0, output
    assert (job.paths.scene / "shot.blend").read_bytes() == job.files["shot.blend"]
    assert volume_folders(job) >= {"frames", "records", "markers", "attempts", "logs"}
    job.blender = STUB
    code, output = job.run()
    assert code == 0, output
    job.check_whole([1, 2, 3, 4])


def volume_folders(job: StubJob) -> set[str]:
    return {path.name for path in job.paths.job_dir.iterdir() if path.is_dir()}


def test_a_fault_of_prepare_in_blender_is_told_with_its_code(tmp_path: Path, image: FarmImage) -> None:
    job = PodJob(tmp_path, image, blender=(image.program,)).write()
    job.put_asset(job.files["tex/a.png"]).write_bytes(b"another one")
    words = tmp_path / "words"
    code, _ = job.run("prepare", CLOUD_FARM_LAST_WORDS=str(words))
    assert code == 78
    end = job.ends()[-1]
    assert (end["exit"], end["cause"]) == (78, 17)
    assert words.read_text() == f"{end['attempt']}: {end['reason']}"


@pytest.mark.every_blender
def test_a_pod_that_is_told_to_end_leaves_nothing_and_says_143(tmp_path: Path, image: FarmImage) -> None:
    job = PodJob(tmp_path, image).write()
    process = job.start(stub={"slow": {"2": 60}})
    wait_for(lambda: job.rendered() == [1] and list(job.paths.markers.iterdir()))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert job.ends()[-1]["exit"] == 143
    assert not list(job.paths.job_dir.rglob("*.part"))
