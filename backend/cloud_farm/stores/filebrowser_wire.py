"""Single requests to a FileBrowser over connections that stay open; no login, no second try."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import requests
from requests.utils import get_environ_proxies

from .filebrowser_answers import CONNECT_SECONDS
from .filebrowser_settings import FileBrowserSettings

_SEND_SECONDS = 60.0
"""Longest that a block of a body may take to go out. requests knows one time for connecting and sending; whoever sends a body
has connected before, so it costs nothing."""
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Where the environment names certificates to trust; the profile's come first."""


class Readable(Protocol):
    """A body that is read while it is sent, and knows how long it is."""

    def __len__(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""


class Wire:
    """Sends requests. Threads may share it: each request has a session of its own, which the next one uses again."""

    def __init__(self, settings: FileBrowserSettings) -> None:
        self._settings = settings
        self._idle: deque[requests.Session] = deque()
        self._proxies = get_environ_proxies(settings.url)
        named = (os.environ.get(variable) for variable in _AUTHORITIES)
        self._authorities = settings.ca_file or next(filter(None, named), True)
        weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """End the connections that are open; others are made when they are needed."""
        _close_all(self._idle)

    def send(
        self, method: str, path: str, data: bytes | Readable | None, headers: Mapping[str, str], *, stream: bool = False
    ) -> requests.Response:
        """Send a request to a path below the address.

        Raises:
            requests.RequestException: No whole answer came.
        """
        with self._session() as session:
            response = self._request(session, method, path, data, headers, stream)
        if not stream:
            _check_whole(response, method)
        return response

    def _request(
        self,
        session: requests.Session,
        method: str,
        path: str,
        data: bytes | Readable | None,
        headers: Mapping[str, str],
        stream: bool,
    ) -> requests.Response:
        # No redirects: a POST would become a GET, and a login page would look like success.
        settings = self._settings
        try:
            return session.request(
                method,
                f"{settings.url}/{path}",
                data=data,
                headers=dict(headers),
                stream=stream,
                allow_redirects=False,
                timeout=(CONNECT_SECONDS if data is None else _SEND_SECONDS, settings.timeout_s),
                verify=self._authorities,
                cert=settings.client_certificate,
                auth=_keep_headers,
            )
        except requests.RequestException:
            raise
        except OSError as error:  # a file of certificates that the environment names is not there
            raise requests.exceptions.SSLError(str(error)) from error

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        try:
            session = self._idle.pop()
        except IndexError:
            session = requests.Session()
            session.headers["User-Agent"] = "cloud-farm"
            session.headers["Accept-Encoding"] = "identity"  # sizes and ranges are those of the files
            session.headers.update(self._settings.headers)
            session.proxies.update(self._proxies)
            session.trust_env = False  # looked up once: with each request it takes a third of the time
        try:
            yield session
        finally:
            self._idle.append(session)


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate in no way: requests would put a login of the user's .netrc over the headers of the profile."""
    return request


def _check_whole(response: requests.Response, method: str) -> None:
    """Old versions of urllib3 take half an answer for a whole one."""
    told = response.headers.get("Content-Length", "")
    if method != "HEAD" and told.isdigit() and len(response.content) < int(told):
        raise requests.ConnectionError(f"Only {len(response.content)} of {told} bytes came")


def _close_all(idle: deque[requests.Session]) -> None:
    while idle:
        idle.pop().close()
