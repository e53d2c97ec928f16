"""What the add-on knows while Blender runs: what is being sent, which jobs there are. It hears of it from the worker.

Nothing here waits. Who draws reads; who acts calls a method; the rest comes by `tick`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from . import image_viewer
from .farms import Farms

if TYPE_CHECKING:
    from .worker_client import WorkerClient

_PACKAGE = __package__ or ""
_BUSY_SECONDS, _IDLE_SECONDS = 0.1, 1.0
_REFRESH_SECONDS = 30.0
_FOR_GOOD = (2, 130)  # refused, or stopped by the artist: sending it again would end the same way
_ACTIVE_STATES = ("queued", "rendering", "cancelling")
_SHOWN_IN = {"PROPERTIES", "IMAGE_EDITOR", "STATUSBAR", "PREFERENCES"}


@dataclass
class Sending:
    """A scene on its way to a farm.

    Attributes:
        request: The worker's number for it; 0 once it is over.
        can_go_on: It was broken off by something that may pass: the snapshot is kept to be sent again.
        step: What happens now.
        fraction: How much of the upload is done, 0 to 1.
        error: Why it was not sent.
        findings: What the artist should know of the scene.
    """

    farm: str
    title: str
    snapshot: Path
    request: int = 0
    step: str = "Saving a copy of the scene"
    fraction: float = 0.0
    error: str = ""
    can_go_on: bool = False
    findings: list[Mapping[str, Any]] = field(default_factory=list)


class Session:
    """One Blender's view of the farms.

    Attributes:
        farms: What is known of farms.
        jobs: What the worker said of each job, newest first.
        pictures: The newest whole picture of each followed job, by id.
        problem: Why the jobs can't be listed.
    """

    def __init__(self) -> None:
        self.farms = Farms(lambda: self.client)
        self.sending: Sending | None = None
        self.jobs: list[dict[str, Any]] = []
        self.pictures: dict[str, Mapping[str, Any]] = {}
        self.problem = ""
        self._client: WorkerClient | None = None
        self._followed: dict[str, int] = {}
        self._changed = False
        self._is_watched = False
        self._watched_farm = "local"
        self._asked_at = -_REFRESH_SECONDS
        self._has_looked_back = False

    # -- what others call ---------------------------------------------------------------------------------------------

    @property
    def client(self) -> WorkerClient:
        """The worker; it starts with the first request."""
        if self._client is None:
            from .worker_client import WorkerClient

            self._client = WorkerClient(self.folder("logs") / "worker.log")
            self._client.ask("hello", self.farms.take_hello)
        return self._client

    @staticmethod
    def folder(name: str) -> Path:
        """Return a folder of ours that outlives Blender and its updates."""
        return Path(bpy.utils.extension_path_user(_PACKAGE, path=name, create=True))

    def watch(self, farm: str) -> None:
        """Somebody looks at the list of jobs: keep it fresh. Called while drawing, so it only takes a note."""
        self._is_watched = True
        self._watched_farm = farm

    def send(self, snapshot: Path, *, farm: str, title: str) -> None:
        """Have the worker send a snapshot."""
        self.sending = Sending(farm, title, snapshot)
        self.sending.request = self.client.ask("submit", self._take_submission, snapshot=str(snapshot))
        self._changed = True

    def send_again(self) -> None:
        """Go on with what was broken off; what is on the farm already is not sent twice."""
        sending = self.sending
        if sending is not None and sending.can_go_on:
            self.send(sending.snapshot, farm=sending.farm, title=sending.title)

    def dismiss(self) -> None:
        """Forget what was said, and give up what was broken off."""
        if self.sending is not None and self.sending.can_go_on:
            self.client.ask("drop", lambda _line: None, snapshot=str(self.sending.snapshot))
        self.sending, self.problem = None, ""

    def stop_sending(self) -> None:
        """Give up what is being sent."""
        if self.sending is not None and self.sending.request:
            self.client.stop(self.sending.request)
            self.sending.step = "Stopping"

    def follow(self, job: str, farm: str) -> None:
        """Bring a job's frames here as they finish."""
        if job not in self._followed:
            self._followed[job] = self.client.ask(
                "follow", lambda line: self._take_following(job, farm, line), farm=farm, job=job
            )

    def control(self, verb: str, job: str, farm: str) -> None:
        """Pause, resume, cancel, retry or delete a job."""
        self.client.ask(verb, lambda line: self._take_control(job, farm, line), farm=farm, job=job)

    def ask_for_logs(self, job: str, farm: str) -> None:
        """Bring what a job's Blenders said into a text of the open file."""
        self.client.ask("logs", lambda line: self._take_logs(job, line), farm=farm, job=job)

    def refresh(self, farm: str) -> None:
        """List the jobs of a farm anew."""
        self._asked_at = time.monotonic()
        self.client.ask("jobs", lambda line: self._take_jobs(farm, line), farm=farm)

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
            self._look_back()
        if self._is_watched and time.monotonic() - self._asked_at > _REFRESH_SECONDS:
            self.refresh(self._watched_farm)
        self._is_watched = False
        self.farms.tick()
        if self._client is None:
            return _IDLE_SECONDS
        came = self._client.poll()
        if came or self._changed:
            self._changed = False
            self._mirror()
            _redraw()
        return _BUSY_SECONDS if self._client.busy else _IDLE_SECONDS

    def _look_back(self) -> None:
        """Go on with what an earlier Blender was sending when it was closed, where that needs nobody's leave."""
        if any(self.folder("snapshots").glob("*/snapshot.json")):
            self.client.ask("waiting", self._take_waiting, folder=str(self.folder("snapshots")))

    def _take_waiting(self, line: Mapping[str, Any]) -> None:
        for found in line["result"]["waiting"] if "result" in line else ():
            if self.sending is None and (found["farm"] == "local" or bpy.app.online_access):
                self.send(Path(found["snapshot"]), farm=found["farm"], title=found["title"])

    def _take_submission(self, line: Mapping[str, Any]) -> None:
        sending = self.sending
        if sending is None:
            return
        if "event" in line:
            _tell(sending, line["event"])
        elif "error" in line:
            error = line["error"]
            sending.request, sending.error = 0, str(error["message"])
            sending.can_go_on = error["exit_code"] not in _FOR_GOOD
            if not sending.can_go_on:
                self.client.ask("drop", lambda _line: None, snapshot=str(sending.snapshot))
        else:
            self.sending, self._has_looked_back = None, False  # there may be more that waits
            result = line["result"]
            self.refresh(str(result["farm"]))
            self.follow(str(result["job"]), str(result["farm"]))

    def _take_following(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        event = line.get("event")
        if event is None:
            self._followed.pop(job, None)
            if "result" in line:
                self._take_picture(job, line["result"])
            return
        if event["event"] == "status":
            self._take_picture(job, event)
        elif event["event"] == "frame_done" and event["path"]:
            known = self.job(job)
            image_viewer.frame_landed(job, known["title"] if known else job, Path(event["path"]), int(event["frame"]))

    def _take_picture(self, job: str, picture: Mapping[str, Any]) -> None:
        self.pictures[job] = picture
        known = self.job(job)
        if known is not None:
            known |= {key: picture[key] for key in ("state", "frames_done", "frames_failed", "frames_total")}

    def _take_jobs(self, farm: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        self.problem = ""
        self.jobs = [{**job, "farm": farm} for job in line["result"]["jobs"]]
        for job in self.jobs:
            if job["state"] in _ACTIVE_STATES:
                self.follow(job["id"], farm)

    def _take_control(self, job: str, farm: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
        self.refresh(farm)

    def _take_logs(self, job: str, line: Mapping[str, Any]) -> None:
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        name = f"{job}.log"
        text = bpy.data.texts.get(name) or bpy.data.texts.new(name)
        text.clear()
        text.write("\n".join(line["result"]["lines"]))

    # -- what Blender draws ---------------------------------------------------------------------------------------------

    def _mirror(self) -> None:
        """Copy the jobs into the list that Blender can draw."""
        from .properties import state_of

        state = state_of(bpy.context)
        chosen = state.jobs[state.active_job].name if 0 <= state.active_job < len(state.jobs) else ""
        if [item.name for item in state.jobs] != [job["id"] for job in self.jobs]:
            state.jobs.clear()
            for job in self.jobs:
                state.jobs.add().name = job["id"]
            state.active_job = max(0, next((i for i, job in enumerate(self.jobs) if job["id"] == chosen), 0))
        for item, job in zip(state.jobs, self.jobs, strict=True):
            item.title, item.farm, item.state, item.owner = job["title"], job["farm"], job["state"], job["owner"]
            item.done, item.failed, item.total = job["frames_done"], job["frames_failed"], job["frames_total"]


def _tell(sending: Sending, event: Mapping[str, Any]) -> None:
    """Take in what happens to a scene on its way."""
    if event["event"] == "stage":
        sending.step, sending.fraction = str(event["message"] or event["stage"]), 0.0
    elif event["event"] == "transfer":
        sending.step = "Sending"
        sending.fraction = event["done_bytes"] / event["total_bytes"] if event["total_bytes"] else 1.0
    elif event["event"] == "finding":
        sending.findings.append(event)


def _windows() -> list[bpy.types.Window]:
    manager = bpy.context.window_manager
    return list(manager.windows) if manager is not None else []


def _redraw() -> None:
    """Draw again what shows jobs, and nothing else."""
    for window in _windows():
        for area in window.screen.areas:
            if area.type in _SHOWN_IN:
                area.tag_redraw()


SESSION = Session()
