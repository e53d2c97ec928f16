"""Secrets by reference: a profile says where one is kept, never what it is (contract §2)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ProfileError

_SERVICE = "cloud-farm"
_USABLE = 1
"""The least priority of a keyring that its system recommends; files that a library encrypts by itself have less."""


def resolve(reference: Any, *, what: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the secret that `{env: NAME}`, `{file: PATH}` or `{keyring: NAME}` points to.

    Args:
        what: What people call it, for errors: `filebrowser.password of farm 'studio'`.

    Raises:
        ProfileError: It is not a reference, or nothing is there.
    """
    environ = os.environ if environ is None else environ
    if not isinstance(reference, Mapping) or len(reference) != 1:
        raise ProfileError(
            f"{what} should say where the secret is kept: {{env: NAME}}, {{file: PATH}} or {{keyring: NAME}}."
        )
    [(kind, name)] = reference.items()
    if kind == "env":
        return _from_environment(str(name), what, environ)
    if kind == "file":
        return _from_file(Path(str(name)).expanduser(), what)
    if kind == "keyring":
        return _from_keyring(str(name), what)
    raise ProfileError(f"{what}: a secret can't be kept in '{kind}'. Use env, file or keyring.")


def _from_environment(name: str, what: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        raise ProfileError(f"{what} is kept in the variable {name}, which is not set.")
    return environ[name]


def _from_file(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{what} is kept in {path}, which can't be read: {error}") from error
    if not text:
        raise ProfileError(f"{what} is kept in {path}, which is empty.")
    return text


def _from_keyring(name: str, what: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise ProfileError(
            f"{what} is kept in the keyring, but Python's keyring package is not installed: pip install keyring"
        ) from error
    try:
        secret = keyring.get_password(_SERVICE, name)
    except Exception as error:  # noqa: BLE001 - each system's keyring has errors of its own
        raise ProfileError(f"{what} is kept in the keyring, which can't be read: {error}. Is it locked?") from error
    if not secret:
        raise ProfileError(f"{what} is kept in the keyring as '{_SERVICE}' / '{name}', which is not there.")
    return str(secret)


def keyring_name() -> str:
    """Return what this system's keyring is called; empty where there is none that can be used."""
    try:
        ring = importlib.import_module("keyring").get_keyring()
        return str(ring.name) if ring.priority >= _USABLE else ""
    except Exception:  # noqa: BLE001 - not installed, or one that can't say how it is; files do as well
        return ""


def keep_in_keyring(name: str, secret: str) -> bool:
    """Put a secret into this system's keyring; False where there is none, or it does not keep it."""
    if not keyring_name():
        return False
    keyring = importlib.import_module("keyring")
    try:
        keyring.set_password(_SERVICE, name, secret)
        return bool(keyring.get_password(_SERVICE, name) == secret)
    except Exception:  # noqa: BLE001 - locked, or nobody there to unlock it; files do as well
        return False
