"""The few calls to a cluster's API that the Argo engine makes. Each failure becomes one of our errors, in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from kubernetes.watch.watch import iter_resp_lines

from ..errors import EngineLoginError, EngineUnreachableError
from .argo_access import ClusterAccess
from .argo_login import connect
from .argo_nodes import seconds
from .argo_objects import (
    EndingPod,
    HeadList,
    PodEvent,
    PodStart,
    StoredWorkflow,
    WorkflowEvent,
    images_of,
    read_events,
    read_head,
    read_pod_event,
    read_pod_start,
)
from .argo_refusals import explain, unreachable

_ARGO = "/apis/argoproj.io/v1alpha1"
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 120.0
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_ONE_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
_WATCH_SECONDS = 60
_WATCH = (("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(_WATCH_SECONDS)))
_LIVING = "status.phase!=Succeeded,status.phase!=Failed"
_PAGE, _FEW = 500, 20
_MOST_LISTS = 3


class Cluster:
    """A cluster's API, as one user, in one namespace.

    Args:
        access: Reads the way there; again when the cluster does not accept our login any more, since tokens are renewed.
        namespace: Empty takes the one of the kubeconfig's context, or of the pod that we run in.
    """

    def __init__(self, access: Callable[[], ClusterAccess], namespace: str = "") -> None:
        self._access = access
        self._client, own_namespace = connect(access())
        self.namespace = namespace or own_namespace or "default"
        self.server = str(self._client.configuration.host)
        self._clock_offset = 0.0

    def now(self) -> float:
        """Seconds since 1970 by the cluster's clock, as its last answer told it."""
        return time.time() + self._clock_offset

    # -- Workflows ----------------------------------------------------------------------------------------------------

    def create_workflow(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create a Workflow, or only have the cluster judge it; returns what it stored or would store.

        Raises:
            EngineConflictError: The name is taken.
            EngineError: The cluster refuses it.
        """
        query = [("fieldValidation", "Strict"), *([("dryRun", "All")] if dry_run else [])]
        stored: dict[str, Any] = self._call("POST", self._workflows(), query=query, body=manifest)
        return stored

    def workflow(self, name: str) -> StoredWorkflow | None:
        """Read a Workflow whole; None if there is none of that name."""
        content, size = self._read("GET", f"{self._workflows()}/{name}", without=(404,))
        return None if content is None else StoredWorkflow(content, size)

    def heads(self, selector: str) -> HeadList:
        """List Workflows by label, without their contents.

        Some hundred bytes each, and a hundred more for every pod that one began: who wrote which field, which nobody can leave out.
        """
        items, size = self._pages(self._workflows(), selector, accept=_METADATA)
        heads = sorted(map(read_head, items), key=lambda head: (head.revision, head.run, head.shard))
        return HeadList(tuple(heads), size)

    def watch(self, selector: str, version: str = "") -> Iterator[WorkflowEvent]:
        """Tell what changes among Workflows by label, until the cluster ends its answer after a minute.

        Args:
            version: What came after it is told; without, first all that is there.
        """
        path, query = self._workflows(), [("labelSelector", selector), ("includeObject", "None"), *_WATCH]
        if version:
            query.append(("resourceVersion", version))
        try:
            answer = self._send("GET", path, query, {"Accept": _TABLE}, None, read_seconds=_WATCH_SECONDS + 15.0)
            with closing(answer):
                yield from read_events(iter_resp_lines(answer))
        except ApiException as error:
            if error.status != 410:
                raise explain(self.server, self.namespace, "GET", path, error) from error
            yield WorkflowEvent("ERROR", code=410)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise unreachable(self.server, error) from error

    def patch_workflow(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Merge a patch into a Workflow; False if there is none of that name."""
        return self._call("PATCH", f"{self._workflows()}/{name}", body=patch, without=(404,)) is not None

    def delete_workflow(self, name: str) -> bool:
        """Delete a Workflow, its pods with it; False if there is none of that name."""
        body = {"propagationPolicy": "Background"}
        return self._call("DELETE", f"{self._workflows()}/{name}", body=body, without=(404,)) is not None

    # -- pods and nodes -------------------------------------------------------------------------------------------------

    def has_living_pods(self, selector: str) -> bool:
        """Tell whether a pod of these is not over."""
        query = [("labelSelector", selector), ("fieldSelector", _LIVING), ("limit", "1")]
        found = self._call("GET", f"/api/v1/namespaces/{self.namespace}/pods", query=query, accept=_METADATA)
        return bool(found.get("items"))

    def ending_pods(self, selector: str) -> list[EndingPod]:
        """List the pods that were told to end and are there still.

        First as people see them, a hundred bytes each; only of those that end the rest is asked for.
        """
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        query = [("labelSelector", selector), ("fieldSelector", _LIVING), ("includeObject", "None")]
        table = self._call("GET", pods, query=query, accept=_TABLE)
        columns = [str(column["name"]) for column in table["columnDefinitions"]]
        rows = [dict(zip(columns, row["cells"], strict=True)) for row in table.get("rows") or ()]
        found = []
        for row in rows:
            if row["Status"] == "Terminating":
                pod = self._call("GET", f"{pods}/{row['Name']}", accept=_ONE_METADATA, without=(404,))
                due = seconds(pod["metadata"].get("deletionTimestamp")) if pod else 0.0
                if pod and due:
                    found.append(EndingPod(str(row["Name"]), str(pod["metadata"]["uid"]), str(row.get("Node")), due))
        return found

    def pod_starts(self, selector: str, *, most: int) -> list[PodStart]:
        """Tell how some of these pods came to run; those that do not yet are left out.

        Their names are hashes: the first ones of the list are a fair sample of all.
        """
        query = [("labelSelector", selector), ("fieldSelector", "status.phase!=Pending"), ("limit", str(most))]
        found = self._call("GET", f"/api/v1/namespaces/{self.namespace}/pods", query=query)
        return [start for pod in found.get("items") or () if (start := read_pod_start(pod)) is not None]

    def delete_pod(self, pod: EndingPod) -> None:
        """Forget a pod without waiting for its node; only the very one that was seen."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        self._call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{pod.name}", body=body, without=(404, 409))

    def pod_events(self, name: str) -> list[PodEvent]:
        """Tell what befell a pod, oldest first."""
        query = [("fieldSelector", f"involvedObject.kind=Pod,involvedObject.name={name}")]
        found = self._call("GET", f"/api/v1/namespaces/{self.namespace}/events", query=query)
        return sorted(map(read_pod_event, found.get("items") or ()), key=lambda event: event.at)

    def nodes(self, selector: str = "", *, name: str = "") -> list[dict[str, Any]]:
        """List nodes, of very many the first: each comes whole, in ten kilobytes."""
        field = f"metadata.name={name}" if name else ""
        query = [("labelSelector", selector), ("fieldSelector", field), ("limit", str(_PAGE))]
        return list(self._call("GET", "/api/v1/nodes", query=query).get("items") or ())

    def node_count(self) -> int:
        """Count the cluster's nodes."""
        found = self._call("GET", "/api/v1/nodes", query=[("limit", "1")], accept=_METADATA)
        return len(found.get("items") or ()) + int(found["metadata"].get("remainingItemCount") or 0)

    # -- what is there ----------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Return the version of Kubernetes, `v1.34.10`."""
        return str(self._call("GET", "/version")["gitVersion"])

    def has_argo(self) -> bool:
        """Tell whether the cluster knows what a Workflow is."""
        found = self._call("GET", _ARGO, without=(404,)) or {}
        return any(item["name"] == "workflows" for item in found.get("resources") or ())

    def exists(self, resource: str, name: str, *, group: str = "") -> bool:
        """Tell whether an object is there: of Kubernetes itself, or one of Argo's."""
        root = _ARGO if group else "/api/v1"
        return self._call("GET", f"{root}/namespaces/{self.namespace}/{resource}/{name}", without=(404,)) is not None

    def argo_images(self) -> Iterator[str]:
        """Tell the images of Argo's own containers, as far as we may look: its controller's, and those beside what ran last."""
        for namespace in dict.fromkeys((self.namespace, "argo")):
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            found = self._call("GET", path, query=[("limit", str(_PAGE))], without=(403, 404)) or {}
            for item in found.get("items") or ():
                yield from images_of(item["spec"]["template"]["spec"], "workflow-controller")
        query = [("labelSelector", "workflows.argoproj.io/workflow"), ("limit", str(_FEW))]
        found = self._call("GET", f"/api/v1/namespaces/{self.namespace}/pods", query=query, without=(403,)) or {}
        newest = sorted(
            found.get("items") or (), key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True
        )
        for pod in newest:
            yield from images_of(pod["spec"], "argoexec")

    def may(self, verb: str, resource: str, *, group: str = "", name: str = "", everywhere: bool = False) -> bool:
        """Ask the cluster whether we have a right in our namespace.

        Args:
            name: Of the only object that it is about.
            everywhere: In the whole cluster; for what belongs to no namespace.
        """
        wanted = {
            "namespace": "" if everywhere else self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool(answer["status"]["allowed"])

    # -- inner ------------------------------------------------------------------------------------------------------------

    def _workflows(self) -> str:
        return f"{_ARGO}/namespaces/{self.namespace}/workflows"

    def _pages(self, path: str, selector: str, *, accept: str) -> tuple[list[dict[str, Any]], int]:
        """List page by page; returns the items and the bytes that were read."""
        query = [("labelSelector", selector), ("limit", str(_PAGE))]
        items: list[dict[str, Any]] = []
        token, size, lists = "", 0, 1
        while lists <= _MOST_LISTS:
            page, received = self._read(
                "GET", path, query=[*query, ("continue", token)], accept=accept, without=(410,) if token else ()
            )
            size += received
            if page is None:  # the cluster forgot the state that the first pages showed: once more from the start
                items, token, lists = [], "", lists + 1
                continue
            items += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return items, size
        said = f"{self.server} forgets its list of {path.rpartition('/')[2]} before it is read. Try again later."
        raise EngineUnreachableError(said, busy=True)

    def _call(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None,
        accept: str = "application/json", without: Sequence[int] = (),
    ) -> Any:  # fmt: skip
        """Call the API and read its JSON; None for a status of `without`."""
        return self._read(method, path, query=query, body=body, accept=accept, without=without)[0]

    def _read(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None,
        accept: str = "application/json", without: Sequence[int] = (),
    ) -> tuple[Any, int]:  # fmt: skip
        """The same, with the bytes that came."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        sent = [(key, value) for key, value in query if value]
        try:
            try:
                answer = self._send(method, path, sent, headers, body)
            except ApiException as error:
                if error.status != 401:
                    raise
                self._client, _ = connect(self._access())
                answer = self._send(method, path, sent, headers, body)
            self._note_time(answer.headers.get("Date", ""))
            return json.loads(answer.data), len(answer.data)
        except ApiException as error:
            if error.status in without:
                return None, 0
            raise explain(self.server, self.namespace, method, path, error) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise unreachable(self.server, error) from error

    def _send(
        self, method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: Any,
        read_seconds: float = _READ_SECONDS,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        try:
            answer: urllib3.BaseHTTPResponse = self._client.call_api(
                path, method, query_params=list(query), header_params=dict(headers), body=body,
                auth_settings=["BearerToken"], _preload_content=False, _return_http_data_only=True,
                _request_timeout=(_CONNECT_SECONDS, read_seconds),
            )  # fmt: skip
        except ConfigException as error:  # a pod's own token is read again now and then
            raise EngineLoginError(f"Our login to {self.server} can't be read: {error}.") from error
        return answer

    def _note_time(self, date: str) -> None:
        try:
            self._clock_offset = parsedate_to_datetime(date).timestamp() - time.time()
        except (TypeError, ValueError):
            return
