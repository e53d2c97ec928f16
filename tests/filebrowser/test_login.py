"""Who we are: logins that end, are lost, or are not ours to use; and secrets that are never told."""

from __future__ import annotations

import http.server
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from cloud_farm.errors import StoreError, StoreLoginError
from cloud_farm.stores import filebrowser_login

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import BOT, FileBrowserServer, User
from ..rigs.reverse_proxy import Nginx
from .clients import BIG, FOLDER, MIB, Door, content, door_to

LOGIN, RENEWAL = "POST /api/login ", "POST /api/renew "
WRONG = User(BOT.name, "a password that nobody has")


@pytest.fixture(scope="module")
def short_logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBrowserServer]:
    """A server whose logins last two seconds."""
    with FileBrowserServer(tmp_path_factory.mktemp("short"), token_expiration="2s") as running:
        yield running


def count(line: FaultProxy, text: str) -> int:
    return sum(request.startswith(text) for request in line.requests)


# -- passwords ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_tried_once_whoever_asks(door: Door, line: FaultProxy) -> None:
    store = door.as_user(WRONG).at(line.url).open()

    def fail(_number: int) -> str:
        with pytest.raises(StoreLoginError) as caught:
            store.list(FOLDER)
        return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(fail, range(8)))
    assert told == {
        f"User 'bot' was not accepted by {line.url}. Check filebrowser.user and filebrowser.password of the farm's profile."
    }
    assert count(line, LOGIN) == 1, "some servers lock out who guesses"


def test_no_password_where_one_is_wanted(door: Door) -> None:
    with pytest.raises(StoreLoginError, match=r"does not let us in without a password.* filebrowser\.user"):
        door.as_user(None).open().list(FOLDER)


# -- other ways in ------------------------------------------------------------------------------------------------------


def test_a_server_that_asks_nobody(tmp_path: Path) -> None:
    with FileBrowserServer(tmp_path / "volume", auth="noauth") as server:
        door = door_to(server, tmp_path).as_user(None)
        assert door.open().put(b"x", BIG)
        assert door.on_disk().read_bytes() == b"x"


def test_a_proxy_that_tells_who_we_are(tmp_path: Path) -> None:
    with FileBrowserServer(tmp_path / "volume", auth="proxy") as server:
        door = door_to(server, tmp_path).as_user(None)
        known = door.at(server.url, headers={"X-Forwarded-User": BOT.name})
        assert known.open().put(b"x", BIG)
        with pytest.raises(StoreLoginError, match=r"without a password.* filebrowser\.headers"):
            door.open().list(FOLDER)


