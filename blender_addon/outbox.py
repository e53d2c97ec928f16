"""What is on its way to a farm: one scene at a time is sent, looked over, or scouted with three frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker_client import WorkerClient

SEND, CHECK, SCOUT = "submit", "preflight", "scout"
"""The worker's words for what is done with a snapshot."""
_FOR_GOOD = ("InvalidJobError", "FrameRangeError", "SchemaError", "Cancelled", "JobBusyError")
"""Errors after which sending it again would end the same way, or somebody else does it; all others may pass."""


@dataclass
class Sending:
    """A scene on its way to a farm.

    Attributes:
        verb: SEND, CHECK or SCOUT.
        request: The worker's number for it; 0 once it is over.
        can_go_on: It was broken off by something that may pass: the snapshot is kept to be sent again.
        step: What happens now.
        fraction: How much of it is done, 0 to 1.
        error: Why it was not done.
        findings: What the artist should know of the scene.
        result: What came of it; of a check and of scouts it stays until the artist has read it.
    """

    farm: str
    title: str
    snapshot: Path
    verb: str = SEND
    request: int = 0
    step: str = "Saving a copy of the scene"
    fraction: float = 0.0
    error: str = ""
    can_go_on: bool = False
    findings: list[Mapping[str, Any]] = field(default_factory=list)
    result: Mapping[str, Any] | None = None

    @property
    def is_held(self) -> bool:
        """Whether its snapshot waits for the artist's word, after scouts."""
        return self.verb == SCOUT and self.result is not None


class Outbox:
    """Sends scenes, one after the other.

    Args:
        client: Returns the worker.
        on_submitted: Called with job and farm when a scene is on its farm.
        may_go_on: Whether what an earlier Blender left may be sent to a farm unasked.
    """

    def __init__(
        self,
        client: Callable[[], WorkerClient],
        *,
        on_submitted: Callable[[str, str], None],
        may_go_on: Callable[[str], bool],
    ) -> None:
        self.sending: Sending | None = None
        self._client = client
        self._on_submitted = on_submitted
        self._may_go_on = may_go_on

    @property
    def is_busy(self) -> bool:
        """Whether a scene is on its way."""
        return self.sending is not None and bool(self.sending.request)

    def begin(self, snapshot: Path, *, farm: str, title: str, verb: str = SEND) -> None:
        """Have the worker take a snapshot; what was said before is forgotten.

        What was broken off is only given up for a newer one of the same scene: else it is gone on with at the next start.
        """
        before = self.sending
        is_newer = verb == SEND and before is not None and (before.farm, before.title) == (farm, title)
        if before is not None and before.snapshot != snapshot and (is_newer or before.is_held):
            self._give_up(before)
        sending = self.sending = Sending(farm, title, snapshot, verb)
        sending.request = self._client().ask(verb, lambda line: self._take(sending, line), snapshot=str(snapshot))

    def send_again(self) -> None:
        """Send the snapshot that is still there: what was broken off, or what waited for the artist's word.

        What is on the farm already is not sent twice.
        """
        sending = self.sending
        if sending is not None and (sending.can_go_on or sending.is_held):
            self.begin(sending.snapshot, farm=sending.farm, title=sending.title)

    def dismiss(self) -> None:
        """Forget what was said, and give up what was broken off or held; what is on its way can only be stopped."""
        if self.sending is not None and not self.sending.request:
            self._give_up(self.sending)
            self.sending = None

    def _give_up(self, sending: Sending) -> None:
        if sending.can_go_on or sending.is_held:
            self._drop(sending)

    def stop(self) -> None:
        """Give up what is on its way."""
        if self.sending is not None and self.sending.request:
            self._client().stop(self.sending.request)
            self.sending.step = "Stopping"

    def look_back(self, folder: Path) -> None:
        """Go on with what an earlier Blender was sending when it was closed, where that needs nobody's leave."""
        if any(folder.glob("*/snapshot.json")):
            self._client().ask("waiting", self._take_waiting, folder=str(folder))

    # -- what the worker says -------------------------------------------------------------------------------------------

    def _take_waiting(self, line: Mapping[str, Any]) -> None:
        for found in line["result"]["waiting"] if "result" in line else ():
            if self.sending is None and self._may_go_on(found["farm"]):
                self.begin(Path(found["snapshot"]), farm=found["farm"], title=found["title"])

    def _take(self, sending: Sending, line: Mapping[str, Any]) -> None:
        """Take in what is said of one scene; by then another may be on its way."""
        if "event" in line:
            _tell(sending, line["event"])
            return
        sending.request = 0
        if "error" in line:
            self._take_error(sending, line["error"])
            return
        result = line["result"]
        if sending.verb == CHECK:
            self._drop(sending)
        else:
            self._on_submitted(str(result["job"]), str(result["farm"]))
        if sending.verb != SEND:
            sending.result, sending.findings = result, list(result["findings"])
        elif self.sending is sending:
            self.sending = None

    def _take_error(self, sending: Sending, error: Mapping[str, Any]) -> None:
        sending.error = str(error["message"])
        sending.can_go_on = sending.verb == SEND and error["kind"] not in _FOR_GOOD
        if not sending.can_go_on:
            self._drop(sending)

    def _drop(self, sending: Sending) -> None:
        self._client().ask("drop", lambda _line: None, snapshot=str(sending.snapshot))


def _tell(sending: Sending, event: Mapping[str, Any]) -> None:
    """Take in what happens to a scene on its way."""
    if event["event"] == "stage":
        sending.step, sending.fraction = str(event["message"] or event["stage"]), 0.0
    elif event["event"] == "transfer":
        sending.step = "Sending"
        sending.fraction = event["done_bytes"] / event["total_bytes"] if event["total_bytes"] else 1.0
    elif event["event"] == "progress":
        sending.step = "Rendering the scouts"
        sending.fraction = event["done"] / event["total"] if event["total"] else 0.0
    elif event["event"] == "finding":
        sending.findings.append(event)
