"""What is on its way to a farm: one scene at a time is sent, looked over, or scouted with three frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker_client import WorkerClient

SEND, CHECK, SCOUT = "submit", "preflight", "scout"
"""The worker's words for what is done with a snapshot."""
_FOR_GOOD = ("InvalidJobError", "FrameRangeError", "SchemaError", "WorkerOutdated")
"""Errors after which sending it again would end the same way; all others may pass."""
_AWAY = ("StoreUnreachableError", "EngineUnreachableError")
"""Errors that pass by themselves: it is sent again without a word of the artist's."""
_PAUSES_SECONDS = (10.0, 30.0, 60.0, 120.0, 300.0)
_MOST_CRASHES = 3
_LOOK_AGAIN_SECONDS = 5.0


@dataclass
class Sending:
    """A scene on its way to a farm.

    Attributes:
        verb: SEND, CHECK or SCOUT.
        request: The worker's number for it; 0 once it is over.
        can_go_on: It was broken off by something that may pass: the snapshot is kept to be sent again.
        needs_leave: It waits until Blender may go online, or is being stopped for that.
        again_at: When it is sent again by itself, by the outbox's clock; None: when the artist says so.
        tries: How often the farm was away.
        crashes: How often the worker died over it.
        step: What happens now.
        fraction: How much of it is done, 0 to 1.
        saving_seconds: How long Blender waited for its copy; None for what an earlier Blender saved.
        error: Why it was not done.
        findings: What the artist should know of the scene.
        result: What came of it; of a check and of scouts it stays until the artist has read it.
    """

    farm: str
    title: str
    snapshot: Path
    verb: str = SEND
    request: int = 0
    step: str = "Beginning"
    fraction: float = 0.0
    saving_seconds: float | None = None
    error: str = ""
    can_go_on: bool = False
    needs_leave: bool = False
    again_at: float | None = None
    tries: int = 0
    crashes: int = 0
    findings: list[Mapping[str, Any]] = field(default_factory=list)
    result: Mapping[str, Any] | None = None

    @property
    def is_held(self) -> bool:
        """Whether its snapshot waits for the artist's word, after scouts."""
        return self.verb == SCOUT and self.result is not None


