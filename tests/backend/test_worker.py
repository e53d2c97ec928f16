"""The add-on's worker process: real ones, spoken to through their pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloud_farm
import pytest
from cloud_farm.platform import FileLock, user_folders
from cloud_farm.snapshots import HOLD, SNAPSHOT
from cloud_farm.stores.folder import FolderStore
from cloud_farm.version import PROTOCOL, VERSION
from cloud_farm.worker_requests import _span, picture

from .fake_farm import make_status
from .test_plan import JOB_ID
from .volume_job import LAYOUT, submit

_START = "import sys; sys.path.insert(0, sys.argv[1]); from cloud_farm.worker import main; main(sys.argv[2])"


class Client:
    """Starts a worker as the add-on does and waits for its answers."""

    def __init__(self, log: Path) -> None:
        package = str(Path(cloud_farm.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, package, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.log = log
        self.greeting = self.read()

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, number: int, verb: str, **data: Any) -> None:
        self.write(json.dumps({"id": number, "do": verb, **data}).encode())

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def ask(self, number: int, verb: str, **data: Any) -> dict[str, Any]:
        self.send(number, verb, **data)
        answer = self.read()
        assert answer["id"] == number
        return answer

    def end(self) -> int:
        """Close its input and wait for its end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(10)
        self.process.stdout.close()
        return code


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path / "logs" / "worker.log")
    yield client
    if client.process.poll() is None:
        client.process.kill()
    client.process.wait()
    for stream in (client.process.stdin, client.process.stdout):
        assert stream is not None
        stream.close()


def snapshot(folder: Path, **job: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / SNAPSHOT).write_text(
        json.dumps({"farm": "local", "job": {"scene_file": str(folder / "shot.blend"), **job}})
    )
    return folder


def test_it_greets_and_names_the_farms(worker: Client) -> None:
    assert worker.greeting == {"protocol": PROTOCOL, "version": VERSION, "pid": worker.process.pid}
    assert worker.ask(1, "hello")["result"]["farms"][0] == "local"


def test_it_ends_with_its_input(worker: Client) -> None:
    assert worker.end() == 0
    assert "the worker's input ended" in worker.log.read_text()


def test_a_follower_does_not_keep_it_from_its_end(worker: Client, tmp_path: Path) -> None:
    began = time.monotonic()
    worker.send(1, "jobs")
    assert worker.end() == 0
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_files_that_can_not_be_read_do_not_keep_it_from_its_end(worker: Client, tmp_path: Path) -> None:
    """However many threads hang in the system: all of them have one moment together."""
    os.mkfifo(tmp_path / SNAPSHOT)
    for number in range(1, 7):
        worker.send(number, "preflight", snapshot=str(tmp_path))
    assert worker.ask(7, "stop", request=0)["result"] == {}
    assert worker.end() == 0


@pytest.mark.parametrize(
    "line", [b"", b"nonsense", b"[]", b'{"do": "jobs"}', b'{"id": "x", "do": "jobs"}', b"\xff\xfe"]
)
def test_what_is_no_request_is_told_and_the_next_one_is_answered(worker: Client, line: bytes) -> None:
    worker.write(line)
    answer = worker.read()
    assert answer["id"] == 0
    assert "This is no request" in answer["error"]["message"]
    assert worker.ask(2, "jobs")["result"] == {"jobs": []}


def test_a_request_of_a_newer_add_on_is_refused_in_words(worker: Client) -> None:
    error = worker.ask(1, "teleport")["error"]
    assert error["kind"] == "UsageError"
    assert "can't 'teleport'" in error["message"]


@pytest.mark.parametrize("verb", ["follow", "cancel", "pause", "resume", "retry", "delete"])
def test_an_unknown_job_is_an_error_with_its_name(worker: Client, verb: str) -> None:
    error = worker.ask(1, verb, job="shot-20261125-abc123")["error"]
    assert error["kind"] == "JobNotFoundError"
    assert "shot-20261125-abc123" in error["message"]
    assert error["exit_code"] == 2


def test_the_logs_of_an_unknown_job_leave_no_file(worker: Client, tmp_path: Path) -> None:
    error = worker.ask(1, "logs", job="shot-20261125-abc123", folder=str(tmp_path))["error"]
    assert error["kind"] == "JobNotFoundError"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_request_without_what_it_needs(worker: Client) -> None:
    assert worker.ask(1, "follow")["error"]["message"] == "The request lacks 'job'."


def test_an_unknown_farm(worker: Client) -> None:
    assert worker.ask(1, "jobs", farm="nowhere")["error"]["kind"] == "ProfileError"


def test_stopping_what_is_over_is_no_error(worker: Client) -> None:
    assert worker.ask(5, "stop", request=4)["result"] == {}


