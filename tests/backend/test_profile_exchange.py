"""Profiles from hand to hand: one file is all that another computer needs, no secret is in it, and it chooses nothing there."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from cloud_farm.authorities import certificates_in
from cloud_farm.cli import run
from cloud_farm.engines.argo_access import read_access
from cloud_farm.errors import ProfileError
from cloud_farm.profile import load_profile, profile_names
from cloud_farm.profile_exchange import export_profile, import_profile, still_to_give
from cloud_farm.profile_files import keep_secret, save_profile
from cloud_farm.stores.filebrowser_settings import read_settings

from .test_profile import write_farm
from .test_profile_files import STUDIO

END = "-----END CERTIFICATE-----\n"
CERTIFICATE = certificates_in(Path(certifi.where()).read_text(encoding="utf-8"), "certifi").partition(END)[0] + END
PRIVATE = "-----BEGIN PRIVATE KEY-----\nbm90IGZvciBldmVyeWJvZHk=\n-----END PRIVATE KEY-----\n"
SERVER = "https://cluster.example.com:6443"
DOOR = "https://files.example.com"
HANDED = f"preset: coreweave-tutorial\nfilebrowser: {{url: '{DOOR}'}}\n"
BOMB = "a: &a {k: 1}\nb: &b {<<: [*a, *a, *a, *a]}\nc: &c {<<: [*b, *b, *b, *b]}\nvolume: {<<: [*c, *c, *c, *c]}\n"


def kubeconfig(
    path: Path, cluster: Mapping[str, Any], *, user: Mapping[str, Any] | None = None, namespace: str = "render"
) -> Path:
    """A kubeconfig with one context, as `kubectl config view --raw` prints it."""
    found = {
        "apiVersion": "v1", "kind": "Config", "current-context": "studio",
        "contexts": [{"name": "studio", "context": {"cluster": "there", "user": "ada", "namespace": namespace}}],
        "clusters": [{"name": "there", "cluster": {"server": SERVER, "extensions": [{"name": "made by"}], **cluster}}],
        "users": [{"name": "ada", "user": {"token": "the admin's own"} if user is None else dict(user)}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_text(f"Studio authority\n{PRIVATE}{CERTIFICATE}", encoding="utf-8")
    return path


@pytest.fixture
def artist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Go to an artist's computer: none of the admin's files is there."""

    def go() -> None:
        monkeypatch.setenv("CLOUD_FARM_HOME", str(tmp_path / "artist"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
        for path in (*tmp_path.glob("*.pem"), *tmp_path.glob("config*")):
            path.unlink()

    return go


def test_one_file_is_all_that_another_computer_needs(tmp_path: Path, authority: Path, artist: Any) -> None:
    encoded = base64.b64encode(CERTIFICATE.encode()).decode()
    way = kubeconfig(tmp_path / "config", {"certificate-authority-data": encoded})
    password = keep_secret("studio", "filebrowser.password", "the admin's own")
    save_profile("studio", {
        **STUDIO, "filebrowser.user": "render", "filebrowser.password": password, "filebrowser.ca_file": str(authority),
        "kubernetes.kubeconfig": str(way), "kubernetes.context": "studio",
    })  # fmt: skip
    text = export_profile("studio", tmp_path / "handed.yaml").read_text(encoding="utf-8")
    assert not [word for word in ("the admin's own", str(tmp_path), "PRIVATE", "extensions") if word in text], text
    artist()
    assert import_profile(tmp_path / "handed.yaml") == "studio"
    profile = load_profile("studio")
    assert (profile.limits.parallelism, profile.kubernetes["namespace"]) == (20, "render")
    assert still_to_give(profile) == {
        "filebrowser.password": f"the password of 'render' for {DOOR}",
        "kubernetes.token": f"a token for the cluster at {SERVER}",
    }
    for key in still_to_give(profile):
        save_profile("studio", {key: keep_secret("studio", key, "the artist's own")})
    profile = load_profile("studio")
    settings, access = read_settings(profile), read_access(profile)
    assert (settings.url, settings.user, settings.password) == (DOOR, "render", "the artist's own")
    assert (access.server, access.token) == (SERVER, "the artist's own")
    assert Path(settings.ca_file).read_text() == Path(access.ca_file).read_text() == CERTIFICATE
    assert not still_to_give(profile)


@pytest.mark.parametrize(
    ("user", "api_server"),
    [
        ({"exec": {"command": "aws"}}, {}), ({"auth-provider": {"name": "oidc"}}, {}),
        ({"token": "x"}, {"insecure-skip-tls-verify": True}), ({"token": "x"}, {"proxy-url": "http://proxy"}),
        ({"token": "x"}, {"tls-server-name": "other"}), ({"token": "x"}, {"server": "http://127.0.0.1"}),
    ],
    ids=["program", "provider", "unchecked", "proxy", "other name", "no TLS"],
)  # fmt: skip
def test_a_way_that_no_profile_can_say_leaves_the_context_of_everybodys_own_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artist: Any, user: dict[str, Any], api_server: dict[str, Any]
) -> None:
    way = kubeconfig(tmp_path / "config", api_server, user=user)
    save_profile("studio", {"preset": "coreweave-tutorial", "filebrowser.url": DOOR, "kubernetes.kubeconfig": str(way)})
    exported = export_profile("studio", tmp_path / "handed.yaml")
    assert yaml.safe_load(exported.read_text())["kubernetes"] == {"context": "studio", "namespace": "render"}
    artist()
    import_profile(exported)
    assert still_to_give(load_profile("studio")) == {"kubernetes.kubeconfig": "a kubeconfig with the context 'studio'"}
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "own", api_server, user=user)))
    assert not still_to_give(load_profile("studio"))


