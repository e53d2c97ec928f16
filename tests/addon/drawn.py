"""Runs in a Blender of its own: everything that the add-on draws, in every state that a farm can bring it into.

python -I drawn.py ZIP FOLDER ; prints one JSON object, state → what was drawn
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import bpy

sys.path.insert(0, str(Path(__file__).parent))
StrictLayout: Any = importlib.import_module("strict_layout").StrictLayout

MODULE = "bl_ext.user_default.cloud_farm"
PANELS = (
    "CLOUDFARM_PT_output", "CLOUDFARM_PT_output_overrides", "CLOUDFARM_PT_output_jobs", "CLOUDFARM_PT_image",
    "CLOUDFARM_PT_image_overrides", "CLOUDFARM_PT_image_jobs",
)  # fmt: skip
FINDING = {
    "code": "file_missing", "severity": "error", "message": "Image 'wood' needs //wood.png, which is not there.",
    "datablock": "Image 'wood'", "path": "//wood.png", "fix": "Find it.",
}  # fmt: skip
JOB = {
    "id": "shot-20261129-abc123", "title": "shot", "farm": "local", "state": "rendering", "owner": "ada", "created": "2026-11-29T10:00:00Z",
    "is_ours": True, "frames_done": 3, "frames_failed": 1, "frames_total": 24, "message": "",
}  # fmt: skip
PICTURE = {
    "eta_seconds": 600.0, "messages": ["Frame 7: out of memory."], "landing": "/nowhere",
    "frame_states": [{"camera": None, "done": "1-3", "failed": "7", "rendering": "4-5", "waiting": "6,8-24"}],
    "strip": [{"camera": None, "cells": [[1, 3, 3, 0, 0, 0], [4, 5, 0, 2, 0, 0], [6, 6, 0, 0, 1, 0], [7, 7, 0, 0, 0, 1], [8, 24, 0, 0, 17, 0]]}],
}  # fmt: skip
ESTIMATE = {
    "seconds": 700.0, "machine_seconds": 1400.0, "cost": 1.5,
    "measured": {"job": JOB["id"], "frame_seconds": 12.0, "frames": 3, "loading_seconds": 4.0},
}  # fmt: skip
CHECKED = {
    "findings": [FINDING], "files": 12, "bytes": 123456789, "frames": 24, "chunks": 6, "landing": "/out", "estimate": ESTIMATE,
}  # fmt: skip
SCOUTED = {
    "job": JOB["id"],
    "farm": "local",
    "state": "done",
    "messages": [],
    "frames": 24,
    "findings": [],
    "estimate": ESTIMATE,
}
PROFILE = {
    "farm": "studio", "is_local": False, "secrets": "/home/ada/.config/cloud-farm/secrets, in files that only you can read",
    "to_give": {"filebrowser.password": "the password of 'ada'"},
    "values": {
        key: {"value": value, "origin": "user file"}
        for key, value in {
            "filebrowser.url": "https://files.example.com", "filebrowser.user": "ada", "kubernetes.namespace": "render",
            "gpu.models": ["A40"], "images": {"4.5": {"image": "blender:4.5"}},
        }.items()
    },
}  # fmt: skip
LIGHTS = [
    {"name": "volume", "level": "green", "message": "FileBrowser 2.63.23", "fix": ""},
    {"name": "kubernetes", "level": "yellow", "message": "slow", "fix": ""},
    {"name": "argo", "level": "red", "message": "You may not create workflows.", "fix": "Ask for the right."},
]


def part(name: str) -> Any:
    """Return a module of the add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def draw(session: Any) -> dict[str, Any]:
    """Draw everything once; returns what is in it."""
    session._mirror()
    found: dict[str, Any] = {}
    for name in (*PANELS, "CLOUDFARM_MT_job"):
        cls, layout = getattr(bpy.types, name), StrictLayout()
        cls.draw(SimpleNamespace(layout=layout), bpy.context)
        if hasattr(cls, "draw_header_preset"):
            cls.draw_header_preset(SimpleNamespace(layout=StrictLayout()), bpy.context)
        found[name] = {
            key: getattr(layout, key) for key in ("texts", "operators", "properties", "tips", "cameras", "untranslated")
        }
    for item in bpy.context.window_manager.cloud_farm.jobs:
        found[f"row {item.name}"] = draw_row(item)
    panels, layout = part("panels"), StrictLayout()
    panels._draw_menu(SimpleNamespace(layout=layout), bpy.context)
    part("status_bar")._draw(SimpleNamespace(layout=layout), bpy.context)
    found["menus"] = {"texts": layout.texts, "operators": layout.operators, "properties": []}
    preferences, layout = part("preferences"), StrictLayout()
    preferences.CloudFarmPreferences.draw(Preferences(layout), bpy.context)
    found["preferences"] = {"texts": layout.texts, "operators": layout.operators, "properties": layout.properties}
    return found


