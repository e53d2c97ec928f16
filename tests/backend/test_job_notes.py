"""What this computer remembers of a job: its landing folder and its flags; no damage of the note is one of the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from cloud_farm.job_notes import forget_note, note_landed, read_note, write_note
from cloud_farm.platform import user_folders
from cloud_farm.profile import load_profile

JOB = "shot-20261123-abc123"
FLAGS = {"blender": "/opt/blender", "limits.workers": 1, "gpu.device": "cpu"}


def test_a_retry_keeps_the_flags_of_the_submission_unless_it_has_its_own() -> None:
    write_note(JOB, load_profile("local", flags=FLAGS), Path("/frames"))
    note = read_note(JOB)
    assert note.landing == Path("/frames")
    later = note.apply(load_profile("local"))
    assert (later.blender, later.limits.workers, later.gpu.device) == ("/opt/blender", 1, "")
    assert later.origins["limits.workers"] == "the job's submission"
    other = note.apply(load_profile("local", flags={"limits.workers": 6}))
    assert (other.blender, other.limits.workers) == ("/opt/blender", 6)


def test_without_flags_the_profile_stays_what_it_is() -> None:
    write_note(JOB, load_profile("local"), Path("/frames"))
    assert read_note(JOB).apply(load_profile("local")) == load_profile("local")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"landing": 7, "flags": []}', '{"flags": {"gpu.device": "cuda"}}'])
def test_a_damaged_note_is_none(damage: str) -> None:
    write_note(JOB, load_profile("local", flags=FLAGS), Path("/frames"))
    (user_folders().state / "jobs" / f"{JOB}.json").write_text(damage)
    note = read_note(JOB)
    assert note.landing is None
    assert note.apply(load_profile("local")) == load_profile("local")


def test_a_forgotten_job_has_none() -> None:
    write_note(JOB, load_profile("local"), Path("/frames"))
    forget_note(JOB)
    forget_note(JOB)
    assert read_note(JOB).landing is None


def test_what_landed_is_remembered_of_jobs_that_were_sent_from_here() -> None:
    note_landed(JOB, 3)
    assert read_note(JOB).landed == 0
    write_note(JOB, load_profile("local", flags=FLAGS), Path("/frames"))
    note_landed(JOB, 3)
    note = read_note(JOB)
    assert (note.landed, note.landing, note.flags["blender"]) == (3, Path("/frames"), "/opt/blender")
    assert [path.name for path in (user_folders().state / "jobs").iterdir()] == [f"{JOB}.json"]
