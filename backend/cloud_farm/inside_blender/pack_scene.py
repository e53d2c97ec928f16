"""Reads a scene file for packing: facts of every scene, files that are missing, what will not render as meant."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bpy  # type: ignore[import-not-found,unused-ignore]
import frame_outputs
import scene_check
import scene_dependencies

Finding = dict[str, str]
_NUMBER_SIGN = "\ue000"
"""Stands for # while Blender fills in a path, so that it does not fill in that."""


def main(argv: list[str]) -> None:
    """Open the scene file and write the answer; a file that can't be opened is an answer too."""
    parser = argparse.ArgumentParser(prog="pack_scene")
    parser.add_argument("--answer", required=True)
    parser.add_argument("--scene-file", required=True)
    options = parser.parse_args(argv)
    answer: dict[str, Any]
    try:
        bpy.ops.wm.open_mainfile(filepath=options.scene_file, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        answer = {"error": " ".join(str(error).split())}
    else:
        shown = [image.name for image in scene_check.frames_on_show() if image.library is None]
        answer = {
            "facts": read_facts(), "files": read_files(), "findings": list(read_findings()), "images_on_show": shown,
        }  # fmt: skip
    Path(options.answer).write_text(json.dumps(answer), encoding="utf-8")


def read_facts() -> dict[str, Any]:
    """Return the SceneFacts of the open file."""
    version = ".".join(str(number) for number in bpy.data.version)
    return {
        "blender": version,
        "scenes": [scene_info(scene) for scene in scenes_by_name().values()],
        "active_scene": bpy.context.scene.name,
    }


def scenes_by_name() -> dict[str, Any]:
    """Return the scenes as their names mean them: the file's own, and those linked from others whose name is free."""
    return {scene.name: scene for scene in sorted(bpy.data.scenes, key=lambda scene: scene.library is None)}


def scene_info(scene: Any) -> dict[str, Any]:
    """Return the SceneInfo of one scene."""
    render = scene.render
    file_format = str(render.image_settings.file_format)
    return {
        "name": scene.name,
        "frame_start": scene.frame_start,
        "frame_end": scene.frame_end,
        "frame_step": scene.frame_step,
        "fps": render.fps / render.fps_base,
        "engine": render.engine,
        "cameras": sorted(obj.name for obj in scene.objects if obj.type == "CAMERA"),
        "active_camera": scene.camera.name if scene.camera else None,
        "marker_cameras": sorted([m.frame, m.camera.name] for m in scene.timeline_markers if m.camera),
        "view_layers": [layer.name for layer in scene.view_layers],
        "resolution": list(_resolution(render)),
        "output": _output(render),
        "file_format": file_format,
        "is_movie": file_format in frame_outputs.MOVIES,
        "has_sound": _has_sound(scene),
        "views": [view.name for view in render.views if view.use] if render.use_multiview else [],
        "use_compositor": bool(render.use_compositing and getattr(scene, "use_nodes", True)),
        "file_outputs": len([node for node in frame_outputs.file_output_nodes(scene) if not node.mute]),
    }


def read_files() -> list[dict[str, Any]]:
    """Return every file that a datablock reads: datablock, path as stored, absolute path, whether it is there."""
    return [
        {
            "datablock": scene_check.label(block),
            "stored": stored,
            "path": path,
            "present": scene_check.present(block, path),
        }
        for block, stored, path in scene_check.used_files()
    ]


def read_findings() -> Iterator[Finding]:
    """Yield what an artist should know before the farm renders this file."""
    if bpy.app.autoexec_fail:
        message = (
            f"The scene wants to run Python ({bpy.app.autoexec_fail_message}); on the farm it will not be allowed to."
        )
        yield _finding(
            "scripts_blocked", "warning", message, fix="If you trust the scene, submit it with --allow-scripts."
        )
    for scene in scenes_by_name().values():
        if scene.render.engine not in ("CYCLES", "BLENDER_WORKBENCH"):
            yield from _engine_finding(scene)
    if scenes_by_name()[bpy.context.scene.name] != bpy.context.scene:
        name = bpy.context.scene.name
        message = (
            f"The active scene '{name}' is linked from another file, and the file has a scene '{name}' of its own."
        )
        yield _finding("scene_namesake", "error", message, datablock=f"Scene '{name}'", fix="Rename the file's own.")
    for name in scene_dependencies.unbaked_simulations():
        message = f"{name} has a simulation that is not baked to disk; frames that are rendered apart from each other will not agree."
        yield _finding(
            "simulation_not_baked", "warning", message, datablock=name, fix="Bake it to a disk cache before you submit."
        )


def _engine_finding(scene: Any) -> Iterator[Finding]:
    engine = scene.render.engine
    if engine.startswith("BLENDER_EEVEE"):
        message = f"Scene '{scene.name}' renders with EEVEE, which needs OpenGL on the machine that renders."
        yield _finding("eevee_needs_gl", "info", message, datablock=f"Scene '{scene.name}'")
    else:
        message = f"Scene '{scene.name}' renders with {engine}, which the farm's Blender may not have."
        yield _finding(
            "engine_unknown",
            "warning",
            message,
            datablock=f"Scene '{scene.name}'",
            fix="Choose Cycles with --engine CYCLES.",
        )


def _output(render: Any) -> str:
    """Return the output path with variables such as {blend_name} filled in, as Blender does from 4.5 on.

    They are filled in here, where the file has its own name; what can't be filled in stays as it is.
    """
    stored = str(render.filepath)
    if bpy.app.version < (4, 5, 0) or "{" not in stored:
        return stored
    relative = stored.startswith("//")
    extension, render.use_file_extension = render.use_file_extension, False
    render.filepath = (stored[1:] if relative else stored).replace("#", _NUMBER_SIGN)
    try:
        filled = str(render.frame_path(frame=0))[:-4]  # without # Blender adds four digits
    except RuntimeError:
        return stored
    finally:
        render.filepath, render.use_file_extension = stored, extension
    return f"{'/' if relative else ''}{filled}".replace(_NUMBER_SIGN, "#")


def _resolution(render: Any) -> tuple[int, int]:
    width = render.resolution_x * render.resolution_percentage // 100
    height = render.resolution_y * render.resolution_percentage // 100
    if render.use_border and render.use_crop_to_border:
        width = int(render.border_max_x * width) - int(render.border_min_x * width)
        height = int(render.border_max_y * height) - int(render.border_min_y * height)
    return width, height


def _has_sound(scene: Any) -> bool:
    editor = scene.sequence_editor
    strips = getattr(editor, "strips_all", None) or getattr(editor, "sequences_all", None) or ()  # 4.2 has the latter
    return any(strip.type == "SOUND" for strip in strips) or any(obj.type == "SPEAKER" for obj in scene.objects)


def _finding(code: str, severity: str, message: str, *, datablock: str = "", path: str = "", fix: str = "") -> Finding:
    return {"code": code, "severity": severity, "message": message, "datablock": datablock, "path": path, "fix": fix}


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
