"""The table of options: complete, unambiguous, and the same for text and typed values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cloud_farm.control import OVERRIDES
from cloud_farm.errors import FrameRangeError, InvalidJobError, UsageError
from cloud_farm.job import RenderJob
from cloud_farm.options import (
    FRONT_ONLY_FIELDS,
    FRONT_OPTIONS,
    JOB_OPTIONS,
    TOOLTIPS,
    job_from_values,
    overrides_from_values,
    parse_duration,
)


def test_every_field_of_a_job_is_an_option_or_exempt_with_a_reason() -> None:
    fields = {field.name for field in dataclasses.fields(RenderJob)}
    options = [option.field for option in JOB_OPTIONS]
    assert len(options) == len(set(options))
    assert set(options) | set(FRONT_ONLY_FIELDS) == fields
    assert not set(options) & set(FRONT_ONLY_FIELDS)
    assert all(FRONT_ONLY_FIELDS.values())


def test_no_flag_and_no_name_stands_for_two_things() -> None:
    options = [*JOB_OPTIONS, *FRONT_OPTIONS]
    flags = [flag for option in options for flag in option.flags]
    assert len(flags) == len(set(flags))
    assert len({option.name for option in options}) == len(options)
    assert all(option.help.endswith((".", "…")) for option in options)


def test_a_command_line_says_what_can_be_chosen_and_repeated_and_a_tooltip_does_not() -> None:
    options = {option.name: option for option in JOB_OPTIONS}
    assert options["device"].usage.endswith("One of auto, cpu, cuda, optix, hip, oneapi, metal.")
    assert options["camera"].usage.endswith("Give it again for more.")
    assert options["format"].usage == options["format"].help, "the list is too long"
    assert not any(text.endswith(".") or "again" in text or "One of" in text for text in TOOLTIPS.values())


def test_what_a_retry_may_change_are_options() -> None:
    assert set(OVERRIDES) <= {option.field for option in JOB_OPTIONS}


def test_text_and_typed_values_make_the_same_job() -> None:
    text: dict[str, Any] = {
        "frames": "1-9:2", "device": "OptiX", "format": "exr", "frame_limit": "1h30m", "engine": "cycles", "camera": ["A", "B"],
    }  # fmt: skip
    typed = {
        "frames": "1-9:2",
        "device": "optix",
        "format": "OPEN_EXR",
        "frame_limit": 5400,
        "engine": "CYCLES",
        "camera": ("A", "B"),
    }
    assert job_from_values("a.blend", text) == job_from_values("a.blend", typed)


def test_nothing_given_is_the_default_job() -> None:
    nothing = {option.name: () if option.many else None for option in JOB_OPTIONS}
    assert job_from_values("a.blend", nothing) == RenderJob("a.blend")
    assert overrides_from_values(nothing) == {}


def test_overrides_are_what_was_given_even_where_it_is_the_default() -> None:
    assert overrides_from_values({"device": "auto", "samples": 64}) == {"device": "auto", "samples": 64}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("30d", 2592000)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "10 minutes", "m", "1h-", "inf", "1e9", "5:30"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_duration(text)


@pytest.mark.parametrize("frames", ["5-1", "abc", "", " ", "1-1000000", "1,,2", "1-10:0", "1--"])
def test_frames_are_refused_before_anything_is_opened(frames: str) -> None:
    with pytest.raises(FrameRangeError):
        job_from_values("a.blend", {"frames": frames})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("device", "gpu", "auto, cpu, cuda"),
        ("format", "mp3", "PNG, JPEG"),
        ("format", "FFMPEG", "PNG, JPEG"),
        ("samples", 0, "at least 1"),
        ("percentage", 0, "1 or more"),
        ("chunk_size", 0, "at least 1"),
        ("retries", 0, "at least once"),
        ("priority", 101, "0 to 100"),
        ("seed", 2**31, "32 bits"),
        ("cost_cap", -1.0, "more than 0"),
    ],
)
def test_values_that_no_job_can_have(name: str, value: Any, words: str) -> None:
    with pytest.raises((UsageError, InvalidJobError), match=words):
        job_from_values("a.blend", {name: value})
