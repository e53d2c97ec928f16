"""Farms whose jobs are listed again and again: what was learned of each job is kept, so that the next list costs what is new."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .farm import Farm
    from .profile import FarmProfile


class Listings:
    """Keeps the farms of one worker whose jobs are listed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._farms: dict[str, tuple[Farm, threading.Lock]] = {}

    @contextmanager
    def farm(self, profile: FarmProfile) -> Iterator[Farm]:
        """Lend a farm out, to one at a time; a profile that changed is a farm of which nothing is known."""
        farm, lock = self._opened(profile)
        with lock:
            yield farm

    def _opened(self, profile: FarmProfile) -> tuple[Farm, threading.Lock]:
        from .farm import Farm

        with self._lock:
            known = self._farms.get(profile.name)
            if known is None or known[0].profile != profile:
                known = self._farms[profile.name] = Farm(profile), threading.Lock()
            return known
