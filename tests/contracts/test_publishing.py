"""Publishing frames where it is hardest: renderers on two machines that share a network file system."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from ..blender.stub_farm import StubJob
from ..blender.test_publish import race
from ..rigs.network_volume import NetworkVolume


@pytest.mark.network_volume
def test_attempts_on_two_mounts_have_one_winner(network_volume: NetworkVolume, tmp_path: Path) -> None:
    folder = uuid.uuid4().hex
    near, far = (mount / folder for mount in network_volume.mounts)
    race(StubJob(tmp_path, root=near), [near, far, far], rounds=60)
