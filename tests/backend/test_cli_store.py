"""`cloud-farm store` on a farm of this computer: what it shows, what it takes, its exit codes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cloud_farm.checks import Check
from cloud_farm.cli import run
from cloud_farm.cli_store import volume_path
from cloud_farm.errors import UsageError
from cloud_farm.layout import JOBS, JobLayout, asset
from cloud_farm.platform import user_folders
from cloud_farm.store_check import check_clock, check_proxy, check_space, exit_code
from cloud_farm.stores.folder import FolderStore

JOB = "shot-20261123-abc123"
NEEDED, SPARE = "a" * 64, "b" * 64
COMMANDS = ("check", "ls", "put", "get", "du", "gc")


@pytest.fixture
def root() -> Path:
    return user_folders().data / "farm"


@pytest.fixture
def volume(root: Path) -> FolderStore:
    """A job that needs one asset, and another asset that nobody needs any more."""
    store = FolderStore(root)
    files = [{"path": "a.blend", "size": 4, "sha256": NEEDED}]
    document = {"schema": 1, "id": JOB, "pack": {"scene": "a.blend", "files": files}}
    store.put(json.dumps(document).encode(), JobLayout(JOB).job_json)
    store.put(b"x" * 1500, JobLayout(JOB).folder / "scene" / "a.blend")
    for sha256, content in ((NEEDED, b"kept"), (SPARE, b"y" * 3000)):
        store.put(content, asset(sha256))
        old = time.time() - 2 * 86400
        os.utime(root / asset(sha256), (old, old))
    return store


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(["store", *words]) == code
    return capsys.readouterr().out


def events(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(capsys, *words, "--json", code=code).splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_reads_well_at_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, command, "--help")
    assert max(len(line) for line in text.splitlines()) <= 80


# -- check --------------------------------------------------------------------------------------------------------------


def test_a_check_is_green_and_leaves_nothing(
    volume: FolderStore, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*"))
    found = events(capsys, "check")
    assert {item["name"]: item["level"] for item in found} == dict.fromkeys(
        ("place", "rights", "space", "clock", "latency", "upload"), "green"
    )
    (root / "cloud-farm" / "trash").rmdir()  # the trash itself, as every first use makes it
    assert sorted(root.rglob("*")) == before
    assert "green: jobs can use this store" in shown(capsys, "check")


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_a_check_of_a_volume_that_is_a_file_is_red(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_bytes(b"a file")
    rights = next(item for item in events(capsys, "check", code=1) if item["name"] == "rights")
    assert rights["level"] == "red"
    assert rights["values"]["create"] is False
    assert "A part of that path is a file" in rights["fix"]


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (check_space(None), "yellow", "does not tell"),
        (check_space(500 << 20), "red", "500.0 MiB free"),
        (check_space(5 << 30), "yellow", "5.0 GiB free"),
        (check_space(50 << 30), "green", "50.0 GiB free"),
        (check_clock(3.2), "green", "3.2 s"),
        (check_clock(7200), "yellow", "2:00:00 ahead of"),
        (check_clock(-7200), "yellow", "2:00:00 behind"),
        (check_proxy(1 << 30), "green", "1.0 GiB get through"),
        (check_proxy(1 << 20), "yellow", "above 1.0 MiB"),
        (check_proxy(32 << 10), "red", "above 32.0 KiB"),
    ],
)
def test_what_is_measured_is_judged(found: Check, level: str, words: str) -> None:
    assert found.level == level
    assert words in found.message
    assert bool(found.fix) == (level != "green" and "does not tell" not in words)


def test_exit_codes() -> None:
    green, yellow, red = (Check("space", level, "") for level in ("green", "yellow", "red"))
    assert [exit_code(found) for found in ([green, yellow], [green, red], [Check("reach", "red", "")])] == [0, 1, 3]


# -- ls and du ----------------------------------------------------------------------------------------------------------


def test_ls(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cloud-farm/" in shown(capsys, "ls")
    assert "job.json" in shown(capsys, "ls", f"/{JOBS}/{JOB}/")
    (line,) = events(capsys, "ls", f"{JOBS}/{JOB}/job.json")
    assert line["event"] == "file"
    assert line["path"] == str(JobLayout(JOB).job_json)
    volume.put(b"x", PurePosixPath("film") / "\x1b[2Jname")
    assert "\x1b[2J" not in shown(capsys, "ls", "film")


def test_ls_of_what_is_not_there_says_so(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "ls", "nothing"]) == 2
    assert "no folder nothing" in capsys.readouterr().err


def test_du_counts_a_jobs_scene_tree_apart(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    *rows, total = events(capsys, "du")
    by_kind = {row["kind"]: row for row in rows}
    size = (user_folders().data / "farm" / JobLayout(JOB).job_json).stat().st_size
    assert by_kind["assets"]["bytes"] == 3004
    assert (by_kind["job"]["bytes"], by_kind["job"]["scene_bytes"]) == (size, 1500)
    assert total["bytes"] == 3004 + size
    text = shown(capsys, "du")
    assert "scene trees of 1.5 KiB" in text and JOB in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "cloud-farm/jobs/" in shown(capsys, "du", "cloud-farm/jobs/" + JOB)


@pytest.mark.parametrize("text", ["", "/", ".", "./"])
def test_the_root_has_many_names(text: str) -> None:
    assert volume_path(text) == PurePosixPath()


@pytest.mark.parametrize("text", ["..", "a/../../b", "a\0b"])
def test_paths_that_lead_out_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        volume_path(text)


# -- put and get --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    folder = tmp_path / "sh010"
    (folder / "tex").mkdir(parents=True)
    (folder / "a.blend").write_bytes(b"scene")
    (folder / "tex" / "b.png").write_bytes(b"x" * 2048)
    return folder


def test_put_and_get(
    volume: FolderStore, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "put", str(shot), "--to", "/projects/").splitlines()[-1] == "2 files sent to projects, 2.0 KiB"
    (shot / "c.blend").write_bytes(b"another")
    again = shown(capsys, "put", str(shot), "--to", "projects").splitlines()
    assert again[-2:] == ["1 file sent to projects, 7 B", "2 files there already"]
    monkeypatch.chdir(tmp_path)
    assert "3 files fetched to back, 2.0 KiB" in shown(capsys, "get", "projects/sh010", "--to", "back")
    assert (tmp_path / "back" / "sh010" / "tex" / "b.png").read_bytes() == b"x" * 2048
    *_, copied = events(capsys, "get", "projects/sh010/a.blend", "--to", "other")
    item = {"here": str(Path("other") / "a.blend"), "volume": "projects/sh010/a.blend", "bytes": 5}
    assert copied == {
        "event": "copied", "bytes": 5, "replaced": 0, "left_out": [], "copied": [item], "unchanged": [],
    }  # fmt: skip


def test_put_leaves_others_alone_unless_told(
    volume: FolderStore, shot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume.put(b"other", PurePosixPath("a.blend"))
    assert run(["store", "put", str(shot / "a.blend")]) == 2
    assert "there already: a.blend. Nothing was overwritten" in capsys.readouterr().err.replace("\n", " ")
    assert "1 file sent to the volume's root, 5 B" in shown(capsys, "put", str(shot / "a.blend"), "--replace")
    (shot / "gone").symlink_to("/nowhere")
    assert "gone can't be read" in shown(capsys, "put", str(shot), code=1).replace("\n   ", " ")
    (shot / "none").mkdir()
    assert "no file" in shown(capsys, "put", str(shot / "none"))


# -- gc -----------------------------------------------------------------------------------------------------------------


def test_gc_shows_first_and_does_it_when_told(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "gc")
    assert "Would move to the trash" in text and "1 asset that no job needs" in text and "--yes" in text
    assert volume.stat(asset(SPARE)) is not None
    assert "Moved to the trash" in shown(capsys, "gc", "--yes")
    assert volume.stat(asset(SPARE)) is None
    assert volume.read(asset(NEEDED)) == b"kept"
    assert "Nothing to clean up." in shown(capsys, "gc")


def test_gc_for_programs(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    for words, done in ((["gc"], False), (["gc", "--yes"], True)):
        (found,) = events(capsys, *words)
        assert found["done"] is done
        assert found["assets"] == [{"path": str(asset(SPARE)), "bytes": 3000}]


def test_gc_refuses_beside_a_job_of_a_newer_version(volume: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    volume.put(b'{"schema": 2, "pack": {}}', JobLayout("new-20261123-abc124").job_json)
    text = shown(capsys, "gc", "--yes", code=1)
    assert "newer Cloud Farm" in text and "none was touched" in text
    assert volume.stat(asset(SPARE)) is not None


def test_gc_keeps_trash_for_at_least_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "gc", "--trash-days", "0"]) == 2
    assert "--trash-days" in capsys.readouterr().err
