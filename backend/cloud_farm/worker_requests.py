"""What the worker does for each request. Each takes the request's data and returns plain data."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, CloudFarmError, JobBusyError, UsageError
from .events import CancelToken, Event, counted
from .frames import FrameRange, format_frames
from .job_notes import read_note
from .json_data import to_json
from .snapshots import (
    HOLD,
    Snapshot,
    job_id_of,
    read_snapshot,
    remove_snapshot,
    scout_frames,
    sending_lock,
    waiting_snapshots,
)
from .worker_listing import Listings
from .worker_profiles import PROFILE_ACTIONS

if TYPE_CHECKING:
    from .estimate import Estimate
    from .farm import Farm
    from .plan import RenderPlan
    from .status import JobStatus

_MOST_LOG_LINES = 2000
_MOST_FRAME_STATES = 2000
_LISTINGS = Listings()


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        data: As it came.
        on_event: Takes what is to be told on the way.
        cancel: Set when nobody wants it any more.
    """

    data: Mapping[str, Any]
    on_event: Callable[[Mapping[str, Any]], None]
    cancel: CancelToken

    def text(self, key: str) -> str:
        """Return a text of the request.

        Raises:
            UsageError: It is missing.
        """
        value = self.data.get(key)
        if not isinstance(value, str) or not value:
            raise UsageError(f"The request lacks '{key}'.")
        return value

    @property
    def farm_name(self) -> str:
        """The farm that the request names."""
        return str(self.data.get("farm") or "local")

    def farm(self) -> Farm:
        """Open that farm."""
        from .farm import open_farm

        return open_farm(self.farm_name)

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        self.on_event(event.to_json())


def carry_out(
    verb: str, data: Mapping[str, Any], *, on_event: Callable[[Mapping[str, Any]], None], cancel: CancelToken
) -> Any:
    """Carry a request out; returns its result.

    Raises:
        UsageError: There is no such request.
        CloudFarmError: It can't be done; the message says why.
    """
    action = _ACTIONS.get(verb)
    if action is None:
        raise UsageError(f"This worker can't '{verb}'. It is older than the add-on: restart Blender.")
    return action(Request(data, on_event, cancel))


# -- submit ---------------------------------------------------------------------------------------------------------------


def _submit(request: Request) -> Any:
    """Submit a snapshot; it is removed as soon as the job is on the farm, which then needs it no more."""
    folder = Path(request.text("snapshot"))
    with _sent_by_us_alone(folder):
        (folder / HOLD).unlink(missing_ok=True)  # the artist's word is given
        snapshot = read_snapshot(folder)
        snapshot.make_whole(request.cancel)
        farm = snapshot.farm
        done = farm.submit(
            snapshot.job,
            allow_scripts=_scripts(request),
            home=snapshot.home,
            job_id=str(request.data.get("job_id") or job_id_of(folder, snapshot.job)),
            on_event=request.tell,
            cancel=request.cancel,
        )
    remove_snapshot(folder)
    return {
        "job": done.job_id, "revision": done.revision, "frames": done.plan.frame_count, "landing": str(done.landing),
        "farm": farm.profile.name, "findings": to_json(done.findings),
    }  # fmt: skip


@contextmanager
def _sent_by_us_alone(folder: Path) -> Iterator[None]:
    """Keep others from taking a snapshot meanwhile.

    Raises:
        JobBusyError: Another Blender's worker has it.
    """
    lock = sending_lock(folder)
    if not folder.is_dir() or not lock.acquire():
        raise JobBusyError(f"{folder.name} is just being sent by another Blender, or was.")
    try:
        yield
    finally:
        lock.release(remove=True)


def _scripts(request: Request) -> bool:
    return bool(request.data.get("allow_scripts"))


def _drop(request: Request) -> Any:
    """Remove the snapshot of a submission that is given up."""
    remove_snapshot(Path(request.text("snapshot")))
    return {}


