"""How a FileBrowser is reached: the `filebrowser` part of a farm's profile, checked and with its secrets looked up."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..authorities import authorities_file
from ..errors import ProfileError
from ..platform import is_this_computer
from ..profile import FarmProfile, named_file, refuse_unknown
from ..secrets import resolve

_KNOWN = {
    "url", "user", "password", "ca", "ca_file", "client_certificate", "headers", "allow_http", "single_user", "connections",
    "bytes_per_second", "timeout_s",
}  # fmt: skip
_CONNECTIONS = 20
"""Small files wait for answers: at 20 ms, with three requests each, so many bring 10,000 of them there in under a minute."""


@dataclass(frozen=True)
class FileBrowserSettings:
    """Where a FileBrowser is and who we are there.

    Attributes:
        url: Address with the path prefix, without a slash at the end.
        user: Empty where FileBrowser asks nobody, or a proxy in front says who it is.
        ca_file: Certificates to trust in place of the system's; `ca` in the profile has them in itself.
        client_certificate: (certificate, key) files for a proxy that wants one.
        headers: Sent with every request; for a proxy's own login.
        single_user: The server has one user and one scope, so that older versions are safe enough.
        connections: Transfers at a time.
        bytes_per_second: Most that uploads and downloads take together; None has no limit.
        timeout_s: Longest silence of the server while it works.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    client_certificate: tuple[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    single_user: bool = False
    connections: int = _CONNECTIONS
    bytes_per_second: float | None = None
    timeout_s: float = 300.0


def read_settings(profile: FarmProfile, *, environ: Mapping[str, str] | None = None) -> FileBrowserSettings:
    """Read the settings of a farm's profile.

    Raises:
        ProfileError: Something is missing, unknown or unsafe; a secret is not where the profile says.
    """
    data = dict(profile.filebrowser)
    where = f"Farm profile '{profile.name}': filebrowser"
    refuse_unknown(data, _KNOWN, where)
    url = _checked_url(data.get("url"), where, allow_http=bool(data.get("allow_http")))
    password = data.get("password")
    if bool(data.get("user")) != bool(password):
        raise ProfileError(f"{where} needs user and password together, or neither where a proxy knows who you are.")
    headers = {
        str(name): _header(str(name), value, f"{where}.headers.{name}", environ)
        for name, value in dict(data.get("headers") or {}).items()
    }
    return FileBrowserSettings(
        url,
        user=str(data.get("user") or ""),
        password=resolve(password, what=f"{where}.password", environ=environ) if password else "",
        ca_file=authorities_file(data, where),
        client_certificate=_certificate(data.get("client_certificate"), f"{where}.client_certificate"),
        headers=headers,
        single_user=bool(data.get("single_user")),
        connections=int(_number(data.get("connections"), f"{where}.connections", least=1) or _CONNECTIONS),
        bytes_per_second=_number(data.get("bytes_per_second"), f"{where}.bytes_per_second", least=1),
        timeout_s=_number(data.get("timeout_s"), f"{where}.timeout_s", least=1) or 300.0,
    )


def _checked_url(value: Any, where: str, *, allow_http: bool) -> str:
    url = str(value or "").rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ProfileError(f"{where}.url '{url}' is not an address: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ProfileError(f"{where}.url should look like https://files.example.com, not '{url}'.")
    if parts.username or parts.password:
        raise ProfileError(f"{where}.url has a password in it. Write user and password on their own.")
    if parts.scheme == "http" and not allow_http and not is_this_computer(host):
        raise ProfileError(
            f"{where}.url is plain http: anybody on the way could read the password. Use https, or set allow_http: true."
        )
    return url


def _header(name: str, value: Any, what: str, environ: Mapping[str, str] | None) -> str:
    """Look a header's value up; one that is a login may only be kept elsewhere."""
    secret = any(word in name.lower() for word in ("auth", "cookie", "token", "secret", "key", "password"))
    if isinstance(value, Mapping) or secret:
        return resolve(value, what=what, environ=environ)
    return str(value)


def _certificate(value: Any, what: str) -> tuple[str, str] | None:
    if not value:
        return None
    if not isinstance(value, Mapping) or set(value) != {"certificate", "key"}:
        raise ProfileError(f"{what} should name two files: {{certificate: PATH, key: PATH}}.")
    pair = named_file(value["certificate"], f"{what}.certificate"), named_file(value["key"], f"{what}.key")
    try:
        # With a password, though it is none: else a key that is encrypted would ask for one on the terminal.
        ssl.create_default_context().load_cert_chain(*pair, password="")
    except (OSError, ValueError) as error:
        raise ProfileError(f"{what}: {pair[0]} and {pair[1]} are no pair (PEM), or the key is encrypted.") from error
    return pair


def _number(value: Any, what: str, *, least: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
        raise ProfileError(f"{what} should be a number of at least {least:g}, not '{value}'.")
    return float(value)
