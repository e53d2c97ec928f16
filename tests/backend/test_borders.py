"""The borders of the house, read from the syntax trees: who may import what, and the house numbers."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import cloud_farm
import pytest

PACKAGE = Path(cloud_farm.__file__).parent
INSIDE = sorted((PACKAGE / "inside_blender").glob("*.py"))
OUTSIDE = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "inside_blender")
ADDON = Path(__file__).parents[2] / "blender_addon"
IN_BLENDER = sorted(ADDON.rglob("*.py"))
BLENDERS_OWN = {"bpy", "mathutils", "addon_utils", "_cycles"}
# Blender's process waits for nothing and has one thread: the worker process has the rest.
WORKERS_OWN = {"threading", "concurrent", "multiprocessing", "asyncio", "queue", "socket", "ssl", "http", "urllib"}
# These know that there are several systems; the last one is about Debian's packages.
KNOW_SYSTEMS = {"platform.py", "capacity.py", "quiet_child.py", "system_libraries.py"}
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, int, int]]:
    """(module, dots, line) of every import, also those inside functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                yield from ((alias.name, node.level, node.lineno) for alias in node.names)
            else:
                yield node.module, node.level, node.lineno


def name(path: Path) -> str:
    return path.relative_to(ADDON.parent if ADDON in path.parents else PACKAGE).as_posix()


@pytest.mark.parametrize("path", OUTSIDE, ids=name)
def test_outside_never_imports_blender_nor_the_scripts_nor_itself_by_name(path: Path) -> None:
    for module, dots, line in imports(path):
        top = module.split(".")[0]
        assert dots or top not in BLENDERS_OWN, f"line {line}"
        assert dots or top != "cloud_farm", (
            f"line {line}: the package is also a part of the extension; import relatively"
        )
        assert "inside_blender" not in module, f"line {line}: those scripts are data"


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_inside_scripts_need_only_python_blender_and_siblings(path: Path) -> None:
    siblings = {script.stem for script in INSIDE}
    for module, dots, line in imports(path):
        top = module.split(".")[0]
        assert dots == 0, f"line {line}: they run as plain scripts"
        assert top in sys.stdlib_module_names | BLENDERS_OWN | siblings, f"line {line}: {module}"


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_inside_scripts_are_python_3_10(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


@pytest.mark.parametrize("room", ["engines", "stores"])
def test_only_the_registry_names_implementations(room: str) -> None:
    implementations = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    for path in OUTSIDE:
        if path.parent.name == room:
            continue
        for module, _dots, line in imports(path):
            parts = module.split(".")
            if parts[0] == room and len(parts) > 1 and parts[1] in implementations:
                # How many workers fit is asked of the local engine's own module, where this computer is the farm.
                assert (name(path), parts[1]) == ("submission.py", "local"), f"{name(path)} line {line}"


def test_engines_and_stores_do_not_know_each_other() -> None:
    for room, other in (("engines", "stores"), ("stores", "engines")):
        for path in (PACKAGE / room).glob("*.py"):
            assert not [module for module, _, _ in imports(path) if module.split(".")[0] == other], name(path)


@pytest.mark.parametrize("path", OUTSIDE, ids=name)
def test_the_command_line_libraries_stay_in_the_command_line(path: Path) -> None:
    found = {module.split(".")[0] for module, dots, _ in imports(path) if not dots}
    if not path.name.startswith("cli"):
        assert not found & {"click", "rich"}
    assert "kubernetes" not in found or path.parent.name in ("engines", "cluster")


@pytest.mark.parametrize("path", IN_BLENDER, ids=name)
def test_the_add_on_needs_only_python_and_blender_and_has_no_threads(path: Path) -> None:
    for module, dots, line in imports(path):
        top = module.split(".")[0]
        assert dots or top in sys.stdlib_module_names | BLENDERS_OWN | {"bpy_extras", "bl_operators", "bl_ui"}, (
            f"line {line}: {module}"
        )
        assert dots or top not in WORKERS_OWN, f"line {line}: {module} is the worker's"
        assert dots or top != "subprocess" or path.name == "worker_client.py", f"line {line}: it alone owns a process"
        if dots and module.startswith("cloud_farm."):
            assert module.split(".")[1] not in ("engines", "stores", "cluster"), f"line {line}: ask the worker"


@pytest.mark.parametrize("path", IN_BLENDER, ids=name)
def test_the_add_on_never_leaves_its_package(path: Path) -> None:
    """Blender takes a foreign top-level module, and an extension that touches sys.path, for a breach of its policy."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(path.relative_to(ADDON).parts), f"line {node.lineno}: above the extension"
        if path.name != "submit.py" and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("sys", "path"), f"line {node.lineno}: sys.path"


@pytest.mark.parametrize("path", [*OUTSIDE, *INSIDE, *IN_BLENDER], ids=name)
def test_house_numbers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, f"{node.name} is too long"
        assert not isinstance(node, ast.Global), f"line {getattr(node, 'lineno', 0)}: global"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), "bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}: print"


def test_the_table_of_options_needs_no_library() -> None:
    for module, dots, _ in imports(PACKAGE / "options.py"):
        assert dots or module.split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", [path for path in OUTSIDE if path.name not in KNOW_SYSTEMS], ids=name)
def test_what_differs_between_systems_sits_in_one_place(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            asked = node.value.id, node.attr
            assert asked not in (("os", "name"), ("sys", "platform")), f"line {node.lineno}: that is platform.py's"
