"""TLS: the authority that the profile names decides, client certificates, and sentences for what does not fit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.errors import ProfileError, StoreLoginError, StoreUnreachableError

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.forward_proxy import Tinyproxy
from ..rigs.private_ca import PrivateCa
from ..rigs.reverse_proxy import Nginx
from .clients import BIG, FOLDER, MIB, Door, content

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(scope="module")
def gate(server: FileBrowserServer) -> Iterator[Nginx]:
    """A proxy with a certificate that nobody trusts yet."""
    with Nginx(server.url, tls=True) as running:
        yield running


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)


def works(door: Door) -> None:
    data = content(5 * MIB)
    store = door.open()
    assert store.put(data, BIG)
    assert store.read(BIG) == data
    assert door.on_disk().read_bytes() == data


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_profiles_authority_decides_whatever_the_environment_names(
    door: Door, gate: Nginx, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bundle, str(gate.stranger[0]))
    works(door.at(gate.url, ca_file=str(gate.ca)))


def test_an_authority_that_lies_in_the_profile_itself(door: Door, gate: Nginx) -> None:
    works(door.at(gate.url, ca=gate.ca.read_text(encoding="ascii")))


def test_without_a_word_in_the_profile_the_environments_authorities_hold(
    door: Door, gate: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(gate.ca))
    works(door.at(gate.url))


def test_an_unknown_authority_is_named_with_its_cure(door: Door, gate: Nginx) -> None:
    words = r"is not trusted \([^)]*certificate[^)]*\)\. Name the authority that signed it as filebrowser\.ca_file"
    with pytest.raises(StoreUnreachableError, match=words):
        door.at(gate.url).open().list(FOLDER)


def test_a_certificate_for_another_name(door: Door) -> None:
    with Nginx(door.url, tls=True, host="127.0.0.2") as gate:
        store = door.at(gate.url, ca_file=str(gate.ca)).open()
        with pytest.raises(StoreUnreachableError, match=r"is for another name \(.*(mismatch|doesn't match).*\)"):
            store.list(FOLDER)


def test_files_that_are_no_certificates_are_refused_before_anything_is_sent(
    door: Door, line: FaultProxy, tmp_path: Path
) -> None:
    keys = PrivateCa(tmp_path / "keys")
    nothing, locked = tmp_path / "nothing.pem", tmp_path / "locked.key"
    nothing.write_text("no certificate\n")
    command = ["openssl", "ec", "-in", str(keys.client[1]), "-out", str(locked), "-aes256", "-passout", "pass:word"]
    subprocess.run(command, check=True, capture_output=True)

    def refusal(**settings: Any) -> str:
        with pytest.raises(ProfileError) as caught:
            door.at(line.url, **settings).open()
        return str(caught.value)

    def pair(certificate: Path, key: Path) -> dict[str, dict[str, str]]:
        return {"client_certificate": {"certificate": str(certificate), "key": str(key)}}

    assert "ca_file: there is no file" in refusal(ca_file=str(tmp_path / "gone"))
    assert "nothing.pem holds no certificates (PEM)" in refusal(ca_file=str(nothing))
    for certificate, key in [(nothing, keys.client[1]), (keys.client[0], keys.stranger[1]), (keys.client[0], locked)]:
        assert "are no pair (PEM), or the key is encrypted" in refusal(**pair(certificate, key))
    assert line.requests == []


def test_authorities_of_the_environment_that_are_not_there(
    door: Door, gate: Nginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(StoreUnreachableError, match=r"no certificates in .*gone.pem\. Check .* REQUESTS_CA_BUNDLE"):
        door.at(gate.url).open().list(FOLDER)


def test_client_certificates(door: Door) -> None:
    with Nginx(door.url, tls=True, client_certificates=True) as gate:
        trusted = door.at(gate.url, ca_file=str(gate.ca))

        def with_pair(pair: tuple[Path, Path]) -> Door:
            return trusted.at(gate.url, client_certificate={"certificate": str(pair[0]), "key": str(pair[1])})

        works(with_pair(gate.client))
        for refused in (trusted, with_pair(gate.stranger)):
            with pytest.raises(StoreLoginError, match=r"client certificate \(filebrowser.client_certificate\)"):
                refused.open().list(FOLDER)


def test_tls_where_there_is_none(door: Door) -> None:
    with pytest.raises(StoreUnreachableError, match="do not agree on TLS .* speak no TLS"):
        door.at(door.url.replace("http://", "https://")).open().list(FOLDER)


def test_none_where_there_is_tls(door: Door, gate: Nginx) -> None:
    with pytest.raises(StoreLoginError, match="400"):
        door.at(gate.url.replace("https://", "http://")).open().list(FOLDER)


def test_an_encrypted_line_that_breaks(door: Door, gate: Nginx, tmp_path: Path) -> None:
    data = content(12 * MIB)
    with FaultProxy(gate.url) as line:
        trusted = door.at(line.url, ca_file=str(gate.ca))
        line.reset_every = 3 * MIB
        assert trusted.open().put(data, BIG)
        line.reset_every = 0
        store = trusted.open()
        breaks = 0

        def cut(count: int) -> None:
            nonlocal breaks
            if count > 0 and breaks < 4:
                breaks += 1
                line.reset_connections()

        store.get(BIG, tmp_path / "back", progress=cut)
    assert door.on_disk().read_bytes() == (tmp_path / "back").read_bytes() == data
    assert breaks == 4


def test_through_a_proxy_that_the_environment_names(door: Door, gate: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = door.at(gate.url, ca_file=str(gate.ca))
    with Tinyproxy(tunnel_port=gate.port, login="me:a-word") as way_out:
        monkeypatch.setenv("HTTPS_PROXY", way_out.url)
        works(trusted)
        assert way_out.requests[0].startswith(f"CONNECT 127.0.0.1:{gate.port}")
        before = len(way_out.requests)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        works(trusted)
        assert len(way_out.requests) == before
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTPS_PROXY", way_out.url.replace("a-word", "another-word"))
        with pytest.raises(
            StoreUnreachableError, match=r"proxy on the way to .* does not let us through .*HTTPS_PROXY"
        ) as caught:
            trusted.open().list(FOLDER)
        assert "another-word" not in str(caught.value)
    with pytest.raises(StoreUnreachableError, match=r"proxy on the way to .* \(Connection refused\)"):
        trusted.open().list(FOLDER)


def test_a_proxy_that_opens_no_tunnel_to_there(door: Door, gate: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tinyproxy(tunnel_port=443) as way_out:
        monkeypatch.setenv("HTTPS_PROXY", way_out.url)
        with pytest.raises(
            StoreUnreachableError, match=r"proxy on the way to .* does not let us through \(Access violation\)"
        ):
            door.at(gate.url, ca_file=str(gate.ca)).open().list(FOLDER)
