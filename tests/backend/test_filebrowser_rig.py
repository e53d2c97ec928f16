"""The rigs for the cluster's door do what they say: FileBrowser, the nginx in front of it, and the bad network between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import pytest
import requests

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import BOT, FileBrowserServer
from ..rigs.processes import RigUnavailable
from ..rigs.reverse_proxy import Nginx

_TIMEOUT = 20
_T = TypeVar("_T")


def _or_skip(make: Callable[[], _T]) -> _T:
    try:
        return make()
    except RigUnavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBrowserServer]:
    root = tmp_path_factory.mktemp("volume")
    with _or_skip(lambda: FileBrowserServer(root)) as running:
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False  # the user's proxies know nothing of this machine's ports
        yield made


def _log_in(session: requests.Session, url: str) -> None:
    answer = session.post(f"{url}/api/login", json={"username": BOT.name, "password": BOT.password}, timeout=_TIMEOUT)
    assert answer.status_code == 200
    assert answer.text.count(".") == 2
    session.headers["X-Auth"] = answer.text


def _put(session: requests.Session, url: str, name: str, data: bytes) -> requests.Response:
    return session.post(f"{url}/api/resources/{quote(name, safe='')}?override=true", data=data, timeout=_TIMEOUT)


def _get(session: requests.Session, url: str, name: str) -> requests.Response:
    return session.get(f"{url}/api/raw/{quote(name, safe='')}", timeout=_TIMEOUT)


def test_files_go_in_and_out_with_the_modes_of_a_farm(server: FileBrowserServer, session: requests.Session) -> None:
    _log_in(session, server.url)
    data = bytes(range(256)) * 1000
    assert _put(session, server.url, "a frame #1 + 50%.exr", data).status_code == 200
    assert _get(session, server.url, "a frame #1 + 50%.exr").content == data
    written = server.root / "a frame #1 + 50%.exr"
    assert written.read_bytes() == data
    assert written.stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize(("host", "base_url"), [("127.0.0.1", "/files"), ("::1", "")])
def test_the_page_tells_version_and_chunk_size(
    tmp_path: Path, session: requests.Session, host: str, base_url: str
) -> None:
    made = _or_skip(lambda: FileBrowserServer(tmp_path, host=host, base_url=base_url, says="2.60.0", chunk_size=12345))
    with made as server:
        page = session.get(f"{server.url}/", timeout=_TIMEOUT)
        assert '"Version":"2.60.0"' in page.text
        assert '"chunkSize":12345' in page.text


def test_a_killed_server_comes_back_with_its_users(tmp_path: Path, session: requests.Session) -> None:
    with _or_skip(lambda: FileBrowserServer(tmp_path)) as server:
        _log_in(session, server.url)
        url = server.url
        server.kill()
        with pytest.raises(requests.ConnectionError):
            _get(session, url, "nothing")
        server.start()
        assert server.url == url
        assert _put(session, url, "x", b"the old login holds").status_code == 200
        server.kill()
        server.forget_database()
        server.start()
        assert _get(session, url, "x").status_code == 401


def test_everybody_is_the_bot_without_authentication(tmp_path: Path, session: requests.Session) -> None:
    with _or_skip(lambda: FileBrowserServer(tmp_path, auth="noauth")) as server:
        session.headers["X-Auth"] = session.post(f"{server.url}/api/login", timeout=_TIMEOUT).text
        assert _put(session, server.url, "x", b"y").status_code == 200


def test_nginx_has_limits_and_a_prefix(server: FileBrowserServer, session: requests.Session) -> None:
    options = _or_skip(lambda: Nginx(server.url, prefix="/files/", strip_prefix=True, body_limit="1m"))
    with options as proxy:
        assert proxy.url.endswith("/files")
        _log_in(session, proxy.url)
        assert _put(session, proxy.url, "fits", b"x" * (1 << 20)).status_code == 200
        refused = _put(session, proxy.url, "too big", b"x" * ((1 << 20) + 1))
        assert refused.status_code == 413
        assert "text/html" in refused.headers["Content-Type"]


def test_nginx_slows_down_who_asks_too_often(server: FileBrowserServer, session: requests.Session) -> None:
    with _or_skip(lambda: Nginx(server.url, requests_per_second=1, burst=2)) as proxy:
        answers = [session.get(f"{proxy.url}/health", timeout=_TIMEOUT) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers.get("Retry-After") for answer in answers] == [None, None, None, "1"]


def test_nginx_sends_who_has_no_cookie_to_a_login_page(server: FileBrowserServer, session: requests.Session) -> None:
    with _or_skip(lambda: Nginx(server.url, sso_cookie="session")) as proxy:
        page = session.post(f"{proxy.url}/api/login", timeout=_TIMEOUT)
        assert (page.status_code, [step.status_code for step in page.history]) == (200, [302])
        assert "Sign in" in page.text
        session.cookies.set("session", "x")
        assert session.get(f"{proxy.url}/health", timeout=_TIMEOUT).json() == {"status": "OK"}


def test_nginx_wants_its_authority_trusted_and_a_certificate(
    server: FileBrowserServer, session: requests.Session
) -> None:
    with _or_skip(lambda: Nginx(server.url, tls=True, client_certificates=True)) as proxy:

        def health(trusted: Path | bool, pair: tuple[Path, Path] | None) -> requests.Response:
            verify = trusted if isinstance(trusted, bool) else str(trusted)
            cert = None if pair is None else (str(pair[0]), str(pair[1]))
            return requests.get(f"{proxy.url}/health", verify=verify, cert=cert, timeout=_TIMEOUT)

        assert health(proxy.ca, proxy.client).json() == {"status": "OK"}
        assert health(proxy.ca, None).status_code == 400
        assert health(proxy.ca, proxy.stranger).status_code == 400
        with pytest.raises(requests.exceptions.SSLError):
            health(True, proxy.client)


def test_the_line_is_as_long_and_as_narrow_as_wanted(server: FileBrowserServer, session: requests.Session) -> None:
    with FaultProxy(server.url) as proxy:
        _log_in(session, proxy.url)
        proxy.latency_s = 0.1
        fast = _seconds(lambda: _put(session, proxy.url, "x", b"x" * (20 << 20)))
        assert 0.2 <= fast < 5  # a round trip, and no limit on what is under way: windows of 64 KiB would take a minute
        proxy.latency_s = 0
        proxy.bytes_per_second = 2 << 20
        slow = _seconds(lambda: _put(session, proxy.url, "x", b"x" * (1 << 20)))
        assert 0.45 <= slow < 5
        assert proxy.bytes_up > 21 << 20
        assert proxy.connections == 1
        assert len(proxy.requests) == 3


def test_connections_break_where_the_test_says(server: FileBrowserServer, session: requests.Session) -> None:
    with FaultProxy(server.url) as proxy:
        _log_in(session, proxy.url)
        carried = proxy.bytes_up
        proxy.reset_every = 1 << 20
        with pytest.raises(requests.ConnectionError):
            _put(session, proxy.url, "broken", b"x" * (4 << 20))
        assert proxy.bytes_up <= carried + (1 << 20)
        proxy.reset_every = 0
        proxy.drop_responses, proxy.drop_matching = 1, "POST /api/resources"
        assert _get(session, proxy.url, "nothing").status_code == 404
        with pytest.raises(requests.ConnectionError):
            _put(session, proxy.url, "arrived", b"all of it")
        assert (server.root / "arrived").read_bytes() == b"all of it"
        assert _get(session, proxy.url, "arrived").content == b"all of it"
        proxy.refuse = True
        session.close()
        with pytest.raises(requests.ConnectionError):
            _get(session, proxy.url, "arrived")
        proxy.refuse = False
        assert _get(session, proxy.url, "arrived").content == b"all of it"


def test_a_stalled_line_is_silent_and_loses_nothing(server: FileBrowserServer, session: requests.Session) -> None:
    with FaultProxy(server.url) as proxy:
        _log_in(session, proxy.url)
        proxy.stall()
        with pytest.raises(requests.ReadTimeout):
            session.get(f"{proxy.url}/health", timeout=0.3)
        proxy.resume()
        assert session.get(f"{proxy.url}/health", timeout=_TIMEOUT).status_code == 200


def test_the_proxy_answers_for_the_server(server: FileBrowserServer, session: requests.Session) -> None:
    with FaultProxy(server.url) as proxy:
        _log_in(session, proxy.url)
        proxy.answer_once(413, "<h1>Too large</h1>", matching="POST /api/resources")
        proxy.answer_once(429, headers={"Retry-After": "7"})
        slow = _get(session, proxy.url, "nothing")
        assert (slow.status_code, slow.headers["Retry-After"]) == (429, "7")
        big = _put(session, proxy.url, "big", b"x" * (30 << 20))  # read to its end, else the answer would be lost
        assert (big.status_code, big.text) == (413, "<h1>Too large</h1>")
        assert not (server.root / "big").exists()
        assert _put(session, proxy.url, "big", b"x").status_code == 200


def _seconds(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
