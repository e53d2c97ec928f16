"""What is on its way to a farm: scenes that are sent, looked over, or scouted with three frames. One of them is shown."""

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
        source: Of what it is a copy: a newer one of the same source takes its place. Empty: of what nobody can say.
        verb: SEND, CHECK or SCOUT.
        request: The worker's number for it; 0 once it is over.
        can_go_on: It was broken off by something that may pass: the snapshot is kept to be sent again.
        needs_leave: It waits until Blender may go online, or is being stopped for that.
        is_given_up: Nobody wants it any more, though it is on its way: it was stopped, or a newer one took its place.
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
    source: str = ""
    verb: str = SEND
    request: int = 0
    step: str = "Beginning"
    fraction: float = 0.0
    saving_seconds: float | None = None
    error: str = ""
    can_go_on: bool = False
    needs_leave: bool = False
    is_given_up: bool = False
    again_at: float | None = None
    tries: int = 0
    crashes: int = 0
    findings: list[Mapping[str, Any]] = field(default_factory=list)
    result: Mapping[str, Any] | None = None

    @property
    def is_held(self) -> bool:
        """Whether its snapshot waits for the artist's word, after scouts."""
        return self.verb == SCOUT and self.result is not None

    @property
    def is_to_be_sent(self) -> bool:
        """Whether it is being sent, or will be."""
        return self.verb == SEND and (bool(self.request) or self.can_go_on)

    def is_newer_than(self, other: Sending) -> bool:
        """Whether it takes the place of one that was made before it."""
        return self.verb == SEND and bool(self.source) and (self.farm, self.source) == (other.farm, other.source)


