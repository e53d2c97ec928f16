"""Frozen dataclasses to JSON and back, by their type hints; unknown fields survive the round trip.

No library fits: the add-on's worker bundles pure Python only, and "a field that I don't know yet is kept" is the point.
A dataclass that stores its unknown fields has a field `extra: Mapping[str, Any]`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import SchemaError

T = TypeVar("T")
_EXTRA = "extra"


def to_json(value: Any) -> Any:
    """Turn dataclasses, tuples and mappings into plain JSON data; unknown fields of the source come back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        known = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != _EXTRA}
        return {**dict(getattr(value, _EXTRA, {})), **known}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(cls: type[T], data: Any, *, where: str) -> T:
    """Build a dataclass from JSON data.

    Args:
        cls: The dataclass wanted.
        data: What `json.loads` gave.
        where: Names the source in messages (a path).

    Raises:
        SchemaError: A field is missing or has the wrong type; the message names it.
    """
    if not isinstance(data, dict):
        raise SchemaError(f"{where} should be a JSON object, but it is {_kind(data)}.", path=where)
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls)) if f.name != _EXTRA}
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], where=f"{where}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(f"{where} lacks the field '{name}'. It is damaged or was edited by hand.", path=where)
    if _EXTRA in hints:
        values[_EXTRA] = {key: item for key, item in data.items() if key not in fields}
    return cls(**values)


def load_json(raw: bytes, *, where: str) -> dict[str, Any]:
    """Parse a JSON object and check its schema number.

    A newer schema is read, its unknown fields are kept; who writes on top calls `require_schema`.

    Raises:
        SchemaError: Not JSON, not an object, or no schema number.
    """
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is not JSON ({error}). It is damaged or was edited by hand.", path=where) from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int) or data["schema"] < 1:
        raise SchemaError(f"{where} has no schema number. It is damaged or not ours.", path=where)
    return data


def require_schema(data: Mapping[str, Any], newest: int, *, where: str) -> None:
    """Refuse to write on top of data that a newer version made.

    Raises:
        SchemaError: The data's schema is newer than `newest`.
    """
    if int(data["schema"]) > newest:
        raise SchemaError(
            f"{where} was made by a newer Cloud Farm (schema {data['schema']}, this one writes {newest}). It can be read here, not changed: update Cloud Farm.",
            path=where,
        )


def _value(hint: Any, data: Any, *, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint), data, where=where)
    if origin is tuple:
        return _tuple(typing.get_args(hint), data, where=where)
    if origin in (Mapping, dict, typing.get_origin(Mapping[str, Any])):
        if not isinstance(data, dict):
            raise _wrong("an object", data, where)
        return data
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(Any, hint), data, where=where)
    return _scalar(hint, data, where=where)


def _union(options: tuple[Any, ...], data: Any, *, where: str) -> Any:
    if data is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    return _value(rest[0], data, where=where)


def _tuple(args: tuple[Any, ...], data: Any, *, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _wrong("a list", data, where)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], item, where=f"{where}[{i}]") for i, item in enumerate(data))
    if len(data) != len(args):
        raise _wrong(f"a list of {len(args)}", data, where)
    return tuple(
        _value(hint, item, where=f"{where}[{i}]") for i, (hint, item) in enumerate(zip(args, data, strict=True))
    )


def _scalar(hint: Any, data: Any, *, where: str) -> Any:
    if hint is Any:
        return data
    if hint is float and isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    if (
        isinstance(data, hint)
        and not (hint in (int, float) and isinstance(data, bool))
        and not (isinstance(data, float) and not math.isfinite(data))
    ):
        return data
    raise _wrong(
        {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, hint.__name__),
        data,
        where,
    )


def _wrong(wanted: str, data: Any, where: str) -> SchemaError:
    return SchemaError(f"{where} should be {wanted}, but it is {_kind(data)}.", path=where)


def _kind(data: Any) -> str:
    text = repr(data)
    return f"{type(data).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
