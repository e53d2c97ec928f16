"""Logging in to a cluster as a kubeconfig says: the command that it names, and what people read when that fails."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines import argo_exec, argo_login
from cloud_farm.engines.argo_access import ClusterAccess
from cloud_farm.engines.argo_login import connect
from cloud_farm.errors import EngineLoginError, ProfileError

from ..rigs.private_ca import PrivateCa

_API = "client.authentication.k8s.io/v1"
_EXTENSION = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "studio"}}


def kubeconfig(folder: Path, user: dict[str, Any]) -> ClusterAccess:
    path = folder / "config"
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "studio",
        "clusters": [{"name": "studio", "cluster": {"server": "https://cluster.example.com", "certificate-authority": "ca.pem", "extensions": [_EXTENSION]}}],
        "contexts": [{"name": "studio", "context": {"cluster": "studio", "user": "ada", "namespace": "render"}}],
        "users": [{"name": "ada", "user": user}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    (folder / "ca.pem").write_text("an authority")
    return ClusterAccess(kubeconfig=str(path))


def by_command(folder: Path, script: str, **more: Any) -> ClusterAccess:
    """A kubeconfig whose command is a shell script beside it."""
    path = folder / "log in.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return kubeconfig(folder, {"exec": {"apiVersion": _API, "command": str(path), "interactiveMode": "Never", **more}})


def answer(**status: str) -> str:
    return f"cat <<'END'\n{json.dumps({'apiVersion': _API, 'kind': 'ExecCredential', 'status': status})}\nEND"


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are shell scripts")


def test_a_command_gives_a_token_and_files_are_beside_the_kubeconfig(tmp_path: Path) -> None:
    client, namespace = connect(by_command(tmp_path, answer(token="drawn")))
    assert client.configuration.api_key["authorization"] == "Bearer drawn"
    assert namespace == "render"
    assert Path(client.configuration.ssl_ca_cert) == tmp_path / "ca.pem"


def test_a_command_gives_a_certificate(tmp_path: Path) -> None:
    certificate, key = PrivateCa(tmp_path / "ca").client_named("ada")
    given = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    access = by_command(tmp_path, f"echo once >> {shlex.quote(str(tmp_path / 'runs'))}\n{answer(**given)}")
    configuration = connect(access)[0].configuration
    assert (tmp_path / "runs").read_text() == "once\n"
    assert Path(configuration.cert_file).read_text() == certificate.read_text()
    assert Path(configuration.key_file).read_text() == key.read_text()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'no session:\nsso login first' >&2; exit 3", "process returned 3. no session: sso login first. Log in"),
        ("echo hello", "its answer is no ExecCredential of client.authentication.k8s.io/v1"),
        ("echo '[]'", "its answer is no ExecCredential of client.authentication.k8s.io/v1"),
        (
            answer().replace("k8s.io/v1", "k8s.io/v9"),
            "its answer is no ExecCredential of client.authentication.k8s.io/v1",
        ),
        (answer(expirationTimestamp="2026-11-30T00:00:00Z"), "its answer has no 'clientCertificateData'"),
        (answer(clientCertificateData="x"), "its answer has no 'clientKeyData'"),
    ],
)
def test_a_command_that_fails_is_named_with_what_it_said(
    tmp_path: Path, script: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    access = by_command(tmp_path, script, args=["--as", "ada l"])
    with pytest.raises(EngineLoginError) as failed:
        connect(access)
    assert f"{shlex.quote(str(tmp_path / 'log in.sh'))}: " in str(failed.value)
    assert says in str(failed.value)
    assert not caplog.records


@pytest.mark.parametrize(
    "script", ['echo "$@ $PASS" >&2; exit 1', 'echo "$@ $PASS"', 'echo "$@ $PASS" >&2; exec sleep 60']
)
def test_what_a_command_was_given_is_never_told(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are passwords, often: of a client of the studio's login server, say."""
    monkeypatch.setattr(argo_exec, "_LONGEST_SECONDS", 1.0)
    given = ["--oidc-client-secret=hush1", "--password", "hush2 or so", "-phush3", "curl -d key=hush4", "--verbose"]
    access = by_command(tmp_path, script, args=given, env=[{"name": "PASS", "value": "hush5"}])
    with pytest.raises(EngineLoginError) as failed:
        connect(access)
    told = "".join(traceback.format_exception(failed.value)) + caplog.text
    assert "log in.sh" in told
    assert "hush" not in told


