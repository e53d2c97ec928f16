"""What Workflows and their nodes are called. Pure.

Argo finds a node again by a 32-bit hash of its name: two names with one hash are one node to it, and the second is never
started. So the client chooses names, and draws again until no two hashes are equal.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence

from ..errors import InvalidJobError, ProfileError

OLDEST_ARGO = (3, 4)
_ASSUMED_ARGO = (3, 6)
"""Where a profile does not say: what 3.6 takes, every newer one takes too."""
_LONGEST = 63
_OFFSET, _PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF
_ZERO, _BRACKET = b"0)"


def argo_version(text: str) -> tuple[int, int]:
    """Read the (major, minor) of a controller, `3.7.14` or `v4.1`.

    Raises:
        ProfileError: It is no version, or older than we know.
    """
    if not text:
        return _ASSUMED_ARGO
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\..*)?", text.strip())
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST_ARGO:
        oldest = ".".join(map(str, OLDEST_ARGO))
        raise ProfileError(
            f"argo_version '{text}' is not known. Write it like 3.7.14; {oldest} is the oldest that works."
        )
    return version


def image_version(reference: str) -> str:
    """Return the version that the tag of one of Argo's images names, `3.7.14`; empty where it names none."""
    tag = reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.search(r"(?<![\d.])v?(\d+\.\d+\.\d+)", tag)
    return found[1] if found else ""


def workflow_name(job_id: str, tail: str) -> str:
    """Return a name that people recognise and Kubernetes takes: the job's id and a tail; a long title is cut.

    Raises:
        InvalidJobError: The id is not of the form that ids have.
    """
    parts = job_id.rsplit("-", 2)
    if len(parts) != 3:
        raise InvalidJobError(f"'{job_id}' is not a job's id.")
    title, day, drawn = parts
    room = _LONGEST - len(f"-{day}-{drawn}-{tail}")
    return f"{title[:room].strip('-') or 'x'}-{day}-{drawn}-{tail}"


def draws() -> Iterator[str]:
    """Yield what to append to a name, in the same order each time: a submission that is repeated draws the same names."""
    yield ""
    for first in string.ascii_lowercase:
        yield first
    for first in string.ascii_lowercase:
        for second in string.ascii_lowercase:
            yield first + second


def fnv32a(data: bytes, state: int = _OFFSET) -> int:
    """Return the 32-bit FNV-1a hash, going on from the hash of what came before."""
    for byte in data:
        state = (state ^ byte) * _PRIME & _MASK
    return state


def node_id(workflow: str, node: str) -> str:
    """Return what Argo calls a node: by it a node's status and its task result are found."""
    return workflow if node == workflow else f"{workflow}-{fnv32a(node.encode())}"


def item_text(item: Mapping[str, str]) -> str:
    """Return an item of a loop as Argo writes it into the name of its node; newer ones leave brackets out, so there are none."""
    return ",".join(sorted(f"{key}:{value}" for key, value in item.items()))


def node_names(workflow: str, items: Sequence[Mapping[str, str]], attempts: int) -> Iterator[str]:
    """Yield the name of every node that can come to be: groups, steps, and each attempt at them."""
    yield from (workflow, f"{workflow}[0]", f"{workflow}[1]")
    steps = [f"{workflow}[0].prepare"]
    steps += [f"{workflow}[1].render({index}:{item_text(item)})" for index, item in enumerate(items)]
    for step in steps:
        yield step
        yield from (f"{step}({attempt})" for attempt in range(attempts))


def has_collision(workflow: str, items: Sequence[Mapping[str, str]], attempts: int) -> bool:
    """Tell whether two nodes of a Workflow would be one to Argo. Equal to hashing `node_names`, without hashing beginnings anew."""
    loop = fnv32a(f"{workflow}[1].render(".encode())
    steps = [fnv32a(f"{workflow}[0].prepare".encode())]
    steps += [fnv32a(f"{index}:{item_text(item)})".encode(), loop) for index, item in enumerate(items)]
    hashes = [fnv32a(f"{workflow}{group}".encode()) for group in ("", "[0]", "[1]")]
    for step in steps:
        hashes.append(step)
        hashes.extend(_attempt_hashes(step, attempts))
    return len(set(hashes)) < len(hashes)


def _attempt_hashes(step: int, attempts: int) -> Iterator[int]:
    """Yield the hashes of `<step>(0)`, `<step>(1)` …, each going on from that of its leading digits."""
    begun = fnv32a(b"(", step)
    numbers: list[int] = []
    for attempt in range(attempts):
        head = numbers[attempt // 10] if attempt > 9 else begun
        numbers.append((head ^ (_ZERO + attempt % 10)) * _PRIME & _MASK)
        yield (numbers[-1] ^ _BRACKET) * _PRIME & _MASK
