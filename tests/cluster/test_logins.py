"""Every way to log in to the real cluster, and logins that run out while a job is followed."""

from __future__ import annotations

import json
import secrets
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines import Engine, open_engine
from cloud_farm.errors import EngineForbiddenError, EngineLoginError, ProfileError
from cloud_farm.json_data import to_json

from ..contracts.contract_job import wait_for
from . import places
from .api import ApiRefused, KubeApi
from .farm import Cluster
from .farmer import Farmer, ended

_CHECKOUT = Path(__file__).parents[2]


class Account:
    """A token of the artist's service account that can be made worthless at any time: it lives as long as a Secret."""

    def __init__(self, cluster: Cluster) -> None:
        self._api = cluster.api
        self._ca = cluster.credentials.ca
        self._name = f"token-{secrets.token_hex(3)}"
        made = self._api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self._name}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": self._name, "uid": made["metadata"]["uid"]}
        spec = {"audiences": [], "expirationSeconds": 3600, "boundObjectRef": bound}
        path = f"{self._api.path('ServiceAccount', 'artist')}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        self.token = str(self._api.request("POST", path, body)["status"]["token"])

    def end(self) -> None:
        """Let the token run out, and wait until the API server knows."""
        self._api.delete("Secret", self._name)
        as_it = KubeApi(places.API_SERVER, self._ca, token=self.token, namespace=self._api.namespace)

        def is_refused() -> bool:
            try:
                as_it.find("Workflow")
            except ApiRefused as refusal:
                return refusal.status == 401
            return False

        wait_for(is_refused, 60, what="the end of the token")


def by_token(cluster: Cluster, file: Path) -> dict[str, Any]:
    return {
        "kubernetes.kubeconfig": "", "kubernetes.server": places.API_SERVER, "kubernetes.token": {"file": str(file)},
        "kubernetes.ca_file": str(cluster.credentials.ca),
    }  # fmt: skip


def engine_of(farmer: Farmer, values: dict[str, Any]) -> Engine:
    """The engine of the farm, with a way of its own to the cluster."""
    return open_engine(farmer.farm.profile.with_values(values, origin="test"))


def test_a_token_that_runs_out_while_a_job_is_followed_is_read_anew(farmer: Farmer, tmp_path: Path) -> None:
    first, file = Account(farmer.cluster), tmp_path / "token"
    file.write_text(first.token)
    job = farmer.job("1-8", chunk_size=8, seconds=2.0, profile=by_token(farmer.cluster, file)).submit()
    job.wait_for_frames(1)
    assert job.status().running
    first.end()
    with pytest.raises(EngineLoginError, match="does not accept our login"):
        job.engine.jobs()
    second = Account(farmer.cluster)
    file.write_text(second.token)  # as whoever renews it does
    assert job.status().running
    ended(job, 8)


def test_a_command_that_fails_while_a_job_is_followed_is_named(farmer: Farmer, tmp_path: Path) -> None:
    first, script = Account(farmer.cluster), tmp_path / "login.sh"
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": first.token},
    }
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    script.chmod(0o755)
    kubeconfig = yaml.safe_load(farmer.cluster.kubeconfig("artist").read_text())
    for user in kubeconfig["users"]:
        user["user"] = {
            "exec": {"apiVersion": answer["apiVersion"], "command": str(script), "interactiveMode": "Never"}
        }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    engine = engine_of(farmer, {"kubernetes.kubeconfig": str(path)})
    engine.jobs()
    first.end()
    script.write_text("#!/bin/sh\necho 'your session is over' >&2; exit 1\n")
    with pytest.raises(
        EngineLoginError, match=r"login\.sh: process returned 1\. your session is over\. Log in to the cluster"
    ):
        engine.jobs()