def test_a_cookie_for_the_login_page_in_front(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSO", "session=abc")
    with Nginx(door.url, sso_cookie="session") as proxy:
        assert door.at(proxy.url, headers={"Cookie": {"env": "SSO"}}).open().put(content(5 * MIB), BIG)
        assert door.on_disk().read_bytes() == content(5 * MIB)
        with pytest.raises(StoreLoginError, match=r"sends us to .* a login page .* filebrowser\.headers") as caught:
            door.at(proxy.url).open().list(FOLDER)
        assert "rd=" not in str(caught.value), "what the login page is told is nobody's business"


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Answers nothing of use, and remembers what it was told."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers.items()))
        self.send_error(418)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_the_users_netrc_stays_at_home(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password my-own-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("GATE", "Bearer for-the-gate")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        store = door.at(f"http://127.0.0.1:{listener.server_port}", headers={"Authorization": {"env": "GATE"}}).open()
        with pytest.raises(StoreError):
            store.list(FOLDER)
        listener.shutdown()
    assert [headers["Authorization"] for headers in _Recorder.seen] == ["Bearer for-the-gate"]


# -- logins that end ----------------------------------------------------------------------------------------------------


def test_short_logins_are_renewed_in_time_and_not_with_each_request(
    short_logins: FileBrowserServer, tmp_path: Path
) -> None:
    data = content(20 * MIB)
    with FaultProxy(short_logins.url) as line:
        door = door_to(short_logins, tmp_path)
        store = door.at(line.url, bytes_per_second=6 * MIB).open()
        store.put(data, BIG)
        store.get(BIG, tmp_path / "back")
        assert door.on_disk().read_bytes() == (tmp_path / "back").read_bytes() == data
        assert 1 <= count(line, RENEWAL) + count(line, LOGIN) - 1 < len(line.requests) / 4
        for _ in range(20):
            store.list(FOLDER)
        assert count(line, RENEWAL) <= 5, "the server wishes a renewal with every answer"


def test_a_login_that_ends_during_a_transfer_is_made_anew(
    short_logins: FileBrowserServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says 401 to a piece in the middle: one login, and not a byte of it is lost."""
    monkeypatch.setattr(filebrowser_login, "_RENEW_AT", 1000.0)
    monkeypatch.setattr(filebrowser_login, "_RENEW_EVERY_SECONDS", 1000.0)
    data = content(20 * MIB)
    with FaultProxy(short_logins.url) as line:
        door = door_to(short_logins, tmp_path)
        store = door.at(line.url, bytes_per_second=6 * MIB).open()
        store.put(data, BIG)
        during_upload = count(line, LOGIN)
        assert 2 <= during_upload <= 3
        assert line.bytes_up < len(data) + 5 * MIB, "only the refused piece goes twice"
        line.reset_connections()
        store.get(BIG, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data
        assert count(line, RENEWAL) == 0


def test_a_forgotten_database_costs_one_login_for_all_threads(tmp_path: Path) -> None:
    with FileBrowserServer(tmp_path / "volume") as server, FaultProxy(server.url) as line:
        store = door_to(server, tmp_path).at(line.url).open()
        store.put(b"x", BIG)
        for losses in (1, 2):
            server.kill()
            server.forget_database()
            server.start()
            with ThreadPoolExecutor(16) as pool:
                found = list(pool.map(lambda _: store.stat(BIG), range(64)))
            assert all(entry is not None for entry in found)
            assert count(line, LOGIN) == 1 + losses


# -- secrets ------------------------------------------------------------------------------------------------------------


def test_no_secret_in_any_error_log_or_repr(
    door: Door, line: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")  # which the Kubernetes library lowers wherever it is used
    monkeypatch.setenv("COOKIE", "session=the-cookie-of-the-proxy")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy-user:the-word-for-the-proxy@127.0.0.1:9")
    opened = door.at(line.url, headers={"Cookie": {"env": "COOKIE"}})
    shown = [repr(opened.connect().settings), str(opened.connect().settings)]
    shown.append(_trace(lambda: opened.open().list(FOLDER)))  # the proxy is not there
    monkeypatch.delenv("HTTP_PROXY")
    shown.append(_trace(lambda: opened.as_user(WRONG).open().list(FOLDER)))
    connection = opened.connect()
    token = connection.login.token()
    shown += [repr(connection), repr(connection.login), repr(opened.profile)]
    for status in (401, 401, 403, 418):
        line.answer_once(status, "<h1>no</h1>", matching="GET /api/usage/")
    for _ in range(3):
        shown.append(_trace(lambda: connection.call("GET", "usage/")))
    line.refuse = True
    line.reset_connections()
    shown.append(_trace(lambda: connection.call("GET", "usage/")))
    text = "\n".join([*shown, caplog.text])
    assert "GET" in caplog.text, "nothing was logged: the check is void"
    for secret in (
        BOT.password,
        WRONG.password,
        token.split(".")[2],
        "the-cookie-of-the-proxy",
        "the-word-for-the-proxy",
    ):
        assert secret not in text


def _trace(action: Callable[[], object]) -> str:
    """What a failing action shows, with all its causes."""
    with pytest.raises(StoreError) as caught:
        action()
    return "".join(traceback.format_exception(caught.value))
