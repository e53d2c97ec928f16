"""Answers that FileBrowser should not give, or that are not FileBrowser's: each is one typed error that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cloud_farm.errors import (
    NotFoundError,
    StoreAnswerError,
    StoreError,
    StoreForbiddenError,
    StoreLoginError,
    StoreUnreachableError,
)
from cloud_farm.stores.filebrowser import FileBrowserStore
from cloud_farm.stores.filebrowser_answers import explain
from requests.exceptions import SSLError

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import BOT, BOT_PERMISSIONS, FileBrowserServer, User
from ..rigs.reverse_proxy import Nginx
from .clients import BIG, FOLDER, MIB, Door, content, door_to

JSON, TEXT = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
PAGE = "<!doctype html><title>Sign in</title>"
LOOK, READ = "GET /api/resources/", "GET /api/raw/"


def look(store: FileBrowserStore) -> object:
    return store.stat(BIG)


def read(store: FileBrowserStore) -> object:
    return store.read(BIG)


@pytest.mark.parametrize(
    ("action", "where", "status", "body", "headers", "kind", "words"),
    [
        (look, LOOK, 302, "", {"Location": "https://sso.example.com/in?state=key"}, StoreLoginError, "to sso.example.com instead"),
        (look, LOOK, 302, "", {"Location": "/in?state=key"}, StoreLoginError, "to /in instead of answering: a login page"),
        (look, LOOK, 200, PAGE, {}, StoreLoginError, "sends us a web page instead of answering"),
        (look, LOOK, 403, "403 Forbidden\n", TEXT, StoreForbiddenError, "forbids GET of .*jobs/shot/big.bin: by the user's rights"),
        (look, LOOK, 400, "<h1>400</h1>", {}, StoreLoginError, r"refuses us \(400\).*filebrowser.client_certificate"),
        (look, LOOK, 418, "<h1>tea</h1>", {}, StoreAnswerError, r"a web page that is not FileBrowser's \(418"),
        (look, LOOK, 200, '{"name": "cut', JSON, StoreUnreachableError, "sent half an answer. Try again"),
        (look, LOOK, 413, "<h1>413</h1>", {}, StoreError, "client_max_body_size"),
        (read, READ, 202, "202 Accepted\n", TEXT, StoreForbiddenError, "may not download. Ask the admin for the download right"),
    ],
)  # fmt: skip
def test_an_unexpected_answer_is_one_clear_error(
    door: Door,
    line: FaultProxy,
    action: Callable[[FileBrowserStore], object],
    where: str,
    status: int,
    body: str,
    headers: dict[str, str],
    kind: type[StoreError],
    words: str,
) -> None:
    store = door.at(line.url).open()
    store.put(b"x", BIG)
    line.answer_once(status, body, headers, matching=where)
    with pytest.raises(StoreError, match=words) as caught:
        action(store)
    assert type(caught.value) is kind
    assert "key" not in str(caught.value)
    action(store)  # the next call is not spoilt by it


def test_half_an_answer_is_asked_for_again(door: Door, line: FaultProxy) -> None:
    """Old versions of urllib3 take it for whole."""
    store = door.at(line.url).open()
    store.put(b"x", BIG)
    for _ in range(2):
        line.answer_once(200, '{"name": ', {**JSON, "Content-Length": "500"}, matching=LOOK)
    entry = store.stat(BIG)
    assert entry is not None and entry.size == 1


def test_a_login_that_is_refused_twice_is_an_error(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    for _ in range(2):
        line.answer_once(401, "401 Unauthorized\n", TEXT, matching=LOOK)
    with pytest.raises(StoreLoginError, match="does not accept our login any more. Check user and password"):
        store.stat(BIG)


# -- absent, or not asked -----------------------------------------------------------------------------------------------


def test_a_proxy_without_a_route_does_not_make_files_absent(door: Door, line: FaultProxy) -> None:
    """Who believed it would find no jobs, and clean up after them."""
    store = door.at(line.url).open()
    store.put(b"x", BIG)
    for _ in range(20):
        line.answer_once(404, "<h1>default backend</h1>", matching=LOOK)
        line.answer_once(404, "<h1>default backend</h1>", matching="GET /health")
    for action in (lambda: store.stat(BIG), lambda: store.list(FOLDER)):
        with pytest.raises(StoreUnreachableError, match=r"jammed \(503\)"):
            action()


def test_a_proxy_that_rewrites_errors_is_understood(door: Door, line: FaultProxy) -> None:
    store = door.at(line.url).open()
    line.answer_once(404, "<h1>Oh no! There is nothing here.</h1>", matching=LOOK)
    assert store.stat(BIG) is None
    line.answer_once(404, "<h1>Oh no! There is nothing here.</h1>", matching=READ)
    with pytest.raises(NotFoundError, match="big.bin is not on the farm's volume"):
        store.read(BIG)


# -- who is there at all ------------------------------------------------------------------------------------------------


def test_filebrowser_quantum_is_recognised_before_a_password_is_sent(door: Door, line: FaultProxy) -> None:
    """Its real server is not to be had here (cgo, and no module of it): what it says to /health is from its source."""
    line.answer_once(200, json.dumps({"message": "ok"}), JSON, matching="GET /health")
    with pytest.raises(StoreAnswerError, match="FileBrowser Quantum, whose API is another one"):
        door.at(line.url).open().list(FOLDER)
    assert line.requests == ["GET /health HTTP/1.1"]


def test_another_program_is_recognised_before_a_password_is_sent(door: Door, line: FaultProxy) -> None:
    line.answer_once(200, PAGE, matching="GET /health")
    with pytest.raises(
        StoreLoginError, match=r"a login page in front of FileBrowser, or another program\. Name the API"
    ):
        door.at(line.url).open().list(FOLDER)
    assert line.requests == ["GET /health HTTP/1.1"]


def test_a_wrong_path_is_named(door: Door) -> None:
    with Nginx(door.url, prefix="/files/", strip_prefix=True) as proxy:
        wrong = proxy.url.removesuffix("/files")
        with pytest.raises(
            StoreAnswerError, match=r"no FileBrowser at .* \(404\). Does filebrowser.url have the right path"
        ):
            door.at(wrong).open().list(FOLDER)


@pytest.mark.parametrize("says", ["2.60.0", "2.62.0"])
def test_versions_that_lose_data_or_leak_it_are_refused(tmp_path: Path, says: str) -> None:
    with FileBrowserServer(tmp_path / "volume", says=says) as server:
        door = door_to(server, tmp_path)
        with pytest.raises(StoreAnswerError, match=f"FileBrowser {says}.*2.63.23"):
            door.open().put(b"x", BIG)
        alone = door.at(door.url, single_user=True)
        if says == "2.60.0":
            with pytest.raises(StoreAnswerError, match="loses data"):
                alone.open().put(b"x", BIG)
        else:
            assert alone.open().put(b"x", BIG)
        assert door.files() == ([] if says == "2.60.0" else [str(BIG)])


def test_a_server_that_does_not_answer(door: Door, line: FaultProxy) -> None:
    line.refuse = True
    with pytest.raises(StoreUnreachableError, match=r"can't be reached \(Connection refused\). Is the address right"):
        door.at(line.url).open().list(FOLDER)
    line.refuse = False
    line.stall()
    with pytest.raises(StoreUnreachableError, match="fell silent"):
        door.at(line.url, timeout_s=1).open().list(FOLDER)
    with pytest.raises(StoreUnreachableError, match=r"can't be reached \(.*(not known|resolution|address).*\)"):
        door.at("https://no-such-host.invalid").open().list(FOLDER)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("certificate verify failed: certificate has expired (_ssl.c:1006)", r"of another time \(certificate has expired\).*clocks"),
        ("certificate verify failed: certificate is not yet valid (_ssl.c:1006)", "of another time .*clocks"),
    ],
)  # fmt: skip
def test_a_certificate_of_another_time(text: str, words: str) -> None:
    problem = SSLError(f"(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] {text}')))")
    with pytest.raises(StoreUnreachableError, match=words):
        raise explain("https://files.example.com", "GET", "health", None, problem)


# -- rights -------------------------------------------------------------------------------------------------------------


def without(right: str) -> User:
    return User(f"no-{right}", f"a user without {right}", BOT_PERMISSIONS - {right})


RIGHTS = sorted(BOT_PERMISSIONS)
SCOPED = User("artist", "sees only her own folder", scope="artist")
TIDY = User("tidy", "sees no file with a dot", hide_dotfiles=True)


@pytest.fixture(scope="module")
def many_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBrowserServer]:
    """A server with a user for each right that one may lack."""
    root = tmp_path_factory.mktemp("users")
    (root / SCOPED.scope).mkdir()
    with FileBrowserServer(root, users=(BOT, SCOPED, TIDY, *(without(right) for right in RIGHTS))) as running:
        yield running


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_that_is_lacking_is_named_before_anything_is_sent(
    many_users: FileBrowserServer, tmp_path: Path, right: str
) -> None:
    door = door_to(many_users, tmp_path)
    with pytest.raises(
        StoreForbiddenError, match=rf"User 'no-{right}' of .* lacks the right to {right}\. Ask the admin"
    ):
        door.as_user(without(right)).open().put(b"x", BIG)
    assert not door.root.exists()


def test_a_user_with_a_scope_works_inside_it(many_users: FileBrowserServer, tmp_path: Path) -> None:
    door = door_to(many_users, tmp_path).as_user(SCOPED)
    data = content(5 * MIB)
    assert door.open().put(data, BIG)
    assert (many_users.root / SCOPED.scope / door.prefix / BIG).read_bytes() == data
    assert not door.root.exists()


def test_a_user_who_sees_no_dotfiles_can_use_all_other_names(many_users: FileBrowserServer, tmp_path: Path) -> None:
    door = door_to(many_users, tmp_path).as_user(TIDY)
    store = door.open()
    for size in (10, 5 * MIB):
        assert store.put(content(size), BIG, if_absent=size == 10)
        assert store.read(BIG) == content(size)
    store.server_time()
    assert door.litter() == []
    with pytest.raises(StoreForbiddenError, match=r"\.hidden.*by the user's rights, a rule"):
        store.put(b"x", FOLDER / ".hidden")
