"""The way to a cluster: one, whole, with the token kept elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import certifi
import pytest
from cloud_farm.engines.argo_access import ClusterAccess, read_access
from cloud_farm.errors import ProfileError

from .argo_farm import farm

SERVER = "https://cluster.example.com:6443"
ENVIRON = {"FARM_TOKEN": "not-for-everybody"}


def read(**values: Any) -> ClusterAccess:
    return read_access(farm(kubernetes=values), environ=ENVIRON)


def test_without_a_word_the_users_own_kubeconfig_is_the_way() -> None:
    assert read(namespace="render") == ClusterAccess()


def test_a_kubeconfig_and_a_context(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.touch()
    assert read(kubeconfig=str(path), context="studio") == ClusterAccess(kubeconfig=str(path), context="studio")


def test_an_address_with_a_token_that_nobody_sees() -> None:
    access = read(server=f"{SERVER}/", token={"env": "FARM_TOKEN"}, ca_file=certifi.where())
    assert (access.server, access.token, access.ca_file) == (SERVER, "not-for-everybody", certifi.where())
    assert "not-for-everybody" not in repr(access)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"server": SERVER}, "server needs a token"),
        ({"server": SERVER, "token": {"env": "OTHER"}}, "OTHER, which is not set"),
        ({"server": SERVER, "token": {"env": "FARM_TOKEN"}, "context": "x"}, "both server and context"),
        ({"token": {"env": "FARM_TOKEN"}}, "token needs kubernetes.server"),
        ({"ca_file": "x"}, "ca_file needs kubernetes.server"),
        ({"ca": "x"}, "ca needs kubernetes.server"),
        ({"server": SERVER, "token": {"env": "FARM_TOKEN"}, "ca": "x"}, r"kubernetes\.ca holds no certificates"),
        ({"server": "http://cluster"}, "should look like https://"),
        ({"server": "https://user:word@cluster"}, "should look like https://"),
        ({"server": "https://[cluster"}, "should look like https://"),
        ({"kubeconfig": "/nowhere/config"}, "there is no file /nowhere/config"),
    ],
)  # fmt: skip
def test_half_a_way_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        read(**values)
