"""`cloud-farm store` through a real FileBrowser: what its check finds out about server, way and user."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.cli import run
from cloud_farm.layout import asset
from cloud_farm.lights import try_out
from cloud_farm.stores import StoreDescription

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import BOT, BOT_PERMISSIONS, FileBrowserServer, User
from ..rigs.processes import free_port
from ..rigs.reverse_proxy import Nginx
from .clients import FOLDER, Door, door_to, sha256


def farm_file(door: Door, folder: Path) -> str:
    """Write the profile of the farm behind a door."""
    profile = door.profile
    data = {
        "schema": 1, "name": "farm", "store": "filebrowser", "filebrowser": dict(profile.filebrowser),
        "volume": {"mount_path": "/mnt/farm", "store_prefix": door.prefix},
    }  # fmt: skip
    path = folder / "farm.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def checked(door: Door, folder: Path, capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    """Run a check; returns what it found by name."""
    assert run(["store", "check", "--json", "--farm", farm_file(door, folder)]) == code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {item["name"]: item for item in found}


def test_a_check_of_a_sound_server_is_green(door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(door, tmp_path, capsys)
    names = ("version", "tls", "proxy", "rights", "space", "clock", "latency", "upload", "download")
    assert tuple(found) == names
    assert {found[name]["level"] for name in names if name not in ("space", "upload", "download")} == {"green"}
    assert "FileBrowser 2.63.23" in found["version"]["message"]
    assert "does not leave this computer" in found["tls"]["message"]
    assert found["upload"]["values"]["bytes_per_second"] > 0 < found["download"]["values"]["bytes_per_second"]
    assert door.files() == []


def test_a_server_that_does_not_answer_is_exit_code_3(
    door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checked(door.at(f"http://127.0.0.1:{free_port()}"), tmp_path, capsys, code=3)
    assert found["reach"]["level"] == "red"
    assert "can't be reached" in found["reach"]["message"]


def test_a_wrong_password_is_red(door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(door.as_user(replace(BOT, password="not the right one")), tmp_path, capsys, code=1)
    assert "was not accepted" in found["login"]["message"]


@pytest.fixture(scope="module")
def server_of_some(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose users lack one right each."""
    users = tuple(
        User(f"no-{right}", "the bot of the tests", BOT_PERMISSIONS - {right}) for right in sorted(BOT_PERMISSIONS)
    )
    with FileBrowserServer(tmp_path_factory.mktemp("volume"), users=users) as running:
        yield running


def test_the_light_of_a_volume_says_what_answers_how_fast_and_how_much_is_free(door: Door) -> None:
    light = next(try_out(replace(door.profile, engine="local")))
    assert (light.name, light.level) in (("volume", "green"), ("volume", "yellow")), light
    if light.level == "green":
        assert "FileBrowser 2." in light.message and " ms " in light.message and " free" in light.message
    wrong = next(try_out(door.as_user(User("nobody", "wrong-password")).profile))
    assert wrong.level == "red" and "password" in wrong.message


@pytest.mark.parametrize("right", sorted(BOT_PERMISSIONS))
def test_the_right_that_is_missing_is_named(
    server_of_some: FileBrowserServer, right: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = next(user for user in server_of_some.users if user.name == f"no-{right}")
    found = checked(door_to(server_of_some, tmp_path).as_user(user), tmp_path, capsys, code=1)
    assert found["rights"]["level"] == "red"
    assert f"lacks the right to {right}" in found["rights"]["message"]


@pytest.mark.parametrize(
    ("body_limit", "level", "limit"), [("1m", "yellow", 1 << 20), ("32k", "red", 32 << 10), ("0", "green", 1 << 30)]
)
def test_what_a_proxy_lets_through_is_found_out_without_sending_it(
    door: Door, body_limit: str, level: str, limit: int
) -> None:
    with Nginx(door.url, body_limit=body_limit) as proxy, FaultProxy(proxy.url) as line:
        found = described(door.at(line.url))
    assert found.request_limit == limit
    assert line.bytes_up < 64 << 10, "it was tried with a body"


def described(door: Door) -> StoreDescription:
    return door.open().describe()


def test_the_limit_of_a_proxy_with_tls_is_found_too(door: Door) -> None:
    with Nginx(door.url, tls=True, client_certificates=True, body_limit="1m") as proxy:
        certificate, key = proxy.client
        settings = {"client_certificate": {"certificate": str(certificate), "key": str(key)}}
        found = described(door.at(proxy.url, ca_file=str(proxy.ca), **settings))
    assert (found.encrypted, found.request_limit) == (True, 1 << 20)


def test_behind_a_proxy_of_this_side_the_limit_is_not_told(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy(door.url) as line:
        monkeypatch.setenv("HTTP_PROXY", line.url)
        monkeypatch.setenv("NO_PROXY", "")
        assert described(door.at(line.url)).request_limit is None


def test_du_and_gc_through_the_door(door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, farm = door.open(), farm_file(door, tmp_path)
    store.put(b"x" * 3000, asset(sha256(b"x" * 3000)))
    store.put(b"mine", FOLDER / "film.blend")
    assert run(["store", "du", "--farm", farm]) == 0
    assert "assets" in capsys.readouterr().out
    assert run(["store", "gc", "--yes", "--farm", farm]) == 0
    assert "1 asset that no job needs, but not yet a day old" in capsys.readouterr().out
    assert store.read(FOLDER / "film.blend") == b"mine"
