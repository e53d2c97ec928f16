"""The commands about a job that is there, without Blender: what they print, their exit codes, what reaches the job."""

from __future__ import annotations

import datetime
import json
import os
import signal
from typing import Any

import pytest
from cloud_farm.cli import run
from cloud_farm.events import CancelToken

from .fake_farm import JOB, FakeFarm, make_status

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
