"""A large scene in pieces through a real FileBrowser: after an edit in another session little goes over the line."""

from __future__ import annotations

from pathlib import Path

from cloud_farm.delivery import Delivery
from cloud_farm.hashing import packed_files
from cloud_farm.job import PackedFile
from cloud_farm.tracing import TracedFile

from ..backend.blend_bytes import make_blend, random_blocks
from ..blender.stub_farm import INSIDE
from ..rigs.fault_proxy import FaultProxy
from .clients import Door

import assemble  # isort: skip - a script of inside_blender: stub_farm knows where

assert INSIDE.is_dir()
BLOCKS = [(code, data) for code, data in random_blocks(1, 400) if code != b"OB\0\0"]
"""No large blocks of noise that are new in each session: Blender has none."""


def deliver(door: Door, entry: PackedFile) -> None:
    delivery = Delivery(door.open())
    assets = {item.sha256: item for item in entry.assets()}
    delivery.send(delivery.missing(assets))
    delivery.settle(assets)


def put_together(door: Door, entry: PackedFile, target: Path) -> bytes:
    """What prepare makes of the server's disk."""
    there = {path.name: path for path in door.root.rglob("assets/*/*")}
    assemble.assemble([there[part.sha256] for part in entry.parts], entry.size, target)
    return target.read_bytes()


def test_an_edited_scene_sends_its_changes(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    def pack(name: str, raw: bytes) -> PackedFile:
        (tmp_path / name).write_bytes(raw)
        traced = [TracedFile(tmp_path / name, "shot.blend")]
        return packed_files(traced, workdir=tmp_path, pieces_from=0, cache=tmp_path / "hashes.sqlite")[0]

    first = make_blend(BLOCKS, session=1)
    edited = make_blend([*BLOCKS[:60], (b"DATA", b"a new object" * 5000), *BLOCKS[60:]], session=2)
    deliver(door.at(line.url), pack("first.blend", first))
    sent = line.bytes_up
    assert sent > 0.9 * len(first)
    entry = pack("edited.blend", edited)
    deliver(door.at(line.url), entry)
    assert line.bytes_up - sent < 0.15 * len(edited)
    assert put_together(door, entry, tmp_path / "made") == edited
    line.requests.clear()
    deliver(door.at(line.url), pack("edited.blend", edited))
    assert {text.split()[0] for text in line.requests if "/api/login" not in text} == {"GET"}
