"""What the add-on knows while Blender runs: what is being sent, which jobs there are. It hears of it from the worker.

Nothing here waits. Who draws reads; who acts calls a method; the rest comes by `tick`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from . import image_viewer, text_viewer
from .drawing import windows
from .farms import Farms
from .following import Following
from .job_rows import JobRows, row_of
from .outbox import Outbox
from .previews import Previews
from .wording import reword

if TYPE_CHECKING:
    from .worker_client import WorkerClient

_PACKAGE = __package__ or ""
_BUSY_SECONDS, _IDLE_SECONDS = 0.1, 1.0
_REFRESH_SECONDS = 30.0
_LOADED_FIRST = ("json", "subprocess", ".cloud_farm.quiet_child", ".worker_client")
"""What speaks to the worker, who is needed first: at the first time Python compiles it, one of them a turn."""
_SHOWN_IN = {"PROPERTIES", "IMAGE_EDITOR", "PREFERENCES"}  # the status bar is no area of these: `status_bar.redraw`


class Session:
    """One Blender's view of the farms.

    Attributes:
        farms: What is known of farms.
        outbox: What is on its way to a farm.
        following: Jobs whose frames are brought here.
        previews: Small pictures of large frames.
        jobs: What the worker said of each job, newest first.
        pictures: The newest whole picture of each followed job, by id.
        problem: What went wrong with a job, until it is dismissed, something else is done, or it has passed.
        listing_problem: Why the jobs can't be listed.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        """Know nothing yet."""
        self.farms = Farms(lambda: self.client)
        self.previews = Previews(lambda: self.client, on_made=self._show_preview)
        self.outbox = Outbox(
            lambda: self.client, on_submitted=self._take_submitted, on_taken=self.refresh, may_reach=may_reach
        )
        self.following = Following(
            lambda: self.client, on_picture=self._take_picture, on_frame=self._take_frame,
            on_problem=self._take_problem, on_mended=self._take_back, may_reach=may_reach,
            folder=lambda: self.folder("followed"),
        )  # fmt: skip
        self.jobs: list[dict[str, Any]] = []
        self.pictures: dict[str, Mapping[str, Any]] = {}
        self.problem = ""
        self.listing_problem = ""
        self._client: WorkerClient | None = None
        self._changed = False
        self._rows = JobRows()
        self._is_watched = False
        self._was_drawn = False
        self._watched_farm = "local"
        self._asked_at = -_REFRESH_SECONDS
        self._unloaded = list(_LOADED_FIRST)
        self._has_looked_back = False
        self._newly_sent = ""
        self._is_listing = False
        self._in_status_bar: tuple[str, int] | None = None

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
        self._is_watched = self._was_drawn = True
        if farm != self._watched_farm:
            self._look_at(farm)
            self._asked_at, self._is_listing = -_REFRESH_SECONDS, False

    @property
    def watched_farm(self) -> str:
        """The farm whose jobs are listed."""
        return self._watched_farm

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
        self._asked_at, self._is_listing, self._was_drawn = time.monotonic(), True, False
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
        self._rows.forget()
        self._changed = True

    def end(self) -> None:
        """End the worker and forget everything."""
        if self._client is not None:
            self._client.close()
        image_viewer.forget()
        self._begin()

    # -- what the worker says -------------------------------------------------------------------------------------------

    def tick(self) -> float:
        """Listen to the worker; returns seconds until the next time. An exception would end the timer for good."""
        try:
            return self._listen()
        except Exception:  # noqa: BLE001 - see above; it is printed where such things are looked for
            traceback.print_exc()
            return _IDLE_SECONDS

    def _listen(self) -> float:
        if self._unloaded:
            import_module(self._unloaded.pop(0), _PACKAGE)
            return _BUSY_SECONDS
        if not self._has_looked_back:
            self._has_looked_back = True
            self.outbox.look_back(self.folder("snapshots"))
            self.following.look_back()
        self._keep_fresh()
        self.following.tick()
        self.farms.tick()
        self._changed |= self.outbox.tick()
        if self._client is None:
            return _IDLE_SECONDS
        self._changed |= bool(self._client.poll())
        image_viewer.refresh(self.previews.ask)
        self._show_in_status_bar()
        if self._changed:
            self._changed = False
            self._mirror()
            redraw()
        return _BUSY_SECONDS if self._client.busy or self._changed else _IDLE_SECONDS

    def _keep_fresh(self) -> None:
        """List the jobs anew that somebody looks at.

        Blender draws a panel again when the mouse passes over it, and a hidden one never: one that was drawn since the last list is
        drawn once more when that is old, to find out whether it is still there.
        """
        is_watched, self._is_watched = self._is_watched, False
        is_due = time.monotonic() - self._asked_at > _REFRESH_SECONDS
        if is_due and not self._is_listing and may_reach(self._watched_farm):
            if is_watched:
                self.refresh(self._watched_farm)
            elif self._was_drawn:
                self._was_drawn = False
                redraw()

    def _take_submitted(self, job: str, farm: str) -> None:
        self._newly_sent = job
        self.refresh(farm)
        self.following.begin(job, farm)

    def _take_frame(self, job: str, event: Mapping[str, Any]) -> None:
        image_viewer.frame_landed(
            job, self._title_of(job), Path(event["path"]), int(event["frame"]), event.get("camera")
        )

    def _take_problem(self, message: str) -> None:
        self.problem = message

    def _take_back(self, message: str) -> None:
        if self.problem == message:
            self.problem = ""

    def _title_of(self, job: str) -> str:
        known = self.job(job)
        return str(known["title"]) if known else job

    def _show_preview(self, job: str, path: Path) -> None:
        image_viewer.preview_made(job, self._title_of(job), path)

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
        self.jobs = line["result"]["jobs"]
        for job in self.jobs:
            job["farm"] = farm
        self.following.take_list(self.jobs)

    def _take_control(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
        else:
            self.refresh(farm)

    def _take_frames(self, job: str, line: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        image_viewer.frames_known(job, line["result"].get("cameras", ()))  # none if the farm has no frame
        why_not = image_viewer.show(job, self._title_of(job), bpy.context, **wanted)
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
        """Copy the jobs into the list that Blender can draw; of very many some each turn."""
        from .properties import state_of

        state = state_of(bpy.context)
        chosen = state.jobs[state.active_job].name if 0 <= state.active_job < len(state.jobs) else ""
        rows = [row_of(job, self.pictures.get(job["id"], {})) for job in self.jobs]
        self._changed |= not self._rows.write(state.jobs, rows)
        if self._newly_sent and self._rows.place_of(self._newly_sent) is not None:
            chosen, self._newly_sent = self._newly_sent, ""
        place = self._rows.place_of(chosen) or 0
        if state.active_job != place:
            state.active_job = place

    def _show_in_status_bar(self) -> None:
        """Have Blender draw its status bar again if there is something else to see."""
        from . import status_bar

        sending = self.outbox.sending
        shown = (sending.step, round(100 * sending.fraction)) if sending is not None and sending.request else None
        if shown != self._in_status_bar:
            self._in_status_bar = shown
            status_bar.redraw()


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