def test_who_is_known_but_has_no_token_is_no_artist(farmer: Farmer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(farmer.cluster.credentials.token("stranger"))
    with pytest.raises(EngineForbiddenError, match="You may not list workflows"):
        engine_of(farmer, by_token(farmer.cluster, file)).jobs()
    file.write_text("nonsense")
    with pytest.raises(EngineLoginError):
        engine_of(farmer, by_token(farmer.cluster, file)).jobs()


def test_of_two_contexts_the_profile_names_the_one(farmer: Farmer, tmp_path: Path) -> None:
    files = {user: yaml.safe_load(farmer.cluster.kubeconfig(user).read_text()) for user in ("stranger", "artist")}
    namespaces = {"stranger": "default", "artist": farmer.cluster.namespace}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "stranger",
        "clusters": [{"name": user, "cluster": file["clusters"][0]["cluster"]} for user, file in files.items()],
        "users": [{"name": user, "user": file["users"][0]["user"]} for user, file in files.items()],
        "contexts": [{"name": user, "context": {"cluster": user, "user": user, "namespace": namespaces[user]}} for user in files],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    values = {"kubernetes.kubeconfig": str(path), "kubernetes.namespace": ""}
    with pytest.raises(EngineForbiddenError, match="You may not list workflows in namespace default"):
        engine_of(farmer, values).jobs()
    engine = engine_of(farmer, values | {"kubernetes.context": "artist"})
    engine.jobs()
    assert engine.cluster.namespace == farmer.cluster.namespace  # type: ignore[attr-defined]
    with pytest.raises(ProfileError, match="nobody"):
        engine_of(farmer, values | {"kubernetes.context": "nobody"}).jobs()


_INSIDE = """
import sys
from cloud_farm.engines import open_engine
from cloud_farm.profile import load_profile
engine = open_engine(load_profile("/etc/farm/farm.yaml"))
print("findings", [(item.code, item.message) for item in engine.check()])
print("namespace", engine.cluster.namespace)
print("jobs", [job.id for job in engine.jobs()])
"""


def test_inside_the_cluster_a_pods_own_account_is_the_login(farmer: Farmer) -> None:
    """The backend as it is, in a pod, with the libraries of this Python; no kubeconfig, no namespace in the profile."""
    job = farmer.job("1-2", chunk_size=2).submit()
    api, name = farmer.cluster.api, f"inside-{secrets.token_hex(3)}"
    whole = to_json(farmer.farm.profile)
    kubernetes = {key: value for key, value in whole["kubernetes"].items() if key not in ("kubeconfig", "namespace")}
    text = yaml.safe_dump(
        {key: whole[key] for key in ("engine", "store", "filebrowser", "volume", "images")} | {"kubernetes": kubernetes}
    )
    paths = {"backend": _CHECKOUT / "backend", "site": Path(sysconfig.get_path("purelib"))}
    main = {
        "name": "main", "image": farmer.cluster.blender_image, "imagePullPolicy": "Never", "command": ["/usr/bin/python3", "-c", _INSIDE],
        "env": [{"name": "PYTHONPATH", "value": "/backend:/site"}, {"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [{"name": "farm", "mountPath": "/etc/farm"}, *({"name": key, "mountPath": f"/{key}", "readOnly": True} for key in paths)],
    }  # fmt: skip
    volumes = [
        {"name": "farm", "configMap": {"name": name}},
        *({"name": key, "hostPath": {"path": str(path)}} for key, path in paths.items()),
    ]
    spec = {"serviceAccountName": "artist", "restartPolicy": "Never", "containers": [main], "volumes": volumes}
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"farm.yaml": text}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    try:
        for content in (configuration, pod):
            api.create(content)
        wait_for(
            lambda: api.get("Pod", name)["status"].get("phase") in ("Succeeded", "Failed"), 120, what="the pod's end"
        )
        said = farmer.cluster.log(name)
    finally:
        for kind in ("Pod", "ConfigMap"):
            api.delete(kind, name)
    assert f"namespace {farmer.cluster.namespace}" in said, said
    assert job.id in said, said
    assert "findings [('right_missing', 'You may not list nodes on the cluster" in said, (
        said
    )  # it has no ClusterRole, and nothing else is wrong
    assert said.count("right_missing") == 1, said
    ended(job, 2)
