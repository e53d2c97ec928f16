"""A layout that draws nothing and takes nothing that Blender's own would not take: names, arguments, icons, properties, operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

_LAYOUTS = {"row", "column", "column_flow", "grid_flow", "box", "split", "panel"}


class _Known:
    """What this Blender has, asked once."""

    functions: Any = bpy.types.UILayout.bl_rna.functions
    icons = {item.identifier for item in functions["label"].parameters["icon"].enum_items}
    settable = {prop.identifier for prop in bpy.types.UILayout.bl_rna.properties if not prop.is_readonly}


class StrictLayout:
    """Notes what is drawn; `texts` are all words, `operators` all buttons, `untranslated` what is shown as it is, in order."""

    root: StrictLayout
    texts: list[str]
    operators: list[str]
    properties: list[str]
    tips: list[str]
    cameras: list[str]
    untranslated: list[str]

    def __init__(self, root: StrictLayout | None = None) -> None:
        object.__setattr__(self, "root", root or self)
        if root is None:
            for name in ("texts", "operators", "properties", "tips", "cameras", "untranslated"):
                object.__setattr__(self, name, [])
        self.alert = False

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in _Known.settable, f"a layout has no {name}"
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        assert name in _Known.functions, f"a layout can't {name}"
        parameters = [parameter for parameter in _Known.functions[name].parameters if not parameter.is_output]
        return lambda *values, **words: self._call(name, parameters, values, words)

    def _call(self, name: str, parameters: list[Any], values: tuple[Any, ...], words: dict[str, Any]) -> Any:
        names = [parameter.identifier for parameter in parameters]
        assert len(values) <= len(names), f"{name} takes {names}"
        given = {**dict(zip(names, values, strict=False)), **words}
        unknown = set(given) - set(names)
        assert not unknown, f"{name} takes no {unknown}"
        missing = [p.identifier for p in parameters if p.is_required and p.identifier not in given]
        assert not missing, f"{name} needs {missing}"
        if "icon" in given:
            assert given["icon"] in _Known.icons, f"there is no icon {given['icon']}"
        if "text" in given:
            assert isinstance(given["text"], str), given
            self.root.texts.append(given["text"])
            if not given.get("translate", True):
                self.root.untranslated.append(given["text"])
        if name in _LAYOUTS:
            return StrictLayout(self.root)
        return getattr(self, f"_{name}", lambda **_given: None)(**given)

    def _prop(self, data: Any, property: str, **_more: Any) -> None:
        assert property in data.bl_rna.properties, f"{data} has no {property}"
        self.root.properties.append(property)

    def _operator(self, operator: str, **more: Any) -> Any:
        module, _, name = operator.partition(".")
        kind = getattr(getattr(bpy.ops, module), name).get_rna_type()  # raises where there is no such operator
        if "text" not in more:
            self.root.texts.append(kind.name)
        self.root.operators.append(operator)
        return _OperatorProperties(kind, self.root)

    def _menu(self, menu: str, **_more: Any) -> None:
        assert hasattr(bpy.types, menu), f"there is no menu {menu}"

    def _template_list(self, listtype_name: str, **_more: Any) -> None:
        assert hasattr(bpy.types, listtype_name), f"there is no list {listtype_name}"

    def _progress(self, factor: float = 0.0, **_more: Any) -> None:
        assert 0.0 <= factor <= 1.0, factor


class _OperatorProperties:
    """What a button hands to its operator."""

    _kind: Any
    _root: StrictLayout

    def __init__(self, kind: Any, root: StrictLayout) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_root", root)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self._kind.properties, f"{self._kind.identifier} has no {name}"
        if name == "tip":
            self._root.tips.append(value)
        if name == "camera":
            self._root.cameras.append(value)
