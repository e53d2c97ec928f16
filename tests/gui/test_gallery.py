"""States that are hard to reach, drawn by a real window: nothing goes wrong in drawing them, and there is a picture of each to look at."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .conftest import PICTURES, prepared
from .window import SUITES, Window

_JOB = {
    "id": "shot-20261129-abc123", "title": "castle_030", "farm": "studio", "state": "rendering", "owner": "ada",
    "created": "2026-11-29T10:00:00Z", "is_ours": True, "frames_done": 131, "frames_failed": 2, "frames_total": 250, "message": "",
    "page": "https://argo.example.com/workflows/render",
}  # fmt: skip
_OTHERS = [
    {**_JOB, "id": "b", "title": "castle_020", "state": "done", "frames_done": 96, "frames_failed": 0, "frames_total": 96, "owner": "grace"},
    {**_JOB, "id": "c", "title": "castle_010 with a long name", "state": "paused", "frames_done": 12, "frames_failed": 0, "owner": "ada"},
    {**_JOB, "id": "d", "title": "titles", "state": "queued", "frames_done": 0, "frames_failed": 0, "frames_total": 48, "owner": "mary"},
]  # fmt: skip
_PICTURE = {
    "eta_seconds": 1440.0,
    "landing": "/artist",
    "messages": [
        "Frames 37-38: The GPU ran out of memory. Use fewer samples at a time, smaller textures, or machines with more memory."
    ],
    "frame_states": [{"camera": None, "failed": "37-38", "rendering": "134-141"}],
}


def strip(total: int, done: int, rendering: int, failed: tuple[int, ...]) -> list[dict[str, Any]]:
    """The cells of a job whose first frames are done and whose next ones render."""
    states = [3 if n in failed else 0 if n <= done else 1 if n <= done + rendering else 2 for n in range(1, total + 1)]
    size = -(-total // 120)
    groups = [range(start, min(start + size, total)) for start in range(0, total, size)]
    rows = [
        [group[0] + 1, group[-1] + 1, *(sum(states[n] == kind for n in group) for kind in range(4))] for group in groups
    ]
    return [{"camera": None, "cells": rows}]


_FEW = {**_JOB, "frames_total": 24, "frames_done": 9, "frames_failed": 1}
_FINDINGS = [
    {"code": "file_missing", "severity": "error", "message": "Image 'wood' needs //textures/wood.png, which is not there.",
     "datablock": "Image 'wood'", "path": "", "fix": "Find it."},
    {"code": "simulation_not_baked", "severity": "warning", "message": "The smoke of object 'Chimney' is not baked.",
     "datablock": "Object 'Chimney'", "path": "", "fix": ""},
]  # fmt: skip
_RESULT = {
    "findings": _FINDINGS, "files": 61, "bytes": 1_400_000_000, "frames": 250, "chunks": 50, "landing": "/shots/castle/out",
    "estimate": {"seconds": 5000.0, "machine_seconds": 90000.0, "cost": 15.25, "measured": {
        "job": "castle_020-20261129-abc123", "frame_seconds": 360.0, "frames": 96, "loading_seconds": 20.0}},
}  # fmt: skip
_PROFILE = {
    "farm": "studio", "is_local": False, "secrets": "/home/ada/.config/cloud-farm/secrets",
    "to_give": {"filebrowser.password": "the password of 'ada'"},
    "values": {key: {"value": value, "origin": "user file"} for key, value in {
        "filebrowser.url": "https://files.example.com", "filebrowser.user": "ada", "kubernetes.namespace": "render",
        "kubernetes.context": "studio-cluster", "gpu.models": ["Quadro_RTX_4000", "A40"],
        "images": {"4.5": {"image": "registry.example.com/blender:4.5"}}}.items()},
}  # fmt: skip
_LIGHTS = [
    {"name": "volume", "level": "green", "message": "FileBrowser 2.63.23, 12 ms, 1.2 TB free.", "fix": ""},
    {"name": "kubernetes", "level": "yellow", "message": "1.34.10 at https://10.0.0.1:6443, namespace render, 812 ms.", "fix": ""},
    {"name": "argo", "level": "red", "message": "You may not create workflows in namespace render.",
     "fix": "Ask the cluster's admin for a Role with {apiGroups: [argoproj.io], resources: [workflows], verbs: [create]}."},
]  # fmt: skip
_FARM = {"farm": "studio", "profiles": {"studio": _PROFILE}, "lights": {"studio": _LIGHTS}}
_TYPED = {"farm": "my farm", "url": "https://files.example.com", "images": "4.5"}
STATES: Mapping[str, Mapping[str, Any]] = {
    "output": {
        "output": True, "jobs": [_JOB, *_OTHERS], "pictures": {_JOB["id"]: {**_PICTURE, "strip": strip(250, 133, 8, (37, 38))}}, **_FARM,
    },
    "job-of-250": {
        "jobs": [_JOB, *_OTHERS], "pictures": {_JOB["id"]: {**_PICTURE, "strip": strip(250, 133, 8, (37, 38))}}, **_FARM,
    },
    "job-of-24": {
        "jobs": [_FEW, *_OTHERS], **_FARM,
        "pictures": {_JOB["id"]: {**_PICTURE, "messages": [], "frame_states": [], "strip": strip(24, 10, 3, (4,))}},
    },
    "checked": {"jobs": _OTHERS, "sending": {"verb": "preflight", "result": _RESULT, "findings": _FINDINGS}, **_FARM},
    "sending": {
        "jobs": _OTHERS, "sending": {"request": 3, "step": "Sending", "fraction": 0.4}, "behind": ["castle_040", "castle_050"], **_FARM,
    },
    "dialog": {"dialog": "edit_farm", **_FARM},
    "preferences": {"preferences": True, **_FARM},
}  # fmt: skip


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def blender(suite: str, extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A window that shows what it is told to."""
    work, pictures = tmp_path_factory.mktemp("work"), PICTURES / SUITES[suite]
    shutil.copy(Path(__file__).with_name("gallery.py"), work)
    with prepared(suite, extension, work, pictures) as made, made.open("shot.blend", "--python", "gallery.py"):
        yield made


def test_what_was_typed_into_a_dialog_is_there_again_when_it_is_refused(blender: Window) -> None:
    typed = list(_TYPED.values())
    show(blender, "refused", {"dialog": "add_farm", "typed": _TYPED, **_FARM})
    blender.picture("gallery-refused")
    blender.press("Return")
    blender.wait_for(lambda now: now["invoked"] == [typed, typed], "the dialog is back")
    blender.press("Escape")


@pytest.mark.parametrize("name", STATES)
def test_it_is_drawn_without_an_error(blender: Window, name: str) -> None:
    show(blender, name, STATES[name])
    blender.picture(f"gallery-{name}")
    printed = (blender.work / "blender.log").read_text(errors="replace")
    assert "Traceback" not in printed and "cloud_farm" not in printed, printed[-3000:]


def show(blender: Window, name: str, state: Mapping[str, Any]) -> None:
    """Have a state shown, and wait until it is."""
    part = blender.work / "show.part"
    part.write_text(json.dumps({"name": name, **state}))
    os.replace(part, blender.work / "show.json")
    blender.wait_for(lambda now: now.get("shows") == name, f"{name} is shown")
    blender.wait_for(lambda now: now["looks"] >= 3, "it was drawn")
