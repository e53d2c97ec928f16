"""The command line without Blender: exit codes, messages, help, what goes to which stream, start-up."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import cloud_farm.farm
import pytest
from cloud_farm.cli import COMMANDS, app, run
from cloud_farm.cli_common import complete_job
from cloud_farm.errors import BlenderError, EngineError
from cloud_farm.events import CancelToken
from cloud_farm.layout import JobLayout

from .fake_farm import JOB, FakeFarm, make_status

BACKEND = Path(cloud_farm.farm.__file__).parents[1]


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> FakeFarm:
    fake = FakeFarm()
    monkeypatch.setattr("cloud_farm.farm.open_farm", lambda *_args, **_kwargs: fake)
    return fake


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


# -- following ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code"), [("done", 0), ("paused", 0), ("failed", 1), ("cancelled", 1)]
)  # fmt: skip
def test_the_exit_code_is_how_the_job_ended(farm: FakeFarm, state: str, code: int) -> None:
    farm.last = make_status(3, done=2, state=state)
    assert run(["follow"]) == code


@pytest.mark.parametrize("command", ["follow", "fetch"])
def test_a_frame_that_did_not_come_is_no_success(
    farm: FakeFarm, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    farm.last = make_status(3, done=3, state="done", not_landed=("shot_0002.png is not what its record says.",))
    assert run([command]) == 1
    shown = capsys.readouterr()
    assert "shot_0002.png is not what its record says." in shown.out + shown.err
    assert "2 frames in /shots" in shown.out


def test_plain_lines_are_sentences_without_escapes(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["follow", "shot"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Frame 2 in 1.2 s on CPU: /shots/f_0002.png" in out
    assert out.splitlines()[-1].startswith("Done: 3 frames")


def test_json_is_one_object_a_line_and_nothing_else(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["follow", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["state", *["frame_done"] * 3, "progress", "result"]
    assert events[-1]["state"] == "done"


@pytest.mark.parametrize("words", [["jobs", "--json"], ["status", "--json"]])
def test_json_of_what_is_there(farm: FakeFarm, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert all(json.loads(line)["id"] for line in capsys.readouterr().out.splitlines())


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_come_back(
    farm: FakeFarm, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(token: CancelToken) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        token.wait(5)

    farm.on_follow = interrupt
    before = signal.getsignal(signal.SIGINT)
    assert run(["follow"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    error = capsys.readouterr().err
    assert f"cloud-farm follow {JOB}" in error
    assert f"cloud-farm cancel {JOB}" in error
    assert ("cancel", JOB) not in farm.calls


def test_jobs_are_aligned_and_whole_ids_can_be_copied(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert {row.index("a-scene") for row in rows} == {head.index("JOB")}
    assert all(len(row) <= 80 and "20261123" in row for row in rows)
    assert "20/24 (4 failed)" in rows[2]


def test_status_fits_80_columns(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.last = make_status(250, done=99, running=3)
    assert run(["status"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_jobs_are_found_by_their_tags(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for words in (["--tag", "film"], ["--tag", "film", "--tag", "shot1"], ["--tag", "nothing"]):
        assert run(["jobs", "--json", *words]) == 0
        found.append([json.loads(line)["id"][:9] for line in capsys.readouterr().out.splitlines()])
    assert found == [["a-scene-0", "a-scene-1", "a-scene-2"], ["a-scene-1"], []]
    assert run(["jobs", "--tag", "nothing"]) == 0
    assert capsys.readouterr().out == "No jobs with these tags.\n"


def test_status_shows_what_people_noted(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.last = make_status(3, comment="for the \x1b[2J client", tags=("film", "draft"))
    assert run(["status"]) == 0
    out = capsys.readouterr().out
    assert " note   for the \ufffd[2J client" in out
    assert " tags   film, draft" in out


@pytest.mark.parametrize(("keep", "last"), [([], "a line"), (["--follow"], "the last line")])
def test_logs(farm: FakeFarm, keep: list[str], last: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "shot", "r1c00002", *keep]) == 0
    out = capsys.readouterr().out.splitlines()
    assert (out[0], out[-1]) == ("== r1c00002", last)


def test_ctrl_c_ends_a_followed_log(farm: FakeFarm) -> None:
    farm.on_follow = lambda token: token.cancel()
    assert run(["logs", "--follow"]) == 130


# -- controlling ----------------------------------------------------------------------------------------------------------


def test_controls_reach_the_job(farm: FakeFarm) -> None:
    for words in (["cancel", "shot"], ["pause"], ["resume"], ["delete", "shot-2026", "--yes"]):
        assert run(words) == 0
    assert [call for call in farm.calls if call[0] != "follow"] == [
        ("cancel", JOB), ("pause", JOB), ("resume", JOB), ("delete", JOB),
    ]  # fmt: skip


def test_delete_only_shows_until_it_is_told_yes(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["delete", "last"]) == 0
    assert farm.calls == []
    assert "--yes" in capsys.readouterr().out


def test_old_jobs_are_shown_and_deleted_only_when_told(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["delete", "--older-than", "30d"]) == 0
    assert farm.calls == [("older_than", datetime.timedelta(days=30))]
    assert capsys.readouterr().out.count("Would move") == 2
    assert run(["delete", "--older-than", "12h", "--yes"]) == 0
    assert [job for call, job in farm.calls if call == "delete"] == [job.id for job in farm.jobs()[:2]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cancel"], {"event": "cancelled", "job": JOB}),
        (["pause"], {"event": "paused", "job": JOB}),
        (["resume"], {"event": "resumed", "job": JOB}),
        (["retry", "--detach"], {"event": "retried", "job": JOB, "revision": 2}),
        (["delete", "last"], {"event": "deleted", "job": JOB, "dry_run": True}),
        (["delete", "last", "--yes"], {"event": "deleted", "job": JOB, "dry_run": False}),
    ],
)
def test_programs_are_told_what_was_done(
    farm: FakeFarm, words: list[str], told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == told


def test_a_profile_shows_every_value_and_where_it_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_FARM_LIMITS_WORKERS", "3")
    assert run(["profile", "local"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["limits.workers"] == ["3", "environment"]
    assert rows["engine"] == ["local", "preset"]
    assert run(["profile", "local", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["limits.workers"] == {"value": 3, "origin": "environment"}
    for words, out in ((["profile"], "local\n"), (["profile", "--json"], '{"farm": "local"}\n')):
        assert run(words) == 0
        assert capsys.readouterr().out == out


def test_retry_takes_frames_and_values(farm: FakeFarm) -> None:
    assert run(["retry", "--frames", "-3-1", "--samples", "512", "--force", "--detach"]) == 0
    ((_, more),) = farm.calls
    assert list(more["frames"]) == [-3, -2, -1, 0, 1]
    assert more["overrides"] == {"samples": 512}
    assert more["force"] is True


def test_chosen_frames_need_force(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retry", "--frames", "3"]) == 2
    assert "--force" in capsys.readouterr().err


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
