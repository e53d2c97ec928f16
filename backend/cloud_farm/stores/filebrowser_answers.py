"""What FileBrowser's answers mean, in our words: each says what happened and what to do."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import requests

from ..errors import (
    ExistsError,
    NotFoundError,
    StoreAnswerError,
    StoreError,
    StoreForbiddenError,
    StoreLoginError,
    StoreUnreachableError,
)

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may fare better."""
CONNECT_SECONDS = 10.0
_JAMMED = BUSY - {500}
_PREFIXES = ("resources/recursive/", "resources/", "raw/", "tus/", "usage/")


def explain(
    server: str,
    method: str,
    url_path: str,
    response: requests.Response | None,
    problem: Exception | None,
    *,
    status: int = 0,
) -> StoreError:
    """Say why a request failed.

    Args:
        server: The address that people know it by.
        url_path: Below the API's address, quoted.
        response: The answer, None if there was none.
        problem: What was raised instead.
        status: What the answer's status means, where it is not to be taken by its word.
    """
    if response is None:
        return StoreUnreachableError(_unreachable(server, problem))
    status, html = status or response.status_code, "html" in response.headers.get("Content-Type", "")
    if 300 <= status < 400 or (status == 200 and html):
        return _somebody_else(server, response.headers.get("Location", ""))
    return _by_status(server, method, readable(url_path), status, html=html)


def is_foreign(response: requests.Response) -> bool:
    """Tell whether an error is in other words than FileBrowser's own: a proxy's, or rewritten by one."""
    return not response.text.startswith(f"{response.status_code} ")


def readable(url_path: str) -> str:
    """Turn a quoted API path back into what people call the file."""
    path = url_path.partition("?")[0]
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            path = path.removeprefix(prefix)
            break
    return unquote(path) or "the volume"


def _somebody_else(server: str, location: str) -> StoreError:
    # Only where to: what a login page is told in the address is nobody's business.
    parts = urlsplit(location)
    there = f" to {parts.netloc or parts.path}" if location else " a web page"
    return StoreLoginError(
        f"{server} sends us{there} instead of answering: a login page in front of FileBrowser, or another program."
        " Name the API's own address, or give the proxy's cookie or header as filebrowser.headers."
    )


def _by_status(server: str, method: str, name: str, status: int, *, html: bool) -> StoreError:
    if status == 202:
        return StoreForbiddenError(f"The user of {server} may not download. Ask the admin for the download right.")
    if status == 400 and html:
        return StoreLoginError(
            f"A proxy in front of {server} refuses us (400). Does it want a client certificate"
            " (filebrowser.client_certificate), or one by another authority?"
        )
    if status == 401:
        return StoreLoginError(f"{server} does not accept our login any more. Check user and password.")
    if status == 403:
        return StoreForbiddenError(
            f"{server} forbids {method} of {name}: by the user's rights, a rule, the modes of its files, or a proxy in front."
        )
    if status == 404:
        return NotFoundError(f"{name} is not on the farm's volume ({server}).", path=name)
    if status == 409:
        return ExistsError(f"{name} is there already on the farm's volume ({server}).")
    if status == 413:
        return StoreError(
            f"A proxy in front of {server} takes no request of this size. Raise its limit (nginx: client_max_body_size 0)."
        )
    if status in _JAMMED:
        return StoreUnreachableError(
            f"The way to {server} is jammed ({status}). Is the FileBrowser pod up? Try again later."
        )
    if status == 500:
        reason = "its volume may be full, read-only or gone"
        return StoreError(f"{server} failed at {method} of {name} (500): {reason}. See the log of its pod.")
    kind = "a web page" if html else "an answer"
    return StoreAnswerError(f"{server} gave {kind} that is not FileBrowser's ({status} to {method} {name}).")


def _unreachable(server: str, problem: Exception | None) -> str:
    short = _short(problem)
    if isinstance(problem, requests.exceptions.SSLError):
        return _untrusted(server, str(problem), short)
    if isinstance(problem, (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)):
        return f"The proxy on the way to {server} does not let us through ({short}). Check HTTPS_PROXY and NO_PROXY."
    if isinstance(problem, requests.exceptions.ConnectTimeout):
        return f"{server} does not answer within {CONNECT_SECONDS:g} s. Is the address right, and the VPN up?"
    if isinstance(problem, requests.exceptions.Timeout):
        return f"{server} fell silent. Try again; what was sent is kept."
    return f"{server} can't be reached ({short}). Is the address right, and the server up?"


def _untrusted(server: str, problem: str, short: str) -> str:
    if "CA certificate bundle" in problem:
        bundle = problem.rpartition(": ")[2]
        return f"There are no certificates in {bundle}. Check filebrowser.ca_file and REQUESTS_CA_BUNDLE."
    if "expired" in problem or "not yet valid" in problem:
        return f"The certificate of {server} is of another time ({short}). Are the clocks right on both sides?"
    if "match" in problem and "ertificate" in problem:
        return f"The certificate of {server} is for another name ({short}). Use the name that it was made for."
    if "CERTIFICATE_VERIFY_FAILED" in problem:
        return f"The certificate of {server} is not trusted ({short}). Name the authority that signed it as filebrowser.ca_file."
    return f"{server} and we do not agree on TLS ({short}). Does a proxy want a client certificate, or speak no TLS?"


def _short(problem: Exception | None) -> str:
    """The innermost reason, without addresses of objects."""
    text = str(problem)
    found = (
        re.findall(r"certificate verify failed: ([^(\"]+?) \(_ssl", text)
        or re.findall(r"\"(hostname [^\"]+)\"", text)
        or re.findall(r"\[Errno -?\d+\] ([^'\")]+)", text)
        or re.findall(r"([A-Z][\w ]{6,80}?)[.'\")]*$", text)
    )
    return (found[-1] if found else type(problem).__name__).strip()
