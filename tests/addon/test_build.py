"""build.py: one zip, the same bytes every time, that Blender's own tool takes; what is wrong is said before there is one."""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from cloud_farm.version import VERSION

import build

from .conftest import wheel_cache

_MANIFEST = (build.ADDON / "blender_manifest.toml").read_text(encoding="utf-8")


@pytest.fixture
def names(extension: Path) -> list[str]:
    with zipfile.ZipFile(extension) as archive:
        return archive.namelist()


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return build.main(["--stage", str(tmp_path), "--wheels", str(wheel_cache())])


@pytest.fixture
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for all the packages there are."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder)), ("PIP_NO_CACHE_DIR", "1")):
        monkeypatch.setenv(name, value)
    return folder


def test_the_same_bytes_every_time(extension: Path, tmp_path: Path) -> None:
    """By a process of its own too, elsewhere, with another idea of time and of the order of sets."""
    command = [sys.executable, str(build.ROOT / "build.py"), "--output", str(tmp_path), "--wheels", str(wheel_cache())]
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PATH": "/usr/bin"}
    subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, check=True)
    assert (tmp_path / extension.name).read_bytes() == extension.read_bytes()
    assert extension.name == f"cloud_farm-{VERSION}.zip"


def test_what_is_inside(names: list[str]) -> None:
    assert {"__init__.py", "LICENSE", "blender_manifest.toml", "cloud_farm/options.py"} <= set(names)
    assert "cloud_farm/inside_blender/render_chunk.py" in names
    assert "wheels/pyyaml-6.0.3-py3-none-any.whl" in names
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.startswith("cloud_farm/cli")]
    wheels = [name for name in names if name.endswith(".whl")]
    assert wheels and all(name.endswith("-none-any.whl") for name in wheels), "one zip for every platform and Python"


def test_the_manifest_says_what_the_zip_has(extension: Path, names: list[str]) -> None:
    with zipfile.ZipFile(extension) as archive:
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
    assert manifest["version"] == VERSION
    assert manifest["wheels"] == [f"./{name}" for name in names if name.endswith(".whl")]
    assert set(manifest["permissions"]) == {"network", "files"}


def test_the_tree_is_what_the_zip_has(staged: Path, names: list[str]) -> None:
    found = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert (staged.name, found) == ("cloud_farm", set(names))


def test_a_stage_replaces_its_own_kind_only(staged: Path) -> None:
    (staged / "old.py").touch()
    again = ["--stage", str(staged.parent), "--wheels", str(wheel_cache())]
    build.main(again)
    assert not (staged / "old.py").exists()
    (staged / "blender_manifest.toml").unlink()
    with pytest.raises(build.BuildError, match="no staged extension"):
        build.main(again)
    assert (staged / "__init__.py").exists()


