"""Who we are to a FileBrowser: a look at who listens there, the login, and a token that is renewed before it ends."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from ..errors import StoreAnswerError, StoreForbiddenError, StoreLoginError
from .filebrowser_answers import BUSY, explain
from .filebrowser_settings import FileBrowserSettings

OLDEST, SAFE = (2, 61, 1), (2, 63, 22)
_TRIES = 5
_RIGHTS = ("create", "rename", "modify", "delete", "download")
_VERSION = re.compile(r'"Version":\s*"v?(\d+)\.(\d+)\.(\d+)')
_RENEW_AT = 0.6
"""Part of a token's life after which a new one is asked for."""
_RENEW_EVERY_SECONDS = 60.0
"""The server wishes a renewal with each answer in a token's last hour: the whole life of a short one."""
_ASK_AGAIN_SECONDS = 30.0
"""A refused password is not tried again before, whoever asks: some servers lock out who guesses."""

Send = Callable[[str, str, bytes | None, Mapping[str, str]], requests.Response]
"""Sends a request without a token: method, path below the address, body, headers."""


class Login:
    """The login of all threads of a connection."""

    def __init__(self, settings: FileBrowserSettings, send: Send, back_off: Callable[[int], None]) -> None:
        self._settings = settings
        self._send = send
        self._back_off = back_off
        self._lock = threading.Lock()
        self._token = ""
        self._renew_after = 0.0
        self._renewable_after = 0.0
        self._refusal = ""
        self._refused_until = 0.0
        self.version: tuple[int, ...] | None = None
        self._probed = False

    @property
    def program(self) -> str:
        """Who listens there, as far as a login has told."""
        return "FileBrowser" if self.version is None else f"FileBrowser {_dotted(self.version)}"

    @property
    def advice(self) -> str:
        """What to do about a version that is let in but is not the best."""
        if self.version is None:
            return "It does not tell its version; see that it is 2.63.22 or newer."
        return "" if self.version >= SAFE else "Install 2.63.23: in this one a user can reach the files of another."

    def token(self, refused: str = "") -> str:
        """Return a token that is still good.

        Args:
            refused: A token that was not accepted any more; another thread may have replaced it meanwhile.

        Raises:
            StoreError: Nobody answers, something else does, or we may not come in.
        """
        with self._lock:
            if not self._probed:
                self._probe()
                self._probed = True
            if not self._token or self._token == refused:
                self._keep(self._log_in())
            elif time.monotonic() > self._renew_after:
                self._keep(self._renewed() or self._log_in())
            return self._token

    def renew_soon(self) -> None:
        """The server says that the token ends soon, or that the user's record changed."""
        self._renew_after = min(self._renew_after, self._renewable_after)

    def _keep(self, token: str) -> None:
        """Keep a token. Its life is measured by our own clock from now on: the two clocks need not agree."""
        claims = _claims(token)
        user = claims.get("user")
        user = user if isinstance(user, dict) else {}
        granted = user.get("perm") or {}
        lacking = [name for name in _RIGHTS if not granted.get(name)]
        if lacking:
            name = user.get("username") or self._settings.user
            raise StoreForbiddenError(
                f"User '{name}' of {self._settings.url} lacks the right to {', '.join(lacking)}."
                " Ask the admin to grant it (FileBrowser: Settings > User Management)."
            )
        life, now = float(claims.get("exp", 0)) - float(claims.get("iat", 0)), time.monotonic()
        self._renew_after = now + max(life, 0.0) * _RENEW_AT
        self._renewable_after = now + _RENEW_EVERY_SECONDS
        self._token = token

    def _log_in(self) -> str:
        settings = self._settings
        if time.monotonic() < self._refused_until:
            raise StoreLoginError(self._refusal)
        body = json.dumps({"username": settings.user, "password": settings.password}) if settings.user else ""
        response = self._patiently("POST", "api/login", body.encode(), {"Content-Type": "application/json"})
        nobody = response.status_code == 500 and not settings.user  # a header of a proxy was expected
        if response.status_code == 403 or nobody:
            self._refusal = self._why_refused()
            self._refused_until = time.monotonic() + _ASK_AGAIN_SECONDS
            raise StoreLoginError(self._refusal)
        token = response.text.strip()
        if response.status_code != 200 or not _claims(token):
            raise explain(settings.url, "POST", "login", response, None)
        return token

    def _why_refused(self) -> str:
        user, url = self._settings.user, self._settings.url
        if user:
            return f"User '{user}' was not accepted by {url}. Check filebrowser.user and filebrowser.password of the farm's profile."
        return (
            f"{url} does not let us in without a password. Name filebrowser.user and filebrowser.password in the farm's profile,"
            " or the proxy's header that says who we are as filebrowser.headers."
        )

    def _renewed(self) -> str:
        """Ask for a new token while the old one is good; empty if that is refused."""
        try:
            response = self._send("POST", "api/renew", None, {"X-Auth": self._token})
        except requests.RequestException:
            return ""
        token = response.text.strip()
        return token if response.status_code == 200 and _claims(token) else ""

    def _probe(self) -> None:
        """Look who listens there before a password is sent."""
        health = self._patiently("GET", "health", None, {})
        answer = _json(health)
        if "message" in answer and "status" not in answer:
            raise StoreAnswerError(
                f"{self._settings.url} is FileBrowser Quantum, whose API is another one. Cloud Farm speaks FileBrowser 2.63."
            )
        if health.status_code == 404:
            raise StoreAnswerError(
                f"There is no FileBrowser at {self._settings.url} (404). Does filebrowser.url have the right path at its end?"
            )
        if answer.get("status") != "OK":
            raise explain(self._settings.url, "GET", "health", health, None)
        page = self._patiently("GET", "", None, {})
        found = _VERSION.search(page.text) if page.status_code == 200 else None
        if found:
            self.version = tuple(int(number) for number in found.groups())
            self._check_version(self.version)

    def _check_version(self, version: tuple[int, ...]) -> None:
        program = f"{self._settings.url} is FileBrowser {_dotted(version)}"
        if version < OLDEST:
            raise StoreAnswerError(f"{program}, which loses data in ways that were mended later. It needs 2.63.23.")
        if version < SAFE and not self._settings.single_user:
            raise StoreAnswerError(
                f"{program}, in which one user can reach the files of another. Install 2.63.23,"
                " or set filebrowser.single_user: true if it has only one user and one scope."
            )

    def _patiently(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> requests.Response:
        """Send what needs no token, a few times if need be."""
        tried = 0
        while True:
            try:
                response = self._send(method, path, data, headers)
            except requests.RequestException as error:
                hopeless = isinstance(error, (requests.exceptions.SSLError, ValueError))  # InvalidURL, InvalidSchema
                if hopeless or tried == _TRIES - 1:
                    raise explain(self._settings.url, method, path, None, error) from error
            else:
                if response.status_code not in BUSY or tried == _TRIES - 1:
                    return response
            self._back_off(tried)
            tried += 1


def is_healthy(send: Send) -> bool:
    """Tell whether a FileBrowser answers, without a second try."""
    try:
        return _json(send("GET", "health", None, {})).get("status") == "OK"
    except requests.RequestException:
        return False


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _claims(token: str) -> dict[str, Any]:
    """Read what a JWT says, unverified: it is the server's own, and only tells when to renew it and what we may do."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        data = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        data = response.json() if response.status_code == 200 else {}
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
