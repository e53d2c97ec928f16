"""Frame ranges as artists type them, their one canonical text, and chunks."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import FrameRangeError

MAX_FRAMES = 500_000
"""More frames than this in one job are refused: nobody means them, and lists on the volume stay readable."""

_PART = re.compile(
    r"(?P<first>[+-]?\d{1,9})"
    r"(?:\s*(?:-|\.\.)\s*(?P<last>[+-]?\d{1,9})"
    r"(?:\s*(?:(?::|x)\s*(?P<step>[+-]?\d{1,9}))?)?)?"
)
_HELP = "Write frames like 1-250, 1-250x5 (every fifth), -10-20, or a list such as 1,5,10-20."


@dataclass(frozen=True)
class FrameRange:
    """A set of frames in ascending order.

    Attributes:
        frames: Every frame once, ascending; never empty.
    """

    frames: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.frames:
            raise FrameRangeError(f"The frame range is empty. {_HELP}")
        if len(self.frames) > MAX_FRAMES:
            raise _too_many(len(self.frames), "")

    @classmethod
    def of(cls, frames: Iterable[int]) -> FrameRange:
        """Make a range of any frames; order and repetition do not matter."""
        return cls(tuple(sorted(set(frames))))

    @classmethod
    def parse(cls, text: str, *, scene: tuple[int, int, int] | None = None) -> FrameRange:
        """Understand what an artist types.

        Args:
            text: Comma-separated parts `7`, `1-250`, `1-250:5`, `1-250x5`, `10-1:-1`, `1..9`, `-10--1`, or `scene`.
            scene: (first, last, step) of the file; what the word `scene` stands for.

        Raises:
            FrameRangeError: When a part is not understood, runs backwards, or the whole is empty or too long.
        """
        chosen: set[int] = set()
        for part in text.replace("\u2212", "-").replace("\u2013", "-").split(","):
            values = _scene_frames(scene, text) if part.strip().lower() == "scene" else _part_frames(part, text)
            if len(values) + len(chosen) > MAX_FRAMES and len(chosen.union(values)) > MAX_FRAMES:
                raise _too_many(len(chosen.union(values)), text)
            chosen.update(values)
        return cls.of(chosen)

    def chunks(self, size: int) -> tuple[FrameRange, ...]:
        """Cut into consecutive chunks of at most `size` frames each."""
        if size < 1:
            raise FrameRangeError(f"The chunk size must be at least 1, not {size}.")
        return tuple(FrameRange(self.frames[i : i + size]) for i in range(0, len(self.frames), size))

    def __str__(self) -> str:
        """Return the canonical compact text: ascending, `first-last` or `first-last:step`."""
        return format_frames(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[int]:
        return iter(self.frames)

    def __contains__(self, frame: object) -> bool:
        if not isinstance(frame, int):
            return False
        index = bisect.bisect_left(self.frames, frame)
        return index < len(self.frames) and self.frames[index] == frame


def format_frames(frames: Iterable[int]) -> str:
    """Write ascending frames compactly: `-10--1,1-9:2`. Empty for no frames."""
    ordered = list(frames)
    parts: list[str] = []
    start = 0
    while start < len(ordered):
        end = _run_end(ordered, start)
        parts.append(_run_text(ordered, start, end))
        start = end + 1
    return ",".join(parts)


def _run_end(ordered: list[int], start: int) -> int:
    """Index of the last frame of the longest run with one step that begins at `start` (three or more, else single)."""
    end = start + 1
    if end >= len(ordered):
        return start
    step = ordered[end] - ordered[start]
    while end + 1 < len(ordered) and ordered[end + 1] - ordered[end] == step:
        end += 1
    return end if end - start >= 2 or step == 1 else start


def _run_text(ordered: list[int], start: int, end: int) -> str:
    if start == end:
        return str(ordered[start])
    step = ordered[start + 1] - ordered[start]
    return f"{ordered[start]}-{ordered[end]}" + ("" if step == 1 else f":{step}")


def _part_frames(part: str, text: str) -> range:
    match = _PART.fullmatch(part.strip())
    if match is None:
        raise FrameRangeError(
            f"The frame range {_quote(text)} has a part that is not a frame: {_quote(part)}. {_HELP}",
            expression=text,
        )
    first = int(match["first"])
    last = int(match["last"]) if match["last"] is not None else first
    step = int(match["step"]) if match["step"] is not None else 1
    return _checked_range(first, last, step, text)


def _checked_range(first: int, last: int, step: int, text: str) -> range:
    if step == 0:
        raise FrameRangeError(f"The frame range {_quote(text)} has a step of 0. {_HELP}", expression=text)
    values = range(first, last + (1 if step > 0 else -1), step)
    if not values:
        hint = f"{last}-{first}" if step > 0 else f"{first}-{last}"
        raise FrameRangeError(
            f"The frame range {_quote(text)} is empty: {first} to {last} in steps of {step}. Did you mean {hint}?",
            expression=text,
        )
    if len(values) > MAX_FRAMES:
        raise _too_many(len(values), text)
    return values


def _scene_frames(scene: tuple[int, int, int] | None, text: str) -> range:
    if scene is None:
        raise FrameRangeError(
            "The word 'scene' needs a scene file to take its range from; write the frames as numbers here.",
            expression=text,
        )
    return _checked_range(*scene, text)


def _too_many(count: int, text: str) -> FrameRangeError:
    return FrameRangeError(
        f"The frame range {_quote(text) + ' ' if text else ''}has {count:,} frames; one job takes at most {MAX_FRAMES:,}. Split it into several jobs.",
        expression=text,
    )


def _quote(text: str) -> str:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return repr(shown)
