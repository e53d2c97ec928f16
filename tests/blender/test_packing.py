"""Packing with a real Blender: everything arrives, bad input is named, and the tree renders alone."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import zstandard
from cloud_farm.blender import find_blender, probe, run_script
from cloud_farm.errors import CloudFarmError, PackingError
from cloud_farm.job import JobPack
from cloud_farm.packing import pack

from ..rigs.blender_scripts import pixels, run_text_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
_BUILD = """
import bpy, sys
from pathlib import Path
root = Path(sys.argv[-1])
def image(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    made = bpy.data.images.new(path.stem, 8, 8)
    made.pixels.foreach_set([shade, 0.5, 0.2, 1.0] * 64)
    made.file_format, made.filepath_raw = 'PNG', str(path)
    made.save(); made.source = 'FILE'
    return made
def plane(name, picture, x):
    bpy.ops.mesh.primitive_plane_add(size=1, location=(x, 0, 0))
    material = bpy.data.materials.new(name); material.use_nodes = True
    node = material.node_tree.nodes.new('ShaderNodeTexImage'); node.image = picture
    shader = next(n for n in material.node_tree.nodes if n.type == 'BSDF_PRINCIPLED')
    material.node_tree.links.new(node.outputs['Color'], shader.inputs['Emission Color'])
    shader.inputs['Emission Strength'].default_value = 1.0
    bpy.context.object.name = name; bpy.context.object.data.materials.append(material)
    return bpy.context.object
empty = lambda: bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
empty()
linked = plane('Linked', image(root / 'project/assets/tex/linked.png', 0.9), 1.2)
lib = root / 'project/assets/lib.blend'
bpy.ops.wm.save_as_mainfile(filepath=str(lib)); bpy.ops.file.make_paths_relative(); bpy.ops.wm.save_as_mainfile(filepath=str(lib))
empty()
shot = root / 'project/shots/shot.blend'; shot.parent.mkdir(parents=True)
bpy.ops.wm.save_as_mainfile(filepath=str(shot))
scene = bpy.context.scene
plane('Near', image(root / 'project/shots/near \\u00e9 #1.png', 0.1), -1.2)
outside = image(root / 'elsewhere/outside.png', 0.6)
plane('Far', outside, 0.0)
for number in (1, 2, 3):
    image(root / f'project/shots/seq/s_{number:03d}.png', number / 3)
sequence = bpy.data.images.load(str(root / 'project/shots/seq/s_001.png')); sequence.source = 'SEQUENCE'
plane('Seq', sequence, 2.4)
with bpy.data.libraries.load(str(lib), link=True) as (source, target):
    target.objects = ['Linked']
for obj in target.objects: scene.collection.objects.link(obj)
camera = bpy.data.objects.new('Camera', bpy.data.cameras.new('Camera')); camera.location.z = 4
scene.collection.objects.link(camera); scene.camera = camera
scene.render.engine = 'CYCLES'; scene.cycles.samples = 1; scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y = 48, 27
bpy.ops.wm.save_as_mainfile(filepath=str(shot)); bpy.ops.file.make_paths_relative()
outside.filepath = str(root / 'elsewhere/outside.png')
bpy.ops.wm.save_as_mainfile(filepath=str(shot), compress=False)
"""
_SHOWN = """
import bpy, sys
from pathlib import Path
scene, used = Path(sys.argv[-2]), sys.argv[-1]
for number in (1, 2):
    made = bpy.data.images.new('made', 8, 8); made.file_format = 'PNG'
    made.filepath_raw = str(scene.parent / f'out/{number:04d}.png'); made.save(); bpy.data.images.remove(made)
for mark, name in (('cloud_farm_job', 'frames'), ('cloud_farm_preview', 'preview')):
    image = bpy.data.images.load(str(scene.parent / 'out/0001.png'), check_existing=False)
    image.name, image[mark], image.source = name, 'shot-20261129-abc123', 'SEQUENCE'
    area = max(bpy.context.window.screen.areas, key=lambda area: area.width)
    area.ui_type = 'IMAGE_EDITOR'; area.spaces.active.image = image
if used == 'used':
    texture = bpy.data.textures.new('backdrop', 'IMAGE'); texture.image = image; texture.use_fake_user = True
bpy.ops.wm.save_as_mainfile(filepath=str(scene))
"""
_RENDER = """
import bpy, sys
blend, out = sys.argv[-2:]
bpy.ops.wm.open_mainfile(filepath=blend)
bpy.context.scene.render.filepath = out
bpy.ops.render.render(write_still=True)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    run_text_in_blender(tmp_path, _BUILD, str(tmp_path / "artist"))
    return tmp_path / "artist" / "project"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.blend"
    run_script(find_blender(), "demo_scene.py", ["--output", str(path)], timeout=120)
    return path


def make_pack(path: Path, tmp_path: Path, **more: object) -> JobPack:
    workdir = tmp_path / "work"
    workdir.mkdir(exist_ok=True)
    return pack(path, find_blender(), workdir=workdir, **more)  # type: ignore[arg-type]


def lay_out(packed: JobPack, target: Path) -> Path:
    for entry in packed.files:
        (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.source, target / entry.path)
    return target / packed.scene


def test_the_tree_renders_alone_and_equal(tmp_path: Path, project: Path) -> None:
    """The artist's disk is gone; libraries, their textures, outside files and odd names are not."""
    run_text_in_blender(tmp_path, _RENDER, str(project / "shots/shot.blend"), str(tmp_path / "before.png"))
    packed = make_pack(project / "shots/shot.blend", tmp_path, project=project)
    scene = lay_out(packed, tmp_path / "tree")
    shutil.move(project.parent, tmp_path / "taken away")
    run_text_in_blender(tmp_path, _RENDER, str(scene), str(tmp_path / "after.png"))
    assert pixels(tmp_path / "after.png") == pixels(tmp_path / "before.png")


def test_every_file_is_there_once_and_nothing_tells_the_artists_folders(tmp_path: Path, project: Path) -> None:
    packed = make_pack(project / "shots/shot.blend", tmp_path, project=project)
    paths = [entry.path for entry in packed.files]
    assert [p for p in paths if p.startswith("shots/seq/")] == [f"shots/seq/s_{n:03d}.png" for n in (1, 2, 3)]
    assert {"shots/shot.blend", "shots/near é #1.png", "assets/lib.blend", "assets/tex/linked.png"} <= set(paths)
    outside = [p for p in paths if p.startswith("_outside_project/")]
    assert len(outside) == 1
    assert outside[0].endswith("/outside.png")
    assert len(paths) == len(set(paths)) == 8
    assert all(entry.size == entry.source.stat().st_size for entry in packed.files)
    assert packed.manifest_sha256 == make_pack(project / "shots/shot.blend", tmp_path, project=project).manifest_sha256
    assert not [finding for finding in packed.findings if finding.severity == "error"]


def test_the_artists_files_are_only_read(tmp_path: Path, project: Path) -> None:
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in project.parent.rglob("*") if path.is_file()
    }
    make_pack(project / "shots/shot.blend", tmp_path)
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in project.parent.rglob("*") if path.is_file()
    } == before


