"""A job's logs as they grow: every line once, none before it is whole, each after the name of its attempt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cloud_farm.errors import UsageError
from cloud_farm.job_logs import JobLogs
from cloud_farm.layout import JobLayout
from cloud_farm.stores.folder import FolderStore

JOB = "shot-20261123-abc123"
ONE, TWO = "r1c00001.0000000a", "r1c00002.0000000b"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / JobLayout(JOB).logs).mkdir(parents=True)
    return FolderStore(tmp_path)


def write(tmp_path: Path, attempt: str, text: str, at: int) -> None:
    path = tmp_path / JobLayout(JOB).logs / f"{attempt}.log"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)
    os.utime(path, (at, at))


def test_two_attempts_that_write_in_turn_lose_and_repeat_no_line(store: FolderStore, tmp_path: Path) -> None:
    logs = JobLogs(store, JOB)
    write(tmp_path, ONE, "a\nb\n", 1)
    write(tmp_path, TWO, "x\n", 2)
    assert list(logs.new_lines(over=False)) == [f"== {ONE}", "a", "b", f"== {TWO}", "x"]
    write(tmp_path, ONE, "c\n", 3)  # now it is the one that was written last
    assert list(logs.new_lines(over=False)) == [f"== {ONE}", "c"]
    write(tmp_path, ONE, "d\n", 4)
    assert list(logs.new_lines(over=False)) == ["d"]
    assert list(logs.new_lines(over=True)) == []


def test_a_line_comes_when_it_is_whole_or_nothing_follows(store: FolderStore, tmp_path: Path) -> None:
    logs = JobLogs(store, JOB)
    write(tmp_path, ONE, "half a li", 1)
    assert list(logs.new_lines(over=False)) == []
    write(tmp_path, ONE, "ne\nnever end", 2)
    assert list(logs.new_lines(over=False)) == [f"== {ONE}", "half a line"]
    assert list(logs.new_lines(over=True)) == ["never end"]


@pytest.mark.parametrize("wanted", ["r1c00002", TWO])
def test_one_chunk_or_attempt(store: FolderStore, tmp_path: Path, wanted: str) -> None:
    write(tmp_path, ONE, "a\n", 1)
    write(tmp_path, TWO, "x\n", 2)
    logs = JobLogs(store, JOB, chunk=wanted)
    logs.check()
    assert list(logs.new_lines(over=True)) == [f"== {TWO}", "x"]


def test_a_chunk_without_a_log_is_refused_with_those_that_have_one(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no log of 'r9'. It has: none yet"):
        JobLogs(store, JOB, chunk="r9").check()
    write(tmp_path, ONE, "a\n", 1)
    with pytest.raises(UsageError, match=f"It has: {ONE}"):
        JobLogs(store, JOB, chunk="r9").check()
