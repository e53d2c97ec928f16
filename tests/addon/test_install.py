"""The built zip in an empty profile: it comes, works, is updated and goes without a word and without a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.version import VERSION

from .conftest import NEXT_VERSION

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_JOURNEY = Path(__file__).parent / "journey.py"
_BLENDERS_OWN_WORDS = re.compile(r"STATUS \w+ \"cloud_farm\"|Info: Preferences saved|.*Writing user preferences: .*")


def travel(profile: Path, *steps: str) -> dict[str, Any]:
    """Take steps in a Blender of its own and return what was there after each. It may print only what Blender says anyway."""
    command = [sys.executable, "-I", str(_JOURNEY), *steps]
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(profile)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *said, answer = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    assert [line for line in said if not _BLENDERS_OWN_WORDS.fullmatch(line.strip())] == []
    return dict(json.loads(answer))


@pytest.fixture(scope="module")
def life(
    extension: Path, next_extension: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """From nothing to nothing, in one session of Blender."""
    profile = tmp_path_factory.mktemp("profile")
    install, update = f"install={extension}", f"install={next_extension}"
    steps = travel(profile, "begin", install, "disable", "enable", "new_file", update, "save", "remove")
    names = {install: "install", update: "update"}
    return {names.get(step, step): found for step, found in steps.items()}, profile


def test_installed_it_is_enabled_with_its_libraries(life: tuple[dict[str, Any], Path]) -> None:
    begin, installed = life[0]["begin"], life[0]["install"]
    assert (begin["enabled"], begin["libraries"]) == (False, [])
    assert (installed["enabled"], installed["version"]) == (True, VERSION)
    assert {"kubernetes", "yaml", "blender_asset_tracer", "pyyaml-6.0.3.dist-info"} <= set(installed["libraries"])
    assert not {"requests", "urllib3", "certifi", "zstandard"} & set(installed["libraries"]), (
        "Blender's own are to serve"
    )


@pytest.mark.parametrize("step", ["install", "enable", "new_file", "update"])
def test_blender_has_nothing_to_complain_of(life: tuple[dict[str, Any], Path], step: str) -> None:
    found = life[0][step]
    assert found["violations"] == {}
    assert found["heavy"] == [], "these cost time and memory in the artist's Blender"
    assert found["traces"]["threads"] == 1


def test_disabled_it_is_silent_and_can_come_back(life: tuple[dict[str, Any], Path]) -> None:
    steps = life[0]
    assert [steps[step]["enabled"] for step in ("disable", "enable", "new_file")] == [False, True, True]
    assert without_modules(steps["disable"]) == without_modules(steps["begin"])
    assert without_modules(steps["enable"]) == without_modules(steps["install"])


def test_an_update_brings_its_own_backend(life: tuple[dict[str, Any], Path]) -> None:
    """In the running session: modules of the old version must not linger."""
    updated = life[0]["update"]
    assert (updated["enabled"], updated["version"]) == (True, NEXT_VERSION)
    assert updated["libraries"] == life[0]["install"]["libraries"]


def test_removed_it_leaves_nothing_in_the_session(life: tuple[dict[str, Any], Path]) -> None:
    begin, removed = life[0]["begin"], life[0]["remove"]
    assert removed["traces"] == begin["traces"]
    assert (removed["enabled"], removed["libraries"]) == (False, [])


def test_removed_it_leaves_nothing_on_disk(life: tuple[dict[str, Any], Path]) -> None:
    left = [path.relative_to(life[1]).as_posix() for path in life[1].rglob("*") if path.is_file()]
    assert sorted(left) == ["config/userpref.blend", "extensions/.cache/compat.dat"]
    assert not [path for path in life[1].rglob("*cloud_farm*")]


def test_it_is_there_when_blender_starts_again(extension: Path, tmp_path: Path) -> None:
    travel(tmp_path, f"install={extension}", "save")
    again = travel(tmp_path, "start")["start"]
    assert (again["enabled"], again["version"], again["heavy"], again["violations"]) == (True, VERSION, [], {})
    assert "kubernetes" in again["libraries"]


def test_an_update_in_a_later_session_keeps_what_was_chosen_and_goes_as_clean(
    extension: Path, next_extension: Path, tmp_path: Path
) -> None:
    travel(tmp_path, f"install={extension}", "save")
    update = f"install={next_extension}"
    updated = travel(tmp_path, "start", "choose=studio", update, "save")[update]
    again = travel(tmp_path, "start", "disable", "enable", "remove", "save")
    for found in (updated, again["start"], again["enable"]):
        assert (found["enabled"], found["version"]) == (True, NEXT_VERSION)
        assert (found["heavy"], found["violations"]) == ([], {})
        assert "kubernetes" in found["libraries"]
    assert updated["farm"] == "studio"
    assert (again["remove"]["enabled"], again["remove"]["libraries"]) == (False, [])
    assert not [path for path in tmp_path.rglob("*cloud_farm*")]


def test_a_folder_with_blanks_and_umlauts(extension: Path, tmp_path: Path) -> None:
    found = travel(tmp_path / "Käthe's farm – α", f"install={extension}", "disable", "remove")
    assert [step["enabled"] for step in found.values()] == [True, False, False]


def without_modules(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was imported: a disabled add-on's modules stay until it is enabled or removed."""
    return {name: value for name, value in found["traces"].items() if name != "modules"}
