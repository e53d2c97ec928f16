"""One FileBrowser over HTTP: calls its API as somebody who is logged in, and tries again where that is safe."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import requests

from ..errors import StoreError, StoreUnreachableError
from .file_copy import LONGEST_NAME
from .filebrowser_answers import BUSY, explain, is_foreign
from .filebrowser_login import Login, is_healthy
from .filebrowser_pieces import PieceSize
from .filebrowser_settings import FileBrowserSettings
from .filebrowser_wire import Readable, Wire

_TRIES = 9
"""With the waits between, half a minute: a pod that is replaced is back by then."""
_LONGEST_WAIT = 20.0
_LONGEST_ASKED_WAIT = 60.0


Body = bytes | Callable[[], Readable] | None
"""What a request sends: bytes, or a function that opens it anew for each try."""


class Refused(Exception):
    """An answer that is no success, but that the caller asked for: it knows what it means."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Connection:
    """A FileBrowser that we are logged in to. Threads may share it.

    Attributes:
        pieces: How much one request should carry, learned by all uploads together.
    """

    def __init__(self, settings: FileBrowserSettings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.sleep = sleep
        self.pieces = PieceSize()
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._wire = Wire(settings)
        self.login = Login(settings, self._wire.send, self.back_off)

    def close(self) -> None:
        """End what is kept open to the server; the next call opens it again."""
        self._wire.close()

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
            status = 0 if response is None else self._status(response)
            if response is not None and status in expect:
                return response
            if status in refused:
                _close(response)
                raise Refused(status)
            _close(response)
            tries = 2 if status == 500 else _TRIES if response is None or status in BUSY else 1
            if not again or tried >= tries - 1:
                raise explain(self.settings.url, method, url_path, response, problem, status=status) from problem
            self.back_off(tried, least=_retry_after(response))
            tried += 1

    def json(self, method: str, url_path: str, *, refused: tuple[int, ...] = (), again: bool = True) -> Any:
        """Call the API and read its JSON; an HTML page is a proxy's, or of a path that the API does not have."""
        response = self.call(method, url_path, refused=refused, again=again)
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
                sent = {**(headers or {}), "X-Auth": token}
                response = self._wire.send(method, f"api/{url_path}", data, sent, stream=stream)
            except requests.RequestException as error:
                return None, error
            if response.headers.get("X-Renew-Token") == "true":
                self.login.renew_soon()
            if response.status_code != 401 or refused:
                return response, None
            response.close()
            refused = token

    def _status(self, response: requests.Response) -> int:
        """Read the status. A proxy without a route to FileBrowser says 404 too: that is no word on what the volume has."""
        if response.status_code == 404 and is_foreign(response) and not is_healthy(self._wire.send):
            return 503
        return response.status_code


def quoted(path: PurePosixPath) -> str:
    """Quote a path for a URL, segment by segment.

    Raises:
        StoreError: It is not plainly a path inside the volume, or no file system could keep it.
    """
    if path.is_absolute() or ".." in path.parts or "\x00" in str(path):
        raise StoreError(f"{str(path)!r} is not a path inside the farm's volume.")
    try:
        names = [part.encode() for part in path.parts]
    except UnicodeEncodeError as error:
        raise StoreError(f"{str(path)!r} has bytes in its name that are no text. Rename the file.") from error
    if any(len(name) > LONGEST_NAME for name in names):
        raise StoreError(f"{path} has a name of more than {LONGEST_NAME} bytes, which no volume takes. Shorten it.")
    return "/".join(quote(name, safe="") for name in names)


def _close(response: requests.Response | None) -> None:
    if response is not None:
        response.close()


def _retry_after(response: requests.Response | None) -> float:
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(text), _LONGEST_ASKED_WAIT) if text.isdigit() else 0.0
