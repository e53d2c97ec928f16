"""Keys, tokens and kubeconfigs of the cluster: who its users are and how they prove it."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..rigs.private_ca import PrivateCa
from ..rigs.processes import program
from . import places

USERS = {"admin": "system:masters", "artist": "artists", "stranger": "strangers"}


@dataclass(frozen=True)
class Credentials:
    """The files that servers and clients need.

    Attributes:
        ca: What clients must trust, PEM.
        server: Certificate and key of the API server.
        service_accounts: The key that signs the tokens of pods.
        tokens: The API server's table of tokens.
        kubeconfigs: One file a user, and `artist-certificate` for one who proves it by a client certificate.
    """

    ca: Path
    server: tuple[Path, Path]
    service_accounts: Path
    tokens: Path
    kubeconfigs: dict[str, Path]

    @classmethod
    def below(cls, folder: Path) -> Credentials:
        """Return those that `make_credentials` wrote into the folder."""
        names = (*USERS, "artist-certificate")
        return cls(
            folder / "ca.pem",
            (folder / "server.pem", folder / "server.key"),
            folder / "service-accounts.key",
            folder / "tokens.csv",
            {name: folder / f"{name}.kubeconfig" for name in names},
        )

    def token(self, user: str) -> str:
        """Return the bearer token of a user."""
        rows = (line.split(",") for line in self.tokens.read_text(encoding="utf-8").splitlines())
        return next(token for token, name, *_ in rows if name == user)


def make_credentials(folder: Path) -> Credentials:
    """Make new ones in a folder that only root can read."""
    authority = PrivateCa(folder, names=f"DNS:kubernetes.default.svc, IP:{places.API_ADDRESS}")
    folder.chmod(0o700)
    made = Credentials.below(folder)
    words = ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(made.service_accounts))
    subprocess.run([program("openssl", package="openssl"), *words], check=True, capture_output=True)
    rows = (f'{secrets.token_hex(16)},{name},{name},"{group}"' for name, group in USERS.items())
    made.tokens.write_text("\n".join(rows), encoding="utf-8")
    for user in USERS:
        _write_kubeconfig(made, user, {"token": made.token(user)})
    certificate, key = authority.client_named("artist")
    _write_kubeconfig(made, "artist-certificate", {"client-certificate": str(certificate), "client-key": str(key)})
    return made


def _write_kubeconfig(made: Credentials, name: str, user: dict[str, Any]) -> None:
    context = {"cluster": "rig", "user": name, "namespace": places.NAMESPACE}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "rig", "cluster": {"server": places.API_SERVER, "certificate-authority": str(made.ca)}},
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "rig", "context": context}],
        "current-context": "rig",
    }
    made.kubeconfigs[name].write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    made.kubeconfigs[name].chmod(0o600)
