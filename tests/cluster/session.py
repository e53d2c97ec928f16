"""Who uses the cluster of this machine: one at a time, and what a killed user leaves is cleared away at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cloud_farm.platform import FileLock, child_flags

from . import places
from .argo import ArgoFlavour
from .farm import Cluster, build_programs, make_images, require_programs

_CHECKOUT = Path(__file__).parents[2]
_BY_HAND = places.RUN / "by-hand"  # there: `python -m tests.cluster up` started it, and `down` will end it


@contextlib.contextmanager
def claimed(patience: float) -> Iterator[FileLock]:
    """Keep others from the cluster inside the block.

    Raises:
        TimeoutError: Somebody else uses it and does not stop.
    """
    lock = FileLock(places.LOCK)
    if not lock.acquire(patience=patience):
        raise TimeoutError(f"another run uses the cluster of this machine, still after {patience:g} s")
    try:
        yield lock
    finally:
        lock.release()


@contextlib.contextmanager
def available(patience: float) -> Iterator[Cluster]:
    """Give the cluster that was started by hand, else one of its own, to the block; what is missing is built and made first.

    Raises:
        RigUnavailable: This machine lacks something.
        TimeoutError: Somebody else uses the cluster and does not stop.
    """
    require_programs()
    build_programs()
    with claimed(patience) as lock:
        make_images()
        found = running_by_hand()
        if found is not None:
            yield found
            return
        with started(lock) as made:
            yield made


def up_by_hand(flavour: ArgoFlavour) -> Cluster:
    """Start a cluster that outlives this program; test runs use it and leave it running."""
    cluster = Cluster.up(flavour)
    _BY_HAND.write_text(f"{flavour.version} {flavour.crds}", encoding="utf-8")
    return cluster


def running_by_hand() -> Cluster | None:
    """Return the cluster that somebody started by hand, if all of it still runs."""
    if not _BY_HAND.exists():
        return None
    version, crds = _BY_HAND.read_text(encoding="utf-8").split()
    cluster = Cluster(ArgoFlavour(version, "full" if crds == "full" else "minimal"))
    with contextlib.suppress(RuntimeError):
        cluster.services.check()
        return cluster
    return None


@contextlib.contextmanager
def started(lock: FileLock) -> Iterator[Cluster]:
    """Run a cluster inside the block; it goes down with us, also when we are killed."""
    with _guard(lock):
        yield Cluster.up()


@contextlib.contextmanager
def _guard(lock: FileLock) -> Iterator[None]:
    """Have a process that brings the cluster down as soon as its standard input closes: after the block, or when we die."""
    with open(places.ROOT / "guard.log", "ab") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", "guard"],
            cwd=_CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **child_flags([lock.descriptor]),  # it holds the lock with us
        )
    assert guard.stdin is not None
    try:
        yield
    finally:
        guard.stdin.close()
        guard.wait()


def guard_until_closed() -> None:
    """What the guard does."""
    sys.stdin.buffer.read()
    Cluster(ArgoFlavour()).down()
