"""What this computer remembers of the jobs that it submitted: where their frames land, and which flags they were given."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .platform import put_text, user_folders
from .profile import FarmProfile

_KEPT_FLAGS = ("blender", "limits.workers")
"""Flags of a submission that its retries and resumes keep."""


@dataclass(frozen=True)
class JobNote:
    """What is remembered of one job; empty if another computer submitted it, or the note was lost.

    Attributes:
        flags: Dotted profile key to value.
        landed: How many frames were finished when all that were had been brought here, and nothing more rendered.
    """

    landing: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    landed: int = 0

    def apply(self, profile: FarmProfile) -> FarmProfile:
        """Return the profile with the remembered flags, unless it was opened with others."""
        given = _flags_of(profile)
        missing = {key: self.flags[key] for key in _KEPT_FLAGS if key in self.flags and key not in given}
        return profile.with_values(missing, origin="the job's submission") if missing else profile


def write_note(job_id: str, profile: FarmProfile, landing: Path) -> None:
    """Remember a job that was sent from here."""
    note = {
        "schema": 1, "job": job_id, "farm": profile.name, "landing": str(landing), "flags": _flags_of(profile),
    }  # fmt: skip
    _write(job_id, note)


def note_landed(job_id: str, frames: int) -> None:
    """Remember that a job's frames are here; of a job that was not sent from here there is no note."""
    with contextlib.suppress(OSError, ValueError, TypeError):  # then they are looked for once more
        data = json.loads(_path(job_id).read_text(encoding="utf-8"))
        if data.get("landed") != frames:
            _write(job_id, {**data, "landed": frames})


def read_note(job_id: str) -> JobNote:
    """Recall a job."""
    try:
        data = json.loads(_path(job_id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return JobNote()
    if not isinstance(data, dict):
        return JobNote()
    landing, flags, landed = data.get("landing"), data.get("flags"), data.get("landed")
    return JobNote(
        Path(landing) if isinstance(landing, str) and landing else None,
        flags if isinstance(flags, dict) else {},
        landed if isinstance(landed, int) else 0,
    )


def forget_note(job_id: str) -> None:
    """Remember the job no more."""
    _path(job_id).unlink(missing_ok=True)


def _write(job_id: str, note: Mapping[str, Any]) -> None:
    """Replace a note at once: others read it meanwhile."""
    path = _path(job_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    put_text(path, json.dumps(note))


def _path(job_id: str) -> Path:
    return user_folders().state / "jobs" / f"{job_id}.json"


def _flags_of(profile: FarmProfile) -> dict[str, Any]:
    return {key: value for key, value, origin in profile.values() if origin == "flag" and key in _KEPT_FLAGS}
