"""What a scene reads although no datablock stands for it: found, packed where it can be, and missed before anything renders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cloud_farm import RenderJob, open_farm
from cloud_farm.blender import find_blender, run_script
from cloud_farm.errors import CloudFarmError

from ..rigs.blender_scripts import run_text_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_BUILD = """
import bpy, sys
from pathlib import Path
root = Path(sys.argv[-1])
blend = root / 'scene.blend'
bpy.ops.wm.read_homefile(use_factory_startup=True)
bpy.ops.wm.save_as_mainfile(filepath=str(blend))
scene, cube = bpy.context.scene, bpy.data.objects['Cube']
scene.frame_end = 3
scene.render.engine = 'CYCLES'
scene.cycles.samples = 1; scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y = 32, 18

def file(name, content=b'x'):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return '//' + name
file('strips/a.png'); file('strips/c.png')

def picture(name):
    made = bpy.data.images.new('strip', 8, 8)
    made.file_format, made.filepath_raw = 'PNG', str(root / name)
    made.save()
for name in ('strips/a.png', 'strips/c.png'): picture(name)

mesh_cache = cube.modifiers.new('Cache', 'MESH_CACHE')
mesh_cache.cache_format = 'PC2'
mesh_cache.filepath = file('caches/cube.pc2')
lamp = bpy.data.objects['Light'].data
lamp.use_nodes = True
profile = lamp.node_tree.nodes.new('ShaderNodeTexIES')
profile.mode, profile.filepath = 'EXTERNAL', file('lamps/spot.ies')
shader = bpy.data.materials['Material'].node_tree.nodes.new('ShaderNodeScript')
shader.mode, shader.filepath = 'EXTERNAL', file('shaders/rust.osl', b'shader rust(output color c = 1) {}')
if hasattr(bpy.types, 'GeometryNodeImportSTL'):
    group = bpy.data.node_groups.new('Import', 'GeometryNodeTree')
    group.use_fake_user = True
    group.nodes.new('GeometryNodeImportSTL').inputs['Path'].default_value = file('meshes/part.stl')
editor = scene.sequence_editor_create()
strips = editor.strips if hasattr(editor, 'strips') else editor.sequences
strip = strips.new_image('Strip', str(root / 'strips/a.png'), 1, 1)
strip.elements.append('c.png')
strip.directory = '//strips/'
scene.render.use_sequencer = True

bpy.ops.mesh.primitive_plane_add(size=1)
cloth = bpy.context.object
cloth.name = 'Flag'
cache = cloth.modifiers.new('Cloth', 'CLOTH').point_cache
cache.frame_end = 3
cache.use_disk_cache = True
bpy.ops.wm.save_as_mainfile(filepath=str(blend))
with bpy.context.temp_override(scene=scene, object=cloth, active_object=cloth, point_cache=cache):
    bpy.ops.ptcache.bake(bake=True)
bpy.ops.mesh.primitive_cube_add(size=1)
bpy.context.object.name = 'Water'
bpy.context.object.modifiers.new('Fluid', 'FLUID').fluid_type = 'DOMAIN'
bpy.ops.wm.save_as_mainfile(filepath=str(blend))
"""
_FILES = {
    "caches/cube.pc2",
    "lamps/spot.ies",
    "shaders/rust.osl",
    "strips/a.png",
    "strips/c.png",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run_text_in_blender(folder, _BUILD, str(folder))
    return folder


@pytest.fixture
def scene(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "project")
    return tmp_path / "project" / "scene.blend"


def read(scene: Path) -> dict[str, Any]:
    return dict(run_script(find_blender(), "pack_scene.py", ["--scene-file", str(scene)], timeout=120))


def test_each_is_found_and_there(scene: Path) -> None:
    answer = read(scene)
    root = scene.parent
    found = {Path(item["path"]).relative_to(root).as_posix(): item["present"] for item in answer["files"]}
    wanted = {name: True for name in _FILES} | {"blendcache_scene": True}
    assert {name: found.get(name) for name in wanted} == wanted
    assert all(found.values())


@pytest.mark.parametrize("name", [*sorted(_FILES), "blendcache_scene"])
def test_each_is_missed(scene: Path, name: str) -> None:
    victim = scene.parent / name
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    missing = [item["stored"] for item in read(scene)["files"] if not item["present"]]
    assert [Path(item.removeprefix("//")).as_posix() for item in missing] == [name]


def test_what_is_computed_while_rendering_is_said(scene: Path) -> None:
    """The cloth is baked, the fluid is not."""
    found = [item["datablock"] for item in read(scene)["findings"] if item["code"] == "simulation_not_baked"]
    assert found == ["Object 'Water'"]


def test_all_of_it_reaches_the_scene_tree(scene: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    farm = open_farm(flags={"volume.mount_path": str(volume), "limits.workers": 1})
    made = farm.submit(RenderJob(str(scene), frames="1", landing=str(tmp_path / "out" / "f_####")))
    status = farm.follow(made.job_id)
    assert status.state == "done", status.messages
    tree = volume / "cloud-farm" / "jobs" / made.job_id / "scene"
    packed = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert packed >= _FILES
    assert any(name.startswith("blendcache_scene/") for name in packed)


def test_a_job_without_its_lamp_profile_is_refused(scene: Path, tmp_path: Path) -> None:
    (scene.parent / "lamps" / "spot.ies").unlink()
    farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume")})
    with pytest.raises(CloudFarmError, match=r"spot\.ies"):
        farm.submit(RenderJob(str(scene), frames="1", landing=str(tmp_path / "out" / "f_####")))
