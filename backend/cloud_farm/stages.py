"""Where the time of a job goes: what its attempts say of their own stages, from a sample of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import NotFoundError
from .events import CancelToken
from .layout import JobLayout
from .parallel import for_each
from .stores import Store

STAGES = ("pending", "pulling", "loading", "rendering")
"""A chunk's way through a farm: until it has a machine, until its container runs, until Blender begins its first frame, to its
end. The first two are the engine's to tell."""
_A_LOOK, _IN_ALL = 3, 60
"""Ends of attempts that are read: a sample tells as much as all of them would, and a look stays small."""


class StageTimes:
    """Mean seconds by stage of one job's attempts."""

    def __init__(self, store: Store, layout: JobLayout) -> None:
        self._store = store
        self._layout = layout
        self._seen: set[str] = set()
        self._told: dict[str, list[float]] = {}

    @property
    def is_enough(self) -> bool:
        """Whether the sample is as large as it gets."""
        return len(self._seen) >= _IN_ALL

    def look(self, ended: Iterable[str]) -> None:
        """Read a few of the attempts that ended and were not read yet."""
        chosen = sorted(set(ended) - self._seen)[: min(_A_LOOK, _IN_ALL - len(self._seen))]
        self._seen.update(chosen)
        for_each(chosen, self._read, workers=self._store.connections)

    def mean(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return seconds by stage, in order; `before` are those that the engine told."""
        own = {stage: sum(told) / len(told) for stage, told in self._told.items()}
        found = {**before, **own}
        return {stage: round(found[stage], 1) for stage in STAGES if stage in found}

    def _read(self, attempt: str, _stop: CancelToken) -> None:
        try:
            end: Any = json.loads(self._store.read(self._layout.attempts / f"{attempt}.end.json"))
            spent = {stage: float(end["spent"][stage]) for stage in ("loading", "rendering")}
        except (NotFoundError, ValueError, KeyError, TypeError):
            return  # it decides nothing; one that had no frame to render has no stages
        if spent["rendering"] > 0:
            for stage, seconds in spent.items():
                self._told.setdefault(stage, []).append(seconds)
