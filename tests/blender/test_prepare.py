"""Making the scene tree: of assets, every byte checked, nothing outside it, once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .stub_farm import StubJob, sha256

import prepare_job  # isort: skip - a script of inside_blender: stub_farm knows where
import volume  # isort: skip


@pytest.fixture
def job(tmp_path: Path) -> StubJob:
    return StubJob(tmp_path).write()


def tree(job: StubJob) -> dict[str, bytes]:
    scene = job.paths.scene
    return {str(path.relative_to(scene)): path.read_bytes() for path in scene.rglob("*") if path.is_file()}


def test_the_tree_is_what_was_packed_and_marked_ready(job: StubJob) -> None:
    assert job.run("prepare")[0] == 0
    assert tree(job) == job.files
    assert job.paths.scene_ready.read_text() == job.manifest()["manifest_sha256"]
    assert (job.paths.scene / "tex").stat().st_mode & 0o7777 == 0o2775
    assert not list(job.paths.job_dir.glob("scene.*.part"))
    asset = job.paths.assets / sha256(b"a picture")[:2] / sha256(b"a picture")
    assert (job.paths.scene / "tex" / "a.png").samefile(asset)


def test_a_tree_that_is_ready_is_left_alone(job: StubJob) -> None:
    job.run("prepare")
    before = {path: path.stat().st_mtime_ns for path in job.paths.scene.rglob("*")}
    assert job.run("prepare")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in job.paths.scene.rglob("*")} == before


def test_a_right_tree_without_its_mark_is_verified_and_marked(job: StubJob) -> None:
    job.run("prepare")
    job.paths.scene_ready.unlink()
    before = job.paths.scene.stat().st_ino
    assert job.run("prepare")[0] == 0
    assert job.paths.scene.stat().st_ino == before
    assert job.paths.scene_ready.exists()


def test_a_wrong_tree_without_its_mark_is_made_again(job: StubJob) -> None:
    job.run("prepare")
    job.paths.scene_ready.unlink()
    changed = job.paths.scene / "tex" / "a.png"
    changed.unlink()
    changed.write_bytes(b"A PICTURE")
    assert job.run("prepare")[0] == 0
    assert tree(job) == job.files
    kept = [path for path in (job.root / "cloud-farm" / "trash").rglob("a.png")]
    assert kept[0].read_bytes() == b"A PICTURE"


def test_a_symbolic_link_is_no_file_of_the_tree(job: StubJob, tmp_path: Path) -> None:
    job.run("prepare")
    job.paths.scene_ready.unlink()
    (tmp_path / "same").write_bytes(b"a picture")
    (job.paths.scene / "tex" / "a.png").unlink()
    (job.paths.scene / "tex" / "a.png").symlink_to(tmp_path / "same")
    assert job.run("prepare")[0] == 0
    assert not (job.paths.scene / "tex" / "a.png").is_symlink()


def test_modes_are_kept_and_assets_stay_as_they_are(tmp_path: Path) -> None:
    job = StubJob(tmp_path)
    tool = {"path": "run.sh", "size": 9, "sha256": sha256(b"a picture"), "mode": 0o755}
    job.write()
    job.write_job_json([*job.entries(), tool])
    prepare_job.prepare(job.paths, "prepare.00000001")
    assert os.access(job.paths.scene / "run.sh", os.X_OK)
    asset = job.paths.assets / sha256(b"a picture")[:2] / sha256(b"a picture")
    assert not asset.stat().st_mode & 0o111


def test_without_links_the_tree_is_copied(job: StubJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise PermissionError("links to files of others are not allowed")

    monkeypatch.setattr(os, "link", refuse)
    prepare_job.prepare(job.paths, "prepare.00000001")
    assert tree(job) == job.files


@pytest.mark.parametrize("damage", ["missing", "changed", "short"])
def test_an_asset_that_is_not_what_was_sent_ends_the_job_and_names_the_file(job: StubJob, damage: str) -> None:
    asset = job.paths.assets / sha256(b"a picture")[:2] / sha256(b"a picture")
    asset.unlink()
    if damage != "missing":
        asset.write_bytes(b"A PICTURE" if damage == "changed" else b"a pic")
    code, output = job.run("prepare")
    assert code == 78
    end = job.ends()[-1]
    assert (end["exit"], end["cause"]) == (78, 17)
    assert "tex/a.png" in end["reason"] and "tex/a.png" in output
    assert not job.paths.scene.exists() and not job.paths.scene_ready.exists()
    assert not list(job.paths.job_dir.glob("scene.*.part"))


HOSTILE = ["../x", "a/../../x", "/tmp/x", "", ".", "./a", "a//b", "a/", "a\0b", "a\nb", "a\x7fb"]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leads_out_of_the_tree_is_refused(job: StubJob, path: str) -> None:
    entries = [*job.entries(), {"path": path, "size": 9, "sha256": sha256(b"a picture"), "mode": 0o644}]
    job.write_job_json(entries)
    with pytest.raises(prepare_job.BadScene, match="not inside the scene"):
        prepare_job.prepare(job.paths, "prepare.00000001")
    assert not job.paths.scene.exists()
    assert (
        prepare_job.main(["--root", str(job.root), "--job", job.job, "--revision", "1", "--attempt", "prepare.1"]) == 78
    )


@pytest.mark.parametrize(
    "change", [{"sha256": "../../../../etc/passwd"}, {"parts": ["../../x"]}, {"size": "9"}, {"path": 5}, {"path": "shot.blend"},
               {"path": "shot.blend/x"}, {"path": "tex"}],
)  # fmt: skip
def test_a_nonsensical_entry_is_refused(job: StubJob, change: dict[str, Any]) -> None:
    plain = {"path": "x", "size": 9, "sha256": sha256(b"a picture"), "mode": 0o644}
    job.write_job_json([*job.entries(), {**plain, **change}])
    with pytest.raises(prepare_job.BadScene, match="The file list (names|gives)"):
        prepare_job.prepare(job.paths, "prepare.00000001")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"pack": []}', b'{"pack": {"files": 3}}', b"\xff\xfe", b'{"pack": null}']
)
def test_a_job_json_edited_into_nonsense_is_refused(job: StubJob, text: bytes) -> None:
    job.paths.job_json.write_bytes(text)
    assert job.run("prepare")[0] == 78
    assert job.ends()[-1]["cause"] == 17
    assert job.run("r1c00001")[0] == 78


def test_names_with_odd_letters_are_names(tmp_path: Path) -> None:
    job = StubJob(tmp_path)
    job.files = {"shot.blend": b"x", "-r ä'\"\\ *?.png": b"y", "日本/🙂.png": b"z", "..hidden..": b"w"}
    job.write()
    assert job.run("prepare")[0] == 0
    assert tree(job) == job.files


def test_an_attempt_that_comes_second_verifies_and_is_content(job: StubJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(_state: str, _frame: int | None = None) -> None:
        monkeypatch.setattr(volume, "reach", lambda *_: None)
        prepare_job.prepare(job.paths, "prepare.00000002")

    monkeypatch.setattr(volume, "reach", meanwhile)
    prepare_job.prepare(job.paths, "prepare.00000001")
    assert tree(job) == job.files
    assert not list(job.paths.job_dir.glob("scene.*.part"))
    assert not (job.root / "cloud-farm" / "trash").exists()
