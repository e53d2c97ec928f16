"""The command by which a kubeconfig logs in, `exec` of its user.

Kubernetes' own library waits for it without an end, asks on a terminal that may not be there, and tells what it printed.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineLoginError
from ..platform import child_flags

_LONGEST_SECONDS = 180.0
"""People may log in in a browser meanwhile; the usual commands wait as long for them."""
_LONGEST_WORDS = 300
_SHORTEST_SECRET = 4
_CLUSTER_FIELDS = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
_EXTENSION = "client.authentication.k8s.io/exec"


def login_by_command(
    command: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any], cluster_folder: Path
) -> dict[str, str]:
    """Run the command; returns the fields of a kubeconfig's user with what it gave.

    Args:
        folder: Of the kubeconfig, below which the command may lie.
        cluster: What the kubeconfig says of the cluster; `cluster_folder` is where its files are.

    Raises:
        EngineLoginError: It failed. The message never has what it was given: that may be secret.
    """
    shown = shlex.quote(str(command.get("command")))
    try:
        info = _exec_info(command, cluster, cluster_folder)
        given = _read(_run(command, folder, info), str(command.get("apiVersion")))
    except FileNotFoundError as error:
        raise _failed(
            shown,
            "there is no such program. Where Blender was started from a menu it does not see what your shell does: write the"
            " program's whole path in the kubeconfig",
        ) from error
    except (_FailedError, OSError) as error:
        raise _failed(shown, str(error)) from None
    if given.get("token"):
        return {"token": str(given["token"])}
    try:
        pair = {"client-certificate-data": given["clientCertificateData"], "client-key-data": given["clientKeyData"]}
    except KeyError as error:
        raise _failed(shown, f"its answer has no {error}") from error
    return {key: base64.b64encode(text.encode()).decode() for key, text in pair.items()}


class _FailedError(Exception):
    """Why, in words without a secret."""


def _exec_info(command: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what the command is told: who asks, and of which cluster if it wants to know."""
    spec: dict[str, Any] = {"interactive": False}
    if command.get("provideClusterInfo"):
        told = {key: cluster[key] for key in _CLUSTER_FIELDS if key in cluster}
        if cluster.get("certificate-authority") and "certificate-authority-data" not in told:
            authority = (folder / cluster["certificate-authority"]).read_bytes()
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
        for item in cluster.get("extensions") or ():
            if item.get("name") == _EXTENSION:
                told["config"] = item.get("extension")
        spec["cluster"] = told
    return {"apiVersion": command.get("apiVersion"), "kind": "ExecCredential", "spec": spec}


def _run(command: Mapping[str, Any], folder: Path, info: Mapping[str, Any]) -> bytes:
    """Run it to its end; returns what it printed.

    Its output goes to files: what it started and left behind would hold a pipe open.
    """
    arguments = [str(argument) for argument in command.get("args") or ()]
    own = {str(item.get("name")): str(item.get("value")) for item in command.get("env") or ()}
    environment = {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    program = _program(str(command.get("command")), folder, environment.get("PATH"))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            code = subprocess.run(
                [program, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=folder, env=environment,
                timeout=_LONGEST_SECONDS, check=False, **child_flags(),
            ).returncode  # fmt: skip
            why = f"process returned {code}" if code else ""
        except subprocess.TimeoutExpired:
            why = f"it did not end within {_LONGEST_SECONDS:g} s"
        if why:
            errors.seek(0)
            said = _without(errors.read().decode(errors="replace"), [*arguments, *own.values()])
            raise _FailedError(f"{why}. {said}")
        output.seek(0)
        return output.read()


def _program(name: str, folder: Path, path: str | None) -> str:
    """Find it as kubectl does: a bare name on the PATH, else from the kubeconfig; on Windows without its ending."""
    whole = str(folder / name) if Path(name).name != name else name
    return shutil.which(whole, path=path) or whole


def _read(answer: bytes, version: str) -> Mapping[str, Any]:
    """Return the status of an ExecCredential."""
    try:
        content = json.loads(answer)
        if content["apiVersion"] == version and isinstance(content["status"], dict):
            return dict(content["status"])
    except (ValueError, KeyError, TypeError):
        pass
    raise _FailedError(f"its answer is no ExecCredential of {version}")


def _without(text: str, given: Iterable[str]) -> str:
    """Take out of a text what a command was given: options may be named, but not what they are set to."""
    secrets = {value for whole in given for word in (whole, *whole.split()) for value in _values(word)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text


def _values(argument: str) -> tuple[str, ...]:
    behind = argument.partition("=")[2]
    if argument.startswith("--"):
        return (behind,)
    return behind, argument[2:] if argument.startswith("-") else argument


def _failed(command: str, why: str) -> EngineLoginError:
    said = " ".join(why.split())
    short = said if len(said) <= _LONGEST_WORDS else f"…{said[-_LONGEST_WORDS:]}"
    return EngineLoginError(
        f"The command by which the kubeconfig logs in failed, {command}: {short.rstrip('.')}. Log in to the cluster again, or ask its admin."
    )
