"""The cut of a .blend: nothing lost, nothing twice, and an edit changes few pieces."""

from __future__ import annotations

import io
import json
import zlib
from itertools import cycle

import pytest
from cloud_farm.blend_blocks import Block, read_blocks
from cloud_farm.delta import LARGE, PIECE, Cut, cut, piece_size, pieces_pay, recipe

from .blend_bytes import HEADERS, Blocks, make_blend, random_blocks


def cut_bytes(raw: bytes) -> Cut:
    def mark(block: Block) -> int:
        return zlib.crc32(raw[block.offset : block.offset + min(block.size, 4096)])

    return cut(read_blocks(io.BytesIO(raw), len(raw)), len(raw), mark=mark)


def contents(raw: bytes, plan: Cut) -> tuple[list[bytes], list[bytes]]:
    """What the pieces of the small and the large strand hold."""
    small, large = (
        [b"".join(raw[o : o + n] for o, n in piece) for piece in strand] for strand in (plan.small, plan.large)
    )
    return small, large


def weave(raw: bytes, plan: Cut) -> bytes:
    strands = [io.BytesIO(b"".join(strand)) for strand in contents(raw, plan)]
    woven = b"".join(strand.read(length) for strand, length in zip(cycle(strands), plan.runs, strict=False))
    assert not any(strand.read() for strand in strands)
    return woven


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("seed", range(8))
def test_pieces_make_the_file_again(seed: int, header: str) -> None:
    raw = make_blend(random_blocks(seed), header, session=seed, tail=bytes(seed))
    plan = cut_bytes(raw)
    assert weave(raw, plan) == raw
    assert sum(map(piece_size, plan.pieces)) == len(raw)
    assert max(map(piece_size, plan.pieces)) <= PIECE
    assert all(offset >= 0 and length >= 0 for piece in plan.pieces for offset, length in piece)


@pytest.mark.parametrize(
    "blocks",
    [[], [(b"DATA", b"")], [(b"DATA", bytes(LARGE))], [(b"DATA", bytes(3 * PIECE))], [(b"OB\0\0", bytes(3 * PIECE))]],
)
def test_odd_files_too(blocks: Blocks) -> None:
    raw = make_blend(blocks)
    plan = cut_bytes(raw)
    assert weave(raw, plan) == raw
    assert sum(piece_size(piece) for piece in plan.large) == sum(
        len(data) for code, data in blocks if code == b"DATA" and len(data) >= LARGE
    )


def new_bytes(before: bytes, after: bytes) -> int:
    """Bytes of the large strand that the first file did not have."""
    _, known = contents(before, cut_bytes(before))
    _, wanted = contents(after, cut_bytes(after))
    return sum(len(piece) for piece in set(wanted) - set(known))


@pytest.mark.parametrize("seed", range(8))
def test_another_session_changes_no_large_piece(seed: int) -> None:
    blocks = random_blocks(seed)
    assert new_bytes(make_blend(blocks, session=1), make_blend(blocks, session=2)) == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_new_or_edited_block_in_the_middle_changes_its_neighbourhood_only(seed: int) -> None:
    blocks = random_blocks(seed, 900)
    before = make_blend(blocks, session=1)
    more = [*blocks[:400], (b"OB\0\0", bytes(900)), (b"DATA", b"new" * 5000), *blocks[400:]]
    assert 0 < new_bytes(before, make_blend(more, session=2)) <= 3 * PIECE
    fewer = [*blocks[:400], *blocks[420:]]
    assert new_bytes(before, make_blend(fewer, session=3)) <= 3 * PIECE
    place = next(n for n in range(450, 900) if blocks[n][0] == b"DATA" and LARGE + 5000 < len(blocks[n][1]) < PIECE)
    edited = blocks[place][1][:-100] + bytes(100)
    changed = [*blocks[:place], (b"DATA", edited), *blocks[place + 1 :]]
    assert 0 < new_bytes(before, make_blend(changed, session=4)) <= PIECE


def test_an_array_that_grows_keeps_its_full_pieces() -> None:
    data = random_blocks(1, 1)[0][1] + bytes(range(256)) * 20_000
    assert new_bytes(make_blend([(b"DATA", data)]), make_blend([(b"DATA", data + b"more")])) <= PIECE


def test_many_equal_meshes_are_few_pieces() -> None:
    blocks = [(b"DATA", bytes(range(200)) * 100)] * 2000
    plan = cut_bytes(make_blend(blocks))
    assert len(plan.large) < 120
    _, large = contents(make_blend(blocks), plan)
    assert len(set(large)) <= 3


def test_the_recipe_has_the_sizes_of_all_pieces() -> None:
    raw = make_blend(random_blocks(3))
    plan = cut_bytes(raw)
    data = json.loads(recipe(plan))
    assert data["schema"] == 1
    assert [*data["small"], *data["large"]] == [piece_size(piece) for piece in plan.pieces]
    assert sum(data["runs"]) == len(raw)


def test_pieces_pay_unless_the_whole_file_is_much_smaller() -> None:
    assert pieces_pay(100, 100)
    assert pieces_pay(199, 100)
    assert not pieces_pay(200, 100)
