"""Hearing what changes among a job's Workflows, some three hundred bytes a change, in place of listing them again and again.

A watch is a convenience here and never a promise: who reads asks the cluster itself where the line is not up, and every now and
then in any case. Many proxies cut long answers off or keep them back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EngineForbiddenError, EngineUnreachableError

if TYPE_CHECKING:
    from .argo_objects import WorkflowEvent

_IDLE_SECONDS = 60.0
"""A line is given up when nobody has asked for so long."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_PROMPT_SECONDS = 10.0
"""What is there is told as soon as the line is open; where that takes longer, a proxy keeps answers back until they are whole."""


class News(NamedTuple):
    """What was heard since the last time.

    Attributes:
        relist: Workflows came, went, or entered another phase.
        missed: So they may have, while the line was not up.
        versions: Of those that changed otherwise, by name.
    """

    relist: bool
    missed: bool
    versions: dict[str, str]


class WorkflowWatch:
    """Listens in a thread of its own, as long as somebody asks for news.

    Args:
        listen: Opens the line, to tell what changes after a version; without one it begins with all that is there. It ends when
            the cluster ends it.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        listen: Callable[[str], Iterable[WorkflowEvent]],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._listen = listen
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._up = self._relist = self._missed = False
        self._versions: dict[str, str] = {}
        self._phases: dict[str, str] = {}
        self._asked = clock()
        self._thread = threading.Thread(target=self._run, name="Workflow watch", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it listens no more, since nobody asked."""
        return not self._thread.is_alive()

    def news(self) -> News | None:
        """Return what was heard since the last call; None while the line is not up."""
        with self._lock:
            self._asked = self._clock()
            if not self._up:
                return None
            news = News(self._relist, self._missed, self._versions)
            self._relist, self._missed, self._versions = False, False, {}
            return news

    def _run(self) -> None:
        version, wait = "", _FIRST_PAUSE
        while not self._is_idle():
            heard, opened = False, self._clock()
            try:
                for event in self._listen(version):
                    if not version and not heard and self._clock() - opened > _PROMPT_SECONDS:
                        raise _HeldBack
                    version, heard = self._take(event), True
                    if self._is_idle():
                        break
            except (EngineForbiddenError, _HeldBack):
                heard, wait = False, _LONGEST_PAUSE
            except Exception as error:  # noqa: BLE001 - who reads asks the cluster itself meanwhile, and hears of it
                heard = False
                if not isinstance(error, EngineUnreachableError) or error.busy:
                    version = ""  # it may be the version that the cluster does not take, or has forgotten (410)
            if heard:
                wait = _FIRST_PAUSE  # it was ended in good order, and goes on from there
                continue
            self._set_down()
            self._pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)
        self._set_down()

    def _take(self, event: WorkflowEvent) -> str:
        """Note what an event says; returns from where to go on."""
        if event.kind == "ERROR":
            raise EngineUnreachableError(f"The cluster ended its answer ({event.code}).", busy=True)
        with self._lock:
            is_known = self._phases.get(event.name) == event.phase
            if not self._up:
                self._up = self._missed = True
            elif event.kind in ("ADDED", "DELETED") or (event.kind == "MODIFIED" and not is_known):
                self._relist = True
            if event.kind == "MODIFIED" and is_known:
                self._versions[event.name] = event.version
            if event.kind == "DELETED":
                self._phases.pop(event.name, None)
            elif event.name:
                self._phases[event.name] = event.phase
        return event.version

    def _set_down(self) -> None:
        with self._lock:
            self._up = False

    def _is_idle(self) -> bool:
        with self._lock:
            return self._clock() - self._asked > _IDLE_SECONDS


class _HeldBack(Exception):
    """Something on the way keeps the cluster's answers back."""
