"""What a cluster's refusals mean, in our words: each says what happened and whom to ask for what."""

from __future__ import annotations

import json
import re
from typing import Any

from kubernetes.client import ApiException

from ..errors import EngineConflictError, EngineError, EngineForbiddenError, EngineLoginError, EngineUnreachableError

_ARGO_GROUP = "argoproj.io"
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
_BUSY = (408, 429, 500, 502, 503, 504)
_SCHEMA_REFUSAL = re.compile(
    r"unknown field|strict decoding|is invalid|must be of type|Unsupported value|Required value"
)


def explain(server: str, namespace: str, method: str, path: str, error: ApiException) -> EngineError:
    """Say why a call failed.

    Args:
        path: Of the API, `/apis/argoproj.io/v1alpha1/namespaces/render/workflows/x`.
    """
    status, message = int(error.status or 0), _message(error)
    if status == 401:
        return EngineLoginError(
            f"{server} does not accept our login. Is the kubeconfig's token or certificate out of date? Log in to the cluster again."
        )
    if status == 403 and "exceeded quota" in message:
        return EngineForbiddenError(
            f"The quota of namespace {namespace} is used up: {_after(message, 'exceeded quota')}."
        )
    if status == 403:
        return EngineForbiddenError(_forbidden(namespace, method, path, message))
    if status == 404 and _ARGO_GROUP in path:
        return EngineError(
            f"{server} does not know Argo Workflows, or there is no namespace {namespace}. Ask the cluster's admin to install"
            " Argo Workflows there."
        )
    if status == 409:
        said = "has that name already" if method == "POST" else "has changed it meanwhile"
        return EngineConflictError(f"The cluster {said}: {message}")
    if "admission webhook" in message or "ValidatingAdmissionPolicy" in message:
        return EngineError(f"A rule of the cluster refuses the job: {message} Ask the cluster's admin.")
    if status in (400, 413, 422) and (status == 413 or _SCHEMA_REFUSAL.search(message)):
        return EngineError(
            f"The cluster's Argo does not take the job: {message} Does argo_version in the farm's profile name the controller's"
            " version?"
        )
    if status in _BUSY:
        return EngineUnreachableError(f"{server} is busy or failed ({status}): {message} Try again later.", busy=True)
    return EngineError(
        f"{server} refused to {_VERBS.get(method, method)} {path.rpartition('/')[2]} ({status}): {message}"
    )


def unreachable(server: str, error: Exception) -> EngineUnreachableError:
    """Say why nobody answers."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return EngineUnreachableError(
            f"The certificate of {server} is not trusted. Name the cluster's authority: certificate-authority in the kubeconfig, or"
            " kubernetes.ca_file in the farm's profile."
        )
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", text)
    reason = found[-1] if found else type(error).__name__
    return EngineUnreachableError(
        f"The cluster {server} can't be reached ({reason}). Is the VPN up, and the address right?"
    )


def _forbidden(namespace: str, method: str, path: str, message: str) -> str:
    """Name the rule to ask for."""
    parts = path.strip("/").split("/")
    group = parts[1] if parts[0] == "apis" else ""
    tail = parts[parts.index(namespace) + 1 :] if namespace in parts else parts[-1:]
    verb = "list" if method == "GET" and len(tail) == 1 else _VERBS.get(method, method)
    rule = f"apiGroups: ['{group}'], resources: ['{tail[0]}'], verbs: ['{verb}']"
    if "is forbidden: User" not in message:
        return f"The cluster forbids it: {message}"
    return f"You may not {verb} {tail[0]} in namespace {namespace}. Ask the cluster's admin for a Role with {{{rule}}}."


def _message(error: ApiException) -> str:
    """The API's own sentence; the bare reason where a proxy answered."""
    body: Any = error.body
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        text = str(error.reason or "no reason given")
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _after(message: str, start: str) -> str:
    return message.partition(start)[2].strip(" :.") or message.strip(".")
