"""Argo's own definitions of Workflows and WorkflowTemplates, from its Go module, and a check of an object against one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .go_build import cache_folder, make_once, module_folder, pinned

_MODULE = "github.com/argoproj/argo-workflows/v3"
VERSION = pinned(Path(__file__).parents[1] / "cluster" / "go" / "argo-3.7" / "go.mod", _MODULE)
_PATIENCE_SECONDS = 300.0
_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": Mapping, "array": list,
}  # fmt: skip


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of `workflows` or `workflowtemplates` as the full definitions have it.

    Raises:
        RigUnavailable: There is no Go, or the module proxy does not hand the module out.
    """
    made = cache_folder() / f"argo-{VERSION}-{kind}.json"
    make_once(made, lambda: _extract(kind, made), patience=_PATIENCE_SECONDS)
    schema: dict[str, Any] = json.loads(made.read_text(encoding="utf-8"))
    return schema


def _extract(kind: str, made: Path) -> None:
    module = module_folder(made.parent, _MODULE, VERSION, patience=_PATIENCE_SECONDS)
    definition = module / "manifests" / "base" / "crds" / "full" / f"argoproj.io_{kind}.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load(definition.read_text(encoding="utf-8"), Loader=loader)
    part = made.with_name(f"{made.name}.part")
    part.write_text(json.dumps(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]), encoding="utf-8")
    part.replace(made)


def violations(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what the API server would refuse: unknown fields (as with Strict), wrong types, missing fields, patterns, lengths."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            yield f"{path}: {value!r} is no integer and no string"
        return
    wanted = schema.get("type")
    if wanted and (not isinstance(value, _PYTHON_TYPES[wanted]) or (wanted != "boolean" and isinstance(value, bool))):
        yield f"{path}: {value!r} is no {wanted}"
    elif isinstance(value, Mapping):
        yield from _in_object(value, schema, path)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{path}: more than {schema['maxItems']} items"
        for index, item in enumerate(value):
            yield from violations(item, schema.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, str):
        yield from _in_text(value, schema, path)


def _in_object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], f"{path}.{name}")
        elif isinstance(rest, Mapping):
            yield from violations(item, rest, f"{path}.{name}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields") and path not in ("", ".metadata"):
            yield f"{path}.{name} is not known"


def _in_text(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: longer than {schema['maxLength']}"