def test_all_that_the_code_imports_of_its_own_is_there(staged: Path) -> None:
    """The command line is not staged, so nothing may need it, not even in a function."""
    for path in staged.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                home = path.parents[node.level - 1]
                targets = [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
                absent = [target for target in targets if not is_there(home, target)]
                assert not absent, f"{path.relative_to(staged)} line {node.lineno}"


def is_there(home: Path, target: str) -> bool:
    """As a module, a package, or a name of the package itself."""
    if (home / f"{target}.py").is_file() or (home / target / "__init__.py").is_file():
        return True
    return (
        re.search(rf"^(class |def |){target}\b", (home / "__init__.py").read_text(encoding="utf-8"), re.M) is not None
    )


def test_what_is_shipped_is_what_the_tests_run_with() -> None:
    for line in (build.ADDON / "wheels.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.split(" ")[0].partition("==")
        if version and name != "pywin32-ctypes":  # which only Windows takes
            assert importlib.metadata.version(name) == version, name


@pytest.mark.blender
@pytest.mark.every_blender
def test_blenders_own_tool_takes_it_and_not_everything(extension: Path, staged: Path) -> None:
    [tool] = build.validators()
    build.validate(extension, tool)
    build.validate(staged, tool)
    manifest = staged / "blender_manifest.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"Pipeline"', '"Pipelines"'), encoding="utf-8")
    with pytest.raises(build.BuildError, match="Pipelines"):
        build.validate(staged, tool)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tagline =", "tag_line =", "tag_line"),
        ("network =", "internet =", "internet"),
        ("[permissions]", "[build]\n[permissions]", "build"),
        ('name = "Cloud Farm"', 'name = "Cloud Farm"\nversion = "1.0.0"', "version come"),
        ('name = "Cloud Farm"', 'name = "Cloud Farm"\nwheels = []', "wheels come"),
    ],
    ids=["misspelt", "permission", "a key that is not honoured", "version", "wheels"],
)
def test_a_key_that_is_not_meant_is_an_error(old: str, new: str, says: str) -> None:
    assert old in _MANIFEST
    with pytest.raises(build.BuildError, match=says):
        build.manifest(_MANIFEST.replace(old, new), "1.0.0", [])


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "1.0.0.0", "1.0.0 beta", ""])
def test_a_version_that_blender_would_not_read(version: str) -> None:
    with pytest.raises(build.BuildError, match="three numbers"):
        build.manifest(_MANIFEST, version, [])


def test_the_libraries_are_fetched_where_they_are_missing(own_index: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for wheel in build.fetch_wheels(wheel_cache()):
        shutil.copy(wheel, own_index)
    assert len(build.fetch_wheels(kept)) == len(list(own_index.glob("*.whl")))
    shutil.rmtree(own_index)
    assert build.fetch_wheels(kept), "once is enough"


def test_a_library_that_was_changed_is_fetched_anew(own_index: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for wheel in build.fetch_wheels(wheel_cache()):
        shutil.copy(wheel, own_index)
    [six] = [path for path in build.fetch_wheels(kept) if path.name.startswith("six")]
    whole = six.read_bytes()
    six.write_bytes(whole + b"!")
    assert whole in [path.read_bytes() for path in build.fetch_wheels(kept)]


def test_a_library_that_is_not_the_listed_one_is_refused(own_index: Path, tmp_path: Path) -> None:
    for wheel in build.fetch_wheels(wheel_cache()):
        shutil.copy(wheel, own_index)
    with zipfile.ZipFile(next(own_index.glob("six-*")), "a") as archive:
        archive.writestr("six_more.py", "print('hello')")
    with pytest.raises(build.BuildError, match=r"(?s)HASHES.*six"):
        build.fetch_wheels(tmp_path / "kept")


def test_no_index_no_zip(own_index: Path, tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match=r"(?s)can't be downloaded.*blender-asset-tracer"):
        build.main(["--output", str(tmp_path / "out"), "--wheels", str(tmp_path / "kept")])
    assert list((tmp_path / "out").glob("*.zip")) == [] and not list(own_index.iterdir())


def test_the_wheel_without_its_compiled_part_is_a_whole_wheel(tmp_path: Path) -> None:
    [compiled] = [path for path in build.fetch_wheels(wheel_cache()) if path.name.startswith("pyyaml")]
    name, content = build.pure_wheel(compiled)
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as wheel:
        record = list(csv.reader(wheel.read("pyyaml-6.0.3.dist-info/RECORD").decode().splitlines()))
        assert sorted(row[0] for row in record) == wheel.namelist()
        assert {row[0]: row[2] for row in record if row[2]} == {
            item.filename: str(item.file_size) for item in wheel.infolist() if not item.filename.endswith("RECORD")
        }
        assert b"Root-Is-Purelib: true\nTag: py3-none-any\n" in wheel.read("pyyaml-6.0.3.dist-info/WHEEL")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import yaml; print(yaml.__with_libyaml__, yaml.safe_load('a: [1]'))"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / name)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False {'a': [1]}\n"
