"""What the add-on knows while Blender runs: what is being sent, which jobs there are. It hears of it from the worker.

Nothing here waits. Who draws reads; who acts calls a method; the rest comes by `tick`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from . import image_viewer, text_viewer
from .drawing import windows
from .farms import Farms
from .outbox import Outbox
from .previews import Previews
from .wording import reword

if TYPE_CHECKING:
    from .worker_client import WorkerClient

_PACKAGE = __package__ or ""
_BUSY_SECONDS, _IDLE_SECONDS = 0.1, 1.0
_REFRESH_SECONDS = 30.0
_FOLLOW_AGAIN_SECONDS = 15.0
_MAY_PASS = ("LandingError", "StoreUnreachableError", "EngineUnreachableError")
"""Errors after which a job is followed again by itself: a disk that is full, a farm that is away."""
_FINISHED_STATES = ("done", "failed", "cancelled", "paused")
_MOST_FETCHED = 4  # jobs at a time that ended while Blender was closed
_ACTIVE_STATES = ("queued", "rendering", "cancelling")
_SHOWN_IN = {"PROPERTIES", "IMAGE_EDITOR", "PREFERENCES"}  # Blender keeps the status bar to itself, and draws it often


class Session:
    """One Blender's view of the farms.

    Attributes:
        farms: What is known of farms.
        outbox: What is on its way to a farm.
        previews: Small pictures of large frames.
        jobs: What the worker said of each job, newest first.
        pictures: The newest whole picture of each followed job, by id.
        problem: What went wrong with a job, until it is dismissed, something else is done, or it has passed.
        listing_problem: Why the jobs can't be listed.
    """

    def __init__(self) -> None:
        self.farms = Farms(lambda: self.client)
        self.previews = Previews(lambda: self.client, on_made=self._show_preview)
        self.outbox = Outbox(
            lambda: self.client, on_submitted=self._take_submitted, on_taken=self.refresh, may_reach=may_reach
        )
        self.jobs: list[dict[str, Any]] = []
        self.pictures: dict[str, Mapping[str, Any]] = {}
        self.problem = ""
        self.listing_problem = ""
        self._client: WorkerClient | None = None
        self._followed: dict[str, tuple[int, str]] = {}
        self._let_gone: set[str] = set()
        self._fetched: set[tuple[str, int]] = set()
        self._broken_off: dict[str, tuple[float, str, str]] = {}
        self._changed = False
        self._is_watched = False
        self._watched_farm = "local"
        self._asked_at = -_REFRESH_SECONDS
        self._has_looked_back = False
        self._newly_sent = ""
        self._is_listing = False

    # -- what others call ---------------------------------------------------------------------------------------------

    @property
    def client(self) -> WorkerClient:
        """The worker; it starts with the first request."""
        if self._client is None:
            from .worker_client import WorkerClient  # with what starts processes: enabling the add-on starts none

            self._client = WorkerClient(self.folder("logs") / "worker.log", reword=reword)
            self._client.ask("hello", self.farms.take_hello)
        return self._client

    @staticmethod
    def folder(name: str) -> Path:
        """Return a folder of ours that outlives Blender and its updates."""
        return Path(bpy.utils.extension_path_user(_PACKAGE, path=name, create=True))

    def watch(self, farm: str) -> None:
        """Somebody looks at the list of jobs: keep it fresh. Called while drawing, so it only takes a note."""
        self._is_watched = True
        if farm != self._watched_farm:
            self._look_at(farm)
            self._asked_at, self._is_listing = -_REFRESH_SECONDS, False

    @property
    def watched_farm(self) -> str:
        """The farm whose jobs are listed."""
        return self._watched_farm

    def follow(self, job: str, farm: str) -> None:
        """Bring a job's frames here as they finish."""
        if job not in self._followed:
            take = lambda line: self._take_following(job, farm, line)  # noqa: E731
            self._followed[job] = self.client.ask("follow", take, farm=farm, job=job), farm

    def control(self, verb: str, job: str, farm: str) -> None:
        """Pause, resume, cancel, retry or delete a job."""
        self.problem = ""
        self.client.ask(verb, lambda line: self._take_control(job, farm, line), farm=farm, job=job)

    def render_again(self, job: str, farm: str, frames: str) -> None:
        """Render chosen frames of a job once more, as a new revision."""
        self.problem = ""
        answer = lambda line: self._take_control(job, farm, line)  # noqa: E731
        self.client.ask("retry", answer, farm=farm, job=job, frames=frames, force=True)

    def ask_for_frames(self, job: str, farm: str, **wanted: Any) -> None:
        """Show a job's frames that came before this Blender was started.

        Args:
            wanted: Which of them, as `image_viewer.show` takes it.
        """
        self.problem = ""
        self.client.ask("frames", lambda line: self._take_frames(job, line, wanted), farm=farm, job=job)

    def ask_for_logs(self, job: str, farm: str) -> None:
        """Bring what a job's Blenders said into a text of the open file."""
        self.problem, folder = "", str(self.folder("logs"))
        self.client.ask("logs", lambda line: self._take_logs(job, line), farm=farm, job=job, folder=folder)

    def refresh(self, farm: str) -> None:
        """List the jobs of a farm anew."""
        self._look_at(farm)
        self._asked_at, self._is_listing = time.monotonic(), True
        self.client.ask("jobs", lambda line: self._take_jobs(farm, line), farm=farm)

    def _look_at(self, farm: str) -> None:
        """List the jobs of this farm from now on, and no more those of another."""
        if farm != self._watched_farm:
            self._watched_farm, self.jobs, self.listing_problem, self._changed = farm, [], "", True

    def job(self, job_id: str) -> dict[str, Any] | None:
        """Return what is known of a job in the list."""
        return next((job for job in self.jobs if job["id"] == job_id), None)

    def show_again(self) -> None:
        """Fill Blender's own list anew, which it empties with each file."""
        self._changed = True

    def end(self) -> None:
        """End the worker and forget everything."""
        if self._client is not None:
            self._client.close()
        image_viewer.forget()
        self.__init__()  # type: ignore[misc]

    # -- what the worker says -------------------------------------------------------------------------------------------

    def tick(self) -> float:
        """Listen to the worker; returns seconds until the next time. An exception would end the timer for good."""
        try:
            return self._listen()
        except Exception:  # noqa: BLE001 - see above; it is printed where such things are looked for
            traceback.print_exc()
            return _IDLE_SECONDS

    def _listen(self) -> float:
        if not self._has_looked_back:
            self._has_looked_back = True
            self.outbox.look_back(self.folder("snapshots"))
        is_due = time.monotonic() - self._asked_at > _REFRESH_SECONDS
        if self._is_watched and is_due and not self._is_listing and may_reach(self._watched_farm):
            self.refresh(self._watched_farm)
        self._is_watched = False
        self._follow_again()
        self.farms.tick()
        self._changed |= self.outbox.tick()
        if self._client is None:
            return _IDLE_SECONDS
        if not bpy.app.online_access:
            self._let_go()
        came = self._client.poll()
        image_viewer.refresh(self.previews.ask)
        if came or self._changed:
            self._changed = False
            self._mirror()
            redraw()
        return _BUSY_SECONDS if self._client.busy else _IDLE_SECONDS

    def _follow_again(self) -> None:
        """Go on with jobs whose frames could not be brought here a while ago."""
        for job, (at, farm, _said) in self._broken_off.items():
            if time.monotonic() >= at and job not in self._followed and may_reach(farm):
                self.follow(job, farm)

    def _let_go(self) -> None:
        """Blender may not go online any more: jobs of farms over the network are left to themselves."""
        for job, (request, farm) in self._followed.items():
            if farm != "local" and job not in self._let_gone:
                self._let_gone.add(job)
                self.client.stop(request)

    def _take_submitted(self, job: str, farm: str) -> None:
        self._newly_sent = job
        self.refresh(farm)
        self.follow(job, farm)

    def _take_following(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        event = line.get("event")
        if event is None:
            self._followed.pop(job, None)
            self._let_gone.discard(job)
            error = line.get("error", {})
            if error.get("kind") == "WorkerDied" and may_reach(farm):
                self.follow(job, farm)  # the next worker goes on with it
            elif error and error.get("kind") != "Cancelled":
                self.problem = str(error["message"])
                if error["kind"] in _MAY_PASS:
                    self._broken_off[job] = time.monotonic() + _FOLLOW_AGAIN_SECONDS, farm, self.problem
                else:
                    self._broken_off.pop(job, None)
            if "result" in line:
                self._mended(job)
                self._take_picture(job, line["result"])
            return
        if event["event"] == "status":
            self._take_picture(job, event)
        elif event["event"] == "frame_done" and event["path"]:
            self._mended(job)
            known = self.job(job)
            image_viewer.frame_landed(
                job, known["title"] if known else job, Path(event["path"]), int(event["frame"]), event.get("camera")
            )

    def _show_preview(self, job: str, path: Path) -> None:
        known = self.job(job)
        image_viewer.preview_made(job, known["title"] if known else job, path)

    def _mended(self, job: str) -> None:
        """Frames of a job come here again: what kept them is no problem any more."""
        _, _, said = self._broken_off.pop(job, (0.0, "", ""))
        if said and self.problem == said:
            self.problem = ""

    def _take_picture(self, job: str, picture: Mapping[str, Any]) -> None:
        self.pictures[job] = picture
        known = self.job(job)
        if known is not None:
            known |= {key: picture[key] for key in ("state", "frames_done", "frames_failed", "frames_total")}

    def _take_jobs(self, farm: str, line: Mapping[str, Any]) -> None:
        self._is_listing = False
        if farm != self._watched_farm:
            return  # another farm was chosen meanwhile
        if "error" in line:
            self.listing_problem = str(line["error"]["message"])
            return
        self.listing_problem = ""
        self.jobs = [{**job, "farm": farm} for job in line["result"]["jobs"]]
        for job in self.jobs:
            if job["state"] in _ACTIVE_STATES and job["is_ours"]:
                self.follow(job["id"], farm)
        for job in [job for job in self.jobs if self._has_frames_elsewhere(job)][:_MOST_FETCHED]:
            self._fetched.add((job["id"], job["frames_done"]))
            self.follow(job["id"], farm)

    def _has_frames_elsewhere(self, job: Mapping[str, Any]) -> bool:
        """Whether a job ended while nobody here followed it; each is asked for once."""
        is_over = job["state"] in _FINISHED_STATES and job["is_ours"] and job["frames_done"] > job["landed"]
        return is_over and (job["id"], job["frames_done"]) not in self._fetched

    def _take_control(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
        else:
            self.refresh(farm)

    def _take_frames(self, job: str, line: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
        elif line["result"]:
            known = self.job(job)
            image_viewer.frames_known(job, line["result"]["cameras"])
            why_not = image_viewer.show(job, known["title"] if known else job, bpy.context, **wanted)
            self.problem = why_not or self.problem

    def _take_logs(self, job: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        found = line["result"]
        shown = text_viewer.log_lines(found["lines"], count=found["count"], path=found["path"])
        text_viewer.show(f"{job}.log", shown)

    # -- what Blender draws ---------------------------------------------------------------------------------------------

    def _mirror(self) -> None:
        """Copy the jobs into the list that Blender can draw."""
        from .properties import state_of

        state = state_of(bpy.context)
        chosen = state.jobs[state.active_job].name if 0 <= state.active_job < len(state.jobs) else ""
        if self._newly_sent and self.job(self._newly_sent) is not None:
            chosen, self._newly_sent = self._newly_sent, ""
        if [item.name for item in state.jobs] != [job["id"] for job in self.jobs]:
            state.jobs.clear()
            for job in self.jobs:
                state.jobs.add().name = job["id"]
        place = next((i for i, job in enumerate(self.jobs) if job["id"] == chosen), 0)
        if state.active_job != place:
            state.active_job = place
        for item, job in zip(state.jobs, self.jobs, strict=True):
            item.title, item.farm, item.state, item.owner = job["title"], job["farm"], job["state"], job["owner"]
            item.done, item.failed, item.total = job["frames_done"], job["frames_failed"], job["frames_total"]
            left = self.pictures.get(job["id"], {}).get("eta_seconds") if job["state"] == "rendering" else None
            item.created, item.seconds_left = job["created"], -1.0 if left is None else left


def may_reach(farm: str) -> bool:
    """Whether a farm may be spoken to: this computer always, others when Blender may go online."""
    return farm == "local" or bool(bpy.app.online_access)


def redraw() -> None:
    """Draw again what shows jobs, and nothing else."""
    for window in windows():
        for area in window.screen.areas:
            if area.type in _SHOWN_IN:
                area.tag_redraw()


SESSION = Session()
