"""A cluster's API that is busy, breaks off, forgets, or has rules of its own, on the real one behind a bad line."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.engines import argo_api
from cloud_farm.engines.argo_access import ClusterAccess
from cloud_farm.errors import EngineError, EngineUnreachableError
from kubernetes.client import ApiException

from ..contracts.contract_job import ContractJob, wait_for
from ..rigs.fault_proxy import FaultProxy
from ..rigs.private_ca import PrivateCa
from .api_line import forget_the_past, idle_workflow, over
from .farm import Cluster
from .farmer import Farmer, ended


def workflows_of(job: ContractJob, cluster: Cluster) -> list[Any]:
    return cluster.api.find("Workflow", labels=f"cloud-farm/job={job.id}")


# -- busy, broken ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_busy_server_is_asked_again_when_it_says(
    line: FaultProxy, farmer: Farmer, tmp_path: Path, method: str
) -> None:
    job = farmer.job("1-2", chunk_size=2, profile=over(line, tmp_path)).send()
    for _ in range(2):
        line.answer_once(429, headers={"Retry-After": "1"}, matching=f"{method} ")
    job.engine.submit(job.plan)
    assert sum(asked.startswith(method) and "/workflows" in asked for asked in line.requests) >= 3
    ended(job, 2)


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_while_the_job_is_sent_makes_one_job(
    line: FaultProxy, farmer: Farmer, tmp_path: Path, status: int
) -> None:
    job = farmer.job("1-2", chunk_size=2, profile=over(line, tmp_path)).send()
    line.answer_once(status, matching="dryRun")
    line.answer_once(status, matching="POST ")
    job.engine.submit(job.plan)
    assert len(workflows_of(job, farmer.cluster)) == 1
    ended(job, 2)


def test_a_job_whose_answer_got_lost_is_known_by_its_name(line: FaultProxy, farmer: Farmer, tmp_path: Path) -> None:
    job = farmer.job("1-2", chunk_size=2, profile=over(line, tmp_path)).send()
    line.drop_matching, line.drop_responses = "POST ", 2  # of the trial and of the Workflow itself
    job.engine.submit(job.plan)
    assert line.drop_responses == 0
    assert len(workflows_of(job, farmer.cluster)) == 1
    ended(job, 2)


@pytest.mark.parametrize("status", [429, 500])
def test_who_follows_stays_when_the_server_fails(line: FaultProxy, farmer: Farmer, tmp_path: Path, status: int) -> None:
    job = farmer.job("1-4", chunk_size=4, seconds=0.7, profile=over(line, tmp_path)).submit()
    job.wait_for_frames(1)
    job.engine._listed.forget()  # type: ignore[attr-defined]  # so that it asks
    line.answer_once(status)
    with pytest.raises(EngineUnreachableError, match=f"is busy or failed \\({status}\\)"):
        job.status()
    assert job.status().running
    ended(job, 4)


def test_a_list_whose_state_was_forgotten_between_two_pages_begins_anew(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo_api, "_PAGE", 2)
    api = argo_api.Cluster(
        lambda: ClusterAccess(kubeconfig=str(cluster.kubeconfig("artist"))), namespace=cluster.namespace
    )
    app = secrets.token_hex(3)
    for number in range(5):
        cluster.api.create(idle_workflow(f"page-{app}-{number}", app))
    statuses: list[int] = []
    send = api._send

    def forgetful(method: str, path: str, query: Any, *more: Any) -> Any:
        if dict(query).get("continue") and not statuses:
            forget_the_past(cluster, app)
        try:
            return send(method, path, query, *more)
        except ApiException as error:
            statuses.append(int(error.status))
            raise

    monkeypatch.setattr(api, "_send", forgetful)
    assert len(api.heads(f"app={app}").heads) == 6
    assert statuses == [410]
    cluster.api.delete_all("Workflow", labels=f"app={app}")


# -- rules of the cluster -------------------------------------------------------------------------------------------------

_POLICIES = "apis/admissionregistration.k8s.io/v1"
_WORKFLOWS = {"apiGroups": ["argoproj.io"], "apiVersions": ["v1alpha1"], "operations": ["CREATE"], "resources": ["workflows"]}  # fmt: skip


@contextmanager
def made(cluster: Cluster, kind: str, name: str, spec: dict[str, Any]) -> Iterator[None]:
    """An object of the cluster's rules for the time of the block."""
    resource = {
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
        "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    }[kind]
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, **spec}
    cluster.api.request("POST", f"{_POLICIES}/{resource}", body)
    try:
        yield
    finally:
        cluster.api.request("DELETE", f"{_POLICIES}/{resource}/{name}")


def refusal_of(job: ContractJob, words: str) -> str:
    """Submit once the rule is in force; returns what we are told."""
    trial = {**job.engine.manifests(job.plan)[0], "metadata": {"name": "trial"}}
    wait_for(lambda: words in judged(job, trial), 30, what="the rule is in force")
    with pytest.raises(EngineError) as refused:
        job.engine.submit(job.plan)
    assert not isinstance(refused.value, EngineUnreachableError)
    return str(refused.value)


def judged(job: ContractJob, manifest: Any) -> str:
    try:
        job.engine.cluster.create_workflow(manifest, dry_run=True)  # type: ignore[attr-defined]
    except EngineError as error:
        return str(error)
    return ""


def test_a_policy_that_refuses_the_job_is_quoted(farmer: Farmer) -> None:
    cluster = farmer.cluster
    rules = {"resourceRules": [_WORKFLOWS]}
    policy = {"spec": {"failurePolicy": "Fail", "matchConstraints": rules, "validations": [{"expression": "false", "message": "no jobs by policy"}]}}  # fmt: skip
    binding = {"spec": {"policyName": "audit", "validationActions": ["Deny"]}}
    job = farmer.job("1-2").send()
    with (
        made(cluster, "ValidatingAdmissionPolicy", "audit", policy),
        made(cluster, "ValidatingAdmissionPolicyBinding", "audit", binding),
    ):
        said = refusal_of(job, "no jobs by policy")
    assert said.startswith("A rule of the cluster refuses the job:")
    assert "denied request: no jobs by policy." in said
    assert said.endswith("Ask the cluster's admin.")
    assert workflows_of(job, cluster) == []


def test_a_webhook_that_refuses_the_job_is_quoted(farmer: Farmer, tmp_path: Path) -> None:
    cluster = farmer.cluster
    job = farmer.job("1-2").send()
    with webhook(tmp_path) as (url, authority):
        hook = {
            "name": "audit.example.com", "rules": [_WORKFLOWS], "clientConfig": {"url": url, "caBundle": authority},
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        }  # fmt: skip
        with made(cluster, "ValidatingWebhookConfiguration", "audit", {"webhooks": [hook]}):
            said = refusal_of(job, "no jobs by webhook")
    assert said.startswith("A rule of the cluster refuses the job:")
    assert "denied the request: no jobs by webhook." in said
    assert workflows_of(job, cluster) == []


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"uid": asked["request"]["uid"], "allowed": False, "status": {"message": "no jobs by webhook"}}
        body = json.dumps({**asked, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        return


@contextmanager
def webhook(folder: Path) -> Iterator[tuple[str, str]]:
    """An admission webhook that refuses everything: its address and who signed its certificate, in base64."""
    authority = PrivateCa(folder / "webhook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/", base64.b64encode(authority.ca.read_bytes()).decode()
    finally:
        server.shutdown()
        server.server_close()
