"""Blenders without a window, as they are in a terminal: their own command line, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import PICTURES, prepared
from .window import SUITES, Window


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Debian's name for where a Blender comes from."""
    return str(request.param)


@pytest.fixture(scope="module")
def blender(suite: str, extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A Blender with the extension installed and a saved scene beside it."""
    with prepared(suite, extension, tmp_path_factory.mktemp("work"), PICTURES / SUITES[suite]) as made:
        yield made


def test_blenders_own_command_line_sends_a_scene(blender: Window) -> None:
    words = ("--command", "cloud_farm", "submit", "--frames", "1-4", "--percentage", "5", "--wait")
    said = blender.run("blender", "shot.blend", "--online-mode", *words)
    assert "is done" in said
    assert "--frames" in blender.run("blender", "--command", "cloud_farm", "submit", "--help")


@pytest.mark.parametrize(
    "words",
    [
        ("-b", "shot.blend", "--python", "profile/extensions/user_default/cloud_farm/submit.py", "--"),
        ("shot.blend", "--command", "cloud_farm", "submit"),
    ],
    ids=["script", "command"],
)
def test_ctrl_c_ends_it_with_130_and_the_job_goes_on(blender: Window, words: tuple[str, ...]) -> None:
    process = blender.start("blender", *words, "--frames", "1-4", "--percentage", "5", "--wait", "--json")
    with process:
        assert process.stdout is not None
        next(line for line in process.stdout if '"submitted"' in line)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "goes on" in said) == (130, True), said


def test_it_is_disabled_and_removed_and_nothing_is_left(blender: Window) -> None:
    """The last test here: what comes before it needs the extension."""
    extensions = blender.work / "profile" / "extensions"
    assert (extensions / "user_default" / "cloud_farm").is_dir()
    off = "import addon_utils; addon_utils.disable('bl_ext.user_default.cloud_farm', default_set=True); print('it is off')"
    said = blender.run("blender", "-b", "--python-exit-code", "1", "--python-expr", off)
    assert "it is off" in said and "Traceback" not in said and "Error" not in said, said
    said = blender.run("blender", "--command", "extension", "remove", "cloud_farm")
    assert "Traceback" not in said and "Error" not in said, said
    assert [path for path in extensions.rglob("*cloud_farm*") if path.exists()] == []
