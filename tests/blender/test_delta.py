"""Pieces of real scenes: saved by this Blender, edited in others of its sessions; what has to be sent again is little."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cloud_farm.blend_file import open_plain, read_header
from cloud_farm.delta import SMALLEST
from cloud_farm.hashing import packed_files
from cloud_farm.job import PackedFile
from cloud_farm.tracing import TracedFile

from .farmyard import run_inside

import assemble  # isort: skip - a script of inside_blender: farmyard knows where

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_BUILD = """
import bpy, numpy, sys
bpy.ops.wm.read_homefile(use_factory_startup=True)
for number in range(5):
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=300, y_subdivisions=300, location=(number, 0, 0))
    bpy.context.object.name = f'Grid {number}'
    group = bpy.context.object.vertex_groups.new(name='half')
    group.add(list(range(0, 90_000, 2)), 0.5, 'REPLACE')
for number in range(150):
    bpy.ops.mesh.primitive_uv_sphere_add(location=(number, 5, 0))
    bpy.context.object.data.materials.append(bpy.data.materials.new(f'Material {number}'))
image = bpy.data.images.new('Noise', 1024, 1024, float_buffer=True)
image.pixels.foreach_set(numpy.random.default_rng(1).random(1024 * 1024 * 4, dtype='f4'))
image.pack()
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1], compress=False)
"""
_EDIT = """
import bpy, sys
source, target, edit, compress = sys.argv[-4:]
bpy.ops.wm.open_mainfile(filepath=source)
exec(edit)
bpy.ops.wm.save_as_mainfile(filepath=target, compress=compress == 'zstd')
"""
_MOVE = "bpy.data.objects['Grid 1'].location.z += 1.5"
_ADD = "bpy.ops.mesh.primitive_cube_add(); bpy.context.object.name = 'A new one, first of all'"
_VERTEX = "bpy.data.meshes['Grid'].vertices[77].co.z += 0.25"
EDITS = {
    "moved": (_MOVE, ""),
    "moved-zstd": (_MOVE, "zstd"),
    "added-and-a-vertex-edited": (f"{_ADD}; {_VERTEX}", ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene, and each edit of it by a Blender of its own."""
    folder = tmp_path_factory.mktemp("scenes")
    build, edit = folder / "build.py", folder / "edit.py"
    build.write_text(_BUILD)
    edit.write_text(_EDIT)
    assert run_inside(build, str(folder / "scene.blend")).code == 0
    for name, (code, compression) in EDITS.items():
        ran = run_inside(edit, str(folder / "scene.blend"), str(folder / f"{name}.blend"), code, compression or "plain")
        assert ran.code == 0, ran.output
    return folder


def pack(path: Path, folder: Path) -> PackedFile:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    cache = folder / "hashes.sqlite"
    [entry] = packed_files([TracedFile(path, path.name)], workdir=work, pieces_from=SMALLEST, cache=cache)
    assert entry.parts
    return entry


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_in_another_session_sends_less_than_two_percent(folder: Path, edit: str) -> None:
    known = {part.sha256 for part in pack(folder / "scene.blend", folder).parts}
    entry = pack(folder / f"{edit}.blend", folder)
    new = {part.sha256: part.size for part in entry.parts if part.sha256 not in known}
    assert 0 < sum(new.values()) < 0.02 * entry.size


@pytest.mark.parametrize("name", ["scene", *EDITS])
def test_the_farm_makes_the_same_bytes(folder: Path, tmp_path: Path, name: str) -> None:
    path = folder / f"{name}.blend"
    entry = pack(path, folder)
    parts = []
    for part in entry.parts:
        content = part.content()
        assert isinstance(content, bytes)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part.size, part.sha256)
        parts.append(tmp_path / part.sha256)
        parts[-1].write_bytes(content)
    assemble.assemble(parts, entry.size, tmp_path / "made.blend")
    with open_plain(path, read_header(path).compression) as plain:
        assert plain.read() == (tmp_path / "made.blend").read_bytes()