def _waiting(request: Request) -> Any:
    return {"waiting": waiting_snapshots(Path(request.text("folder")))}


def _preflight(request: Request) -> Any:
    """Pack and plan a snapshot and send nothing."""
    folder = Path(request.text("snapshot"))
    snapshot = read_snapshot(folder)
    with _sent_by_us_alone(folder):
        snapshot.make_whole(request.cancel)
    with snapshot.prepare(allow_scripts=_scripts(request), on_event=request.tell, cancel=request.cancel) as ready:
        return {
            "findings": to_json(ready.findings), "files": len(ready.pack.files), "bytes": ready.pack.size,
            "frames": ready.plan.frame_count, "chunks": len(ready.plan.chunks), "landing": str(ready.landing),
            "estimate": to_json(_estimate(snapshot, ready.plan)),
        }  # fmt: skip


def _estimate(snapshot: Snapshot, plan: RenderPlan) -> Estimate | None:
    """Guess from earlier jobs; None where there are none, or the farm does not answer."""
    from .estimate import estimate, find_measured

    with suppress(CloudFarmError):
        measured = find_measured(snapshot.farm.store, snapshot.job)
        return None if measured is None else estimate(plan, measured)
    return None


def _scout(request: Request) -> Any:
    """Render the first, the middle and the last frame of a snapshot, and tell from them how long all will take.

    The snapshot is held: it is sent when the artist says so, never by itself.
    """
    from .estimate import estimate, measure

    folder = Path(request.text("snapshot"))
    snapshot = read_snapshot(folder)
    snapshot.make_whole(request.cancel)
    with snapshot.prepare(allow_scripts=_scripts(request), on_event=request.tell, cancel=request.cancel) as ready:
        plan, findings = ready.plan, ready.findings
    scouting = dataclasses.replace(
        snapshot.job,
        frames=scout_frames(plan),
        chunk_size=1,
        comment="Scout frames",
        tags=(*snapshot.job.tags, "scout"),
    )
    made = snapshot.farm.submit(
        scouting, allow_scripts=_scripts(request), home=snapshot.home, on_event=request.tell, cancel=request.cancel
    )
    try:
        status = snapshot.farm.follow(made.job_id, on_event=request.tell, cancel=request.cancel)
    except Cancelled:
        snapshot.farm.cancel(made.job_id)  # who stops scouts wants none
        raise
    measured = measure(snapshot.farm.store, made.job_id)
    return {
        "job": made.job_id, "farm": snapshot.farm.profile.name, "state": status.state, "messages": list(status.messages),
        "frames": plan.frame_count, "findings": to_json(findings),
        "estimate": None if measured is None else to_json(estimate(plan, measured)),
    }  # fmt: skip


# -- look -----------------------------------------------------------------------------------------------------------------


def _check(request: Request) -> Any:
    return {"findings": to_json(request.farm().check())}


def _jobs(request: Request) -> Any:
    """List a farm's jobs; `is_ours` are those that this computer submitted: their frames land by themselves.

    `landed` of them are here, as far as is known.
    """
    from .profile import load_profile

    with _LISTINGS.farm(load_profile(request.farm_name)) as farm:
        return {
            "jobs": [
                {
                    **to_json(job),
                    "is_ours": (note := read_note(job.id)).landing is not None,
                    "landed": note.landed,
                    "page": farm.engine.page(job.id),
                }
                for job in farm.jobs()
            ]
        }


def _target(job: str) -> Path | None:
    """Return where a job's frames land; None where its submission said it. The worker's own folder is nobody's choice."""
    return None if read_note(job).landing is not None else Path.home() / "cloud-farm" / job


def _follow(request: Request) -> Any:
    """Follow a job and land its frames; each new picture of it is an event `status`."""
    status = request.farm().follow(
        request.text("job"),
        target=_target(request.text("job")),
        land=bool(request.data.get("land", True)),
        on_event=request.tell,
        on_status=lambda seen: request.on_event({"event": "status", **picture(seen)}),
        cancel=request.cancel,
    )
    return picture(status)


