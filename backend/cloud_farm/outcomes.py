"""What came of a submission, and of a fetch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .job import Finding
from .plan import RenderPlan


@dataclass(frozen=True)
class Submission:
    """A job that is on the farm.

    Attributes:
        landing: Folder on this computer in which its frames land.
    """

    job_id: str
    revision: int
    plan: RenderPlan
    findings: tuple[Finding, ...]
    landing: Path


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought.

    Attributes:
        frames: How many finished frames are in the folder now.
        not_landed: Why others are not.
    """

    folder: Path
    frames: int
    not_landed: tuple[str, ...] = ()
