"""Whether a store does what jobs need of it: tried out on a probe of ours, measured, and said with what to do."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from .checks import GREEN, RED, YELLOW, Check
from .errors import (
    HashMismatchError,
    StoreAnswerError,
    StoreError,
    StoreForbiddenError,
    StoreLoginError,
    StoreUnreachableError,
)
from .gc import PROBE
from .layout import TRASH
from .platform import is_this_computer
from .stores import Store, StoreDescription
from .units import size

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_LITTLE_SPACE, _NO_SPACE = 10 * _GIB, 1 * _GIB
_CLOCK_SECONDS = 60.0
_SPEED_SIZES = (256 * _KIB, 2 * _MIB, 16 * _MIB)
_LONG_ENOUGH_SECONDS = 1.0
_LOOKS = 5
_SLOW = 1 * _MIB
_LARGE_REQUEST, _LEAST_REQUEST = 16 * _MIB, 64 * _KIB
_NAMES = {
    StoreUnreachableError: "reach",
    StoreLoginError: "login",
    StoreForbiddenError: "rights",
    StoreAnswerError: "version",
}


def check_store(store: Store) -> Iterator[Check]:
    """Look at everything, one after the other; ends early where nobody answers or lets us in."""
    try:
        found = store.describe()
        yield _check_program(store, found)
        yield from _check_way(found)
        with _probe(store) as (folder, rights):
            yield rights
            yield check_space(store.free_space())
            yield check_clock(store.server_time() - time.time())
            if rights.level == GREEN:
                yield from _check_line(store, folder, through_server=found.encrypted is not None)
    except StoreError as error:
        name = next((word for kind, word in _NAMES.items() if isinstance(error, kind)), "volume")
        yield Check(name, RED, str(error))


def exit_code(checks: Iterable[Check]) -> int:
    """Return the command line's exit code: 3 if nobody answers, 1 if something else is red."""
    red = {check.name for check in checks if check.level == RED}
    return 3 if "reach" in red else 1 if red else 0


def _check_program(store: Store, found: StoreDescription) -> Check:
    if found.encrypted is not None:
        level = YELLOW if found.advice else GREEN
        return Check("version", level, f"{found.program} at {found.place}", found.advice, {"program": found.program})
    if store.stat(PurePosixPath()) is None:
        fix = "If it is a share, mount it; else the first job makes it."
        return Check("place", YELLOW, f"the folder {found.place} is not there yet", fix)
    return Check("place", GREEN, f"the folder {found.place}")


def _check_way(found: StoreDescription) -> Iterator[Check]:
    if found.encrypted is not None:
        yield _check_tls(found.place, encrypted=found.encrypted)
    if found.request_limit is not None:
        yield check_proxy(found.request_limit)


def _check_tls(address: str, *, encrypted: bool) -> Check:
    values = {"encrypted": encrypted}
    if encrypted:
        return Check("tls", GREEN, "the way there is encrypted", values=values)
    if is_this_computer(urlsplit(address).hostname or ""):
        return Check("tls", GREEN, "not encrypted, but it does not leave this computer", values=values)
    message = "not encrypted: anybody on the way can read the password and the files"
    return Check(
        "tls", YELLOW, message, "Put a proxy with TLS in front, and write https in the farm's profile.", values
    )


def check_proxy(limit: int) -> Check:
    """Judge the bytes of the largest request that gets through."""
    values = {"request_limit": limit}
    if limit >= _LARGE_REQUEST:
        return Check("proxy", GREEN, f"requests of {size(limit)} get through", values=values)
    fix = "Raise its limit (nginx: client_max_body_size 0)."
    message = f"a proxy in front takes no request above {size(limit)}"
    if limit < _LEAST_REQUEST:
        return Check("proxy", RED, f"{message}, which is too small for uploads", fix, values)
    return Check("proxy", YELLOW, f"{message}, so uploads go in small pieces and take longer", fix, values)