class Outbox:
    """Sends scenes, one after the other.

    Attributes:
        is_saving: A copy of the scene is about to be saved, for which Blender waits.

    Args:
        client: Returns the worker.
        on_submitted: Called with job and farm when a scene is on its farm.
        on_taken: Called with the farm when another Blender sends the scene, which was left by an earlier one.
        may_reach: Whether a farm may be spoken to now.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: Callable[[], WorkerClient],
        *,
        on_submitted: Callable[[str, str], None],
        on_taken: Callable[[str], None],
        may_reach: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sending: Sending | None = None
        self.is_saving = False
        self._client = client
        self._on_submitted = on_submitted
        self._on_taken = on_taken
        self._may_reach = may_reach
        self._clock = clock
        self._look_again: tuple[float, Path] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a scene is on its way."""
        return self.sending is not None and bool(self.sending.request)

    def begin(
        self, snapshot: Path, *, farm: str, title: str, verb: str = SEND, saving_seconds: float | None = None
    ) -> None:
        """Have the worker take a snapshot; what was said before is forgotten.

        What was broken off is only given up for a newer one of the same scene: else it is gone on with at the next start.
        """
        before = self.sending
        is_newer = verb == SEND and before is not None and (before.farm, before.title) == (farm, title)
        if before is not None and before.snapshot != snapshot and (is_newer or before.is_held):
            self._give_up(before)
        self.sending = Sending(farm, title, snapshot, verb, saving_seconds=saving_seconds)
        self._ask(self.sending)

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
            self.sending.needs_leave = False
            self._halt(self.sending)

    def tick(self) -> bool:
        """Go on with what waited for the farm, or for leave to go online; tells whether anything changed.

        What is on its way when that leave is taken back waits for it.
        """
        sending = self.sending
        if sending is None:
            self._look_around()
            return False
        may = self._may_reach(sending.farm)
        if sending.request:
            if may or sending.needs_leave:
                return False
            sending.needs_leave = True
            self._halt(sending)
            return True
        is_due = sending.needs_leave or (sending.again_at is not None and self._clock() >= sending.again_at)
        if may and is_due and sending.can_go_on:
            self._ask(sending)
            return True
        return False

    def look_back(self, folder: Path) -> None:
        """Go on with what an earlier Blender was sending when it was closed; what needs leave for that waits for it."""
        self._look_again = None
        if any(folder.glob("*/snapshot.json")):
            self._client().ask("waiting", lambda line: self._take_waiting(folder, line), folder=str(folder))

    def _look_around(self) -> None:
        if self._look_again is not None and self._clock() >= self._look_again[0]:
            self.look_back(self._look_again[1])

    def _ask(self, sending: Sending) -> None:
        """Ask the worker for it, for the first time or again."""
        if sending.error or sending.crashes:
            sending.step = "Trying again"
        sending.error, sending.findings, sending.fraction = "", [], 0.0
        sending.can_go_on, sending.needs_leave, sending.again_at = False, False, None
        answer = lambda line: self._take(sending, line)  # noqa: E731
        sending.request = self._client().ask(sending.verb, answer, snapshot=str(sending.snapshot))

    def _halt(self, sending: Sending) -> None:
        self._client().stop(sending.request)
        sending.step = "Stopping"

    # -- what the worker says -------------------------------------------------------------------------------------------

    def _take_waiting(self, folder: Path, line: Mapping[str, Any]) -> None:
        found = line["result"]["waiting"] if "result" in line else ()
        waiting = [one for one in found if not one["held"]]
        if len(waiting) < len(found):  # who holds it may just end
            self._look_again = self._clock() + _LOOK_AGAIN_SECONDS, folder
        for found in sorted(waiting, key=lambda found: not self._may_reach(found["farm"]))[:1]:
            if self.sending is not None:
                return
            self.sending = Sending(found["farm"], found["title"], Path(found["snapshot"]))
            if self._may_reach(found["farm"]):
                self._ask(self.sending)
            else:
                _wait_for_leave(self.sending)

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
        else:
            self._forget(sending)

    def _take_error(self, sending: Sending, error: Mapping[str, Any]) -> None:
        kind, is_sent = str(error["kind"]), sending.verb == SEND
        if kind == "Cancelled":
            self._take_stop(sending)
        elif kind == "WorkerDied" and sending.verb != SCOUT and sending.crashes < _MOST_CRASHES:
            sending.crashes += 1
            self._ask(sending)  # of the next worker
        elif kind == "JobBusyError" and is_sent:
            self._forget(sending)
            self._on_taken(sending.farm)
        else:
            sending.error = str(error["message"])
            sending.can_go_on = is_sent and kind not in _FOR_GOOD
            if is_sent and kind in _AWAY:
                pause = _PAUSES_SECONDS[min(sending.tries, len(_PAUSES_SECONDS) - 1)]
                sending.tries, sending.again_at = sending.tries + 1, self._clock() + pause
                sending.error += " It is tried again by itself."
            if not sending.can_go_on:
                self._drop(sending)

    def _take_stop(self, sending: Sending) -> None:
        """It was stopped: by the artist, who knows, or because Blender may not go online any more."""
        if sending.needs_leave:
            _wait_for_leave(sending)
        if not sending.can_go_on:
            self._drop(sending)
            if not sending.error:
                self._forget(sending)

    def _forget(self, sending: Sending) -> None:
        if self.sending is sending:
            self.sending = None

    def _drop(self, sending: Sending) -> None:
        self._client().ask("drop", lambda _line: None, snapshot=str(sending.snapshot))


def _wait_for_leave(sending: Sending) -> None:
    """Keep it until Blender may go online; what was only looked over need not be kept."""
    sending.needs_leave, sending.can_go_on = True, sending.verb == SEND
    what = "waits to be sent" if sending.can_go_on else "was not looked over"
    sending.error = (
        f"'{sending.title}' {what}: the farm '{sending.farm}' is over the network, and Blender may not go online. Allow Online"
        " Access in Preferences, System, Network."
    )


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
