"""Farms in the preferences: made, changed, tried out, handed on, removed; a password is in none of Blender's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of it."""
    folder = tmp_path_factory.mktemp("administrator")
    return run_in_blender("administrator.py", extension, folder, expected=("Error: 'nonsense' is not written as ",))


def test_a_farm_is_made_as_the_dialog_says(seen: dict[str, Any]) -> None:
    assert seen["made"] == ["http://127.0.0.1:9", "render", {"4.5": "blender:4.5", "5.0": "blender:5.0"}, 20, "optix"]


def test_only_what_was_changed_is_written(seen: dict[str, Any]) -> None:
    assert seen["edit"] == ["FINISHED"]
    assert seen["changed"] == {"limits.parallelism": [20, 5]}
    assert set(yaml.safe_load(seen["written"])) == {
        "schema", "preset", "filebrowser", "kubernetes", "images", "limits",
    }, "nothing of the preset was copied"  # fmt: skip


def test_the_password_lies_in_one_file_of_its_own(seen: dict[str, Any]) -> None:
    assert seen["secret lies in"] == ["studio.filebrowser.password"]
    assert seen["password is kept in"]["file"].endswith(f"secrets{os.sep}studio.filebrowser.password")
    assert seen["mode"] == ["0o600"]
    assert sorted(seen["saved"]) == ["scene.blend", "userpref.blend"], "they were there to be searched"


def test_lights_say_which_part_of_a_farm_is_away(seen: dict[str, Any]) -> None:
    assert seen["lights"] == [["volume", "red"], ["kubernetes", "red"], ["argo", "red"]]


def test_a_farm_is_handed_on_and_removed(seen: dict[str, Any]) -> None:
    assert seen["chosen after its removal"] == "local"
    assert "nothing.yaml" in seen["problem"]


def test_a_studios_farm_is_not_left_and_its_refusal_is_told_there(seen: dict[str, Any]) -> None:
    chosen, said = seen["the studio's"]
    assert chosen == "house" and "Farm 'house' is not yours to remove" in said
    assert seen["both"] == ["both", ""], "the studio's is still there"


def test_who_takes_a_farm_in_has_its_authority_and_is_told_which_secret_is_missing(seen: dict[str, Any]) -> None:
    assert seen["taken in"] == {"filebrowser.ca": "-----BEGIN CERTIFICATE-----"}
    assert seen["still to give"] == {"filebrowser.password": "the password of 'ada' for http://127.0.0.1:9"}
    assert seen["to give after Edit"] == {}


def test_the_password_can_be_given_with_the_file(seen: dict[str, Any]) -> None:
    assert seen["to give after Import with the password"] == {}
    assert seen["kept"] == ["studio.filebrowser.password"], "and nothing that the profile does not ask for"


def test_the_workers_log_is_shown_in_one_text(seen: dict[str, Any]) -> None:
    assert list(seen["logs"]) == ["Cloud Farm.log"] and "INFO" in seen["logs"]["Cloud Farm.log"]


def test_what_is_not_written_as_it_should_be_is_refused(seen: dict[str, Any]) -> None:
    assert "'nonsense' is not written as 4.5=registry/blender:4.5" in seen["nonsense"]
