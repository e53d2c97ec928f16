"""The files of a frame: where Blender writes them, what they are called, whether they are whole."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]
from exr_check import NotWhole, check_exr
from volume import portable

MOVIES = {"FFMPEG", "AVI_JPEG", "AVI_RAW"}
_SCRATCH_NAME = "frame"
"""What the main image is called before it is published: in a template Blender would fill in variables such as {scene_name}."""
_PNG_END = bytes.fromhex("0000000049454e44ae426082")


class BadOutput(Exception):
    """A frame's file is missing, broken or of the wrong size."""


@dataclass(frozen=True)
class OutputFile:
    """A file that Blender wrote for a frame.

    Attributes:
        source: Where it is on this machine.
        name: What it is called below the frame's block folder and where frames land.
        role: main, view or file_output.
        size: (width, height) in pixels.
        view: Name of the stereo view.
    """

    source: Path
    name: str
    role: str
    size: tuple[int, int]
    view: str | None = None


class FrameOutputs:
    """Sends all output of a scene to one folder, and collects it frame by frame.

    Args:
        scratch: A folder of this attempt on this machine.
        template: Name of the main images with `#` for the frame number.
        prefix: Camera's part of every name, empty without.
    """

    def __init__(self, scene: Any, scratch: Path, template: str, prefix: str) -> None:
        self._scene = scene
        self.scratch = scratch
        self._prefix = prefix
        self._template = template if "#" in template else f"{template}####"
        self._main = scratch / "main"
        self._extra = scratch / "file_output"
        self._unnumbered: set[str] = set()
        self._redirect_nodes()

    def begin(self) -> None:
        """Point the scene to where the next frame's main image goes. The scene's own frame range is left alone."""
        self.clear()
        self._main.mkdir(parents=True, exist_ok=True)
        self._scene.render.filepath = str(self._main / _SCRATCH_NAME)

    def collect(self, frame: int) -> list[OutputFile]:
        """Return the files of a frame that was just rendered, the main image first; all are checked.

        Raises:
            BadOutput: One is missing, can't be decoded, or has the wrong size; or two would have one name.
        """
        files = self._main_files(frame)
        for path in _files(self._extra):
            name = portable(self._extra_name(path, frame))
            files.append(OutputFile(path, name, "file_output", check_file(path, None)))
        twice = [name for name, count in Counter(item.name for item in files).items() if count > 1]
        if twice:
            raise BadOutput(
                f"Two files of the frame would be called {twice[0]}. Give the File Output nodes other names."
            )
        return files

    def clear(self) -> None:
        """Remove what was rendered; it is published by now, or failed."""
        for folder in (self._main, self._extra):
            shutil.rmtree(folder, ignore_errors=True)

    def _main_files(self, frame: int) -> list[OutputFile]:
        files: list[OutputFile] = []
        for view, suffix in self._views() or [(None, "")]:
            ending = f"{suffix}{self._scene.render.file_extension}"
            path, name = self._main / f"{_SCRATCH_NAME}{ending}", portable(f"{self._name(frame)}{ending}")
            if not path.is_file():
                written = ", ".join(found.name for found in _files(self._main)) or "nothing"
                raise BadOutput(
                    f"Blender was to save {path.name} for {name}, but it is not there (there is {written})."
                )
            size = check_file(path, self._expected_size())
            files.append(OutputFile(path, name, "view" if files else "main", size, view))
        return files

    def _name(self, frame: int) -> str:
        """Put the frame into the last run of # as Blender does: padded digits, the sign before them."""
        match = list(re.finditer("#+", self._template))[-1]
        number = f"{'-' if frame < 0 else ''}{abs(frame):0{len(match[0])}d}"
        return f"{self._prefix}{self._template[: match.start()]}{number}{self._template[match.end() :]}"

    def _views(self) -> list[tuple[str | None, str]]:
        """(name, file suffix) of the views that get a file each; none if one file holds all."""
        render = self._scene.render
        if not render.use_multiview or render.image_settings.views_format != "INDIVIDUAL":
            return []
        if render.image_settings.file_format == "OPEN_EXR_MULTILAYER":
            return []
        # Stereo renders its own two views only, whatever others the list has.
        stereo = render.views_format == "STEREO_3D"
        used = [view for view in render.views if view.use and (not stereo or view.name in ("left", "right"))]
        return [(view.name, view.file_suffix) for view in used]

    def _expected_size(self) -> tuple[int, int] | None:
        render = self._scene.render
        if render.use_multiview and render.image_settings.views_format == "STEREO_3D":
            return None  # side by side, top-bottom and the like have sizes of their own
        width = render.resolution_x * render.resolution_percentage // 100
        height = render.resolution_y * render.resolution_percentage // 100
        if render.use_border and render.use_crop_to_border:
            left, right = int(render.border_min_x * width), int(render.border_max_x * width)
            bottom, top = int(render.border_min_y * height), int(render.border_max_y * height)
            return right - left, top - bottom
        return width, height

    def _extra_name(self, path: Path, frame: int) -> str:
        """Name a File Output's file as an animation render does.

        From 5.0 on the nodes add the frame number in animations only; without it two frames would have one name.
        """
        relative = path.relative_to(self._extra)
        if relative.parts[0] not in self._unnumbered:
            return relative.as_posix()
        views = [view.file_suffix for view in self._scene.render.views] if self._scene.render.use_multiview else []
        suffix = next((text for text in views if text and relative.stem.endswith(text)), "")
        number = f"{'-' if frame < 0 else ''}{abs(frame):04d}"
        return relative.with_name(f"{relative.stem.removesuffix(suffix)}{number}{suffix}{relative.suffix}").as_posix()

    def _redirect_nodes(self) -> None:
        """Point every File Output node to the scratch folder; each keeps the last folder of its own path."""
        taken: set[str] = set()
        for node in file_output_nodes(self._scene):
            name = _folder_name(node)
            while name in taken:
                name += "_2"
            taken.add(name)
            _redirect(node, self._extra / f"{self._prefix}{name}")
            if hasattr(node, "directory") and not _has_number(node):
                self._unnumbered.add(f"{self._prefix}{name}")