def check_space(free: int | None) -> Check:
    """Judge the bytes that are free."""
    values = {"free_bytes": free}
    if free is None:
        return Check("space", YELLOW, "the store does not tell how much is free", values=values)
    fix = "Free some: cloud-farm store gc, cloud-farm delete --older-than 30d"
    level = RED if free < _NO_SPACE else YELLOW if free < _LITTLE_SPACE else GREEN
    return Check("space", level, f"{size(free)} free", "" if level == GREEN else fix, values)


def check_clock(skew: float) -> Check:
    """Judge by how many seconds the volume's clock is ahead of ours."""
    values = {"skew_seconds": round(skew, 1)}
    if abs(skew) < _CLOCK_SECONDS:
        return Check("clock", GREEN, f"differs from this computer's by {abs(skew):.1f} s", values=values)
    side = "ahead of" if skew > 0 else "behind"
    message = f"{datetime.timedelta(seconds=round(abs(skew)))} {side} this computer's; ages are told by the volume's"
    return Check("clock", YELLOW, message, "Switch on time synchronisation (NTP) on both sides.", values)


@contextmanager
def _probe(store: Store) -> Iterator[tuple[PurePosixPath, Check]]:
    """Yield a folder of ours, in the trash so that we may delete it, and what we may do there."""
    name = f"{PROBE}{secrets.token_hex(4)}"
    try:
        yield TRASH / name, _check_rights(store, name)
    finally:
        with contextlib.suppress(StoreError):
            store.empty_trash(name)


def _check_rights(store: Store, name: str) -> Check:
    place, moved = TRASH / name / "rights", TRASH / name / "moved"
    steps: dict[str, Callable[[], object]] = {
        "create": lambda: store.put(b"first", place),
        "download": lambda: _same(store.read(place), b"first"),
        "replace": lambda: store.put(b"second", place),
        "rename": lambda: store.move(place, moved),
        "delete": lambda: store.empty_trash(name),
    }
    lacking: dict[str, str] = {}
    for right, step in steps.items():
        try:
            step()
        except StoreUnreachableError:
            raise
        except StoreError as error:
            lacking[right] = str(error)
            if right == "create":
                break  # without it there is nothing to try the others on
    values = {right: right not in lacking for right in steps}
    if not lacking:
        return Check("rights", GREEN, f"may {', '.join(steps)}", values=values)
    return Check("rights", RED, f"may not {', '.join(lacking)}", " ".join(dict.fromkeys(lacking.values())), values)


def _same(found: bytes, sent: bytes) -> None:
    if found != sent:
        raise HashMismatchError("Other bytes came back than were sent. Check the volume, and what is in front of it.")


def _check_line(store: Store, folder: PurePosixPath, *, through_server: bool) -> Iterator[Check]:
    took = statistics.median(_seconds(lambda: store.stat(folder)) for _ in range(_LOOKS))
    yield Check("latency", GREEN, f"{took * 1000:.2g} ms for a small request", values={"seconds": took})
    for count in _SPEED_SIZES:
        content = os.urandom(count)  # nothing on the way can make it smaller
        took = _seconds(partial(store.put, content, folder / "speed"))
        if took > _LONG_ENOUGH_SECONDS:
            break
    yield _check_speed("upload", count, took, "sent, verified and on its disk" if through_server else "on the disk")
    if through_server:  # what was just written to a folder comes out of this computer's memory: that says nothing
        took = _seconds(lambda: _same(store.read(folder / "speed"), content))
        yield _check_speed("download", count, took, "fetched")


def _check_speed(name: str, count: int, seconds: float, how: str) -> Check:
    rate = count / max(seconds, 1e-6)
    values = {"bytes_per_second": round(rate), "bytes": count}
    message = f"{size(rate)}/s ({size(count)} {how})"
    if rate >= _SLOW:
        return Check(name, GREEN, message, values=values)
    return Check(
        name, YELLOW, message, f"A scene of 1 GiB takes {datetime.timedelta(seconds=round(_GIB / rate))}.", values
    )


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
