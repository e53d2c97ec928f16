"""Frames on their way into the artist's folder: whole, verified, never over something newer, never outside."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.errors import FrameNotLandedError, HashMismatchError, LandingError, NotFoundError
from cloud_farm.job import FileRecord, FrameRecord
from cloud_farm.landed import Landing
from cloud_farm.layout import JobLayout
from cloud_farm.platform import user_folders
from cloud_farm.stores.folder import FolderStore

from .prepared_jobs import sha256

JOB = "shot-20261123-abc123"
_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def volume(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "volume")


def publish(
    store: FolderStore, frame: int, files: dict[str, bytes], *, revision: int = 1, camera: str | None = None
) -> FrameRecord:
    """Put a frame on the volume, as a renderer would; returns its record."""
    for name, content in files.items():
        store.put(content, JobLayout(JOB).frames(revision, frame) / PurePosixPath(name))
    return record_of(frame, files, camera=camera)


def record_of(frame: int, files: dict[str, bytes], *, camera: str | None = None) -> FrameRecord:
    entries = tuple(
        FileRecord(name, "main" if number == 0 else "layer", len(content), sha256(content))
        for number, (name, content) in enumerate(files.items())
    )
    return FrameRecord(1, frame, camera, entries, "hash", 1.5, "node-7", "r1c00001.0badcafe", "4.5.15", device="CUDA")


def landing_in(folder: Path, store: FolderStore, *, created: float | None = None) -> Landing:
    folder.mkdir(exist_ok=True)
    return Landing(store, JOB, folder, created=time.time() - 60 if created is None else created)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- whole and once -----------------------------------------------------------------------------------------------------


def test_every_file_of_a_frame_lands_and_the_main_one_is_named_first(volume: FolderStore, tmp_path: Path) -> None:
    files = {"shot_0001.exr": b"beauty", "depth/shot_0001.exr": b"depth"}
    landed = landing_in(tmp_path / "out", volume).land(1, publish(volume, 1, files))
    assert landed.paths[0] == str(tmp_path / "out" / "shot_0001.exr")
    assert (landed.seconds, landed.device, landed.host) == (1.5, "CUDA", "node-7")
    assert files_in(tmp_path / "out") == files


def test_what_landed_is_not_fetched_again_by_this_or_the_next_program(volume: FolderStore, tmp_path: Path) -> None:
    record = publish(volume, 1, {"a.png": b"one"})
    first = landing_in(tmp_path / "out", volume)
    landed = first.land(1, record)
    volume.trash(JobLayout(JOB).folder, job_id=JOB)
    assert first.land(1, record) == landed
    again = landing_in(tmp_path / "out", volume)
    assert again.known(1, (None, 1)) == landed
    assert again.land(1, record) == landed
    assert landing_in(tmp_path / "elsewhere", volume).known(1, (None, 1)) is None


@pytest.mark.parametrize("change", ["remove", "truncate", "touch"])
def test_a_frame_whose_file_changed_here_is_not_known_any_more(
    volume: FolderStore, tmp_path: Path, change: str
) -> None:
    landing = landing_in(tmp_path / "out", volume)
    record = publish(volume, 1, {"a.png": b"one"})
    place = Path(landing.land(1, record).paths[0])
    if change == "remove":
        place.unlink()
    elif change == "truncate":
        place.write_bytes(b"o")
    else:
        os.utime(place, (1, 1))
    assert landing.known(1, (None, 1)) is None
    landed = landing.land(1, record)
    assert Path(landed.paths[0]).read_bytes() == b"one"


def test_a_wrong_file_on_the_volume_does_not_land(volume: FolderStore, tmp_path: Path) -> None:
    publish(volume, 1, {"a.png": b"torn"})
    landing = landing_in(tmp_path / "out", volume)
    with pytest.raises(HashMismatchError):
        landing.land(1, record_of(1, {"a.png": b"what the record says"}))
    with pytest.raises(NotFoundError):
        landing.land(1, record_of(1, {"b.png": b"not there"}))
    assert files_in(tmp_path / "out") == {}


def test_a_full_or_forbidden_folder_is_told_with_what_to_do(volume: FolderStore, tmp_path: Path) -> None:
    record = publish(volume, 1, {"sub/a.png": b"one"})
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "sub").write_text("a file where a folder should be")
    with pytest.raises(LandingError, match="choose another folder with -o") as caught:
        landing.land(1, record)
    assert not isinstance(caught.value, FrameNotLandedError)


def test_what_a_killed_program_left_unfinished_goes_and_nothing_else(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    part = ".cloud-farm-0123456789abcdef.part"
    old = [part, f".{part}.0badcafe.part"]
    others = [".mine.part", "cloud-farm-0123456789abcdef.part", ".cloud-farm-notes", ".cloud-farm-xyz.part"]
    for name in (*old, *others, ".cloud-farm-fedcba9876543210.part"):
        (tmp_path / "out" / name).write_bytes(b"half")
        os.utime(tmp_path / "out" / name, (1, 1))
    os.utime(tmp_path / "out" / ".cloud-farm-fedcba9876543210.part")  # another program is at it
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    assert set(files_in(tmp_path / "out")) == {*others, ".cloud-farm-fedcba9876543210.part", "a.png"}


# -- never over something newer -----------------------------------------------------------------------------------------


def test_an_older_file_is_replaced_and_a_newer_one_is_not(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "a.png").write_bytes(b"last year's")
    os.utime(tmp_path / "out" / "a.png", (1, 1))
    (tmp_path / "out" / "b.png").write_bytes(b"painted over")
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    landed = landing.land(1, publish(volume, 2, {"b.png": b"two"}))
    aside = tmp_path / f"out ({JOB})" / "b.png"
    assert files_in(tmp_path / "out") == {"a.png": b"one", "b.png": b"painted over"}
    assert (landed.paths, landing.set_aside, aside.read_bytes()) == ((str(aside),), [aside], b"two")
    again = landing_in(tmp_path / "out", volume)
    assert again.land(1, record_of(2, {"b.png": b"two"})).paths == (str(aside),)
    assert again.set_aside == [], "it is told once"


def test_a_landed_frame_that_was_retouched_stays_when_a_new_revision_comes(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    landing.land(1, publish(volume, 2, {"b.png": b"two"}))
    (tmp_path / "out" / "b.png").write_bytes(b"retouched by hand")
    landing.land(2, publish(volume, 1, {"a.png": b"one, better"}, revision=2))
    landing.land(2, publish(volume, 2, {"b.png": b"two, better"}, revision=2))
    assert files_in(tmp_path / "out") == {"a.png": b"one, better", "b.png": b"retouched by hand"}
    assert files_in(tmp_path / f"out ({JOB})") == {"b.png": b"two, better"}
    landing.land(3, publish(volume, 2, {"b.png": b"two, best"}, revision=3))
    assert files_in(tmp_path / f"out ({JOB})") == {"b.png": b"two, best"}


def test_also_what_was_put_aside_may_be_retouched(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "a.png").write_bytes(b"newer")
    aside = Path(landing.land(1, publish(volume, 1, {"a.png": b"one"})).paths[0])
    aside.write_bytes(b"newer, too")
    landed = landing.land(2, publish(volume, 1, {"a.png": b"two"}, revision=2))
    assert landed.paths == (str(tmp_path / f"out ({JOB}) 2" / "a.png"),)
    assert aside.read_bytes() == b"newer, too"


def test_the_same_picture_is_nobodys_newer_file(volume: FolderStore, tmp_path: Path) -> None:
    """The ledger was lost, or another program landed it: it is what we would write."""
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "a.png").write_bytes(b"one")
    before = (tmp_path / "out" / "a.png").stat()
    landed = landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    assert landed.paths == (str(tmp_path / "out" / "a.png"),)
    assert (tmp_path / "out" / "a.png").stat().st_ino == before.st_ino
    assert landing.set_aside == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    volume: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = landing_in(tmp_path / "out", volume)
    record = publish(volume, 1, {"a.png": b"one"})
    fetch = FolderStore.get

    def slow_get(self: FolderStore, path: PurePosixPath, target: Path, **more: object) -> None:
        fetch(self, path, target, **more)  # type: ignore[arg-type]
        if not (tmp_path / "out" / "a.png").exists():
            (tmp_path / "out" / "a.png").write_bytes(b"saved by the artist at this moment")

    monkeypatch.setattr(FolderStore, "get", slow_get)
    landing.land(1, record)
    assert files_in(tmp_path / "out") == {"a.png": b"saved by the artist at this moment"}
    assert files_in(tmp_path / f"out ({JOB})") == {"a.png": b"one"}


def test_two_frames_can_not_have_one_name(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    with pytest.raises(FrameNotLandedError, match=r"Frame 2 calls its file a.png, as frame 1 does"):
        landing.land(1, publish(volume, 2, {"a.png": b"two"}))
    assert files_in(tmp_path / "out") == {"a.png": b"one"}


# -- nothing outside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../evil.png", "/tmp/evil.png", "sub/../../evil.png", "a\\..\\evil.png", "NUL.png", "x\ud800"]
)
def test_hostile_names_never_land(volume: FolderStore, tmp_path: Path, name: str) -> None:
    landing = landing_in(tmp_path / "out", volume)
    with pytest.raises(FrameNotLandedError, match="was not written"):
        landing.land(1, record_of(1, {name: b"evil"}))
    assert files_in(tmp_path / "out") == {}
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_that_leads_out_is_not_followed(volume: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "depth").symlink_to(tmp_path / "secret")
    (tmp_path / "out" / "deep").mkdir()
    (tmp_path / "out" / "deep" / "er").symlink_to("../../secret/x")
    for number, name in enumerate(("depth/a.png", "depth/new/a.png", "deep/er/a.png"), start=1):
        with pytest.raises(FrameNotLandedError, match="symbolic link on the way leads out"):
            landing.land(1, publish(volume, number, {name: b"evil"}))
    assert files_in(tmp_path / "secret") == {}


def test_links_that_stay_inside_are_fine_and_the_folder_itself_may_be_one(volume: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big disk")
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "real").mkdir()
    (tmp_path / "out" / "alias").symlink_to("real")
    landing.land(1, publish(volume, 1, {"alias/a.png": b"one"}))
    assert (tmp_path / "big disk" / "real" / "a.png").read_bytes() == b"one"


def test_a_link_in_the_place_of_a_frame_is_left_alone(volume: FolderStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    os.utime(precious, (1, 1))
    landing = landing_in(tmp_path / "out", volume)
    (tmp_path / "out" / "a.png").symlink_to(precious)
    (tmp_path / "out" / "b.png").symlink_to(tmp_path / "nowhere")
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    landing.land(1, publish(volume, 2, {"b.png": b"two"}))
    assert precious.read_bytes() == b"mine" and not (tmp_path / "nowhere").exists()
    assert files_in(tmp_path / f"out ({JOB})") == {"a.png": b"one", "b.png": b"two"}


# -- several at once ----------------------------------------------------------------------------------------------------


def test_threads_may_land_frames_at_once(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    records = [publish(volume, n, {f"a_{n:04d}.png": b"%d" % n, f"d/{n}.exr": b"d"}) for n in range(40)]
    threads = [threading.Thread(target=landing.land, args=(1, record)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_in(tmp_path / "out")) == 80
    again = landing_in(tmp_path / "out", volume)
    assert all(again.known(1, (None, n)) for n in range(40))


def _land_all(volume: Path, out: Path, count: int, pipe: Connection) -> None:
    landing = Landing(FolderStore(volume), JOB, out, created=time.time() - 60)
    pipe.send("ready")
    pipe.recv()
    for number in range(count):
        landing.land(1, record_of(number, {f"a_{number:04d}.png": b"%d" % number}))
    pipe.send([str(path) for path in landing.set_aside])


def test_programs_that_follow_one_job_put_nothing_aside(volume: FolderStore, tmp_path: Path) -> None:
    count = 60
    for number in range(count):
        publish(volume, number, {f"a_{number:04d}.png": b"%d" % number})
    (tmp_path / "out").mkdir()
    pipes = []
    for _ in range(3):
        ours, theirs = _SPAWN.Pipe()
        _SPAWN.Process(target=_land_all, args=(tmp_path / "volume", tmp_path / "out", count, theirs)).start()
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == [[], [], []]
    assert files_in(tmp_path / "out") == {f"a_{n:04d}.png": b"%d" % n for n in range(count)}


def test_a_torn_ledger_costs_only_a_look(volume: FolderStore, tmp_path: Path) -> None:
    landing = landing_in(tmp_path / "out", volume)
    landing.land(1, publish(volume, 1, {"a.png": b"one"}))
    ledger = user_folders().state / "landed" / f"{JOB}.jsonl"
    ledger.write_bytes(b'\xff\n[]\n{"path": 1}\n' + ledger.read_bytes()[:-30])
    again = landing_in(tmp_path / "out", volume)
    assert again.known(1, (None, 1)) is None
    assert again.land(1, record_of(1, {"a.png": b"one"})).paths == (str(tmp_path / "out" / "a.png"),)
    assert again.set_aside == []
