"""Frame ranges: what artists type, the canonical text, chunks."""

from __future__ import annotations

import random

import pytest
from cloud_farm.errors import FrameRangeError
from cloud_farm.frames import MAX_FRAMES, FrameRange, format_frames


@pytest.mark.parametrize(
    ("typed", "canonical", "count"),
    [
        ("1-250", "1-250", 250),
        ("1-250:5", "1-246:5", 50),
        ("1-250x5", "1-246:5", 50),
        ("10-1:-1", "1-10", 10),
        ("-10--1,1-9:2", "-10--1,1-9:2", 15),
        ("3,17,240", "3,17,240", 3),
        ("1-3,2-5,4", "1-5", 5),
        (" 7 ", "7", 1),
        ("-5", "-5", 1),
        ("1 - 5", "1-5", 5),
        ("1..4", "1-4", 4),
        ("1\u20135", "1-5", 5),
        ("240,17,3", "3,17,240", 3),
        ("1,3", "1,3", 2),
    ],
)
def test_typed_text_becomes_canonical(typed: str, canonical: str, count: int) -> None:
    frames = FrameRange.parse(typed)
    assert str(frames) == canonical
    assert len(frames) == count
    assert FrameRange.parse(canonical) == frames


def test_scene_takes_range_and_step_of_the_file() -> None:
    assert FrameRange.parse("scene", scene=(1, 10, 3)).frames == (1, 4, 7, 10)
    assert FrameRange.parse("scene,20", scene=(1, 2, 1)).frames == (1, 2, 20)


@pytest.mark.parametrize("text", ["", "5-1", "abc", ",", "1-5:0", "1-2-3", "1-5:-1", "scene", "1e3", "1-", "0x10"])
def test_nonsense_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(FrameRangeError) as caught:
        FrameRange.parse(text)
    assert caught.value.expression == text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["1-1000000", f"1-{MAX_FRAMES},{MAX_FRAMES + 1}", "-999999999-999999999"])
def test_too_many_frames_are_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(FrameRangeError, match="at most 500,000"):
        FrameRange.parse(text)


def test_exactly_the_limit_is_fine() -> None:
    assert len(FrameRange.parse(f"1-{MAX_FRAMES}")) == MAX_FRAMES


def test_backwards_range_says_what_was_meant() -> None:
    with pytest.raises(FrameRangeError, match="Did you mean 1-5"):
        FrameRange.parse("5-1")


def test_chunks_keep_order_and_lose_nothing() -> None:
    frames = FrameRange.parse("1-10,20")
    chunks = frames.chunks(4)
    assert [str(chunk) for chunk in chunks] == ["1-4", "5-8", "9-10,20"]
    assert [frame for chunk in chunks for frame in chunk] == list(frames)
    with pytest.raises(FrameRangeError):
        frames.chunks(0)


def test_any_set_survives_its_text() -> None:
    draw = random.Random(7)
    for _ in range(300):
        frames = FrameRange.of(draw.sample(range(-60, 60), draw.randint(1, 40)))
        assert FrameRange.parse(str(frames)) == frames


def test_membership_agrees_with_the_frames() -> None:
    frames = FrameRange.parse("-4-20:3")
    assert [n for n in range(-10, 30) if n in frames] == list(frames)
    assert "3" not in frames


def test_no_frames_have_an_empty_text() -> None:
    assert format_frames([]) == ""
