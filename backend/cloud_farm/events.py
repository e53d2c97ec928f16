"""What long work tells its caller: frozen events, one callable that takes them, and a token to cancel."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .errors import Cancelled

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Event:
    """Base of all events; `kind` is stable and part of `--json` output."""

    kind: ClassVar[str] = "event"

    def to_json(self) -> dict[str, Any]:
        """Return a flat mapping with `event` first."""
        return {"event": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Note(Event):
    """A plain sentence about what happens now."""

    kind: ClassVar[str] = "note"
    message: str


@dataclass(frozen=True)
class Stage(Event):
    """A stage of a submission begins: probing, packing, uploading, submitting, preparing."""

    kind: ClassVar[str] = "stage"
    stage: str
    message: str = ""


@dataclass(frozen=True)
class FindingFound(Event):
    """Something that the artist should know before or while it renders."""

    kind: ClassVar[str] = "finding"
    code: str
    severity: str
    message: str
    datablock: str = ""
    path: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Transfer(Event):
    """Bytes moved so far, of one direction (`upload` or `download`), a few times a second.

    Attributes:
        file: One of those that move now.
        bytes_per_second: Over the last seconds; None while unknown.
        eta_seconds: Until the last byte, None while unknown.
    """

    kind: ClassVar[str] = "transfer"
    direction: str
    file: str
    done_bytes: int
    total_bytes: int
    done_files: int = 0
    total_files: int = 0
    bytes_per_second: float | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Submitted(Event):
    """The job is on the farm; nothing of ours need run from here on."""

    kind: ClassVar[str] = "submitted"
    job: str
    revision: int
    frames: int
    chunks: int
    landing: str


@dataclass(frozen=True)
class FrameStarted(Event):
    """A Blender began to render this frame."""

    kind: ClassVar[str] = "frame_started"
    job: str
    camera: str | None
    frame: int
    attempt: str


@dataclass(frozen=True)
class FrameDone(Event):
    """A frame is rendered, verified and published; `path` is where it landed, empty if it was not fetched."""

    kind: ClassVar[str] = "frame_done"
    job: str
    camera: str | None
    frame: int
    path: str
    seconds: float
    device: str | None
    host: str


@dataclass(frozen=True)
class FrameFailed(Event):
    """A frame could not be rendered for good."""

    kind: ClassVar[str] = "frame_failed"
    job: str
    camera: str | None
    frame: int
    message: str


@dataclass(frozen=True)
class StateChanged(Event):
    """The job's state is another now."""

    kind: ClassVar[str] = "state"
    job: str
    state: str
    message: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """A whole picture of the job, at most a few times a second."""

    kind: ClassVar[str] = "progress"
    job: str
    state: str
    done: int
    failed: int
    total: int
    frames_per_second: float | None
    eta_seconds: float | None


Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""


class CancelToken:
    """Asks long work, from any thread, to stop at the next safe place."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask for the stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if a stop was asked for."""
        if self._event.is_set():
            raise Cancelled("Interrupted. What was already submitted goes on.")

    def wait(self, seconds: float) -> bool:
        """Sleep, ending early when cancelled; returns whether it was."""
        return self._event.wait(seconds)


class PauseSwitch:
    """Holds long work, from any thread, at its next safe place until it may go on."""

    def __init__(self) -> None:
        self._running = threading.Event()
        self._running.set()

    def pause(self) -> None:
        """Ask for the halt."""
        self._running.clear()

    def resume(self) -> None:
        """Let the work go on."""
        self._running.set()

    @property
    def paused(self) -> bool:
        """Whether a halt was asked for."""
        return not self._running.is_set()

    def hold(self, cancel: CancelToken) -> None:
        """Wait while paused.

        Raises:
            Cancelled: `cancel` was set.
        """
        while not self._running.wait(_LOOK_SECONDS):
            cancel.raise_if_cancelled()
        cancel.raise_if_cancelled()


def counted(number: int, noun: str) -> str:
    """Say how many: `1 frame`, `2 frames`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def plain_line(data: Mapping[str, Any]) -> str:
    """Write an event's JSON form as one plain line; empty for those that only programs want."""
    kind = data["event"]
    if kind == "stage":
        return str(data["message"]) or str(data["stage"])
    if kind == "finding" and data["severity"] != "info":
        return f"{data['severity'].capitalize()}: {data['message']}" + (f" {data['fix']}" if data["fix"] else "")
    if kind == "frame_done":
        device = f" on {data['device']}" if data["device"] else ""
        return f"Frame {data['frame']} in {data['seconds']:.1f} s{device}: {data['path']}"
    if kind == "frame_failed":
        return f"Frame {data['frame']} failed: {data['message']}"
    if kind == "state":
        return f"Job {data['job']} is {data['state']}" + (f": {data['message']}" if data["message"] else "")
    return str(data["message"]) if kind in ("note", "finding") else ""