def test_the_usual_kubeconfigs_count_the_first_that_has_a_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Path
) -> None:
    first = kubeconfig(tmp_path / "config1", {"certificate-authority": authority.name})
    second = kubeconfig(tmp_path / "config2", {"server": "https://other.example.com"}, namespace="other")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "none"), str(first), str(second)]))
    save_profile("studio", {"preset": "coreweave-tutorial", "filebrowser.url": DOOR})
    exported = yaml.safe_load(export_profile("studio", tmp_path / "handed.yaml").read_text())
    assert exported["kubernetes"] == {"server": SERVER, "token": None, "namespace": "render", "ca": CERTIFICATE}


def test_only_variables_that_are_ours_by_name_travel(tmp_path: Path, authority: Path, artist: Any) -> None:
    save_profile("studio", {
        "preset": "coreweave-tutorial", "filebrowser.url": DOOR, "filebrowser.user": "render",
        "filebrowser.password": {"env": "CLOUD_FARM_FILES_PASSWORD"},
        "filebrowser.headers": {"X-Studio": "north", "Cookie": {"env": "SSO_COOKIE"}, "X-Key": {"keyring": "studio"}},
        "filebrowser.client_certificate": {"certificate": str(authority), "key": str(authority)},
    })  # fmt: skip
    exported = export_profile("studio", tmp_path / "handed.yaml")
    assert yaml.safe_load(exported.read_text())["filebrowser"] == {
        "url": DOOR, "user": "render", "password": {"env": "CLOUD_FARM_FILES_PASSWORD"},
        "headers": {"X-Studio": "north", "Cookie": None, "X-Key": None}, "client_certificate": None,
    }  # fmt: skip
    artist()
    import_profile(exported)
    assert list(still_to_give(load_profile("studio"))) == [
        "filebrowser.headers.Cookie", "filebrowser.headers.X-Key", "filebrowser.client_certificate",
    ]  # fmt: skip


def test_what_is_of_this_computer_stays_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile("studio", {**STUDIO, "blender": "/opt/blender/blender"})
    monkeypatch.setenv("CLOUD_FARM_GPU_DEVICE", "cpu")
    exported = export_profile("studio", tmp_path / "handed.yaml")
    assert yaml.safe_load(exported.read_text()) == {
        "schema": 1, "name": "studio", "preset": "coreweave-tutorial", "filebrowser": {"url": DOOR},
        "kubernetes": {"namespace": "render"}, "limits": {"parallelism": 20},
    }  # fmt: skip
    assert load_profile(str(exported)).limits.parallelism == 20, "it is a profile as it is"


def test_a_file_that_is_away_is_named(tmp_path: Path) -> None:
    save_profile("studio", {**STUDIO, "filebrowser.ca_file": str(tmp_path / "gone.pem")})
    with pytest.raises(ProfileError, match=r"filebrowser\.ca_file: there is no file .*gone\.pem"):
        export_profile("studio", tmp_path / "handed.yaml")