def test_what_waits_to_be_sent_is_listed_and_only_snapshots_are_removed(worker: Client, tmp_path: Path) -> None:
    ours, foreign = snapshot(tmp_path / "waiting" / "one", name="shot"), tmp_path / "waiting" / "two"
    foreign.mkdir()
    (foreign / "work.blend").write_bytes(b"dear")
    found = worker.ask(1, "waiting", folder=str(tmp_path / "waiting"))["result"]["waiting"]
    assert found == [{"snapshot": str(ours), "farm": "local", "title": "shot", "source": "", "held": False}]
    worker.ask(2, "drop", snapshot=str(foreign))
    worker.ask(3, "drop", snapshot=str(ours))
    assert not ours.exists()
    assert (foreign / "work.blend").exists()


def test_a_snapshot_that_waits_for_the_artists_word_is_not_offered_and_goes_after_a_day(
    worker: Client, tmp_path: Path
) -> None:
    fresh, old = snapshot(tmp_path / "waiting" / "fresh", name="a"), snapshot(tmp_path / "waiting" / "old", name="b")
    for folder, age in ((fresh, 60), (old, 90_000)):
        (folder / HOLD).write_text("")
        os.utime(folder / HOLD, (time.time() - age,) * 2)
    assert worker.ask(1, "waiting", folder=str(tmp_path / "waiting"))["result"]["waiting"] == []
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_damaged_snapshot_is_told_and_stays(worker: Client, tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "one")
    (folder / SNAPSHOT).write_text("{")
    error = worker.ask(1, "submit", snapshot=str(folder))["error"]
    assert error["kind"] == "SchemaError"
    assert folder.exists()


def test_a_snapshot_whose_scene_is_gone_is_refused_before_anything_is_sent(worker: Client, tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "one")
    worker.send(1, "submit", snapshot=str(folder))
    while "event" in (answer := worker.read()):
        pass
    assert answer["error"]["exit_code"] == 2
    assert folder.exists()


@pytest.mark.parametrize(
    ("name", "hours", "is_left"),
    [("ab" * 16, 30, False), ("ab" * 16, 20, True), ("my own scenes", 30, True), ("AB" * 16, 30, True)],
)
def test_a_copy_that_was_never_saved_to_its_end_is_removed_after_a_day(
    worker: Client, tmp_path: Path, name: str, hours: int, is_left: bool
) -> None:
    """Blender was killed while it saved; what is no folder of ours stays."""
    half = tmp_path / "waiting" / name
    half.mkdir(parents=True)
    (half / "shot.blend").write_bytes(b"half")
    long_ago = time.time() - hours * 3600
    for path in (half / "shot.blend", half):
        os.utime(path, (long_ago, long_ago))
    assert worker.ask(1, "waiting", folder=str(tmp_path / "waiting"))["result"] == {"waiting": []}
    assert half.exists() == is_left


def test_a_copy_that_is_still_being_saved_stays_however_long_that_takes(worker: Client, tmp_path: Path) -> None:
    half = tmp_path / "waiting" / ("ab" * 16)
    half.mkdir(parents=True)
    (half / "shot.blend").write_bytes(b"half")
    os.utime(half, (0.0, 0.0))
    worker.ask(1, "waiting", folder=str(tmp_path / "waiting"))
    assert half.exists()


def test_who_kills_it_loses_no_job(worker: Client) -> None:
    worker.send(1, "jobs")
    os.kill(worker.process.pid, signal.SIGKILL)
    assert worker.process.wait(10) == -signal.SIGKILL
    again = Client(worker.log)
    assert again.ask(1, "jobs")["result"] == {"jobs": []}
    assert again.end() == 0


def test_a_large_log_is_put_aside(worker: Client, tmp_path: Path) -> None:
    assert worker.end() == 0
    worker.log.write_bytes(b"old\n" * (1 << 19))
    again = Client(worker.log)
    assert again.end() == 0
    assert worker.log.stat().st_size < 10_000
    assert worker.log.with_name("worker.log.1").stat().st_size == 4 << 19


def test_a_log_that_grows_large_is_put_aside_while_it_is_written(worker: Client) -> None:
    """Another worker that writes to the same one goes on in the new one, and puts nothing aside for a second time."""
    other = Client(worker.log)
    with worker.log.open("ab") as log:
        log.write(b"old\n" * (1 << 19))
    worker.ask(1, "hello")
    aside = worker.log.with_name("worker.log.1")
    assert aside.stat().st_size > 4 << 19
    other.ask(1, "hello")
    assert worker.end() == other.end() == 0
    assert worker.log.read_text().count("the worker's input ended") == 2
    assert aside.read_bytes().endswith(b"old\n")


def test_a_long_log_comes_with_its_end_and_lies_whole_in_a_file(worker: Client, tmp_path: Path) -> None:
    store = FolderStore(user_folders().data / "farm")
    submit(store)
    lines = [f"line {number}" for number in range(5000)]
    ours = '{"cloud_farm": "sample", "frame": 1}'
    store.put("\n".join([ours, *lines, ""]).encode(), LAYOUT.logs / "r1c00001.0000000a.log")
    found = worker.ask(1, "logs", job=JOB_ID, folder=str(tmp_path))["result"]
    assert (found["count"], found["lines"]) == (5001, lines[-2000:])
    assert Path(found["path"]).read_text().splitlines() == ["== r1c00001.0000000a", *lines]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_nothing_heavy_is_loaded_before_it_is_needed(worker: Client) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(cloud_farm.__file__).parents[1])!r}); import cloud_farm.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert not {"requests", "kubernetes", "yaml", "urllib3"} & set(done.stdout.split())


