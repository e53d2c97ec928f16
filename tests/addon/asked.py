"""Runs in a Blender of its own: what the artist is asked before something is done, and what is said when it can't be.

python -I asked.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
JOB = importlib.import_module("drawn").JOB
StrictLayout: Any = importlib.import_module("strict_layout").StrictLayout
part = desk.part


def refusal(call: Any) -> str:
    """Return what an operator or a reader says when it refuses."""
    try:
        call()
    except (RuntimeError, part("cloud_farm.errors").CloudFarmError) as error:
        return str(error).strip()
    return ""


def question(operator: str) -> dict[str, Any]:
    """Press a job's button; returns what Blender is given to ask, by the words that it takes."""
    given: dict[str, Any] = {}
    taken = {
        parameter.identifier for parameter in bpy.types.WindowManager.bl_rna.functions["invoke_confirm"].parameters
    }

    def confirm(_operator: object, _event: object, **words: Any) -> set[str]:
        assert set(words) <= taken, f"it can't be asked with {set(words) - taken}"
        given.update(words)
        return {"RUNNING_MODAL"}

    cls = getattr(part("job_operators"), operator)
    manager = SimpleNamespace(invoke_confirm=confirm, cloud_farm=bpy.context.window_manager.cloud_farm)
    cls.begin(SimpleNamespace(job=JOB["id"], bl_label=cls.bl_label), SimpleNamespace(window_manager=manager), None)
    return given


def jobs() -> dict[str, Any]:
    """Be asked about a job, and lose it from the list meanwhile."""
    session = part("session").SESSION
    session.jobs = [JOB]
    session._mirror()
    found: dict[str, Any] = {name: question(f"CLOUDFARM_OT_{name}") for name in ("delete", "cancel")}
    session.jobs = [{**JOB, "id": "other-20261129-abc123", "state": "done"}]
    session._mirror()
    found["gone"] = refusal(lambda: bpy.ops.cloud_farm.delete(job=JOB["id"]))
    found["deleted"] = bool(session._client and session._client.busy)
    session.jobs = []
    session._mirror()
    return found


def preview_range(scene: Any, folder: Path) -> dict[str, Any]:
    """Ask for the preview range of a timeline that has none, and of one that has."""
    preflight, reader = part("preflight"), part("scene_reader")
    scene.cloud_farm.frames = "PREVIEW"
    found: dict[str, Any] = {
        "none": [finding.severity for finding in preflight.quick_findings(scene)],
        "refused": refusal(lambda: reader.read_job(scene, scene_file=folder / "a.blend", name="a")),
    }
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 5, 9
    found["some"] = [finding.severity for finding in preflight.quick_findings(scene)]
    found["frames"] = reader.read_job(scene, scene_file=folder / "a.blend", name="a").frames
    scene.cloud_farm.frames = "SCENE"
    return found


def painted(folder: Path) -> dict[str, Any]:
    """Paint on an image of a library that the scene uses, and on one that nothing uses."""
    library, reader = folder / "library.blend", part("scene_reader")
    bpy.data.libraries.write(str(library), {bpy.data.images.new("wood", 4, 4)}, fake_user=True)
    bpy.data.images.remove(bpy.data.images["wood"])
    with bpy.data.libraries.load(str(library), link=True) as (_source, wanted):
        wanted.images = ["wood"]
    (image,) = wanted.images
    image.pixels = [1.0] * 64
    found: dict[str, Any] = {"nothing uses it": refusal(lambda: reader._painted())}
    brush = bpy.data.textures.new("uses it", "IMAGE")
    brush.image = image
    found["a library's"] = refusal(lambda: reader._painted())
    bpy.data.textures.remove(brush)
    bpy.data.images.remove(image)
    return found


def frames_typed(scene: Any) -> int:
    """Draw a custom range that is far too large; returns how often it is read after the first time."""
    frames, panels = part("cloud_farm.frames"), part("panels")
    scene.cloud_farm.frames, scene.cloud_farm.custom_frames = "CUSTOM", "1-400000,400001-900000"
    panels._why_no_frames(scene)
    parse, calls = frames.FrameRange.parse, []

    def noted(*values: Any, **words: Any) -> Any:
        calls.append(values)
        return parse(*values, **words)

    frames.FrameRange.parse = noted
    answers = [panels._why_no_frames(scene) for _ in range(3)]
    frames.FrameRange.parse = parse
    scene.cloud_farm.frames = "SCENE"
    assert all(answers)
    return len(calls)