def test_an_imported_profile_takes_no_other_ones_place_unasked(tmp_path: Path) -> None:
    handed = tmp_path / "studio.yaml"
    handed.write_text("volume: {mount_path: /theirs}\n")
    write_farm("studio", "volume: {mount_path: /ours}\n")
    with pytest.raises(ProfileError, match="already"):
        import_profile(handed)
    assert load_profile("studio").volume.mount_path == "/ours"
    assert import_profile(handed, farm="other") == "other"
    assert import_profile(handed, over=True) == "studio"
    assert load_profile("studio").volume.mount_path == "/theirs"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "mapping"),
        ("{", "can't be read"),
        ("\x00", "can't be read"),
        ("!!python/object/apply:os.system ['true']", "can't be read"),
        ("[" * 100_000, "nested deeper"),
        ("gpu: {device: steam}", "steam"),
        ("schema: 99\nvolume: {mount_path: /x}", "schema"),
        ("name: ../../escape\nvolume: {mount_path: /x}", "not a farm's name"),
        ("name: local\n" + HANDED, "this computer"),
        ("#" * 2_000_000, "too large"),
        (BOMB, "refers to itself"),
        ("apiVersion: v1\nkind: Config\nclusters: []\n", "is a kubeconfig"),
        (HANDED + "blender: /tmp/evil.sh\n", "program of your computer"),
        (HANDED + "kubernetes: {kubeconfig: /tmp/evil}\n", r"file of your computer \(kubernetes\.kubeconfig\)"),
        (HANDED + "kubernetes: {ca_file: ~/.ssh/id_rsa}\n", r"kubernetes\.ca_file"),
        (HANDED + "kubernetes: {exec: {command: sh}}\n", r"command that would run .*kubernetes\.exec"),
        (HANDED + "kubernetes: {pod: {users: [{exec: {command: sh}}]}}\n", "command that would run"),
        (HANDED + "kubernetes: {server: 'https://x', token: {keyring: studio}}\n", r"kubernetes\.token from a place"),
        ("filebrowser: {user: a, password: {file: ~/.ssh/id_rsa}}\n", r"filebrowser\.password from a place"),
        ("filebrowser: {user: a, password: {env: AWS_SECRET_ACCESS_KEY}}\n", "CLOUD_FARM_ are allowed"),
        ("filebrowser: {headers: {X-Key: {file: /etc/shadow}}}\n", r"headers\.X-Key from a place"),
        ("filebrowser: {client_certificate: {certificate: /a, key: /b}}\n", "client_certificate"),
        ("filebrowser: {user: a, password: in the clear}\n", "in the clear"),
        ("filebrowser: {ca: /etc/shadow}\n", "holds no certificates"),
    ],
)  # fmt: skip
def test_what_is_no_profile_or_would_choose_here_is_not_taken_in(tmp_path: Path, text: str, says: str) -> None:
    handed = tmp_path / "studio.yaml"
    handed.write_text(f"preset: coreweave-tutorial\n{text}" if text.startswith("filebrowser") else text)
    with pytest.raises(ProfileError, match=says):
        import_profile(handed)
    assert profile_names() == ("local",)
    assert not [path for path in tmp_path.iterdir() if path != handed]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "studio.yaml")
    with pytest.raises(ProfileError, match="is no file"):
        import_profile(tmp_path / "studio.yaml")


def test_the_command_line_hands_on_takes_in_and_asks_for_secrets(
    tmp_path: Path, artist: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_profile("studio", {**STUDIO, "filebrowser.user": "render"})
    handed = str(tmp_path / "handed.yaml")
    assert run(["profile", "studio", "--export", handed]) == 0
    assert f"the password of 'render' for {DOOR}" in capsys.readouterr().out
    artist()
    assert run(["profile", "--import", handed]) == 0
    assert "cloud-farm profile studio --secret filebrowser.password" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("pass wörd\n"))
    assert run(["profile", "studio", "--secret", "filebrowser.password"]) == 0
    assert read_settings(load_profile("studio")).password == "pass wörd"
    assert run(["profile", "--import", handed, "other", "--json"]) == 0
    assert '"to_give": {"filebrowser.password"' in capsys.readouterr().out
    assert run(["profile", "--import", handed]) == run(["profile", "--export", handed]) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["profile", "studio", "--secret", "kubernetes.token"]) == 2