def test_a_farm_is_made_shown_tried_out_handed_on_and_removed(worker: Client, tmp_path: Path) -> None:
    values = {"preset": "coreweave-tutorial", "filebrowser.url": "http://127.0.0.1:9", "filebrowser.user": "ada"}
    secrets = {"filebrowser.password": "hush hush"}
    saved = worker.ask(1, "save_profile", farm="studio", values=values, secrets=secrets)
    assert saved["result"]["farms"] == ["local", "studio"]
    shown = worker.ask(2, "profile", farm="studio")["result"]
    assert shown["values"]["filebrowser.url"]["value"] == "http://127.0.0.1:9"
    assert shown["values"]["filebrowser.url"]["origin"].startswith("user file")
    assert shown["values"]["filebrowser.password"]["value"] == {
        "file": f"{shown['secrets'].partition(',')[0]}{os.sep}studio.filebrowser.password"
    }
    worker.send(3, "test", farm="studio")
    lights = []
    while "result" not in (answer := worker.read()):
        lights.append(answer["event"])
    assert [light["name"] for light in lights] == ["volume", "kubernetes", "argo"]
    assert lights[0]["level"] == "red" and "127.0.0.1:9" in lights[0]["message"]
    target = tmp_path / "studio.yaml"
    assert worker.ask(4, "export_profile", farm="studio", path=str(target))["result"]["path"] == str(target)
    assert worker.ask(5, "remove_profile", farm="studio")["result"]["farms"] == ["local"]
    assert worker.ask(6, "import_profile", path=str(target))["result"]["farm"] == "studio"
    written = [path for folder in (tmp_path, Path(os.environ["CLOUD_FARM_HOME"])) for path in folder.rglob("*")]
    holding = [path.name for path in written if path.is_file() and b"hush hush" in path.read_bytes()]
    assert holding == ["studio.filebrowser.password"]


def test_a_profile_that_makes_no_sense_is_refused_in_words(worker: Client) -> None:
    error = worker.ask(1, "save_profile", farm="studio", values={"gpu.device": "steam"})["error"]
    assert error["kind"] == "ProfileError"
    assert worker.ask(2, "hello")["result"]["farms"] == ["local"]


def test_a_snapshot_that_another_worker_sends_is_neither_sent_nor_removed(worker: Client, tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "shot")
    lock = FileLock(folder / "sending.lock")
    assert lock.acquire()
    error = worker.ask(1, "submit", snapshot=str(folder))["error"]
    assert error["kind"] == "JobBusyError"
    assert worker.ask(2, "drop", snapshot=str(folder))["result"] == {}
    assert (folder / SNAPSHOT).exists()
    lock.release()
    worker.ask(3, "drop", snapshot=str(folder))
    assert not folder.exists()


def test_a_secret_of_a_change_that_makes_no_sense_replaces_none(worker: Client) -> None:
    values = {"preset": "coreweave-tutorial", "filebrowser.url": "https://files.example.com", "filebrowser.user": "ada"}
    kept = Path(os.environ["CLOUD_FARM_HOME"]) / "secrets" / "studio.filebrowser.password"
    worker.ask(1, "save_profile", farm="studio", values=values, secrets={"filebrowser.password": "first"})
    refused = worker.ask(
        2, "save_profile", farm="studio", values={"gpu.device": "steam"}, secrets={"filebrowser.password": "second"}
    )
    assert refused["error"]["kind"] == "ProfileError"
    assert kept.read_text() == "first\n"


def test_what_was_put_beside_its_folder_is_a_sentence_for_each_folder() -> None:
    """All the paths of a large job would be a megabyte, with each picture of it."""
    paths = ("/out (a)/f_0001.png", "/out (a)/f_0002.png", "/out (a) 2/f_0001.png")
    assert picture(make_status(3, done=3, set_aside=paths))["set_aside"] == [
        "2 frame files were put into /out (a): something newer has their names.",
        "1 frame file was put into /out (a) 2: something newer has its name.",
    ]
    assert picture(make_status(3, done=3))["set_aside"] == []


def test_where_the_frames_of_an_earlier_job_are_is_told_by_folder() -> None:
    found = [(frame, Path("/out (a)" if frame in (2, 4) else "/out") / f"f_{frame}.png") for frame in range(1, 6)]
    assert _span("Cam", found) == {
        "camera": "Cam",
        "first": (1, str(Path("/out/f_1.png"))),
        "last": (5, str(Path("/out/f_5.png"))),
        "folders": {str(Path("/out")): "1-5:2", str(Path("/out (a)")): "2,4"},
    }