def test_a_command_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what it started goes on and holds its output open."""
    monkeypatch.setattr(argo_exec, "_LONGEST_SECONDS", 1.0)
    access = by_command(
        tmp_path, f"echo $$ > {shlex.quote(str(tmp_path / 'pid'))}; echo 'open the page' >&2; sleep 20; echo"
    )
    with pytest.raises(EngineLoginError, match=r"it did not end within 1 s\. open the page"):
        connect(access)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_command_is_not_asked_and_hears_of_the_cluster_if_it_wants(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = f"printenv KUBERNETES_EXEC_INFO > {shlex.quote(str(heard))}; read line; {answer(token='drawn')}"
    connect(by_command(tmp_path, script))
    assert json.loads(heard.read_text()) == {
        "apiVersion": _API,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    connect(by_command(tmp_path, script, provideClusterInfo=True))
    cluster = json.loads(heard.read_text())["spec"]["cluster"]
    authority = base64.b64encode(b"an authority").decode()
    assert cluster == {
        "server": "https://cluster.example.com",
        "certificate-authority-data": authority,
        "config": {"audience": "studio"},
    }


def test_a_command_that_is_not_there_says_why_a_menu_may_not_find_it(tmp_path: Path) -> None:
    access = kubeconfig(tmp_path, {"exec": {"apiVersion": _API, "command": "no-such-login"}})
    with pytest.raises(
        EngineLoginError, match=r"no-such-login: there is no such program.*whole path in the kubeconfig"
    ):
        connect(access)


def test_of_two_contexts_the_named_one_counts_else_the_current(tmp_path: Path) -> None:
    access = kubeconfig(tmp_path, {"token": "of-ada"})
    path = Path(access.kubeconfig)
    content = yaml.safe_load(path.read_text())
    content["clusters"].append({"name": "home", "cluster": {"server": "https://home.example.com"}})
    content["users"].append({"name": "bob", "user": {"token": "of-bob"}})
    content["contexts"].append({"name": "home", "context": {"cluster": "home", "user": "bob"}})
    path.write_text(yaml.safe_dump(content))

    def found(context: str) -> tuple[str, str, str]:
        client, namespace = connect(ClusterAccess(kubeconfig=str(path), context=context))
        return client.configuration.host, client.configuration.api_key["authorization"], namespace

    assert found("") == found("studio") == ("https://cluster.example.com", "Bearer of-ada", "render")
    assert found("home") == ("https://home.example.com", "Bearer of-bob", "")
    with pytest.raises(ProfileError, match="nowhere"):
        found("nowhere")


def test_what_is_no_kubeconfig_is_told(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("{}")
    with pytest.raises(ProfileError, match="can't be read"):
        connect(ClusterAccess(kubeconfig=str(tmp_path / "config")))
    with pytest.raises(ProfileError, match="can't be read"):
        connect(ClusterAccess(kubeconfig=str(tmp_path / "nowhere")))


def test_inside_a_cluster_the_pods_own_account_is_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kubeconfig of its own only."""
    from kubernetes.config import incluster_config

    (tmp_path / "namespace").write_text("render\n")
    for name, content in (("token", "of-the-pod"), ("ca.crt", "an authority")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(argo_login, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    client, namespace = connect(ClusterAccess())
    assert client.configuration.host == "https://10.0.0.1:443"
    assert "of-the-pod" in str(client.configuration.api_key["authorization"])
    assert namespace == "render"