class Outbox:
    """Sends scenes, one after the other.

    Attributes:
        sending: The one that is shown; others that are to be sent stand behind it, and go on by themselves.
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
        self._behind: list[Sending] = []
        self._dropped: set[Path] = set()
        self._folder: Path | None = None
        self._look_again_at: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the scene that is shown is on its way."""
        return self.sending is not None and bool(self.sending.request)

    @property
    def behind(self) -> tuple[Sending, ...]:
        """Those that stand behind the one that is shown, in their order."""
        return tuple(self._behind)

    def may_queue(self, *, farm: str, source: str) -> bool:
        """Whether a scene may be sent behind the one that is on its way: it is another one, as far as anybody can say."""
        same = [one for one in self._all() if (one.farm, one.source) == (farm, source)]
        return self.is_busy and (self.sending not in same if source else not same)

    def queue(
        self, snapshot: Path, *, farm: str, title: str, source: str = "", saving_seconds: float | None = None
    ) -> None:
        """Have the worker take a snapshot once nothing else is on its way; it takes the place of an older one of its source."""
        newer = Sending(farm, title, snapshot, source, saving_seconds=saving_seconds)
        newer.can_go_on, newer.again_at = True, self._clock()
        for one in self.behind:
            if newer.is_newer_than(one):
                self.leave(one.snapshot)
        self._behind.append(newer)

    def leave(self, snapshot: Path) -> None:
        """Give up one that stands behind the one that is shown."""
        for one in self.behind:
            if one.snapshot == snapshot:
                self._give_up(one)
                self._behind.remove(one)

    def begin(
        self,
        snapshot: Path,
        *,
        farm: str,
        title: str,
        source: str = "",
        verb: str = SEND,
        saving_seconds: float | None = None,
    ) -> None:
        """Have the worker take a snapshot; what was said before is forgotten.

        What was broken off is only given up for a newer one of the same source: else it stands behind this one.
        """
        newer = Sending(farm, title, snapshot, source, verb, saving_seconds=saving_seconds)
        before, self._behind = self._behind, []
        if self.sending is not None and (self.sending.is_to_be_sent or self.sending.is_held):
            before.append(self.sending)
        for one in before:
            if one.snapshot == snapshot:
                continue  # it is sent again
            if one.is_held or newer.is_newer_than(one):
                self._give_up(one)
            else:
                self._behind.append(one)
        self.sending = newer
        self._ask(newer)

    def send_again(self) -> None:
        """Send the snapshot that is still there: what was broken off, or what waited for the artist's word.

        What is on the farm already is not sent twice.
        """
        sending = self.sending
        if sending is not None and (sending.can_go_on or sending.is_held):
            self.begin(sending.snapshot, farm=sending.farm, title=sending.title, source=sending.source)

    def dismiss(self) -> None:
        """Forget what was said, and give up what was broken off or held; what is on its way can only be stopped."""
        if self.sending is not None and not self.sending.request:
            self._give_up(self.sending)
            self._forget(self.sending)

    def _give_up(self, sending: Sending) -> None:
        if sending.request:
            sending.is_given_up = True
            self._halt(sending)
        elif sending.can_go_on or sending.is_held:
            self._drop(sending)

    def stop(self) -> None:
        """Give up what is on its way."""
        if self.sending is not None and self.sending.request:
            self.sending.needs_leave, self.sending.is_given_up = False, True
            self._halt(self.sending)

    def tick(self) -> bool:
        """Go on with what waited for the farm, or for leave to go online; tells whether anything changed.

        What is on its way when that leave is taken back waits for it.
        """
        went_on = [self._go_on(one) for one in self._all()]
        if self._look_again_at is not None and self._clock() >= self._look_again_at and self._folder is not None:
            self.look_back(self._folder)
        if self.sending is None and self._behind:
            self.sending = self._behind.pop(0)
            return True
        return any(went_on)

    def _all(self) -> list[Sending]:
        return [*([] if self.sending is None else [self.sending]), *self._behind]

    def _go_on(self, sending: Sending) -> bool:
        may = self._may_reach(sending.farm)
        if sending.request:
            if may or sending.needs_leave:
                return False
            sending.needs_leave = True
            self._halt(sending)
            return True
        is_due = sending.needs_leave or (sending.again_at is not None and self._clock() >= sending.again_at)
        if may and is_due and sending.can_go_on and not any(one.request for one in self._all()):
            self._ask(sending)
            return True
        return False

    def look_back(self, folder: Path) -> None:
        """Go on with what an earlier Blender was sending when it was closed; what needs leave for that waits for it."""
        self._folder, self._look_again_at = folder, None
        if any(folder.glob("*")):
            self._client().ask("waiting", self._take_waiting, folder=str(folder))

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

    def _take_waiting(self, line: Mapping[str, Any]) -> None:
        known = self._dropped | {one.snapshot for one in self._all()}
        found = [one for one in line.get("result", {}).get("waiting", ()) if Path(one["snapshot"]) not in known]
        waiting = sorted((one for one in found if not one["held"]), key=lambda one: not self._may_reach(one["farm"]))
        if len(waiting) < len(found):  # who holds it may just end
            self._look_again_at = self._clock() + _LOOK_AGAIN_SECONDS
        for one in waiting[:1]:
            self._take_up(Sending(one["farm"], one["title"], Path(one["snapshot"]), one["source"]))

    def _take_up(self, sending: Sending) -> None:
        """Go on with what an earlier Blender left, as soon as nothing else is on its way."""
        if not self._may_reach(sending.farm):
            _wait_for_leave(sending)
        elif any(one.request for one in self._all()):
            sending.can_go_on, sending.again_at = True, self._clock()
        else:
            self._ask(sending)
        if self.sending is None:
            self.sending = sending
        else:
            self._behind.append(sending)

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
        if kind == "Cancelled" or sending.is_given_up:
            self._take_stop(sending)
        elif kind == "WorkerDied" and sending.verb != SCOUT and sending.crashes < _MOST_CRASHES:
            sending.crashes += 1
            if self._may_reach(sending.farm):
                self._ask(sending)  # of the next worker
            else:
                sending.needs_leave = True
                self._take_stop(sending)
        elif is_sent and (kind == "JobBusyError" or (kind == "SchemaError" and not sending.snapshot.exists())):
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
            self._look_again_at = self._clock()  # what is for other farms does not wait for this one

    def _take_stop(self, sending: Sending) -> None:
        """It was stopped: by the artist, who knows, or because Blender may not go online any more."""
        if sending.needs_leave and not sending.is_given_up:
            _wait_for_leave(sending)
        if not sending.can_go_on:
            self._drop(sending)
            if not sending.error:
                self._forget(sending)

    def _forget(self, sending: Sending) -> None:
        """It is over; an earlier Blender may have left more."""
        if self.sending is sending:
            self.sending = None
        self._behind = [one for one in self._behind if one is not sending]
        self._look_again_at = self._clock()

    def _drop(self, sending: Sending) -> None:
        self._dropped.add(sending.snapshot)
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