def test_what_is_missing_is_listed_before_anything_renders(tmp_path: Path, project: Path) -> None:
    (project / "assets/tex/linked.png").unlink()
    (project / "shots/near é #1.png").unlink()
    packed = make_pack(project / "shots/shot.blend", tmp_path)
    missing = {f.path: f for f in packed.findings if f.code == "file_missing"}
    assert {Path(path).name for path in missing} == {"linked.png", "near é #1.png"}
    assert all(f.severity == "error" and f.datablock.startswith("Image") and f.fix for f in missing.values())
    allowed = make_pack(project / "shots/shot.blend", tmp_path, allowed_missing=("linked.png", "*near*"))
    assert {f.severity for f in allowed.findings if f.code == "file_missing"} == {"warning"}


def test_frames_that_the_add_on_shows_are_no_part_of_the_scene(tmp_path: Path) -> None:
    scene = tmp_path / "shot.blend"
    run_text_in_blender(tmp_path, _SHOWN, str(scene), "shown")
    assert [entry.path for entry in make_pack(scene, tmp_path).files] == ["shot.blend"]
    shutil.rmtree(tmp_path / "out")
    assert "file_missing" not in {finding.code for finding in make_pack(scene, tmp_path).findings}


def test_frames_that_the_artist_uses_in_a_scene_are_packed_with_it(tmp_path: Path) -> None:
    scene = tmp_path / "shot.blend"
    run_text_in_blender(tmp_path, _SHOWN, str(scene), "used")
    assert [entry.path for entry in make_pack(scene, tmp_path).files] == ["out/0001.png", "out/0002.png", "shot.blend"]
    shutil.rmtree(tmp_path / "out")
    assert "file_missing" in {finding.code for finding in make_pack(scene, tmp_path).findings}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_scenes_are_packed_as_they_are_and_truncated_ones_refused(
    tmp_path: Path, demo: Path, compression: str
) -> None:
    raw = demo.read_bytes()
    whole = gzip.compress(raw) if compression == "gzip" else zstandard.compress(raw)
    path = tmp_path / "c.blend"
    shutil.copy(demo.parent / "stripes.png", tmp_path)
    path.write_bytes(whole)
    packed = make_pack(path, tmp_path)
    assert {entry.path for entry in packed.files} == {"c.blend", "stripes.png"}
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PackingError, match="not whole"):
        make_pack(path, tmp_path)