def choose_format(scene: Any, wanted: str | None) -> str:
    """Set the file format; a movie becomes PNG. Returns the format that the scene had.

    Raises:
        TypeError: This Blender can't write that format.
    """
    settings = scene.render.image_settings
    before = str(settings.file_format)
    target = wanted or ("PNG" if before in MOVIES else None)
    if target and target != before:
        if hasattr(settings, "media_type"):  # 5.0: a format exists only inside its media type
            settings.media_type = "MULTI_LAYER_IMAGE" if target == "OPEN_EXR_MULTILAYER" else "IMAGE"
        settings.file_format = target
    return before


def check_file(path: Path, size: tuple[int, int] | None) -> tuple[int, int]:
    """Prove that an image is whole: it decodes, ends as its format ends, and has the expected size.

    Args:
        size: (width, height) in pixels; None accepts any. A crop may differ by one pixel of rounding.

    Returns:
        Its size.

    Raises:
        BadOutput: It is not.
    """
    if path.stat().st_size == 0:
        raise BadOutput(f"{path.name} is empty. Is the disk of the machine that renders full?")
    if path.suffix.lower() == ".png" and not _ends_with(path, _PNG_END):
        raise BadOutput(f"{path.name} is cut short. Is the disk of the machine that renders full?")
    found = _exr_size(path) if path.suffix.lower() == ".exr" else _decoded_size(path)
    if found == (0, 0):
        raise BadOutput(
            f"{path.name} can't be decoded; it was not written whole. Is the disk of the machine that renders full?"
        )
    if size is not None and any(abs(a - b) > 1 for a, b in zip(found, size, strict=True)):
        raise BadOutput(f"{path.name} is {found[0]}x{found[1]} pixels, it should be {size[0]}x{size[1]}.")
    return found


def _exr_size(path: Path) -> tuple[int, int]:
    """Check every block of an EXR, and decode it where Blender can: multilayer files have no pixels of their own."""
    try:
        size = check_exr(path)
    except NotWhole as error:
        raise BadOutput(f"{error} Is the disk of the machine that renders full?") from error
    image = bpy.data.images.load(str(path))
    try:
        loaded = tuple(image.size)  # loads it; before that the type is not known
        whole = loaded != (0, 0) or image.type == "MULTILAYER"
    finally:
        bpy.data.images.remove(image)
    return size if whole else (0, 0)


def _decoded_size(path: Path) -> tuple[int, int]:
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError:
        return 0, 0
    try:
        width, height = image.size
        return int(width), int(height)
    finally:
        bpy.data.images.remove(image)


def _ends_with(path: Path, tail: bytes) -> bool:
    with open(path, "rb") as stream:
        stream.seek(-min(len(tail), path.stat().st_size), os.SEEK_END)
        return stream.read() == tail


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_output_nodes(scene: Any) -> list[Any]:
    """Return every File Output node of the scene's compositor, those in groups too."""
    tree = getattr(scene, "compositing_node_group", None) or getattr(scene, "node_tree", None)
    return _nodes_of(tree, set()) if tree is not None else []


def _nodes_of(tree: Any, seen: set[str]) -> list[Any]:
    if tree is None or tree.name_full in seen:
        return []
    seen.add(tree.name_full)
    found = [node for node in tree.nodes if node.bl_idname == "CompositorNodeOutputFile"]
    for node in tree.nodes:
        if node.bl_idname == "CompositorNodeGroup":
            found.extend(_nodes_of(node.node_tree, seen))
    return found


def _folder_name(node: Any) -> str:
    text = str(node.directory if hasattr(node, "directory") else node.base_path).replace("\\", "/")
    if not hasattr(node, "directory") and _is_multilayer(node):
        text = text.rpartition("/")[0]  # there the last part is the file's name
    name = text.rstrip("/").rpartition("/")[2].strip(". ")
    name = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name).strip()
    return name if name and name != "tmp" else "file_output"


def _redirect(node: Any, folder: Path) -> None:
    if hasattr(node, "directory"):
        node.directory = str(folder) + os.sep
        return
    if _is_multilayer(node):
        last = str(node.base_path).replace("\\", "/").rpartition("/")[2]
        node.base_path = str(folder / (last or "layers_"))
        return
    node.base_path = str(folder) + os.sep
    for slot in node.file_slots:
        slot.path = str(slot.path).replace("\\", "/").replace("..", "_").lstrip("/")


def _has_number(node: Any) -> bool:
    return any("#" in str(text) for text in (node.file_name, *(item.name for item in node.file_output_items)))


def _is_multilayer(node: Any) -> bool:
    return bool(node.format.file_format == "OPEN_EXR_MULTILAYER")