def draw_row(item: Any) -> list[str]:
    """Draw a job's line of the list."""
    layout = StrictLayout()
    bpy.types.CLOUDFARM_UL_jobs.draw_item(SimpleNamespace(), bpy.context, layout, None, item, 0, None, "")
    return list(layout.texts)


def draw_dialog(show_all: bool) -> dict[str, Any]:
    """Draw the dialog of a farm."""
    fields, layout = part("farm_dialog").FarmFields, StrictLayout()
    kind = bpy.ops.cloud_farm.edit_farm.get_rna_type()
    values = {prop.identifier: getattr(prop, "default", "") for prop in kind.properties}
    dialog = SimpleNamespace(
        **{**values, "bl_rna": kind, "show_all": show_all, "server": "https://10.0.0.1", "images": "4.5"}
    )
    dialog.why_no_images = fields.why_no_images.__get__(dialog)
    fields.draw_fields(dialog, layout)
    return {"properties": layout.properties, "texts": layout.texts}


def draw_import() -> dict[str, Any]:
    """Draw what stands beside the list of files when a farm is taken in."""
    layout = StrictLayout()
    kind = bpy.ops.cloud_farm.import_farm.get_rna_type()
    dialog = SimpleNamespace(bl_rna=kind, layout=layout, password="", token="")
    part("farm_operators").CLOUDFARM_OT_import_farm.draw(dialog, bpy.context)
    return {"properties": layout.properties}


class Preferences:
    """The preferences with another layout."""

    def __init__(self, layout: Any) -> None:
        self.layout = layout
        self.bl_rna = bpy.context.preferences.addons[MODULE].preferences.bl_rna


def main(zip_file: str) -> dict[str, Any]:
    """Draw in every state."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    session, outbox, preferences = part("session").SESSION, part("outbox"), part("preferences")
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    found: dict[str, Any] = {"empty": draw(session)}
    scene.camera = bpy.data.objects.new("Cam", bpy.data.cameras.new("Cam"))
    scene.collection.objects.link(scene.camera)
    found["at first"] = draw(session)
    scene.cloud_farm.frames, scene.cloud_farm.custom_frames = "CUSTOM", "1-5,x"
    found["wrong frames"] = draw(session)
    scene.cloud_farm.custom_frames = "1-900000"
    found["too many frames"] = draw(session)
    scene.cloud_farm.custom_frames = "1-5"
    found["right frames"] = draw(session)
    if bpy.app.version >= (5, 0):
        scene.render.image_settings.media_type = "VIDEO"
    scene.render.image_settings.file_format = "FFMPEG"
    found["movie"] = draw(session)
    bpy.ops.cloud_farm.use_images()
    found["no movie"] = draw(session)
    found |= sent(session, outbox)
    found |= layered(session, scene)
    found |= linked(session, Path(zip_file).parent / "library.blend")
    for state in (
        "uploading",
        "queued",
        "rendering",
        "paused",
        "cancelling",
        "cancelled",
        "failed",
        "done",
        "unreadable",
        "not on volume",
    ):
        session.jobs = [{**JOB, "state": state}, {**JOB, "id": "other-20261129-abc123", "frames_total": 0}]
        session.pictures = {JOB["id"]: PICTURE}
        found[state] = draw(session)
    found |= looked_at(session)
    found |= told(session)
    bpy.context.preferences.addons[MODULE].preferences.farm = "studio"
    found |= farm_told(session.farms)
    session.farms.profiles, session.farms.lights = {"studio": PROFILE}, {"studio": LIGHTS}
    found["farm"] = draw(session)
    session.farms.is_testing = True
    found["testing"] = draw(session)
    assert preferences.chosen_farm(bpy.context) == "studio"
    found["import"] = draw_import()
    found |= {f"dialog {all_of_it}": draw_dialog(all_of_it) for all_of_it in (False, True)}
    found["as typed"] = taken_as_typed()
    return {**found, "operators": described_operators(), "properties": described_properties(scene)}


def told(session: Any) -> dict[str, Any]:
    """Draw what went wrong with a job while the list is read anew, first in vain; and the list of another farm."""
    session.pictures = {}
    session.problem = "The job can't be paused."
    session._take_jobs("local", {"error": {"kind": "StoreUnreachableError", "message": "The farm does not answer."}})
    found: dict[str, Any] = {"problem": draw(session)}
    session._take_jobs("local", {"result": {"jobs": [{**JOB, "landed": 12}]}})
    found["problem of a job"] = draw(session)
    bpy.ops.cloud_farm.dismiss_problem()
    found["no problem"] = draw(session)
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.farm = "studio"
    found["jobs of this computer"] = draw(session)
    preferences.farm = "local"
    session.watch("studio")
    found["jobs of another farm"] = list(session.jobs)
    return found


def farm_told(farms: Any) -> dict[str, Any]:
    """Draw a farm whose profile can't be read, whose reader died and is asked again, and of which something else went wrong."""
    found: dict[str, Any] = {}
    asked: list[str] = []
    farms._client = lambda: SimpleNamespace(ask=lambda verb, answer, farm: asked.append(f"{verb} {farm}"))
    for name, kind, message in (
        ("no such farm", "ProfileError", "There is no farm 'studio'."),
        ("reader died", "WorkerDied", "It died."),
    ):
        farms._asked = ""
        farms.watch("studio")
        farms.tick()
        farms._take_profile("studio", {"error": {"kind": kind, "message": message}})
        found[name] = draw(part("session").SESSION)
        farms.tick()
    found["asked"] = list(asked)
    farms._take_profile("studio", {"result": PROFILE})
    found["read"] = draw(part("session").SESSION)
    farms._change("other", "remove_profile")
    farms._take_change("other", {"error": {"kind": "ProfileError", "message": "It can't go."}}, lambda _farm: None)
    found["of another farm"] = draw(part("session").SESSION)
    return found


