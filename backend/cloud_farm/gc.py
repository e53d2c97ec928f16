"""What a clean-up of the volume takes (design §4): a pure function from what lies there to what goes. `collector.py` does it.

An asset stays as long as a job in any state names it, and for a day after it came. Nothing is deleted that did not lie in
the trash before.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from .errors import SchemaError
from .job import SCHEMA
from .json_data import load_json, require_schema
from .layout import JOBS, PART, asset, is_job_id

DAY_SECONDS = 86400.0
TRASH_DAYS = 7
PROBE = "check-"
"""How entries of the trash begin in which `store check` tries what it may do."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_QUOTED_SHA256 = re.compile(rb'"([0-9a-f]{64})"')
_TRASHED = re.compile(r"\.?([0-9a-f]{64})\.[0-9a-f]{8}(?:\.[0-9a-f]{8,16}\.part)?")
"""An asset as `Store.trash` names it; also in the middle of a move that brings it back and was killed."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Claim:
    """What one job needs of the assets.

    Attributes:
        assets: The sha256 of each.
        problem: Why that can't be known, with what to do; empty if it is.
        is_final: A job.json is written once; before it is there, it has to be looked for again.
    """

    job_id: str
    assets: frozenset[str] = frozenset()
    problem: str = ""
    is_final: bool = True


@dataclass(frozen=True)
class Item:
    """One thing on the volume.

    Attributes:
        size: Bytes, of a folder with all that is in it.
        mtime: When it was changed last, seconds since 1970 by the volume's clock.
    """

    path: PurePosixPath
    size: int
    mtime: float


@dataclass(frozen=True)
class TrashEntry:
    """One entry of the trash, mostly a day.

    Attributes:
        assets: sha256 to path of the assets that lie in it.
        files: How many files it has.
    """

    item: Item
    files: int = 0
    assets: Mapping[str, PurePosixPath] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, `2026-11-23`."""
        return self.item.path.name


@dataclass(frozen=True)
class Survey:
    """What lies on a volume.

    Attributes:
        now: Seconds since 1970 by the volume's clock.
        assets: All files of the assets' folders, unfinished uploads among them.
        leftovers: Unfinished things elsewhere that nobody can be at: of jobs that are over.
    """

    now: float
    claims: tuple[Claim, ...] = ()
    assets: tuple[Item, ...] = ()
    leftovers: tuple[Item, ...] = ()
    trash: tuple[TrashEntry, ...] = ()


@dataclass(frozen=True)
class GcPlan:
    """What goes, and what does not and why.

    Attributes:
        restore: sha256 to path in the trash of assets that a job needs: a clean-up that was killed left them there.
        assets: Go to the trash: no job needs them.
        unfinished: Go to the trash: uploads and scene trees that nobody will finish.
        emptied: Deleted for good, out of the trash.
        young: How many assets only stay because they came less than a day ago.
        foreign: What lies among the assets or in the trash and is not ours.
        problems: Why no asset is taken, in sentences.
    """

    restore: Mapping[str, PurePosixPath]
    assets: tuple[Item, ...]
    unfinished: tuple[Item, ...]
    emptied: tuple[TrashEntry, ...]
    young: int = 0
    foreign: tuple[PurePosixPath, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.restore or self.assets or self.unfinished or self.emptied)


