"""One FileBrowser over HTTP: calls its API as somebody who is logged in, and tries again where that is safe."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote

import requests

from ..errors import StoreError, StoreUnreachableError
from .filebrowser_answers import BUSY, CONNECT_SECONDS, explain
from .filebrowser_login import Login
from .filebrowser_settings import FileBrowserSettings

_TRIES = 6
_LONGEST_WAIT = 20.0
_LONGEST_ASKED_WAIT = 60.0


class Readable(Protocol):
    """A body that is read while it is sent, and knows how long it is."""

    def __len__(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""


Body = bytes | Callable[[], Readable] | None
"""What a request sends: bytes, or a function that opens it anew for each try."""


class Refused(Exception):
    """An answer that is no success, but that the caller asked for: it knows what it means."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Connection:
    """A FileBrowser that we are logged in to. Threads may share it; each has connections of its own."""

    def __init__(self, settings: FileBrowserSettings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.sleep = sleep
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._local = threading.local()
        self.login = Login(settings, self._send, self.back_off)

    def call(
        self, method: str, url_path: str, *, expect: tuple[int, ...] = (200,), refused: tuple[int, ...] = (),
        body: Body = None, headers: Mapping[str, str] | None = None, stream: bool = False, again: bool = True,
    ) -> requests.Response:  # fmt: skip
        """Call the API.

        Args:
            url_path: Below `<url>/api/`, quoted.
            expect: The statuses of success.
            refused: Statuses that the caller wants as `Refused`.
            again: The call may be repeated if its answer was lost: what it does twice is what it does once.

        Raises:
            Refused: One of `refused`.
            StoreError: Everything else that is no success, in words.
        """
        tried = 0
        while True:
            response, problem = self._authorised(method, url_path, body, headers, stream)
            status = response.status_code if response is not None else 0
            if response is not None and status in expect:
                return response
            if status in refused:
                _close(response)
                raise Refused(status)
            tries = 2 if status == 500 else _TRIES if response is None or status in BUSY else 1
            if not again or tried >= tries - 1:
                error = explain(self.settings.url, method, url_path, response, problem)
                _close(response)
                raise error from problem
            _close(response)
            self.back_off(tried, least=_retry_after(response))
            tried += 1

    def json(self, method: str, url_path: str, *, refused: tuple[int, ...] = ()) -> Any:
        """Call the API and read its JSON; an HTML page is a proxy's, or of a path that the API does not have."""
        response = self.call(method, url_path, refused=refused)
        if "json" not in response.headers.get("Content-Type", ""):
            raise explain(self.settings.url, method, url_path, response, None)
        try:
            return response.json()
        except ValueError as error:
            raise StoreUnreachableError(f"{self.settings.url} sent half an answer. Try again.") from error

    def back_off(self, tried: int, least: float = 0.0) -> None:
        """Wait before the next try: longer each time, and never in step with others."""
        self.sleep(max(least, self._chance.uniform(0.0, min(_LONGEST_WAIT, 0.25 * 2**tried))))

    def _authorised(
        self, method: str, url_path: str, body: Body, headers: Mapping[str, str] | None, stream: bool
    ) -> tuple[requests.Response | None, requests.RequestException | None]:
        """Send a request once; if its token is not accepted any more, once more with a new one."""
        refused = ""
        while True:
            token = self.login.token(refused)
            data = body() if callable(body) else body
            try:
                response = self._send(
                    method, f"api/{url_path}", data, {**(headers or {}), "X-Auth": token}, stream=stream
                )
            except requests.RequestException as error:
                return None, error
            if response.headers.get("X-Renew-Token") == "true":
                self.login.renew_soon()
            if response.status_code != 401 or refused:
                return response, None
            response.close()
            refused = token

    def _send(
        self,
        method: str,
        path: str,
        data: bytes | Readable | None,
        headers: Mapping[str, str],
        *,
        stream: bool = False,
    ) -> requests.Response:
        # `verify` with each request: the session's own loses against REQUESTS_CA_BUNDLE. No redirects: a POST would
        # become a GET, and a login page would look like success.
        return self._session().request(
            method,
            f"{self.settings.url}/{path}",
            data=data,
            headers=dict(headers),
            stream=stream,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, self.settings.timeout_s),
            verify=self.settings.ca_file or True,
            cert=self.settings.client_certificate,
        )

    def _session(self) -> requests.Session:
        """Return this thread's own session: connections stay open, and are never shared between threads."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = "cloud-farm"
            session.headers["Accept-Encoding"] = "identity"  # sizes and ranges are those of the files
            session.headers.update(self.settings.headers)
            self._local.session = session
        return session


def quoted(path: PurePosixPath) -> str:
    """Quote a path for a URL, segment by segment.

    Raises:
        StoreError: It is not plainly a path inside the volume.
    """
    if path.is_absolute() or ".." in path.parts or "\x00" in str(path):
        raise StoreError(f"{str(path)!r} is not a path inside the farm's volume.")
    return "/".join(quote(part, safe="") for part in path.parts)


def _close(response: requests.Response | None) -> None:
    if response is not None:
        response.close()


def _retry_after(response: requests.Response | None) -> float:
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(text), _LONGEST_ASKED_WAIT) if text.isdigit() else 0.0