def sent(session: Any, outbox: Any) -> dict[str, Any]:
    """Draw what may become of a scene that was sent, checked or scouted."""
    found: dict[str, Any] = {}
    folder = Path("/nowhere")
    for name, sending in {
        "sending": outbox.Sending(
            "local", "shot", folder, request=3, step="Sending", fraction=0.4, saving_seconds=1.25
        ),
        "refused": outbox.Sending("local", "shot", folder, error="It can't be: no.", findings=[FINDING] * 12),
        "broken off": outbox.Sending("local", "shot", folder, error="The farm is away.", can_go_on=True),
        "checked": outbox.Sending("local", "shot", folder, verb="preflight", findings=[FINDING], result=CHECKED),
        "checked anew": outbox.Sending(
            "local", "shot", folder, verb="preflight", result={**CHECKED, "findings": [], "estimate": None}
        ),
        "newer words": outbox.Sending(
            "local", "shot", folder, findings=[{**FINDING, "severity": "hint", "message": "It is new."}, FINDING]
        ),
        "scouted": outbox.Sending("local", "shot", folder, verb="scout", result=SCOUTED),
    }.items():
        session.outbox.sending = sending
        found[name] = draw(session)
    session.outbox.sending, session.outbox.is_saving = None, True
    found["saving"] = draw(session)
    session.outbox.is_saving = False
    return found


def layered(session: Any, scene: Any) -> dict[str, Any]:
    """Draw a scene of two view layers whose own choice is overridden, and read the job that comes of it."""
    read_job = part("scene_reader").read_job
    scene.view_layers[0].name = "Hero"
    scene.view_layers.new("Cube").cloud_farm.use = False
    found: dict[str, Any] = {"all layers": list(read_job(scene, scene_file=Path("a.blend"), name="a").view_layers)}
    scene.cloud_farm.use_view_layers = True
    found |= {
        "layers": draw(session),
        "one layer": list(read_job(scene, scene_file=Path("a.blend"), name="a").view_layers),
    }
    scene.view_layers[0].cloud_farm.use = False
    found["no layer"] = draw(session)
    try:
        read_job(scene, scene_file=Path("a.blend"), name="a")
    except part("cloud_farm.errors").InvalidJobError as error:
        found["refused layers"] = str(error)
    scene.cloud_farm.use_view_layers = False
    return found


def linked(session: Any, library: Path) -> dict[str, Any]:
    """Draw a scene that is linked from another file."""
    bpy.data.libraries.write(str(library), {bpy.context.scene})
    with bpy.data.libraries.load(str(library), link=True) as (there, here):
        here.scenes = there.scenes
    with bpy.context.temp_override(scene=here.scenes[0]):
        return {"linked": draw(session)}


