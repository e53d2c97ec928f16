"""Farm profiles as files: changed by a program, handed on, taken away; a secret is never in one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml
from cloud_farm.errors import ProfileError
from cloud_farm.profile import load_profile, profile_names
from cloud_farm.profile_files import export_profile, import_profile, keep_secret, remove_profile, save_profile
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


def test_what_an_admin_hands_on_has_no_secret_and_works_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = keep_secret("studio", "filebrowser.password", "secret")
    save_profile("studio", {**STUDIO, "filebrowser.user": "ada", "filebrowser.password": reference})
    monkeypatch.setenv("CLOUD_FARM_GPU_DEVICE", "cpu")  # of this computer: not handed on
    exported = export_profile("studio", tmp_path / "for-artists.yaml")
    text = exported.read_text()
    assert "secret" not in text and str(tmp_path) not in text
    monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path / "artist"))
    monkeypatch.delenv("CLOUD_FARM_GPU_DEVICE")
    assert import_profile(exported) == "studio"
    profile = load_profile("studio")
    assert (profile.filebrowser["url"], profile.limits.parallelism) == ("https://files.example.com", 20)
    assert (profile.gpu.device, "password" in profile.filebrowser) == ("optix", False)


def test_an_imported_profile_takes_no_other_ones_place_unasked(tmp_path: Path) -> None:
    handed = tmp_path / "studio.yaml"
    handed.write_text("volume: {mount_path: /theirs}\n")
    write_farm("studio", "volume: {mount_path: /ours}\n")
    with pytest.raises(ProfileError, match="already"):
        import_profile(handed)
    assert load_profile("studio").volume.mount_path == "/ours"
    assert import_profile(handed, farm="other") == "other"
    assert import_profile(handed, over=True) == "studio"
    assert load_profile("studio").volume.mount_path == "/theirs"


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{", "gpu: {device: steam}", "\x00", "schema: 99\nvolume: {mount_path: /x}"]
)
def test_what_is_no_profile_is_not_taken_in(tmp_path: Path, text: str) -> None:
    handed = tmp_path / "studio.yaml"
    handed.write_text(text)
    with pytest.raises(ProfileError):
        import_profile(handed)
    assert profile_names() == ("local",)


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


def test_a_profile_that_somebody_made_can_not_be_this_computer_nor_name_its_files_as_secrets(tmp_path: Path) -> None:
    handed = tmp_path / "local.yaml"
    handed.write_text("preset: coreweave-tutorial\nfilebrowser: {url: 'https://files.example.com'}\n")
    with pytest.raises(ProfileError, match="this computer"):
        import_profile(handed)
    handed.write_text(
        "name: studio\npreset: coreweave-tutorial\n"
        "filebrowser: {url: 'https://files.example.com', user: a, password: {file: ~/.ssh/id_rsa}, ca_file: /etc/ca.pem}\n"
    )
    assert import_profile(handed) == "studio"
    assert "password" not in load_profile("studio").filebrowser
