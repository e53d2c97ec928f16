"""SIGKILL of the client at every named state: nothing half-written has a name, and the next run goes on where it was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from ..rigs.fault_proxy import FaultProxy
from .clients import BIG, MIB, Client, Door, content, make_file, until

SIZE = 12 * MIB  # one PATCH
OVERHEAD = 256 << 10


class State(NamedTuple):
    """Where a client is when it is killed.

    Attributes:
        at: "request": before the server sees such a one; "answer": before the client sees what the server did.
        line: Text of the request's line.
        there: Bytes of the part that are on the server's disk then; None if there is no part.
    """

    at: str
    line: str
    there: int | None


STATES = {
    "before create": State("request", "POST /api/tus/", None),
    "created, not told": State("answer", "POST /api/tus/", 0),
    "before the first byte": State("request", "PATCH /api/tus/", 0),
    "all there, not told": State("answer", "PATCH /api/tus/", SIZE),
    "before verify": State("request", "checksum=sha256", SIZE),
    "verified, not told": State("answer", "checksum=sha256", SIZE),
    "before rename": State("request", "action=rename", SIZE),
    "renamed, not told": State("answer", "action=rename", None),
}


def bring_to(line: FaultProxy, state: State, client: Client) -> None:
    """Prove that the state is reached, and kill the client there."""
    until(lambda: line.is_stalled, state.line)
    assert client.is_alive
    client.kill()
    line.reset_connections()
    line.resume()


def arm(line: FaultProxy, state: State) -> None:
    if state.at == "request":
        line.stall_at_request = state.line
    else:
        line.stall_at_answer = state.line


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_kill_at_a_named_state(door: Door, line: FaultProxy, tmp_path: Path, state: State) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    through = door.at(line.url)
    arm(line, state)
    bring_to(line, state, Client(through, source))
    renamed = state is STATES["renamed, not told"]
    assert door.on_disk().exists() == renamed
    parts = list(door.root.rglob("*.part"))
    assert [part.stat().st_size for part in parts] == ([] if state.there is None else [state.there])
    sent = line.bytes_up
    assert Client(through, source).result()
    assert door.on_disk().read_bytes() == source.read_bytes()
    assert door.litter() == []
    assert line.bytes_up - sent < SIZE - (state.there or 0) + OVERHEAD


def test_a_kill_in_the_middle_of_a_piece(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    through = door.at(line.url)
    line.bytes_per_second = 16 * MIB
    client = Client(through, source)
    until(lambda: line.bytes_up > 5 * MIB, "five megabytes")
    client.kill()
    line.reset_connections()
    [part] = door.root.rglob("*.part")
    there = part.stat().st_size
    assert 4 * MIB < there < SIZE
    sent = line.bytes_up
    assert Client(through, source).result()
    assert door.on_disk().read_bytes() == source.read_bytes()
    assert door.litter() == []
    assert line.bytes_up - sent < SIZE - there + OVERHEAD


def test_a_kill_in_the_middle_of_a_small_file(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    """The server removes what was interrupted; the name of a small file's part is never used again."""
    source = make_file(tmp_path / "small.bin", 3 * MIB)
    through = door.at(line.url)
    line.bytes_per_second = 4 * MIB
    client = Client(through, source)
    until(lambda: line.bytes_up > MIB, "a megabyte")
    client.kill()
    line.reset_connections()
    until(lambda: door.files() == [], "the server's own cleaning")
    assert Client(through, source).result()
    assert door.files() == [str(BIG)]


def test_a_file_that_changed_since_the_kill_is_not_mixed_with_what_is_there(
    door: Door, line: FaultProxy, tmp_path: Path
) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    through = door.at(line.url)
    arm(line, STATES["before verify"])
    bring_to(line, STATES["before verify"], Client(through, source))
    make_file(source, SIZE, seed=2)
    assert Client(through, source).result()
    assert door.on_disk().read_bytes() == content(SIZE, seed=2)
    assert door.litter() == []


@pytest.mark.parametrize("state", ["before rename", "renamed, not told"])
def test_a_kill_over_an_older_file_leaves_the_one_or_the_other(
    door: Door, line: FaultProxy, tmp_path: Path, state: str
) -> None:
    source = make_file(tmp_path / "big.bin", SIZE)
    door.open().put(b"the older file", BIG)
    arm(line, STATES[state])
    bring_to(line, STATES[state], Client(door.at(line.url), source))
    found = door.on_disk().read_bytes()
    assert found == (b"the older file" if state == "before rename" else source.read_bytes())


CLAIM = "claim.part"
CLAIMS = {
    "before the claim": State("request", CLAIM, SIZE),
    "claim begun, not told": State("answer", CLAIM, SIZE),
    "claimed, before rename": State("request", "action=rename", SIZE),
    "renamed, not told": State("answer", "action=rename", None),
    "before the claim is removed": State("request", "DELETE /api/resources/", None),
}


@pytest.mark.parametrize("state", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_kill_with_a_claim_to_a_new_name(door: Door, line: FaultProxy, tmp_path: Path, state: State) -> None:
    """The dead one's claim is in nobody's way for long, and of all who want the name exactly one gets it."""
    source = make_file(tmp_path / "big.bin", SIZE)
    through = door.at(line.url)
    arm(line, state)
    bring_to(line, state, Client(through, source, if_absent=True, hurry=True))
    assert CLAIM in line.requests[-1] or "action=rename" in line.requests[-1]
    assert door.on_disk().exists() == (state.there is None)
    rivals = [Client(through, source, if_absent=True, hurry=True) for _ in range(2)]
    won = [rival.result() for rival in rivals]
    assert won.count(True) == (0 if state.there is None else 1)
    assert door.on_disk().read_bytes() == source.read_bytes()
    assert [name for name in door.litter() if not name.endswith(CLAIM)] == []


def kill_somewhere(line: FaultProxy, client: Client, dice: random.Random) -> bool:
    """Kill a client after some bytes, or at some state; tells whether it lived until then."""
    if dice.random() < 0.7:
        goal = line.bytes_up + dice.randrange(3 * MIB)
        until(lambda: line.bytes_up >= goal or not client.is_alive, "some bytes, or the end")
    else:
        arm(line, dice.choice([*STATES.values()]))
        until(lambda: line.is_stalled or not client.is_alive, "a state, or the end")
    in_time = client.is_alive
    client.kill()
    line.stall_at_request = line.stall_at_answer = ""
    line.resume()
    line.reset_connections()
    return in_time


def test_twenty_random_kills(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    size, dice = 24 * MIB, random.Random(20261123)
    source = make_file(tmp_path / "big.bin", size)
    data = source.read_bytes()
    through = door.at(line.url)
    line.bytes_per_second = 40 * MIB
    in_time = 0
    for _ in range(20):
        in_time += kill_somewhere(line, Client(through, source, hurry=True), dice)
        assert not door.on_disk().exists() or door.on_disk().read_bytes() == data
        assert len(door.litter()) <= 1
    assert in_time >= 16, "the kills came too late to prove anything"
    assert Client(through, source, hurry=True).result()
    assert door.on_disk().read_bytes() == data
    assert door.litter() == []
    finished = sum("action=rename" in request for request in line.requests)
    assert line.bytes_up < (finished + 1) * size, "what was there was sent again"
