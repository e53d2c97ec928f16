"""How a plan is cut into Workflows that fit: into Argo's memory, into etcd, and into the farm. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import InvalidJobError
from ..layout import camera_slug
from ..plan import Chunk, RenderPlan

MOST_CHUNKS = 1000
"""Chunks in one Workflow: its status stays small enough to be read and written often."""
_LANES = 2
_LONGEST_FRAMES = 24


@dataclass(frozen=True)
class Shard:
    """A part of a plan that becomes one Workflow.

    Attributes:
        number: From 1.
        of: How many there are.
        lane: Which of the job's mutexes it holds.
        parallelism: Pods at a time.
    """

    number: int
    of: int
    lane: int
    parallelism: int
    chunks: Sequence[Chunk]

    @cached_property
    def frames(self) -> list[int]:
        """Every frame once, ascending; one that several cameras have counts once."""
        return sorted({frame for chunk in self.chunks for frame in chunk.frames})

    @property
    def largest(self) -> int:
        """Frames of the largest chunk."""
        return max(len(chunk.frames) for chunk in self.chunks)

    @cached_property
    def items(self) -> list[dict[str, str]]:
        """What the loop over the chunks goes through."""
        return [_item(chunk) for chunk in self.chunks]


def wanted_chunks(plan: RenderPlan, only: Collection[str] | None) -> tuple[Chunk, ...]:
    """Return the plan's chunks of these ids, None for all.

    Raises:
        InvalidJobError: No such chunk, or none at all.
    """
    strangers = set(only or ()) - {chunk.id for chunk in plan.chunks}
    if strangers:
        raise InvalidJobError(f"The plan of job {plan.job_id} has no chunk {sorted(strangers)[0]}.")
    wanted = tuple(chunk for chunk in plan.chunks if only is None or chunk.id in only)
    if not wanted:
        raise InvalidJobError(f"Nothing of job {plan.job_id} is wanted: there is nothing to submit.")
    return wanted


def cut(chunks: Sequence[Chunk], parallelism: int) -> list[Shard]:
    """Cut into shards of about the same size; an even number where two run at a time, so that both lanes end together.

    What runs at once never adds up to more than `parallelism`: pods that wait for a node slow the whole cluster down.
    """
    count = -(-len(chunks) // MOST_CHUNKS)
    lanes = min(_LANES, count, parallelism)
    count = -(-count // lanes) * lanes
    ends = [len(chunks) * number // count for number in range(count + 1)]
    shares = [(parallelism + lanes - 1 - lane) // lanes for lane in range(lanes)]
    return [Shard(i + 1, count, i % lanes, shares[i % lanes], chunks[ends[i] : ends[i + 1]]) for i in range(count)]


def _item(chunk: Chunk) -> dict[str, str]:
    """Id, frames and their count of a chunk; short, since Argo repeats them in the name of each of its nodes."""
    frames = str(chunk.frames)
    if len(frames) > _LONGEST_FRAMES:
        frames = f"{chunk.frames.frames[0]}..{chunk.frames.frames[-1]}"
    camera = f"{camera_slug(chunk.camera)} " if chunk.camera else ""
    return {"id": chunk.id, "frames": f"{camera}{frames}", "count": str(len(chunk.frames))}
