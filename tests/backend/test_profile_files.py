"""Farm profiles as files: changed by a program, taken away; a secret is never in one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml
from cloud_farm.errors import ProfileError
from cloud_farm.profile import load_profile, profile_names
from cloud_farm.profile_files import keep_secret, remove_profile, save_profile
from cloud_farm.secrets import resolve

from .test_profile import write_farm

STUDIO = {
    "preset": "coreweave-tutorial", "filebrowser.url": "https://files.example.com", "kubernetes.namespace": "render",
    "limits.parallelism": 20,
}  # fmt: skip


def own(farm: str) -> Path:
    return Path(os.environ["CLOUD_FARM_HOME"]) / "farms" / f"{farm}.yaml"


def test_a_new_farm_is_a_file_that_people_can_read() -> None:
    assert save_profile("studio", STUDIO) == own("studio")
    assert yaml.safe_load(own("studio").read_text()) == {
        "schema": 1, "preset": "coreweave-tutorial", "filebrowser": {"url": "https://files.example.com"},
        "kubernetes": {"namespace": "render"}, "limits": {"parallelism": 20},
    }  # fmt: skip
    assert load_profile("studio").engine == "argo"
    assert profile_names() == ("local", "studio")


def test_only_what_is_named_changes_and_none_takes_out() -> None:
    write_farm("studio", "volume: {mount_path: /mnt, tier: fast}\nlimits: {workers: 3}\nnovelty: 3\n")
    save_profile("studio", {"volume.mount_path": "/data", "limits.workers": None, "blender": None})
    assert yaml.safe_load(own("studio").read_text()) == {
        "volume": {"mount_path": "/data", "tier": "fast"},
        "novelty": 3,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"gpu.device": "steam"}, {"preset": "nowhere"}, {"limits.workers": 0}, {"volume.mount_path": None},
        {"filebrowser.password": "in the clear"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_not_written(values: dict[str, object]) -> None:
    before = write_farm("studio", "volume: {mount_path: /mnt}\n").read_bytes()
    with pytest.raises(ProfileError):
        save_profile("studio", values)
    assert own("studio").read_bytes() == before
    with pytest.raises(ProfileError):
        save_profile("another", {"volume.mount_path": "/x", **values})
    assert sorted(path.name for path in own("studio").parent.iterdir()) == ["studio.yaml"]


def test_nobody_reads_a_profile_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others look at the folder at any moment."""
    written: list[Path] = []
    monkeypatch.setattr("cloud_farm.profile_files.replace", lambda _part, path: written.append(path))
    with pytest.raises(ProfileError):
        save_profile("studio", {"volume.mount_path": "/x", "gpu.device": "steam"})
    assert written == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "../../x", "a b", "-x", "x" * 64])
def test_a_name_can_not_leave_the_folder(name: str) -> None:
    for act in (lambda: save_profile(name, STUDIO), lambda: remove_profile(name), lambda: keep_secret(name, "x", "y")):
        with pytest.raises(ProfileError):
            act()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
def test_a_secret_is_for_the_users_eyes_only_and_the_profile_knows_where_it_is() -> None:
    reference = keep_secret("studio", "filebrowser.password", "pass wörd ")
    path = Path(reference["file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert resolve(reference, what="the password") == "pass wörd "
    keep_secret("studio", "filebrowser.password", "another")
    assert resolve(reference, what="the password") == "another"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["studio.filebrowser.password"]


def test_a_removed_profile_lies_beside_and_a_studios_can_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_profile("studio", STUDIO)
    aside = remove_profile("studio")
    assert profile_names() == ("local",) and yaml.safe_load(aside.read_text())["limits"] == {"parallelism": 20}
    monkeypatch.setenv("CLOUD_FARM_STUDIO_PROFILES", str(tmp_path))
    (tmp_path / "house.yaml").write_text("volume: {mount_path: /x}\n")
    for farm in ("house", "local"):
        with pytest.raises(ProfileError, match="not yours to remove"):
            remove_profile(farm)


def test_a_folder_that_can_not_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path / "file"))
    for act in (lambda: save_profile("studio", STUDIO), lambda: keep_secret("studio", "x", "y")):
        with pytest.raises(ProfileError, match="can't be written"):
            act()
