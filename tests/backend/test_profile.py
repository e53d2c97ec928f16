"""Farm profiles: layers with origin, secrets by reference only, nonsense named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cloud_farm.engines.argo_settings import read_pod_settings
from cloud_farm.errors import ProfileError
from cloud_farm.presets import PRESETS
from cloud_farm.profile import load_profile, profile_names


def write_farm(name: str, text: str) -> Path:
    folder = Path(os.environ["CLOUD_FARM_HOME"]) / "farms"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{name}.yaml"


def origin(profile_text: str, key: str) -> str:
    return next(where for name, _, where in load_profile(profile_text).values() if name == key)


def test_local_is_built_in_and_lies_in_the_users_folder() -> None:
    profile = load_profile("local")
    assert (profile.engine, profile.store, profile.gpu.device) == ("local", "folder", "")
    assert profile.volume.mount_path == str(Path(os.environ["CLOUD_FARM_HOME"]) / "farm")


def test_layers_win_in_order_and_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_FARM_STUDIO_PROFILES", str(tmp_path))
    (tmp_path / "local.yaml").write_text("limits: {workers: 8, frame_seconds: 60}\ngpu: {device: cuda}\n")
    write_farm("local", "limits: {workers: 4}\n")
    profile = load_profile("local")
    assert (profile.limits.workers, profile.limits.frame_seconds, profile.gpu.device) == (4, 60.0, "cuda")
    assert origin("local", "limits.workers").startswith("user file")
    assert origin("local", "gpu.device").startswith("studio file")
    assert origin("local", "engine") == "preset"
    monkeypatch.setenv("CLOUD_FARM_LIMITS_WORKERS", "3")
    assert (load_profile("local").limits.workers, origin("local", "limits.workers")) == (3, "environment")
    assert load_profile("local", flags={"limits.workers": 2, "blender": None}).limits.workers == 2


def test_a_farm_is_one_file_by_name_or_path(tmp_path: Path) -> None:
    path = write_farm(
        "studio", "volume: {mount_path: /mnt/farm}\ngpu: {device: optix}\nimages: {'4.5': blender@sha256:1}\n"
    )
    assert load_profile("studio") == load_profile(str(path))
    assert profile_names() == ("local", "studio")


def test_unknown_values_are_kept() -> None:
    write_farm("studio", "volume: {mount_path: /x, tier: fast}\nnovelty: 3\n")
    profile = load_profile("studio")
    assert profile.extra["novelty"] == 3
    assert profile.volume.extra["tier"] == "fast"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "YAML mapping"),
        ("volume: {mount_path: /x\n", "can't be read"),
        ("volume: yes\n", "volume should be a JSON object"),
        ("volume: {mount_path: 7}\n", "mount_path should be text"),
        ("volume: {mount_path: /x}\nlimits: {workers: many}\n", "workers should be a whole number"),
        ("volume: {mount_path: /x}\nlimits: {workers: 0}\n", "at least 1"),
        ("volume: {mount_path: /x}\nlimits: {parallelism: 0}\n", "at least 1"),
        ("volume: {mount_path: /x}\nlimits: {frame_seconds: -1}\n", "more than 0"),
        ("volume: {mount_path: /x}\nlimits: {log_bytes: 0}\n", "at least 1"),
        ("volume: {mount_path: /x}\ngpu: {count: 0}\n", "at least 1"),
        ("volume: {mount_path: /x}\nprice_per_gpu_hour: -2\n", "can't be negative"),
        ("volume: {mount_path: /x}\ngpu: {device: voodoo}\n", "voodoo"),
        ("volume: {mount_path: ''}\n", "mount_path is missing"),
        ("volume: {mount_path: /x}\nschema: 2\n", "newer Cloud Farm"),
        ("volume: {mount_path: /x}\nfilebrowser: {url: https://f, password: hunter2}\n", "secret in the clear"),
        ("volume: {mount_path: /x}\nkubernetes: {token: {env: A, file: B}}\n", "secret in the clear"),
    ],
)  # fmt: skip
def test_nonsense_is_named_and_secrets_stay_out_of_the_message(text: str, says: str) -> None:
    write_farm("bad", text)
    with pytest.raises(ProfileError, match=says) as caught:
        load_profile("bad")
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_secrets_by_reference_are_fine() -> None:
    write_farm("studio", "volume: {mount_path: /x}\nfilebrowser: {url: https://f, password: {env: FB_PASSWORD}}\n")
    assert load_profile("studio").filebrowser["password"] == {"env": "FB_PASSWORD"}


@pytest.mark.parametrize("name", ["nope", "../x", "a b", ""])
def test_an_unknown_farm_is_refused(name: str) -> None:
    with pytest.raises(ProfileError):
        load_profile(name)


def test_a_number_in_the_environment_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_FARM_LIMITS_WORKERS", "many")
    with pytest.raises(ProfileError, match="CLOUD_FARM_LIMITS_WORKERS should be a number"):
        load_profile("local")


# -- farms on clusters --------------------------------------------------------------------------------------------------


def test_a_preset_lies_below_what_the_file_says() -> None:
    write_farm(
        "studio",
        "preset: coreweave-tutorial\nvolume: {sub_path: team}\ngpu: {models: [Quadro_RTX_5000]}\nkubernetes: {memory: 16Gi}\n",
    )
    profile = load_profile("studio")
    assert (profile.engine, profile.volume.claim, profile.volume.sub_path) == ("argo", "shared-data-pvc", "team")
    assert (profile.gpu.model_label, profile.gpu.models) == ("gpu.nvidia.com/model", ("Quadro_RTX_5000",))
    assert profile.kubernetes["memory"] == "16Gi" and "prepare" in profile.kubernetes
    assert origin("studio", "volume.claim") == "preset"
    assert origin("studio", "kubernetes.memory").startswith("user file")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_becomes_pods(name: str) -> None:
    more = "volume: {claim: data, mount_path: /data}\ngpu: {models: [X]}\nkubernetes: {namespace: render}\n"
    write_farm("studio", f"preset: {name}\n{more}")
    settings = read_pod_settings(load_profile("studio"))
    assert settings.namespace == "render"


def test_the_layers_of_a_cluster_are_one_value_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_FARM_STUDIO_PROFILES", str(tmp_path))
    (tmp_path / "studio.yaml").write_text("volume: {mount_path: /x}\nkubernetes: {namespace: render, memory: 8Gi}\n")
    write_farm("studio", "kubernetes: {memory: 16Gi}\nfilebrowser: {url: https://f}\n")
    profile = load_profile("studio", flags={"kubernetes.namespace": "mine"})
    assert profile.kubernetes == {"namespace": "mine", "memory": "16Gi"}
    assert (origin("studio", "kubernetes.namespace").split()[0], origin("studio", "kubernetes.memory").split()[0]) == (
        "studio",
        "user",
    )


def test_names_of_secrets_are_no_secrets() -> None:
    write_farm(
        "studio", "volume: {mount_path: /x}\nkubernetes: {image_pull_secrets: [registry], token_in_pods: true}\n"
    )
    assert load_profile("studio").kubernetes["image_pull_secrets"] == ["registry"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("preset: moonbase", "preset 'moonbase'.*coreweave"),
        ("gpu: {count: 0}", "gpu.count must be at least 1"),
        ("gpu: {count: 4, count_max: 2}", "count_max not less"),
        ("gpu: {models: [RTX]}", "models needs gpu.model_label"),
        ("limits: {parallelism: 0}", "parallelism must be at least 1"),
    ],
)
def test_nonsense_about_clusters_is_named(text: str, says: str) -> None:
    write_farm("bad", f"volume: {{mount_path: /x}}\n{text}\n")
    with pytest.raises(ProfileError, match=says):
        load_profile("bad")
