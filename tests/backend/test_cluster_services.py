"""The processes of the cluster rig: found again by their files, never mistaken for another."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ..cluster.services import Component, Services

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cluster rig reads /proc")

_SLEEPS = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
_IGNORES = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)


def component(services: Services, command: tuple[str, ...]) -> Component:
    return Component("part", command, ready=lambda: "up" in services.log("part").read_text())


def test_another_program_finds_and_stops_what_was_started(tmp_path: Path) -> None:
    Services(tmp_path).start(component(Services(tmp_path), _SLEEPS))
    later = Services(tmp_path)
    pid = later.pid("part")
    assert pid is not None and later.names() == ["part"] and later.memory("part") > 1 << 20
    later.check()
    later.stop("part")
    assert later.pid("part") is None and later.names() == []
    assert not runs(pid)


def runs(pid: int) -> bool:
    """Whether a process does anything still; one that nobody asked about since it ended does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    services = Services(tmp_path)
    services.start(component(services, _IGNORES))
    services.stop("part", patience=0.2)
    assert services.pid("part") is None


def test_one_that_died_is_named_with_its_log(tmp_path: Path) -> None:
    services = Services(tmp_path)
    services.start(component(services, _SLEEPS))
    pid = services.pid("part")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while services.pid("part") is not None:
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match="part died: up"):
        services.check()


def test_a_number_that_another_process_has_now_is_left_alone(tmp_path: Path) -> None:
    services = Services(tmp_path)
    (tmp_path / "part.pid").write_text(f"{os.getpid()} 12345")
    assert services.pid("part") is None
    services.stop("part")
    assert services.names() == []


def test_one_that_dies_as_it_starts_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    services = Services(tmp_path)
    stubborn = (sys.executable, "-c", "print('too early')")
    with pytest.raises(RuntimeError, match="part does not start: (too early\n){3}$"):
        services.start(Component("part", stubborn, ready=lambda: False, lives=3))


def test_one_that_is_never_ready_is_said_to_be_so(tmp_path: Path) -> None:
    services = Services(tmp_path)
    with pytest.raises(RuntimeError, match="part is not ready after"):
        services.start(Component("part", _SLEEPS, ready=lambda: False, patience=0.2))
    services.stop("part")
