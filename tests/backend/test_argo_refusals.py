"""What a cluster's refusals become: an error of the right kind that says whom to ask for what."""

from __future__ import annotations

import json

import pytest
import urllib3
from cloud_farm.engines.argo_refusals import explain, unreachable
from cloud_farm.errors import (
    EngineConflictError,
    EngineError,
    EngineForbiddenError,
    EngineLoginError,
    EngineUnreachableError,
)
from kubernetes.client import ApiException

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/render/workflows"


def refusal(status: int, message: str, *, method: str = "POST", path: str = WORKFLOWS) -> EngineError:
    error = ApiException(status=status, reason="Some Reason")
    error.body = json.dumps({"kind": "Status", "message": message}) if message else "<html>a proxy's page</html>"
    return explain("https://cluster", "render", method, path, error)


@pytest.mark.parametrize(
    ("status", "message", "kind", "said"),
    [
        (401, "Unauthorized", EngineLoginError, "Log in to the cluster again"),
        (403, 'workflows.argoproj.io is forbidden: User "bob" cannot create', EngineForbiddenError,
         "{apiGroups: ['argoproj.io'], resources: ['workflows'], verbs: ['create']}"),
        (403, 'pods "x" is forbidden: exceeded quota: gpus, requested: nvidia.com/gpu=1, used: 4, limited: 4', EngineForbiddenError,
         "quota of namespace render is used up: gpus, requested"),
        (404, "the server could not find the requested resource", EngineError, "install Argo Workflows"),
        (409, 'workflows "x" already exists', EngineConflictError, "already exists"),
        (400, 'admission webhook "policy.example" denied the request: no GPUs on Fridays', EngineError, "no GPUs on Fridays. Ask"),
        (400, 'strict decoding error: unknown field "spec.ttlSecondsAfterFinished"', EngineError, "argo_version"),
        (422, 'Workflow "x" is invalid: spec.templates[0].name', EngineError, "argo_version"),
        (503, "", EngineUnreachableError, "Some Reason. Try again later"),
        (418, "short and stout", EngineError, "(418): short and stout."),
    ],
)  # fmt: skip
def test_each_refusal_says_what_to_do(status: int, message: str, kind: type[EngineError], said: str) -> None:
    error = refusal(status, message)
    assert type(error) is kind
    assert said in str(error)


def test_a_missing_right_to_list_is_named_so() -> None:
    error = refusal(403, "pods is forbidden: User cannot list", method="GET", path="/api/v1/namespaces/render/pods")
    assert "{apiGroups: [''], resources: ['pods'], verbs: ['list']}" in str(error)


def test_nobody_there_and_nobody_trusted() -> None:
    gone = urllib3.exceptions.MaxRetryError(
        None,  # type: ignore[arg-type]
        "/",
        urllib3.exceptions.NewConnectionError(None, "[Errno 111] Connection refused"),  # type: ignore[arg-type]
    )
    assert "(Connection refused)" in str(unreachable("https://cluster", gone))
    foreign = urllib3.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    assert "kubernetes.ca_file" in str(unreachable("https://cluster", foreign))