def picture(status: JobStatus) -> dict[str, Any]:
    """Return a status as the add-on draws it: frames as a strip and as ranges, or of a large job only as the strip."""
    from .frame_cells import frame_cells
    from .status import status_data

    found = status_data(status)
    if len(status.frame_states) > _MOST_FRAME_STATES:
        found["frame_states"] = []
    found["tasks"] = counted(len(status.tasks), "task")
    found["set_aside"] = list(_aside(status.set_aside))
    return {**found, "strip": frame_cells(status.frame_states), "is_final": status.is_final}


def _aside(paths: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each folder that took files of frames; of a large job there are too many paths to send each time."""
    for folder, number in Counter(str(Path(path).parent) for path in paths).items():
        were, names = ("was", "its name") if number == 1 else ("were", "their names")
        yield f"{counted(number, 'frame file')} {were} put into {folder}: something newer has {names}."


def _frames(request: Request) -> Any:
    """Tell the first and the last frame of each camera of a job and where all are, landing what is not on this computer."""
    landed = request.farm().landed(request.text("job"), target=_target(request.text("job")))
    cameras: dict[str, list[tuple[int, Path]]] = {}
    for (camera, frame), path in landed.items():
        cameras.setdefault(camera or "", []).append((frame, path))
    return {"cameras": [_span(name, sorted(found)) for name, found in sorted(cameras.items())]} if cameras else {}


def _span(camera: str, found: Sequence[tuple[int, Path]]) -> dict[str, Any]:
    """Describe a camera's frames: names can be learnt from two of them, and folders are few."""
    folders: dict[str, list[int]] = {}
    for frame, path in found:
        folders.setdefault(str(path.parent), []).append(frame)
    first, last = ((frame, str(path)) for frame, path in (found[0], found[-1]))
    places = {folder: format_frames(frames) for folder, frames in folders.items()}
    return {"camera": camera, "first": first, "last": last, "folders": places}


def _preview(request: Request) -> Any:
    """Make a small picture of a large frame that landed; says how long that took."""
    from .preview import make_preview

    began = time.monotonic()
    path = make_preview(Path(request.text("path")), request.text("job"))
    return {"path": str(path), "seconds": time.monotonic() - began}


def _logs(request: Request) -> Any:
    """Write a job's whole log into a file, and return its last lines: all of it can be too much for a text of Blender's."""
    from .job_logs import save_log

    job = request.text("job")
    path = Path(request.text("folder")) / f"{job}.log"
    lines, count = save_log(request.farm().logs(job), path, last=_MOST_LOG_LINES)
    return {"lines": lines, "count": count, "path": str(path)}


# -- control --------------------------------------------------------------------------------------------------------------


def _cancel(request: Request) -> Any:
    request.farm().cancel(request.text("job"))
    return {}


def _pause(request: Request) -> Any:
    request.farm().pause(request.text("job"))
    return {}


def _resume(request: Request) -> Any:
    request.farm().resume(request.text("job"))
    return {}


def _retry(request: Request) -> Any:
    frames = request.data.get("frames")
    revision = request.farm().retry(
        request.text("job"),
        frames=FrameRange.parse(str(frames)) if frames else None,
        force=bool(request.data.get("force")),
    )
    return {"revision": revision}


def _delete(request: Request) -> Any:
    request.farm().delete(request.text("job"))
    return {}


_ACTIONS: Mapping[str, Callable[[Request], Any]] = {
    "check": _check, "submit": _submit, "drop": _drop, "waiting": _waiting, "preflight": _preflight, "scout": _scout,
    "jobs": _jobs, "frames": _frames, "follow": _follow, "preview": _preview, "logs": _logs, "cancel": _cancel, "pause": _pause, "resume": _resume, "retry": _retry,
    "delete": _delete, **PROFILE_ACTIONS,
}  # fmt: skip
