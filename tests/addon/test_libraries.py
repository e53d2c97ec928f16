"""The backend on nothing but the libraries that the extension brings and those of the oldest Blender."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import build

from ..rigs.go_build import cache_folder, make_once
from .conftest import wheel_cache
from .test_install import travel

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
# What the oldest Blender with this Python has in it: 4.2 and 5.1.
_BUNDLED = {
    (3, 11): {
        "requests": "2.27.1", "urllib3": "1.26.8", "certifi": "2021.10.8", "idna": "3.3", "charset-normalizer": "2.0.10",
        "zstandard": "0.16.0",
    },
    (3, 13): {
        "requests": "2.32.3", "urllib3": "2.4.0", "certifi": "2025.4.26", "idna": "3.10", "charset-normalizer": "3.4.1",
        "zstandard": "0.25.0",
    },
}[sys.version_info[:2]]  # fmt: skip
# As the worker's own process has it: isolated, and what it may import is told by hand.
_PROBE = """
import importlib, json, pkgutil, sys, tempfile
from pathlib import Path
sys.path[1:1] = json.loads(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import cloud_farm
for module in pkgutil.walk_packages(cloud_farm.__path__, "cloud_farm."):
    if "inside_blender" not in module.name:
        importlib.import_module(module.name)
import blender_asset_tracer.trace, kubernetes.client, kubernetes.config, requests, urllib3, yaml, zstandard
farm = Path(tempfile.mkdtemp()) / "studio.yaml"
farm.write_text(sys.argv[3])
profile = cloud_farm.load_profile(str(farm))
from cloud_farm.blend_file import open_plain
packed = zstandard.ZstdCompressor().compress(b"BLENDER") * 2
(farm.parent / "two").write_bytes(packed)
with open_plain(farm.parent / "two", "zstd") as stream:
    plain = stream.read().decode()
print(json.dumps({
    "homes": {m.__name__: m.__file__ for m in (cloud_farm, blender_asset_tracer, kubernetes, requests, yaml)},
    "versions": {m.__name__: m.__version__ for m in (cloud_farm, requests, urllib3, zstandard)},
    "farm": profile.name, "plain": plain, "claim": profile.volume.claim,
}))
"""
_FARM = "name: studio\nengine: argo\nvolume: {claim: renders, mount_path: /farm}\n"


def install_into(folder: Path) -> None:
    """Install them; zstandard 0.16 is compiled, as Blender does it."""
    part = folder.with_suffix(".part")
    pins = [f"{name}=={version}" for name, version in _BUNDLED.items()]
    command = [*build.pip(), "install", "--quiet", "--no-deps", "--no-compile", "--target", str(part), *pins]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    part.rename(folder)


@pytest.fixture(scope="module")
def bundled() -> Path:
    """Return a folder with the libraries of that Blender."""
    folder = cache_folder() / f"blender-libraries-{sys.version_info[0]}.{sys.version_info[1]}"
    return make_once(folder, lambda: install_into(folder), patience=400)


@pytest.fixture(scope="module")
def installed(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artist's folder of extensions, ours in it."""
    profile = tmp_path_factory.mktemp("profile")
    travel(profile, f"install={extension}")
    return profile / "extensions"


def probe(extensions: Path, paths: list[Path]) -> dict[str, Any]:
    home = extensions / "user_default" / "cloud_farm"
    words = [json.dumps([str(path) for path in paths]), str(home), _FARM]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROBE, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def site_packages(extensions: Path) -> Path:
    return next(extensions.glob(".local/lib/*/site-packages"))


def test_the_backend_works_with_what_blender_has(installed: Path, bundled: Path) -> None:
    found = probe(installed, [site_packages(installed), bundled])
    names = ("requests", "urllib3", "zstandard")
    assert {name: found["versions"][name] for name in names} == {name: _BUNDLED[name] for name in names}
    assert (found["farm"], found["claim"], found["plain"]) == ("studio", "renders", "BLENDERBLENDER")
    local = str(site_packages(installed))
    assert all(found["homes"][name].startswith(local) for name in ("kubernetes", "yaml", "blender_asset_tracer"))
    assert found["homes"]["cloud_farm"].startswith(str(installed / "user_default"))


def test_the_keyrings_library_is_there_for_systems_that_have_one(installed: Path, bundled: Path) -> None:
    code = (
        "import json, sys; sys.path[1:1] = json.loads(sys.argv[1]); import keyring\n"
        "from keyring.backends import Windows, macOS\n"
        "print(keyring.get_keyring().name, Windows.WinVaultKeyring.__name__, macOS.Keyring.__name__, sep=', ')"
    )
    paths = json.dumps([str(path) for path in (site_packages(installed), bundled)])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, paths], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "fail Keyring, WinVaultKeyring, Keyring\n", done.stderr


def test_libraries_that_another_extension_took_away_come_from_the_wheels(
    installed: Path, bundled: Path, tmp_path: Path
) -> None:
    """One that brings `PyYAML-6.0.2` takes `yaml` with it when it is disabled, and Blender does not notice."""
    extensions = tmp_path / "extensions"
    shutil.copytree(installed, extensions)
    wheels = sorted((extensions / "user_default" / "cloud_farm" / "wheels").glob("*.whl"))
    site = site_packages(extensions)
    shutil.rmtree(site / "yaml")
    found = probe(extensions, [site, *wheels, bundled])
    assert "wheels/pyyaml-6.0.3-py3-none-any.whl" in Path(found["homes"]["yaml"]).as_posix()
    assert found["homes"]["kubernetes"].startswith(str(site)), "what is there is used: it starts five times as fast"


def test_the_wheels_alone_will_do(installed: Path, bundled: Path) -> None:
    wheels = sorted((installed / "user_default" / "cloud_farm" / "wheels").glob("*.whl"))
    found = probe(installed, [*wheels, bundled])
    homes = {name: Path(home).as_posix() for name, home in found["homes"].items()}
    assert all(".whl/" in homes[name] for name in ("kubernetes", "yaml", "blender_asset_tracer"))
    assert (found["farm"], found["claim"]) == ("studio", "renders")


def test_the_wheels_are_those_of_the_list(installed: Path) -> None:
    wheels = (installed / "user_default" / "cloud_farm" / "wheels").glob("*.whl")
    made = dict(map(build.pure_wheel, build.fetch_wheels(wheel_cache())))
    assert {path.name: path.read_bytes() for path in wheels} == made