def looked_at(session: Any) -> dict[str, Any]:
    """Draw a job of two cameras and very many frames, one whose runner died, and one that has a page of its own."""
    cells = [[n * 100 + 1, n * 100 + 100, 100, 0, 0, 0] for n in range(119)] + [[11901, 12000, 99, 0, 0, 1]]
    session.pictures = {JOB["id"]: {
        **PICTURE, "frame_states": [], "strip": [{"camera": "Left", "cells": cells}, {"camera": "Right", "cells": cells}],
        "messages": [f"Frame {n}: no." for n in range(6)],
    }}  # fmt: skip
    session.jobs = [{**JOB, "title": "Cube", "frames_failed": 0}]
    found: dict[str, Any] = {"large": draw(session)}
    part("image_viewer").frame_landed(JOB["id"], "Cube", Path("/nowhere/shot_0007_v2.png"), 7, None)
    found["one by one"] = draw(session)
    part("image_viewer").forget()
    for folder in ("here", "there"):
        part("image_viewer").frame_landed(JOB["id"], "Cube", Path(f"/nowhere/{folder}/shot_0007.png"), 7, None)
        part("image_viewer").frame_landed(JOB["id"], "Cube", Path("/nowhere/here/shot_0008.png"), 8, None)
        found[f"frames {folder}"] = draw(session)
    part("image_viewer").forget()
    aside = "1 frame file was put into /out (shot): something newer has its name."
    session.jobs, session.pictures = (
        [{**JOB, "message": f"It is known. Clear it away with: cloud-farm delete --yes {JOB['id']}"}],
        {JOB["id"]: {"set_aside": [aside]}},
    )
    found["aside"] = draw(session)
    session.jobs = [{**JOB, "state": "failed", "stalled": True, "page": "https://argo.example.com/workflows"}]
    failed = part("job_operators").failed_frames
    found |= {
        "frames to render again": [
            failed(PICTURE),
            failed({}),
            failed({"frame_states": [{"camera": "A", "done": "1"}]}),
        ]
    }
    found |= {"stalled": draw(session)}
    session.jobs, session.pictures = [JOB], {JOB["id"]: PICTURE}
    session._mirror()
    return {**found, "narrow": draw_narrow()}


def draw_narrow() -> dict[str, Any]:
    """Draw the jobs in a sidebar as narrow as Blender's own is at first."""
    context = SimpleNamespace(
        region=SimpleNamespace(width=230),
        preferences=bpy.context.preferences,
        window_manager=bpy.context.window_manager,
    )
    layout, row = StrictLayout(), StrictLayout()
    bpy.types.CLOUDFARM_PT_image_jobs.draw(SimpleNamespace(layout=layout), context)
    item = bpy.context.window_manager.cloud_farm.jobs[0]
    bpy.types.CLOUDFARM_UL_jobs.draw_item(SimpleNamespace(), context, row, None, item, 0, None, "")
    return {"texts": layout.texts, "row": row.texts}


def described_operators() -> list[dict[str, str]]:
    """Return what each of our operators is called, and its tooltip."""
    kinds = [getattr(bpy.ops.cloud_farm, name).get_rna_type() for name in dir(bpy.ops.cloud_farm)]
    return [{"name": kind.identifier, "label": kind.name, "description": kind.description} for kind in kinds]


def described_properties(scene: Any) -> list[dict[str, str]]:
    """Return what each of our settings is called, and its tooltip."""
    manager = bpy.context.window_manager
    kinds = (
        scene.cloud_farm,
        manager.cloud_farm,
        bpy.ops.cloud_farm.add_farm.get_rna_type(),
    )
    own = [
        prop
        for kind in kinds
        for prop in getattr(kind, "bl_rna", kind).properties
        if prop.is_runtime and prop.identifier not in ("name", "jobs")
    ]
    return [{"name": prop.identifier, "label": prop.name, "description": prop.description} for prop in own]


def taken_as_typed() -> list[str]:
    """Return the fields whose text is taken at each key, not only at the end: what Blender was told, which it tells nobody."""
    kinds = (part("properties").CloudFarmSceneSettings, part("farm_operators").CLOUDFARM_OT_add_farm)
    fields = {name: field for kind in kinds for name, field in get_type_hints(kind).items()}
    return sorted(name for name, field in fields.items() if "TEXTEDIT_UPDATE" in field.keywords.get("options", ()))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("answering").answer(lambda: main(sys.argv[1]))
