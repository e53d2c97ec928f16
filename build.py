"""Make what Blender installs: the add-on, the backend and the libraries that Blender lacks, in one file.

    python build.py                        # dist/cloud_farm-<version>.zip
    python build.py --stage build/stage    # only the tree that goes into it, as build/stage/cloud_farm

The libraries come from the package index that pip is set up for, and are kept in build/wheels. Nothing that git tracks is
changed, and the same sources make the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
ADDON, BACKEND, WHEELS = ROOT / "blender_addon", ROOT / "backend" / "cloud_farm", ROOT / "build" / "wheels"
IDENTIFIER = "cloud_farm"
_LIST = ADDON / "wheels.txt"
_MANIFEST = "blender_manifest.toml"
# Blender says nothing of a key that it does not know, so a slip of the pen would go unnoticed. Of those that it does,
# these are what one zip for all platforms can have.
_KEYS = {"schema_version", "id", "name", "tagline", "maintainer", "type", "tags", "license", "copyright", "website"} | {
    "blender_version_min", "blender_version_max", "permissions",
}  # fmt: skip
_PERMISSIONS = {"files", "network", "clipboard", "camera", "microphone"}
_ADDED = {"version", "wheels"}
# The command line stays at home: it needs libraries that nothing else does.
_NOT_SHIPPED = re.compile(r"(^|/)(__pycache__/|\.)|^cli(_\w+)?\.py$|^__main__\.py$|^py\.typed$|^wheels\.txt$")
_COMPILED = (".so", ".pyd", ".dylib")
_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell
_ENTRY = re.compile(r"^(?P<name>[\w-]+)==\S+ --hash=sha256:(?P<digest>[0-9a-f]{64})$", re.MULTILINE)
# pip takes a wheel for one platform only if it is told all that it would else find out. Any that PyYAML serves will do.
_PLATFORM = (
    "--platform",
    "manylinux2014_x86_64",
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
)

Contents = dict[str, bytes]


class BuildError(Exception):
    """The extension can't be made; the text says why."""


def contents(version: str, wheels: Path) -> Contents:
    """Return all files of the extension by their paths in it.

    Args:
        version: The extension's, three numbers; the backend inside says the same.
        wheels: A folder that keeps what was downloaded.

    Raises:
        BuildError: The manifest has a key that Blender does not know, or a library can't be had as it is listed.
    """
    files = _sources(ADDON) | {f"cloud_farm/{path}": data for path, data in _sources(BACKEND).items()}
    files["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files["cloud_farm/version.py"] = files["cloud_farm/version.py"].replace(own_version().encode(), version.encode())
    libraries = {f"wheels/{name}": data for name, data in map(pure_wheel, fetch_wheels(wheels))}
    files[_MANIFEST] = manifest(files[_MANIFEST].decode(), version, libraries).encode()
    return dict(sorted((files | libraries).items()))


def own_version() -> str:
    """Return the version of the backend."""
    return str(runpy.run_path(str(BACKEND / "version.py"))["VERSION"])


def _sources(folder: Path) -> Contents:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if not _NOT_SHIPPED.search(name)}


def manifest(text: str, version: str, wheels: Iterable[str]) -> str:
    """Return the manifest with the version and the wheels.

    Raises:
        BuildError: It has a key that Blender does not know, or one of those that are added here.
    """
    if not _SEMVER.fullmatch(version):
        raise BuildError(f"'{version}' is no version for Blender: it wants three numbers, as 1.2.3 or 1.2.3-beta.1.")
    found = tomllib.loads(text)
    permissions = found.get("permissions", {})
    unknown = [key for key in found if key not in _KEYS | _ADDED] + [
        key for key in permissions if key not in _PERMISSIONS
    ]
    if unknown:
        raise BuildError(f"{_MANIFEST}: Blender does not know {', '.join(unknown)}. Is it misspelt?")
    if given := sorted(_ADDED & set(found)):
        raise BuildError(f"{_MANIFEST}: {' and '.join(given)} come from the build; take them out.")
    listed = "".join(f"    {json.dumps('./' + path)},\n" for path in sorted(wheels))
    # In front, because what follows a table's heading belongs to that table.
    return f"version = {json.dumps(version)}\nwheels = [\n{listed}]\n{text}"