def plan_gc(
    survey: Survey,
    *,
    trash_days: int = TRASH_DAYS,
    asset_grace: float = DAY_SECONDS,
    upload_grace: float = DAY_SECONDS,
) -> GcPlan:
    """Plan a clean-up.

    Args:
        trash_days: How many days things stay in the trash.
        asset_grace: Seconds that an asset stays after it came although no job needs it.
        upload_grace: Seconds after the last change of something unfinished until surely nobody is at it any more.
    """
    needed = frozenset[str]().union(*(claim.assets for claim in survey.claims))
    problems = tuple(claim.problem for claim in survey.claims if claim.problem)
    unfinished, assets, foreign = _sorted_out(survey.assets)
    old = [item for item in assets if survey.now - item.mtime >= asset_grace]
    stale = [item for item in (*unfinished, *survey.leftovers) if survey.now - item.mtime >= upload_grace]
    if problems:
        # A job that nobody understands may need any of them, an upload of it may go on, and the trash may hold what it needs.
        old, stale = [], [item for item in survey.leftovers if item in stale]
    due = [entry for entry in survey.trash if _is_due(entry, survey.now, trash_days)]
    return GcPlan(
        restore=_to_restore(needed - {item.path.name for item in assets}, survey.trash),
        assets=tuple(item for item in old if item.path.name not in needed),
        unfinished=tuple(stale),
        emptied=tuple(entry for entry in due if not (problems and entry.assets)),
        young=sum(1 for item in assets if item.path.name not in needed and survey.now - item.mtime < asset_grace),
        foreign=(*foreign, *(entry.item.path for entry in survey.trash if not _is_ours(entry.name))),
        problems=problems,
    )


def claim_of(job_id: str, raw: bytes | None, *, age: float) -> Claim:
    """Read what a job needs out of its job.json.

    Args:
        raw: None if there is no job.json.
        age: Seconds since something was last put into the job's folder.
    """
    if raw is None:
        if age < DAY_SECONDS:
            return Claim(job_id, is_final=False)  # it is just being sent: who sends it looks for its assets afterwards
        return Claim(job_id, problem=f"{job_id} has no job.json. {_away(job_id)}", is_final=False)
    try:
        data = load_json(raw, where=f"The job.json of {job_id}")
        require_schema(data, SCHEMA, where=f"The job.json of {job_id}")
    except SchemaError as error:
        return Claim(job_id, problem=f"{error} {_away(job_id)}")
    if not _names_files(data.get("pack")):
        return Claim(job_id, problem=f"The job.json of {job_id} does not say which files it needs. {_away(job_id)}")
    # Wherever a hash stands it counts: what a later version stores beside the known fields is honoured, too.
    return Claim(job_id, frozenset(found.decode() for found in _QUOTED_SHA256.findall(raw)))


def trashed_asset(name: str) -> str:
    """Return the sha256 of the asset that a file in the trash is; empty if it is something else."""
    found = _TRASHED.fullmatch(name)
    return found[1] if found else ""


def _names_files(pack: object) -> bool:
    """Tell whether the pack of a job.json lists files by hash, as every version of ours writes it."""
    files = pack.get("files") if isinstance(pack, dict) else None
    return isinstance(files, list) and all(
        isinstance(entry, dict) and _SHA256.fullmatch(str(entry.get("sha256"))) for entry in files
    )


def _away(job_id: str) -> str:
    if is_job_id(job_id):
        return f"If nobody needs it: cloud-farm delete {job_id} --yes"
    return f"If it is no job, move it out of {JOBS}."


def _sorted_out(items: Iterable[Item]) -> tuple[list[Item], list[Item], list[PurePosixPath]]:
    """Tell apart unfinished uploads, assets, and what is not ours."""
    unfinished, assets, foreign = [], [], []
    for item in items:
        if _SHA256.fullmatch(item.path.name) and item.path == asset(item.path.name):
            assets.append(item)
        elif item.path.name.endswith(PART):
            unfinished.append(item)
        else:
            foreign.append(item.path)
    return unfinished, assets, foreign


def _to_restore(missing: frozenset[str], trash: Iterable[TrashEntry]) -> dict[str, PurePosixPath]:
    return {sha256: path for entry in trash for sha256, path in entry.assets.items() if sha256 in missing}


def _is_due(entry: TrashEntry, now: float, trash_days: int) -> bool:
    if entry.name.startswith(PROBE):
        return now - entry.item.mtime >= DAY_SECONDS
    day = _day(entry.name)
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    return day is not None and (today - day).days > trash_days


def _is_ours(name: str) -> bool:
    return name.startswith(PROBE) or _day(name) is not None


def _day(name: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        return None
