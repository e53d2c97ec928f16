"""Which Argo a farm's profile was written for, and which one is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines.argo_check import RIGHTS, judge_version
from cloud_farm.job import Finding

CONTROLLER, EXECUTOR = "quay.io/argoproj/workflow-controller:v", "quay.io/argoproj/argoexec:v"


def found(image: str, written: str) -> list[Finding]:
    return list(judge_version(image, written))


@pytest.mark.parametrize(
    ("there", "written"), [("3.7.14", "3.7.14"), ("3.6.12", ""), ("4.1.2", "3.7.14"), ("3.5.2", "3.4.7"), ("3.7.3", "3.7.14")]
)  # fmt: skip
def test_what_takes_every_field_is_no_finding(there: str, written: str) -> None:
    assert found(CONTROLLER + there, written) == []


@pytest.mark.parametrize(
    ("there", "written", "says"),
    [
        ("3.6.12", "3.7.14", "has argo_version 3.7.14"),
        ("3.5.2", "", "argo_version, which is not set (3.6 is taken)"),
        ("4.0.1", "3.5.2", "has argo_version 3.5.2"),
    ],
)
def test_what_would_drop_fields_in_silence_is_told(there: str, written: str, says: str) -> None:
    [finding] = found(CONTROLLER + there, written)
    assert (finding.code, finding.severity) == ("argo_version_differs", "error")
    assert f"The cluster's Argo is {there}" in finding.message
    assert says in finding.message
    assert finding.fix == f"Set argo_version: {there} in the farm's profile."


def test_what_ran_last_may_be_of_before_an_update() -> None:
    [finding] = found(EXECUTOR + "3.6.12", "3.7.14")
    assert finding.severity == "warning"


def test_one_that_is_too_old_is_told() -> None:
    [finding] = found(EXECUTOR + "3.3.10", "3.4.7")
    assert (finding.code, finding.severity) == ("argo_unsupported", "error")
    assert "is 3.3.10, and 3.4 is the oldest that works" in finding.message


# -- what the documentation tells an administrator to give ----------------------------------------------------------------------

_CHECKOUT = Path(__file__).parents[2]


def roles(text: str) -> dict[str, list[dict[str, Any]]]:
    """The rules of the roles in some YAML, by kind and name."""
    found = [item for item in yaml.safe_load_all(text) if item and item["kind"] in ("Role", "ClusterRole")]
    return {f"{item['kind']} {item['metadata']['name']}": item["rules"] for item in found}


def documented() -> dict[str, list[dict[str, Any]]]:
    page = (_CHECKOUT / "docs" / "argo.md").read_text()
    return roles("\n---\n".join(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:1]))


def test_the_cluster_tests_run_with_what_the_documentation_gives() -> None:
    manifest = (_CHECKOUT / "tests" / "cluster" / "manifests" / "namespace.yaml").read_text()
    assert documented() == roles(manifest.replace("$", ""))


def test_an_artist_gets_every_right_that_is_asked_for_and_no_secret() -> None:
    given = documented()
    for right in RIGHTS:
        rules = given["ClusterRole see-nodes" if right.everywhere else "Role artist"]
        assert any(
            right.group in rule["apiGroups"] and right.resource in rule["resources"] and right.verb in rule["verbs"]
            for rule in rules
        ), right
    assert not any("secrets" in rule["resources"] for rules in given.values() for rule in rules)
