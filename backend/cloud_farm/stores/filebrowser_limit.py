"""How large a request a proxy in front of a FileBrowser lets through, found out without sending one.

A request that says `Expect: 100-continue` holds its body back until somebody wants it. A proxy with a limit refuses it by
its announced length alone (413); any other answer comes from behind that gate. It has no token, so that is all it does.
"""

from __future__ import annotations

import http.client
import ssl
from bisect import bisect_left
from contextlib import closing
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from .filebrowser_pieces import MOST
from .filebrowser_settings import FileBrowserSettings

_SIZES = [1 << bits for bits in range(10, MOST.bit_length())]
_PATIENCE_SECONDS = 10.0


def request_limit(settings: FileBrowserSettings) -> int | None:
    """Return the bytes of the largest request that gets through, up to the most that one of ours has; None where that can't be told."""
    if select_proxy(settings.url, get_environ_proxies(settings.url)):
        return None  # the way leads through a proxy of this side, which answers first
    try:
        if not _is_refused(settings, MOST):
            return MOST
        refused = bisect_left(_SIZES, True, key=lambda size: _is_refused(settings, size))
    except (OSError, http.client.HTTPException):
        return None
    return _SIZES[refused - 1] if refused else 0


def _is_refused(settings: FileBrowserSettings, size: int) -> bool:
    with closing(_connect(settings)) as link:
        link.putrequest("POST", f"{urlsplit(settings.url).path}/api/resources/probe", skip_accept_encoding=True)
        for name, value in settings.headers.items():
            link.putheader(name, value)
        link.putheader("Content-Length", str(size))
        link.putheader("Expect", "100-continue")
        link.endheaders()
        try:
            with link.sock.makefile("rb") as answer:
                return answer.readline(100).split()[1:2] == [b"413"]
        except TimeoutError:
            return False  # whoever waits for the body does not mind its length


def _connect(settings: FileBrowserSettings) -> http.client.HTTPConnection:
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port, timeout=_PATIENCE_SECONDS)
    context = ssl.create_default_context(cafile=settings.ca_file or DEFAULT_CA_BUNDLE_PATH)
    if settings.client_certificate:
        context.load_cert_chain(*settings.client_certificate)
    return http.client.HTTPSConnection(host, parts.port, timeout=_PATIENCE_SECONDS, context=context)
