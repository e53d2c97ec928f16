"""A small client of the API server for the rig and its tests: JSON in, JSON out, nothing hidden."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

_PLURALS = {
    "Deployment": "apis/apps/v1/{namespace}/deployments",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "api/v1/{namespace}/configmaps",
    "EndpointSlice": "apis/discovery.k8s.io/v1/{namespace}/endpointslices",
    "Namespace": "api/v1/namespaces",
    "Node": "api/v1/nodes",
    "PersistentVolume": "api/v1/persistentvolumes",
    "PersistentVolumeClaim": "api/v1/{namespace}/persistentvolumeclaims",
    "Pod": "api/v1/{namespace}/pods",
    "ResourceQuota": "api/v1/{namespace}/resourcequotas",
    "Role": "apis/rbac.authorization.k8s.io/v1/{namespace}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/{namespace}/rolebindings",
    "Secret": "api/v1/{namespace}/secrets",
    "Service": "api/v1/{namespace}/services",
    "ServiceAccount": "api/v1/{namespace}/serviceaccounts",
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Workflow": "apis/argoproj.io/v1alpha1/{namespace}/workflows",
    "WorkflowTaskResult": "apis/argoproj.io/v1alpha1/{namespace}/workflowtaskresults",
    "WorkflowTemplate": "apis/argoproj.io/v1alpha1/{namespace}/workflowtemplates",
}


class ApiRefused(Exception):
    """The API server answered with an error.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, request: str, status: int, message: str) -> None:
        super().__init__(f"{request}: {status} {message}")
        self.status = status


class NotThere(ApiRefused):
    """There is no such object, or no such kind of objects."""


class KubeApi:
    """The API server as one user sees it.

    Attributes:
        namespace: Where objects without one of their own belong.
    """

    def __init__(self, server: str, ca: Path, *, token: str, namespace: str) -> None:
        self.namespace = namespace
        self._server = server
        self._ca = str(ca)
        self._session = requests.Session()
        self._session.trust_env = False  # an authority or a proxy of the user's is not meant for this cluster
        self._session.headers["Authorization"] = f"Bearer {token}"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float = 60.0,
    ) -> Any:
        """Send one request and return the decoded answer.

        Raises:
            ApiRefused: The answer is an error.
            requests.RequestException: There is no answer.
        """
        answer = self._session.request(
            method,
            f"{self._server}/{path.lstrip('/')}",
            params=params,
            json=body,
            headers={"Content-Type": content_type},
            timeout=timeout,
            verify=self._ca,
            allow_redirects=False,
        )
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        data: Any = answer.json() if is_json else answer.text
        if not answer.ok:
            refusal = NotThere if answer.status_code == requests.codes.not_found else ApiRefused
            raise refusal(f"{method} {path}", answer.status_code, data["message"] if is_json else data[:500])
        return data

    @contextlib.contextmanager
    def stream(self, path: str, params: dict[str, str]) -> Iterator[Iterator[bytes]]:
        """Yield the lines of an answer that goes on, as a watch's.

        Raises:
            requests.RequestException: There is no answer, or it breaks off.
        """
        url = f"{self._server}/{path.lstrip('/')}"
        with self._session.get(
            url, params=params, verify=self._ca, timeout=(10, 90), stream=True, allow_redirects=False
        ) as answer:
            answer.raise_for_status()
            yield answer.iter_lines(chunk_size=None)  # type: ignore[call-overload]  # as they come

    def path(self, kind: str, name: str = "", *, namespace: str = "") -> str:
        """Return where objects of a kind are, or one of them."""
        place = _PLURALS[kind].format(namespace=f"namespaces/{namespace or self.namespace}")
        return f"{place}/{name}" if name else place

    def get(self, kind: str, name: str) -> Any:
        """Return one object."""
        return self.request("GET", self.path(kind, name))

    def find(self, kind: str, *, labels: str = "", fields: str = "") -> list[Any]:
        """Return the objects of a kind in the namespace that match the selectors."""
        params = {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        items: list[Any] = self.request("GET", self.path(kind), params=params)["items"]
        return items

    def create(self, body: dict[str, Any], **params: str) -> Any:
        """Create an object; parameters such as fieldValidation="Strict" or dryRun="All" are passed on."""
        return self.request("POST", self.path(body["kind"]), body, params=params)

    def apply(self, body: dict[str, Any]) -> Any:
        """Make an object be as said, whether it is there or not."""
        metadata = body["metadata"]
        return self.request(
            "PATCH",
            self.path(body["kind"], metadata["name"], namespace=metadata.get("namespace", "")),
            body,
            params={"fieldManager": "rig", "force": "true"},
            content_type="application/apply-patch+yaml",
        )

    def put(self, body: dict[str, Any]) -> Any:
        """Make an object, in the place of the one that has its name; fields that only that one had are gone."""
        metadata = body["metadata"]
        try:
            there = self.get(body["kind"], metadata["name"])
        except NotThere:
            return self.create(body)
        replaced = {**body, "metadata": {**metadata, "resourceVersion": there["metadata"]["resourceVersion"]}}
        return self.request("PUT", self.path(body["kind"], metadata["name"]), replaced)

    def apply_text(self, text: str) -> None:
        """Apply all documents of a YAML text."""
        for body in yaml.safe_load_all(text):
            self.apply(body)

    def patch(self, kind: str, name: str, body: dict[str, Any], *, subresource: str = "") -> Any:
        """Merge fields into an object."""
        path = "/".join(filter(None, (self.path(kind, name), subresource)))
        return self.request("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, kind: str, name: str, **params: str) -> None:
        """Delete an object; one that isn't there is fine."""
        with contextlib.suppress(NotThere):
            self.request("DELETE", self.path(kind, name), params=params)

    def delete_all(self, kind: str, *, labels: str = "") -> None:
        """Delete what a selector finds, pods without waiting for them to end, and wait until it is gone."""
        params = {"labelSelector": labels, "gracePeriodSeconds": "0"}
        self.request("DELETE", self.path(kind), params=params)
        wait_until(lambda: not self.find(kind, labels=labels), f"every {kind} with '{labels}' is gone")

    def exists(self, kind: str, name: str) -> bool:
        """Tell whether an object is there."""
        with contextlib.suppress(NotThere):
            self.get(kind, name)
            return True
        return False


def wait_until(holds: Callable[[], bool], what: str, *, patience: float = 60.0, pause: float = 0.2) -> None:
    """Ask again and again until something holds; an API server that is away counts as "not yet".

    Raises:
        TimeoutError: It does not hold in time.
    """
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(requests.RequestException, ApiRefused):
            if holds():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {patience:g} s")
        time.sleep(pause)