def fetch_wheels(folder: Path) -> list[Path]:
    """Return the listed wheels, downloaded where the folder lacks them; each has the sha256 that is listed.

    Raises:
        BuildError: They can't be downloaded, or are not the files that the list names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _missing(folder):
        _download(folder)
    if missing := _missing(folder):
        raise BuildError(f"{folder} has no {', '.join(missing)} with the sha256 of {_LIST.name}.")
    found = _digests(folder)
    return [found[digest] for digest in _listed()]


def _listed() -> dict[str, str]:
    """sha256 → name."""
    return {match["digest"]: match["name"] for match in _ENTRY.finditer(_LIST.read_text(encoding="utf-8"))}


def _digests(folder: Path) -> dict[str, Path]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(folder.glob("*.whl"))}


def _missing(folder: Path) -> list[str]:
    found = _digests(folder)
    return [name for digest, name in _listed().items() if digest not in found]


def _download(folder: Path) -> None:
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", *_PLATFORM]
    command = [*pip(), *words, "--dest", str(folder), "--requirement", str(_LIST)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BuildError(f"The libraries can't be downloaded. pip says:\n{done.stdout.strip()}")


def pip() -> list[str]:
    """Return the command that runs pip for this Python.

    Raises:
        BuildError: There is none, nor uv, which can bring it.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, "tool", "run", "--python", sys.executable, "pip"]
    raise BuildError("Neither pip nor uv is here to download libraries with. Install one: python -m ensurepip")


def pure_wheel(path: Path) -> tuple[str, bytes]:
    """Return the name and the bytes of a wheel that serves every platform: what is compiled is left out.

    A library must do without, as PyYAML does.
    """
    name, version, *_, python, abi, platform = path.stem.split("-")
    if (abi, platform) == ("none", "any"):
        return path.name, path.read_bytes()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path) as wheel:
        kept = [item for item in wheel.namelist() if not item.endswith(("/", *_COMPILED))]
        files = {item: wheel.read(item) for item in kept if item != f"{info}/RECORD"}
    made_by = re.sub(r"(?m)^(Tag|Root-Is-Purelib):.*\n", "", files[f"{info}/WHEEL"].decode()).strip()
    files[f"{info}/WHEEL"] = f"{made_by}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    return f"{name}-{version}-py3-none-any.whl", packed(files)


def _record(files: Mapping[str, bytes], own: str) -> bytes:
    def line(item: str, data: bytes) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return f"{item},sha256={digest},{len(data)}\n"

    return ("".join(line(*entry) for entry in sorted(files.items())) + f"{own},,\n").encode()


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of the files; it depends on nothing but their names and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=9)
    return buffer.getvalue()


def write_stage(files: Mapping[str, bytes], folder: Path) -> Path:
    """Lay the files out as the package `cloud_farm` in a folder; an earlier one is replaced.

    Raises:
        BuildError: Something else is there.
    """
    package = folder / IDENTIFIER
    if package.exists():
        if not (package / _MANIFEST).is_file():
            raise BuildError(f"{package} is there and is no staged extension. Choose another folder for --stage.")
        shutil.rmtree(package)
    for name, data in files.items():
        path = package / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return package


def validators() -> list[Path]:
    """Return Blender's own extension tools of this Python, one for each Blender module that is installed."""
    spec = importlib.util.find_spec("bpy")
    homes = [Path(home) for home in (spec.submodule_search_locations or ())] if spec else []
    return [tool for home in homes for tool in home.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")]


def validate(package: Path, tool: Path) -> None:
    """Let Blender's own tool judge a zip or a staged tree.

    Raises:
        BuildError: It complains.
    """
    tags = tool.parents[3] / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    command = [sys.executable, "-I", str(tool), "validate", "--valid-tags", str(tags), str(package)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BuildError(f"Blender refuses {package}:\n{done.stdout.strip()}")


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the extension that Blender installs.")
    parser.add_argument("--stage", type=Path, metavar="DIR", help="only lay out its tree, in DIR/cloud_farm")
    parser.add_argument("--output", type=Path, metavar="DIR", default=ROOT / "dist", help="where the zip goes")
    parser.add_argument(
        "--version", default=own_version(), help="another version than the backend's, for tests of updates"
    )
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", default=WHEELS, help="where downloaded libraries are kept"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> Path:
    """Build, print what was made and return its path."""
    wanted = _arguments(words)
    files = contents(wanted.version, wanted.wheels)
    if wanted.stage:
        made = write_stage(files, wanted.stage)
    else:
        wanted.output.mkdir(parents=True, exist_ok=True)
        made = wanted.output / f"{IDENTIFIER}-{wanted.version}.zip"
        made.write_bytes(packed(files))
    tools = validators()
    for tool in tools:
        validate(made, tool)
    print(made, "" if tools else "(not validated: there is no Blender module beside this Python)")
    return made


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(str(error))
