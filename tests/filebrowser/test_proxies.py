"""FileBrowser behind nginx and other ways: limits, buffers, prefixes, gateways that lose their server, proxies of the environment."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cloud_farm.errors import StoreError, StoreUnreachableError

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.forward_proxy import Tinyproxy
from ..rigs.reverse_proxy import Nginx
from .clients import BIG, FOLDER, MIB, PATIENCE, Door, background, content, door_to, until


def check_put(door: Door, size: int, *, seed: int = 1) -> None:
    assert door.open().put(content(size, seed), BIG)
    assert door.on_disk().read_bytes() == content(size, seed)
    assert door.litter() == []


def refusals(proxy: Nginx) -> int:
    return sum('" 413 ' in line for line in proxy.access_log)


@pytest.mark.parametrize("buffering", [False, True])
def test_nginx_as_it_is_unless_told_takes_no_more_than_a_mebibyte(door: Door, buffering: bool) -> None:
    """Also for files that would go by one request; and what one upload learns, all others know."""
    with Nginx(door.url, body_limit="1m", request_buffering=buffering) as proxy:
        store = door.at(proxy.url).open()
        for number, size in enumerate([20 * MIB, 3 * MIB, 8 * MIB]):
            assert store.put(content(size, number), BIG)
            assert door.on_disk().read_bytes() == content(size, number)
            assert refusals(proxy) == 4, "16, 8, 4 and 2 MiB once"
        assert door.litter() == []


def test_a_small_file_that_is_too_large_goes_in_pieces(door: Door) -> None:
    with Nginx(door.url, body_limit="200k") as proxy:
        check_put(door.at(proxy.url), 700_000)


def test_a_proxy_that_takes_next_to_nothing_is_named(door: Door) -> None:
    with Nginx(door.url, body_limit="32k") as proxy:
        with pytest.raises(
            StoreError, match=r"takes no request of \d+ KiB. Raise its limit \(nginx: client_max_body_size 0\)"
        ):
            door.at(proxy.url).open().put(content(MIB), BIG)
        assert not door.on_disk().exists()


def test_a_proxy_that_holds_requests_back(door: Door) -> None:
    with Nginx(door.url, request_buffering=True) as proxy, FaultProxy(proxy.url) as line:
        line.reset_every = 5 * MIB  # what was not whole never reaches the server
        check_put(door.at(line.url), 20 * MIB)


@pytest.mark.parametrize(("prefix", "strip", "base_url"), [("/a/b c/", True, ""), ("/files/", False, "/files")])
def test_a_path_in_front(tmp_path: Path, prefix: str, strip: bool, base_url: str) -> None:
    with FileBrowserServer(tmp_path / "volume", base_url=base_url) as server:
        door = door_to(server, tmp_path)
        with Nginx(server.url.removesuffix(base_url), prefix=f'"{prefix}"', strip_prefix=strip) as proxy:
            url = proxy.url.replace('"', "").rstrip("/").replace(" ", "%20")
            through = door.at(url)
            check_put(through, 5 * MIB)
            store = through.open()
            store.move(BIG, FOLDER / "moved #1 100%")
            assert store.read(FOLDER / "moved #1 100%", start=10, length=5) == content(5 * MIB)[10:15]
            assert [entry.name for entry in store.list(FOLDER)] == ["moved #1 100%"]


def test_who_asks_too_often_waits(door: Door) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    with Nginx(door.url, requests_per_second=1, burst=5) as proxy:
        store = door.at(proxy.url).open(sleep=wait)
        store.put(b"x", BIG)
        assert store.read(BIG) == b"x"
        assert max(waits) >= 1.0, "the proxy asked for a second"


def test_a_gateway_without_its_server(tmp_path: Path) -> None:
    """502 for as long as the pod is replaced; then the upload goes on, and its first bytes too are those of this file."""
    data = content(20 * MIB)
    with FileBrowserServer(tmp_path / "volume") as server, Nginx(server.url) as proxy, FaultProxy(proxy.url) as line:
        door = door_to(server, tmp_path)
        line.stall_at_answer = "PATCH /api/tus/"
        upload = background(lambda: door.at(line.url).open().put(data, BIG))
        until(lambda: line.is_stalled, "the first piece")
        server.kill()
        line.resume()
        until(lambda: any('" 502 ' in entry for entry in proxy.access_log), "a 502")
        server.start()
        assert upload.result(PATIENCE)
        assert door.on_disk().read_bytes() == data
        assert door.litter() == []
        server.kill()
        with pytest.raises(StoreUnreachableError, match=r"jammed \(502\). Is the FileBrowser pod up"):
            door.at(proxy.url).open().list(FOLDER)


def test_a_gateway_that_loses_patience_with_the_hash(door: Door, line: FaultProxy) -> None:
    """Samples are compared then: they find a piece that is missing, doubled or another's."""
    data = content(20 * MIB)
    store = door.at(line.url).open()
    for _ in range(9):
        line.answer_once(504, "<h1>504</h1>", matching="checksum=sha256")
    assert store.put(data, BIG)
    assert door.on_disk().read_bytes() == data
    samples = sum(request.startswith("GET /api/raw/") for request in line.requests)
    assert 8 <= samples <= 12


def test_samples_find_a_doubled_piece(door: Door, line: FaultProxy) -> None:
    data = content(20 * MIB)
    for _ in range(9):
        line.answer_once(504, "<h1>504</h1>", matching="checksum=sha256")
    line.stall_at_request = "checksum=sha256"
    upload = background(lambda: door.at(line.url).open().put(data, BIG))
    until(lambda: line.is_stalled, "the question for the hash")
    [part] = door.on_disk().parent.glob("*.part")
    part.write_bytes(data[:100] + data[: 20 * MIB - 100])
    line.resume()
    assert upload.result(PATIENCE)
    assert door.on_disk().read_bytes() == data, "it was not sent anew"
    assert line.bytes_up > 40 * MIB
    assert door.litter() == []


def test_plain_http_through_a_proxy_of_the_environment(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tinyproxy(login="me:a-word") as way_out:
        monkeypatch.setenv("HTTP_PROXY", way_out.url)
        check_put(door, 5 * MIB)
        assert any("PATCH" in request for request in way_out.requests)
        before = len(way_out.requests)
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        check_put(door, 5 * MIB, seed=2)
        assert len(way_out.requests) == before


def test_ipv6(tmp_path: Path) -> None:
    with FileBrowserServer(tmp_path / "volume", host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        check_put(door_to(server, tmp_path), 5 * MIB)
