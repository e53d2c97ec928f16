"""Authorities to trust in place of the system's: a profile names their file, or has their certificates in it.

With the certificates in it one file is all that somebody on another computer needs.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ProfileError
from .platform import put_text, user_folders
from .profile import named_file

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")


def authorities_file(part: Mapping[str, Any], where: str) -> str:
    """Return the file with the authorities that a part of a profile names: `ca_file`, else what is in `ca`; empty for none.

    Args:
        where: What people call the part, for errors.

    Raises:
        ProfileError: There is no such file, or there are no certificates.
    """
    path = named_file(part.get("ca_file"), f"{where}.ca_file")
    if path:
        certificates_of(Path(path), f"{where}.ca_file")
        return path
    return _kept(certificates_in(part["ca"], f"{where}.ca")) if part.get("ca") else ""


def certificates_of(path: Path, what: str) -> str:
    """Return the certificates of a file, and nothing else that is in it.

    Raises:
        ProfileError: It can't be read, or there are none.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ProfileError(f"{what}: {path} can't be read: {error.strerror or error}.") from error
    return certificates_in(text, f"{what}: {path}")


def certificates_in(text: Any, what: str) -> str:
    """Return the certificates in a text (PEM), and nothing else that is in it.

    Raises:
        ProfileError: There are none.
    """
    found = "".join(f"{block}\n" for block in _CERTIFICATE.findall(text)) if isinstance(text, str) else ""
    try:
        if found:
            ssl.create_default_context(cadata=found)
            return found
    except (ssl.SSLError, ValueError) as error:
        raise ProfileError(f"{what} holds a certificate that can't be read: {error}.") from error
    raise ProfileError(f"{what} holds no certificates (PEM).")


def _kept(certificates: str) -> str:
    """Keep certificates as a file, which is what those who speak HTTP take; the same ones are the same file."""
    digest = hashlib.sha256(certificates.encode()).hexdigest()
    path = user_folders().cache / "authorities" / f"{digest}.pem"
    try:
        if not path.is_file() or path.read_text(encoding="ascii") != certificates:
            path.parent.mkdir(parents=True, exist_ok=True)
            put_text(path, certificates)
    except OSError as error:
        raise ProfileError(f"{path} can't be written: {error.strerror or error}.") from error
    return str(path)
