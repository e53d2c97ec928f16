"""How the files of a job's frames are called: learnt from some of them, for a name may hold other numbers than the frame's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_DIGITS = re.compile(r"\d+")


class _Way(NamedTuple):
    """One way to read a name: what is before the frame's number, its least digits, and what follows, suffix left out."""

    head: str
    digits: int
    tail: str


class FrameNames:
    """Names of which at least one is known.

    Args:
        path: The file of a frame.
    """

    def __init__(self, path: Path, frame: int) -> None:
        self._path = path
        self._ways = list(_ways(path, frame))

    @property
    def can_be_scrubbed(self) -> bool:
        """Whether Blender finds the frame's number in them: it takes the last digits of a name."""
        return bool(self._ways) and not _DIGITS.search(self._ways[-1].tail)

    def learn(self, path: Path, frame: int) -> None:
        """Take in the file of one more frame, of any folder: how it can be read as well as all before, or anew."""
        found = {(way.head, way.tail): way for way in _ways(path, frame)}
        known = [way for way in self._ways if (way.head, way.tail) in found]
        both = [way._replace(digits=min(way.digits, found[way.head, way.tail].digits)) for way in known]
        self._path, self._ways = path, both or list(found.values())

    def name(self, frame: int) -> str:
        """Return the file of a frame; without a number there is one file."""
        if not self._ways:
            return self._path.name
        head, digits, tail = self._ways[-1]
        sign = "-" if frame < 0 else ""
        return f"{head}{sign}{abs(frame):0{digits}d}{tail}{self._path.suffix}"

    def frame(self, name: str) -> int | None:
        """Return which frame a file is; None if it is none of these."""
        if not self._ways:
            return None
        head, _, tail = self._ways[-1]
        number = name.removeprefix(head).removesuffix(f"{tail}{self._path.suffix}")
        frame = int(number) if re.fullmatch(r"-?\d+", number) else None
        return frame if frame is not None and self.name(frame) == name else None


def _ways(path: Path, frame: int) -> Iterator[_Way]:
    sign = "-" if frame < 0 else ""
    for found in _DIGITS.finditer(path.stem):
        head = path.stem[: found.start()]
        if int(found[0]) == abs(frame) and head.endswith(sign):
            yield _Way(head.removesuffix(sign), len(found[0]), path.stem[found.end() :])
