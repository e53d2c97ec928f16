"""How much of this computer we may use: what its system says, and control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cloud_farm import capacity
from cloud_farm.capacity import usable_cores, usable_memory

_REAL_MEMORY = capacity._physical_memory


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def own(groups: Path, text: str) -> Path:
    path = groups.parent / "own"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(capacity, "_physical_memory", lambda: 64 << 30)


def test_without_limits_it_is_what_the_machine_has(groups: Path) -> None:
    write(groups / "cpu.max", "max 100000\n")
    write(groups / "memory.max", "max\n")
    path = own(groups, "0::/\n")
    assert usable_cores(cgroups=groups, own=path) == 8
    assert usable_memory(cgroups=groups, own=path) == 64 << 30


def test_version_2_the_tightest_group_counts(groups: Path) -> None:
    write(groups / "user.slice" / "cpu.max", "250000 100000\n")
    write(groups / "user.slice" / "memory.max", f"{6 << 30}\n")
    write(groups / "user.slice" / "session" / "cpu.max", "max 100000\n")
    write(groups / "user.slice" / "session" / "memory.max", f"{9 << 30}\n")
    path = own(groups, "0::/user.slice/session\n")
    assert usable_cores(cgroups=groups, own=path) == 3
    assert usable_memory(cgroups=groups, own=path) == 6 << 30


def test_version_1(groups: Path) -> None:
    write(groups / "cpu,cpuacct" / "docker" / "x" / "cpu.cfs_quota_us", "150000\n")
    write(groups / "cpu,cpuacct" / "docker" / "x" / "cpu.cfs_period_us", "100000\n")
    write(groups / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(groups / "cpu" / "cpu.cfs_period_us", "100000\n")
    write(groups / "memory" / "docker" / "x" / "memory.limit_in_bytes", f"{3 << 30}\n")
    write(groups / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")
    path = own(groups, "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n1:name=systemd:/\n")
    assert usable_cores(cgroups=groups, own=path) == 2
    assert usable_memory(cgroups=groups, own=path) == 3 << 30


@pytest.mark.parametrize("nonsense", ["", "abc", "0 0", "100000 0", "-5 3", "\x00\x01"])
def test_nonsense_is_no_limit(groups: Path, nonsense: str) -> None:
    write(groups / "cpu.max", nonsense)
    write(groups / "memory.max", nonsense.split(" ")[0].replace("100000", "x").replace("0", "x"))
    path = own(groups, nonsense)
    assert usable_cores(cgroups=groups, own=path) == 8
    assert usable_memory(cgroups=groups, own=path) == 64 << 30


def test_less_than_one_core_is_one(groups: Path) -> None:
    write(groups / "cpu.max", "20000 100000")
    assert usable_cores(cgroups=groups, own=groups / "absent") == 1


def test_this_computer_answers() -> None:
    assert usable_cores() >= 1
    assert usable_memory() > 256 << 20


def test_what_windows_does_not_tell_is_assumed() -> None:
    assert _REAL_MEMORY(system="win32") in (4 << 30, _REAL_MEMORY())