def test_bad_scene_files_are_named(tmp_path: Path, demo: Path) -> None:
    picture, short, newer = (tmp_path / name for name in ("picture.blend", "short.blend", "newer.blend"))
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    short.write_bytes(demo.read_bytes()[:20_000])
    newer.write_bytes(b"BLENDER17-01v9901" + demo.read_bytes()[17:])
    version = probe(find_blender()).version
    for path, says in (
        (picture, "not a .blend"),
        (short, "not whole"),
        (newer, f"99.1, but the Blender here is {version}"),
    ):
        with pytest.raises(PackingError, match=says.replace(".", r"\.")):
            make_pack(path, tmp_path)
    with pytest.raises(PackingError, match="There is no file"):
        make_pack(tmp_path / "absent.blend", tmp_path)
    with pytest.raises(CloudFarmError, match="no scene 'Nope'"):
        make_pack(demo, tmp_path, scene="Nope")


@pytest.mark.parametrize(
    "name", ["with space.blend", "quo'te\".blend", "new\nline.blend", "日本é.blend", "-leading.blend"]
)
def test_odd_file_names(tmp_path: Path, demo: Path, name: str) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(demo, folder / name)
    shutil.copy(demo.parent / "stripes.png", folder)
    packed = make_pack(folder / name, tmp_path)
    assert packed.scene == name
    codes = {finding.code for finding in packed.findings if finding.severity == "error"}
    assert codes == ({"unsafe_name"} if "\n" in name else set())


def test_variables_of_the_output_path_are_filled_in_as_blender_does(tmp_path: Path) -> None:
    version = probe(find_blender()).numbers[:2]
    scene = tmp_path / "my shot.blend"
    outputs = ["//out/{blend_name}/f_##", "/renders/{blend_name}_", "//{no_such}/f_", "//plain_####"]
    text = (
        "import bpy, sys\nscene = bpy.context.scene\n"
        f"for index, path in enumerate({outputs!r}):\n"
        "    made = scene.copy(); made.name, made.use_fake_user = str(index), True; made.render.filepath = path\n"
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])\n"
    )
    run_text_in_blender(tmp_path, text, str(scene))
    facts = make_pack(scene, tmp_path).facts
    filled = ["//out/my shot/f_##", "/renders/my shot_", *outputs[2:]]
    assert [facts.scene(str(index)).output for index in range(4)] == (filled if version >= (4, 5) else outputs)


def test_a_driver_that_wants_python_is_told(tmp_path: Path) -> None:
    code = (
        "import bpy, sys\nbpy.ops.mesh.primitive_cube_add()\n"
        "bpy.context.object.driver_add('location', 0).driver.expression = '__import__(\"os\").getpid()'\n"
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])\n"
    )
    run_text_in_blender(tmp_path, code, str(tmp_path / "driver.blend"))
    packed = make_pack(tmp_path / "driver.blend", tmp_path)
    assert "scripts_blocked" in {finding.code for finding in packed.findings}
