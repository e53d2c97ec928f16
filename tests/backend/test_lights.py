"""The lights of a farm: each says what was found and what to do, whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from cloud_farm.checks import judged
from cloud_farm.job import Finding
from cloud_farm.lights import try_out
from cloud_farm.profile import load_profile

from .test_profile import write_farm


def test_this_computer_has_two_lights() -> None:
    volume, computer = try_out(load_profile("local"))
    assert (volume.name, computer.name, computer.level) == ("volume", "computer", "green")
    assert volume.level == "green" or "free" in volume.message, "a disk that is nearly full is yellow"


def test_a_share_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    write_farm("nas", f"volume: {{mount_path: {tmp_path / 'nas'}}}\n")
    volume, _ = try_out(load_profile("nas"))
    assert (volume.level, volume.fix) == ("yellow", "If it is a share, mount it; else the first job makes it.")


def test_a_farm_that_nobody_answers_for_is_red_with_a_reason_each(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}], users: [{name: a, user: {}}]}"
    )
    write_farm(
        "studio",
        "preset: coreweave-tutorial\nfilebrowser: {url: 'http://127.0.0.1:9', user: a, password: {env: NOT_SET}}\n"
        f"kubernetes: {{kubeconfig: {tmp_path / 'config'}}}\n",
    )
    volume, kubernetes, argo = try_out(load_profile("studio"))
    assert [light.level for light in (volume, kubernetes, argo)] == ["red", "red", "red"]
    assert "NOT_SET" in volume.message
    assert "127.0.0.1:9" in kubernetes.message


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], ("green", "good", "")),
        ([("warning", "slow", "buy")], ("yellow", "slow", "buy")),
        ([("warning", "slow", "buy"), ("error", "no claim", "make it"), ("error", "no right", "")], ("red", "no claim no right", "make it")),
    ],
)  # fmt: skip
def test_errors_decide_a_light(findings: list[tuple[str, str, str]], expected: tuple[str, str, str]) -> None:
    found = [Finding("x", severity, message, fix=fix) for severity, message, fix in findings]
    light = judged("argo", found, "good")
    assert (light.level, light.message, light.fix) == expected
