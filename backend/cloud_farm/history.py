"""A job's events on the volume: who did what, in one order that everybody sees (contract §1, §2)."""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import JobBusyError, StoreError
from .json_data import from_json, load_json
from .layout import JobLayout
from .stores import Store

SCHEMA = 1
SUBMITTED, RETRIED, PAUSED, RESUMED, CANCELLED = "submitted", "retried", "paused", "resumed", "cancelled"
_NAME = re.compile(r"(\d{8})\.([a-z]+)\.json")
_TRIES = 50


@dataclass(frozen=True)
class JobEvent:
    """One thing that somebody did to a job.

    Attributes:
        seq: Position in the job's order, from 1.
        revision: The revision that was submitted or retried; 0 for other kinds.
        server_time: When it was written by the volume's clock, seconds since 1970; not stored.
    """

    schema: int
    seq: int
    kind: str
    at: str
    by: str
    host: str
    revision: int = 0
    plan_sha256: str = ""
    server_time: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


def read_history(store: Store, job_id: str, *, known: tuple[JobEvent, ...] = ()) -> tuple[JobEvent, ...]:
    """Return every event in order; reads only those that are not `known` yet.

    Of two `submitted` events for one revision the first holds, the others are left out.
    """
    folder = JobLayout(job_id).events
    events = {event.seq: event for event in known}
    for entry in store.list(folder):
        match = _NAME.fullmatch(entry.name)
        if match and int(match[1]) not in events:
            where = str(folder / entry.name)
            event = from_json(JobEvent, load_json(store.read(folder / entry.name), where=where), where=where)
            events[int(match[1])] = dataclasses.replace(event, server_time=entry.mtime)
    return _without_second_submits([events[seq] for seq in sorted(events)])


def append_event(store: Store, job_id: str, kind: str, *, revision: int = 0, plan_sha256: str = "") -> JobEvent:
    """Write an event under the next free number, taken by exclusive create.

    The number itself is reserved first, so that two writers of different kinds can't share it.

    Raises:
        JobBusyError: A `submitted` event for this revision is there already.
    """
    folder = JobLayout(job_id).events
    for _ in range(_TRIES):
        history = read_history(store, job_id)
        if kind == SUBMITTED and any(e.kind == SUBMITTED and e.revision == revision for e in history):
            raise JobBusyError(
                f"Revision {revision} of job {job_id} was already submitted. Follow it with: cloud-farm follow {job_id}"
            )
        event = _new_event(_next_seq(store, job_id), kind, revision, plan_sha256)
        if not store.put(b"", folder / f"{event.seq:08d}.taken", if_absent=True):
            continue
        content = json.dumps(
            {k: v for k, v in vars(event).items() if k not in ("extra", "server_time")}, indent=1
        ).encode()
        store.put(content, folder / f"{event.seq:08d}.{kind}.json", if_absent=True)
        return event
    raise StoreError(
        f"No free event number in {folder} after {_TRIES} tries; many programs write there at once. Try again."
    )


def last_control(history: tuple[JobEvent, ...]) -> str:
    """Return the kind of the event that decides: the last one; empty before anything was submitted."""
    return history[-1].kind if history else ""


def last_retry(history: tuple[JobEvent, ...]) -> float:
    """Return when the job was last submitted or retried, by the volume's clock; failures before that count no more."""
    return max((event.server_time for event in history if event.kind in (SUBMITTED, RETRIED)), default=0.0)


def revisions(history: tuple[JobEvent, ...]) -> tuple[int, ...]:
    """Return every submitted revision, ascending."""
    return tuple(sorted({event.revision for event in history if event.kind == SUBMITTED}))


def now_text() -> str:
    """Return the present moment as the contract writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def user_name() -> str:
    """Return who is logged in; `unknown` where the system can't say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such uid in the user database, as in many containers
        return "unknown"


def _next_seq(store: Store, job_id: str) -> int:
    taken = [int(entry.name[:8]) for entry in store.list(JobLayout(job_id).events) if entry.name[:8].isdigit()]
    return max(taken, default=0) + 1


def _new_event(seq: int, kind: str, revision: int, plan_sha256: str) -> JobEvent:
    return JobEvent(SCHEMA, seq, kind, now_text(), user_name(), socket.gethostname(), revision, plan_sha256)


def _without_second_submits(events: list[JobEvent]) -> tuple[JobEvent, ...]:
    seen: set[int] = set()
    kept = []
    for event in events:
        if event.kind == SUBMITTED and event.revision in seen:
            continue
        seen.update({event.revision} if event.kind == SUBMITTED else ())
        kept.append(event)
    return tuple(kept)