def named(names: tuple[str, ...]) -> dict[str, list[str]]:
    """Type names of a farm into the dialog that makes one; returns what it says to each."""
    cls, found = part("farm_operators").CLOUDFARM_OT_add_farm, {}
    part("session").SESSION.farms.names = ("local", "studio")
    kind = bpy.ops.cloud_farm.add_farm.get_rna_type()
    for name in names:
        layout = StrictLayout()
        dialog = SimpleNamespace(bl_rna=kind, farm=name, layout=layout, draw_fields=lambda _layout: None)
        dialog.why_not_its_name = cls.why_not_its_name.__get__(dialog)
        cls.draw(dialog, bpy.context)
        found[name] = layout.texts
    return found


def found_in_outliner() -> list[str]:
    """Click on a finding about a sound: without a window for it, and with an Outliner of all that is in the file."""
    bpy.data.sounds.load(str(Path(__file__)), check_existing=False).name = "rain"
    show = bpy.ops.cloud_farm.show_datablock
    (area,) = [area for area in bpy.context.window.screen.areas if area.type == "OUTLINER"]
    found = [*show(datablock="Sound 'rain'"), area.spaces.active.filter_text]
    area.spaces.active.display_mode = "LIBRARIES"
    return [*found, *show(datablock="Sound 'rain'"), area.spaces.active.filter_text]


def objects_clicked(scene: Any) -> dict[str, Any]:
    """Click on findings about objects: one that is seen, then by Undo back, and those that can't be selected where we are."""
    why_not, show = part("preflight")._why_not_selected, bpy.ops.cloud_farm.show_datablock
    made = {name: bpy.data.objects.new(name, None) for name in ("Before", "Seen", "Hidden", "Locked", "Far")}
    for name in ("Before", "Seen", "Hidden", "Locked"):
        scene.collection.objects.link(made[name])
    made["Hidden"].hide_set(True)
    made["Locked"].hide_select = True
    made["Far"].use_fake_user = True
    made["Before"].select_set(True)
    bpy.context.view_layer.objects.active = made["Before"]
    bpy.ops.ed.undo_push(message="Before the click")
    found: dict[str, Any] = {"shown": [*show("EXEC_DEFAULT", True, datablock="Object 'Seen'"), *selected()]}
    bpy.ops.ed.undo()
    found["undone"] = selected()
    for name in ("Hidden", "Locked", "Far"):
        found[name] = [why_not(bpy.data.objects[name], bpy.context), *selected()]
    (area,) = [area for area in bpy.context.window.screen.areas if area.type == "OUTLINER"]
    found["in the outliner"] = [*show(datablock="Object 'Hidden'"), area.spaces.active.filter_text]
    return found


def selected() -> list[str]:
    """Return the names of the active object, and of all that are selected."""
    context = bpy.context
    return [context.view_layer.objects.active.name, *sorted(item.name for item in context.selected_objects)]


def farm_without_a_password(folder: Path) -> list[Any]:
    """Send to a farm whose profile names a user and no password."""
    profile = {
        "engine": "local",
        "store": "filebrowser",
        "volume": {"mount_path": str(folder / "volume")},
        "filebrowser": {"url": "http://127.0.0.1:9", "user": "ada"},
    }
    path = Path(os.environ["CLOUD_FARM_HOME"], "farms", "studio.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(profile), encoding="utf-8")  # JSON is YAML
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons[desk.MODULE].preferences.farm = "studio"
    session = part("session").SESSION
    bpy.ops.cloud_farm.send()
    desk.wait_for(lambda: session.outbox.sending.error, "it is refused")
    return [session.outbox.sending.error, session.outbox.sending.can_go_on]


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Ask everything once."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    scene = desk.make_scene(folder, "asked")
    return {
        "jobs": jobs(),
        "preview": preview_range(scene, folder),
        "painted": painted(folder),
        "typed": frames_typed(scene),
        "clicked": found_in_outliner(),
        "objects": objects_clicked(scene),
        "no password": farm_without_a_password(folder),
        "named": named(("", "other", "studio", "my farm")),
    }


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
