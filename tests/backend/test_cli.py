"""The command line without Blender: help, refusals, errors, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import cloud_farm.farm
import pytest
import yaml
from cloud_farm.cli import COMMANDS, app, run
from cloud_farm.cli_common import complete_job
from cloud_farm.errors import BlenderError, EngineError
from cloud_farm.layout import JobLayout

from .fake_farm import JOB, FakeFarm

BACKEND = Path(cloud_farm.farm.__file__).parents[1]


def shell(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud_farm", *words],
        env={**os.environ, "PYTHONPATH": str(BACKEND), **more.pop("env", {})},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


# -- help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_reads_well_at_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*([command] if command else []), "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert max(len(line) for line in shown.out.splitlines()) <= 80
    if command:
        assert COMMANDS[command][1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"cloud-farm {cloud_farm.__version__}\n"


def test_help_imports_neither_the_farm_nor_rich() -> None:
    code = "import sys, cloud_farm.cli as c; c.run(['--help']); print([m for m in sys.modules if m.split('.')[0] in ('rich', 'yaml', 'requests') or m == 'cloud_farm.farm'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(BACKEND)}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_status_imports_neither_rich_nor_yaml() -> None:
    code = "import sys, cloud_farm.cli as c; c.run(['status']); print([m for m in sys.modules if m.split('.')[0] in ('rich', 'yaml', 'requests', 'blender_asset_tracer')])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(BACKEND)}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", name]) == 0
    assert "_CLOUD_FARM_COMPLETE" in capsys.readouterr().out


def test_completion_completes() -> None:
    done = shell(env={"_CLOUD_FARM_COMPLETE": "bash_complete", "COMP_WORDS": "cloud-farm re", "COMP_CWORD": "1"})
    assert {"render", "resume", "retry"} <= {line.split(",")[-1] for line in done.stdout.split()}


def test_completion_offers_jobs(farm: FakeFarm) -> None:
    offered = complete_job(click.Context(click.Command("status")), click.Argument(["job"]), "a-scene-1")
    assert [item.value for item in offered] == ["a-scene-1-20261123-abc121"]


# -- bad input: exit code 2, one message, nothing left on the volume -----------------------------------------------------

SCENE = ["render", "shot.blend"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*SCENE, "-f", "5-1"], "Did you mean 1-5"),
        ([*SCENE, "-f", "abc"], "'abc'"),
        ([*SCENE, "-f", ""], "not a frame"),
        ([*SCENE, "-f", "1-1000000"], "1,000,000 frames"),
        ([*SCENE, "--device", "gpu"], "auto, cpu, cuda"),
        ([*SCENE, "--format", "mp3"], "PNG, JPEG"),
        ([*SCENE, "--samples", "many"], "not a valid integer"),
        ([*SCENE, "--samples", "0"], "at least 1"),
        ([*SCENE, "--frame-limit", "soon"], "not a time"),
        ([*SCENE, "--workers", "0"], "--workers"),
        ([*SCENE, "--on-volume", "a.blend"], "Name one scene file"),
        ([*SCENE, "--farm", "nowhere"], "no farm 'nowhere'"),
        ([*SCENE, "--farm", "../escape"], "no farm profile at"),
        ([*SCENE, "--farm", "a b"], "not a farm's name"),
        (["render"], "Name one scene file"),
        (["render", "a.blend", "b.blend"], "unexpected extra argument"),
        (["status", "nothing-like-it"], "no job 'nothing-like-it'"),
        (["status", "../../etc"], "no job"),
        (["status"], "no jobs yet"),
        (["follow"], "no jobs yet"),
        (["cancel", "last"], "no jobs yet"),
        (["delete"], "Name a job"),
        (["delete", "--older-than", "long"], "not a time"),
        (["profile", "nowhere"], "no farm 'nowhere'"),
        (["explode"], "No such command"),
        (["jobs", "--colour"], "No such option"),
    ],
)  # fmt: skip
def test_refused_with_one_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shot.blend").write_bytes(b"BLENDER-v405")
    assert run(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not any((Path(os.environ["CLOUD_FARM_HOME"]) / "farm").rglob("*.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "can't be read"),
        ("- a\n- b", "mapping"),
        ("schema: 99", "newer"),
        ("limits: {workers: many}", "limits"),
        ("limits: {workers: 0}", "at least 1"),
        ("engine: warp", "warp"),
        ("store: cloud", "cloud"),
        ("gpu: {device: toaster}", "toaster"),
        ("volume: 7", "volume"),
        ("filebrowser: {password: hunter2}", "in the clear"),
    ],
)
def test_a_profile_that_makes_no_sense(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd farm.yaml"
    path.write_text(
        f"name: odd\nvolume: {{mount_path: {tmp_path / 'volume'}}}\n" if "volume" not in text else "name: odd\n"
    )
    with path.open("a") as stream:
        stream.write(text)
    assert run(["jobs", "--farm", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "hunter2" not in error
    assert not (tmp_path / "volume").exists()


def write_job(text: str) -> None:
    path = Path(os.environ["CLOUD_FARM_HOME"]) / "farm" / JobLayout(JOB).job_json
    path.parent.mkdir(parents=True)
    path.write_text(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"schema": "1"}', '{"schema": 1, "id": 7}'])
def test_a_job_that_was_edited_into_nonsense(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_job(text)
    for words in (["status"], ["follow"], ["cancel", "last"], ["fetch"], ["retry"], ["logs"]):
        assert run(words) == 2, words
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert "job.json" in error
    assert run(["jobs"]) == 0
    assert "unreadable" in capsys.readouterr().out


# -- errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"), [(EngineError("The cluster does not answer."), 3), (BlenderError("No."), 2)]
)  # fmt: skip
def test_errors_are_one_message_and_their_code(
    farm: FakeFarm, error: Exception, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_job: str) -> None:
        raise error

    monkeypatch.setattr(farm, "status", fail)
    assert run(["status"]) == code
    assert capsys.readouterr().err == f"Error: {error}\n"


def test_debug_shows_where_it_came_from(farm: FakeFarm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_job: str) -> None:
        raise EngineError("no")

    monkeypatch.setattr(farm, "status", fail)
    for words in (["--debug", "status"], ["status", "--debug"]):
        with pytest.raises(EngineError):
            run(words)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_an_error_on_a_terminal_is_broken_between_words() -> None:
    near, far = os.openpty()
    command = [sys.executable, "-m", "cloud_farm", "render", "an absent scene with a long name.blend"]
    subprocess.run(command, stderr=far, env={**os.environ, "COLUMNS": "40", "NO_COLOR": "1"}, cwd="/", timeout=60)
    os.close(far)
    with open(near, "rb", closefd=True) as stream:
        lines = stream.read1(4096).decode().splitlines()
    assert lines == ["Error: There is no file /an absent", "       scene with a long name.blend."]


def test_a_closed_pipe_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cloud_farm", "render", "--help"],
        env={**os.environ, "PYTHONPATH": str(BACKEND)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert b"Traceback" not in error


def test_a_terminal_without_utf8_shows_any_name() -> None:
    done = shell("status", "björk\u2026カメラ", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "has no job" in done.stderr


def test_every_command_has_an_entry_with_the_words_of_its_help() -> None:
    for name in COMMANDS:
        command = app.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help


def test_what_an_admin_installs_is_printed_for_kubectl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "studio.yaml"
    image = f"registry.example.com/blender@sha256:{'a' * 64}"
    text = {
        "name": "studio", "engine": "argo", "store": "folder", "volume": {"claim": "farm", "mount_path": "/mnt/farm"},
        "gpu": {"device": "optix"}, "images": {v: {"image": image, "version": f"{v}.3"} for v in ("4.2", "4.5")},
        "kubernetes": {"workflow_template": "cloud-farm"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(text))
    assert run(["template", "--farm", str(path)]) == 0
    made = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [item["metadata"]["name"] for item in made] == ["cloud-farm-4-2", "cloud-farm-4-5"]
    assert {item["kind"] for item in made} == {"WorkflowTemplate"}
    assert run(["template"]) == 2
    assert "has no kubernetes.workflow_template" in capsys.readouterr().err
