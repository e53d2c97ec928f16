"""The rig of the network volume: what a killed run leaves behind is in nobody's way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ..rigs.network_volume import NetworkVolume, clear_leftovers

_RUN = "import sys, time; from tests.rigs.network_volume import NetworkVolume; NetworkVolume.up(clients=1); print(flush=True); time.sleep(99)"


@pytest.mark.network_volume
def test_what_a_killed_run_left_is_cleared_away(network_volume: NetworkVolume) -> None:
    with subprocess.Popen([sys.executable, "-c", _RUN], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as run:
        assert run.stdout is not None
        try:
            assert run.stdout.readline() == b"\n"
            folder = Path(tempfile.gettempdir()) / f"cloud-farm-volume-{run.pid}"
            os.kill(int(subprocess.check_output(["pgrep", "-f", f"{folder}/client1"])), signal.SIGKILL)
        finally:
            run.kill()
    with pytest.raises(OSError) as dead:
        (folder / "client1").stat()
    assert dead.value.errno in (errno.ENOTCONN, errno.ECONNABORTED), (
        "the second: the client died with the question in hand"
    )
    clear_leftovers()
    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert all(mount.is_mount() for mount in network_volume.mounts), "one that is in use stays"
