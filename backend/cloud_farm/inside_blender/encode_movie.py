"""Makes a movie of finished frames, with the scene's sound where this Blender can read sound."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bpy  # type: ignore[import-not-found,unused-ignore]

_LINEAR = {".exr", ".hdr"}


def main(argv: list[str]) -> None:
    """Read the request, render the movie, answer with what was left out."""
    parser = argparse.ArgumentParser(prog="encode_movie")
    parser.add_argument("--answer", required=True)
    parser.add_argument("--request", required=True)
    options = parser.parse_args(argv)
    request = json.loads(Path(options.request).read_text(encoding="utf-8"))
    Path(options.answer).write_text(json.dumps(encode(request)), encoding="utf-8")


def encode(request: dict[str, Any]) -> dict[str, Any]:
    """Encode `request`: {frames: [[number, path] …] ascending, movie, fps: [n, base], scene_file, scene}."""
    if not bpy.app.build_options.codec_ffmpeg:
        raise RuntimeError("This Blender was built without FFmpeg, so it can't write movies.")
    notes: list[str] = []
    sound = bool(request["scene_file"]) and bool(bpy.app.build_options.audaspace)
    if request["scene_file"] and not sound:
        notes.append(
            f"Blender {bpy.app.version_string} was built without sound, so the movie is silent. The bpy module of 4.2 is such a build."
        )
    scene = _scene_with_sound(request) if sound else bpy.context.scene
    frames = [(int(number), str(path)) for number, path in request["frames"]]
    _place(scene, frames)
    _settings(scene, frames, request, sound=sound)
    window = getattr(bpy.context, "window", None)
    if window is not None:
        window.scene = scene
    bpy.ops.render.render(animation=True, scene=scene.name)
    movie = Path(request["movie"])
    if not movie.is_file() or movie.stat().st_size == 0:
        raise RuntimeError(f"Blender wrote no movie to {movie}. Is the disk full, or the folder not writable?")
    return {"movie": str(movie), "sound": sound, "notes": notes}


def _scene_with_sound(request: dict[str, Any]) -> Any:
    """Open the scene for its sounds; what it shows is covered by the frames, in the highest channel."""
    bpy.ops.wm.open_mainfile(filepath=request["scene_file"], load_ui=False, use_scripts=False)
    return bpy.data.scenes[request["scene"]]


def _all_strips(scene: Any) -> Any:
    editor = scene.sequence_editor
    if editor is None:
        return ()
    return getattr(editor, "strips_all", None) or getattr(editor, "sequences_all", ())


def _strips(scene: Any) -> Any:
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def _place(scene: Any, frames: list[tuple[int, str]]) -> None:
    """Put every frame where it belongs in time; each is held until the next one."""
    strips, channel = _strips(scene), 1 + max((strip.channel for strip in _all_strips(scene)), default=0)
    start = 0
    while start < len(frames):
        end = start + 1
        while end < len(frames) and _follows(frames[end - 1], frames[end]):
            end += 1
        _place_run(strips, frames[start:end], channel, until=frames[end][0] if end < len(frames) else None)
        start = end


def _follows(one: tuple[int, str], other: tuple[int, str]) -> bool:
    """Whether two frames can share a strip: next to one another in time and in one folder."""
    return other[0] == one[0] + 1 and os.path.dirname(one[1]) == os.path.dirname(other[1])


def _place_run(strips: Any, run: list[tuple[int, str]], channel: int, *, until: int | None) -> None:
    first, path = run[0]
    strip = strips.new_image(
        name=f"frame {first}", filepath=path, channel=channel, frame_start=first, fit_method="ORIGINAL"
    )
    for _, other in run[1:]:
        strip.elements.append(os.path.basename(other))
    strip.blend_type = "REPLACE"
    strip.frame_final_duration = (until or run[-1][0] + 1) - first


def _settings(scene: Any, frames: list[tuple[int, str]], request: dict[str, Any], *, sound: bool) -> None:
    render = scene.render
    scene.frame_start, scene.frame_end, scene.frame_step = frames[0][0], frames[-1][0], 1
    render.fps, render.fps_base = request["fps"]
    image = bpy.data.images.load(frames[0][1])
    # The codec wants even sizes; a line that is cut off is not seen, a scaled picture is.
    render.resolution_x, render.resolution_y = (max(2, size - size % 2) for size in image.size[:])
    render.resolution_percentage = 100
    render.use_border = render.use_multiview = render.use_stamp = False
    render.use_compositing, render.use_sequencer = False, True
    render.filepath, render.use_file_extension, render.use_overwrite = request["movie"], True, True
    if Path(frames[0][1]).suffix.lower() not in _LINEAR:
        _show_as_they_are(scene)
    _codec(render, sound=sound)


def _show_as_they_are(scene: Any) -> None:
    """The view transform is in these pixels already; a second one would change the colours."""
    scene.display_settings.display_device = "sRGB"
    view = scene.view_settings
    view.view_transform, view.look, view.exposure, view.gamma, view.use_curve_mapping = (
        "Standard",
        "None",
        0.0,
        1.0,
        False,
    )
    scene.sequencer_colorspace_settings.name = "sRGB"


def _codec(render: Any, *, sound: bool) -> None:
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # 5.0 and later
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    settings.color_mode = "RGB"
    ffmpeg = render.ffmpeg
    ffmpeg.format, ffmpeg.codec, ffmpeg.constant_rate_factor = "MPEG4", "H264", "HIGH"
    ffmpeg.audio_codec = "AAC" if sound else "NONE"


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])
