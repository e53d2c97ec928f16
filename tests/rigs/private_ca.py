"""Certificates for tests: an authority nobody else trusts, a server on this machine, and clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .processes import program

_EXTENSIONS = """
[server]
basicConstraints = critical, CA:false
subjectAltName = {names}
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class PrivateCa:
    """Makes its files in a folder; they hold for two days.

    Args:
        folder: Where to; made if absent.
        names: What the server is called, as OpenSSL writes alternative names.

    Attributes:
        ca: What a client must trust, PEM.
        server: Certificate and key for `names`.
        client: Certificate and key that a server which trusts `ca` lets in.
        stranger: Certificate and key of a client that signed its own.

    Raises:
        RigUnavailable: There is no openssl.
    """

    def __init__(self, folder: Path, *, names: str = "DNS:localhost, IP:127.0.0.1, IP:::1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._openssl = program("openssl", package="openssl")
        (folder / "extensions").write_text(_EXTENSIONS.format(names=names), encoding="utf-8")
        self.ca, self._ca_key = self._self_signed(
            "ca", "basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"
        )
        self.stranger = self._self_signed("stranger", "extendedKeyUsage=clientAuth")
        self.server = self._signed("server")
        self.client = self._signed("client")

    def client_named(self, user: str) -> tuple[Path, Path]:
        """Make certificate and key of a client whose common name is the user's, as Kubernetes reads it."""
        return self._signed("client", name=user, subject=f"/CN={user}")

    def _self_signed(self, name: str, *extensions: str) -> tuple[Path, Path]:
        wanted = [word for extension in extensions for word in ("-addext", extension)]
        return self._request(name, "-x509", "-days", "2", *wanted)

    def _signed(self, kind: str, *, name: str = "", subject: str = "") -> tuple[Path, Path]:
        name = name or kind
        request, key = self._request(name, subject=subject)
        certificate = self._folder / f"{name}.pem"
        self._run(
            *("x509", "-req", "-in", str(request), "-out", str(certificate), "-days", "2"),
            *("-CA", str(self.ca), "-CAkey", str(self._ca_key), "-CAcreateserial"),
            *("-extfile", str(self._folder / "extensions"), "-extensions", kind),
        )
        return certificate, key

    def _request(self, name: str, *more: str, subject: str = "") -> tuple[Path, Path]:
        made = self._folder / (f"{name}.pem" if more else f"{name}.csr")
        key = self._folder / f"{name}.key"
        self._run(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch", *more),
            *("-subj", subject or f"/CN=cloud-farm-tests {name}", "-keyout", str(key), "-out", str(made)),
        )
        return made, key

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [self._openssl, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"openssl {words[0]}: {done.stderr[-500:]}")
