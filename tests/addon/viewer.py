"""Runs in a Blender of its own: what becomes of frames that land, in its Image Editors and its video sequencer.

python -I viewer.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part, picture = desk.part, desk.picture
JOB, LARGE, LONG, REAL, TWO, EARLIER = (
    f"{name}-20261130-abc123" for name in ("shot", "large", "long", "real", "two", "earlier")
)
_PATIENCE_SECONDS = 120.0


def editors() -> list[Any]:
    """Turn every area of the window into an Image Editor; the largest comes first."""
    areas = sorted(bpy.context.window.screen.areas, key=lambda area: -area.width * area.height)
    for area in areas:
        area.ui_type = "IMAGE_EDITOR"
    return [area.spaces.active for area in areas]


def names(spaces: list[Any]) -> list[str]:
    """Return what each editor shows."""
    return [space.image.name if space.image else "" for space in spaces]


def landing(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let frames land while an artist works on a texture in the largest editor."""
    texture = bpy.data.images.new("wood", 8, 8)
    spaces = editors()
    spaces[0].image = texture
    for frame in (2, 1, 4):
        viewer.frame_landed(JOB, "shot", picture(folder / f"f_{frame:04d}.png"), frame, None)
        viewer.refresh(lambda *_: False)
    user = spaces[1].image_user
    found: dict[str, Any] = {"editors": names(spaces), "follows": [user.frame_offset + 1, user.frame_duration]}
    here = SimpleNamespace(window=bpy.context.window, space_data=None)
    bpy.context.window_manager.cloud_farm.follow_newest = False
    found["all"] = [user.frame_start, user.frame_offset, user.frame_duration]
    viewer.show(JOB, "shot", here, frame=2)
    found["pinned"] = [user.frame_offset + 1, user.frame_duration]
    viewer.frame_landed(JOB, "shot", picture(folder / "f_0005.png"), 5, None)
    viewer.refresh(lambda *_: False)
    found["still pinned"] = [user.frame_offset + 1, user.frame_duration]
    found["here"] = list(viewer.frames_here(JOB))
    for space in spaces:
        space.image = texture
    viewer.show(JOB, "shot", here)
    found["shown where all is taken"] = names(spaces)
    spaces[0].image = texture
    viewer.show(JOB, "shot", SimpleNamespace(window=bpy.context.window, space_data=spaces[2]))
    found["shown where the mouse is"] = names(spaces)
    return found


def large_frames(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let a frame land that would hold the window up."""
    spaces = editors()
    asked: list[list[str]] = []
    for space in spaces:
        space.image = None
    (folder / "l_0001.exr").write_bytes(bytes(9 * 1024 * 1024))
    viewer.frame_landed(LARGE, "large", folder / "l_0001.exr", 1, None)

    def ask(job: str, path: Path) -> bool:
        asked.append([job, path.name])
        return len(asked) > 1

    for _ in range(3):
        viewer.refresh(ask)
    found: dict[str, Any] = {"asked": asked, "before": names(spaces)}
    viewer.preview_made(LARGE, "large", picture(folder / "preview.png"))
    found["after"] = names(spaces)
    viewer.preview_made(LARGE, "large", folder / "preview.png")
    found["previews"] = [image.name for image in bpy.data.images if "preview" in image.name]
    return found


def by_the_worker(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let a large frame land, and the worker make its preview."""
    spaces, session = editors(), part("session").SESSION
    for space in spaces:
        space.image = None
    image = bpy.data.images.new("noise", 2000, 1500, float_buffer=True)
    image.pixels.foreach_set(array("f", noise(2000 * 1500 * 4)))
    image.filepath_raw, image.file_format = str(folder / "n_0001.exr"), "OPEN_EXR"
    image.save()
    viewer.frame_landed(REAL, "real", folder / "n_0001.exr", 1, None)
    session.client.ask("hello", lambda _line: None)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not spaces[0].image:
        session.tick()
        assert time.monotonic() < deadline, session.previews.problem
        time.sleep(0.02)
    return {"shown": names(spaces[:1]), "size": list(spaces[0].image.size), "problem": session.previews.problem}


def two_cameras(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let the frames of two cameras land, and click on one of the second's."""
    spaces, here = editors(), SimpleNamespace(window=bpy.context.window, space_data=None)
    for space in spaces:
        space.image = None
    for camera in ("Left", "Right"):
        for frame in (1, 2):
            viewer.frame_landed(TWO, "two", picture(folder / f"{camera}_f_{frame:04d}.png"), frame, camera)
            viewer.refresh(lambda *_: False)
    found: dict[str, Any] = {"come": names(spaces)}
    found["clicked"] = [viewer.show(TWO, "two", here, frame=1, camera="Right"), names(spaces)[0], first_file(spaces[0])]
    found["viewed"] = [viewer.show(TWO, "two", here), sorted(set(names(spaces)))]
    return {**found, "absent": viewer.show(TWO, "two", here, frame=7, camera="Right")}


def earlier_job(viewer: Any, folder: Path) -> dict[str, Any]:
    """Hear of frames that landed before this Blender started: of the first and the last of a camera."""
    files = {frame: str(picture(folder / f"e_{frame:04d}.png")) for frame in (9999, 10000, 10001)}
    span = {"camera": "Cam", "first": [9999, files[9999]], "last": [10001, files[10001]]}
    viewer.frames_known(EARLIER, [{**span, "folders": {str(folder): "9999-10001"}}])
    return {"here": list(viewer.frames_here(EARLIER)), "of": [viewer.has_frames(EARLIER, name) for name in ("Cam", "")]}


def other_digits(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let frames land whose names end with a version, and frames below zero."""
    spaces, here, state = (
        editors(),
        SimpleNamespace(window=bpy.context.window, space_data=None),
        bpy.context.window_manager.cloud_farm,
    )
    found: dict[str, Any] = {}
    for job, files in {
        "versions": {frame: f"shot_{frame:04d}_v2.png" for frame in (2, 3, 11)},
        "below zero": {-1: "n-0001.png", 0: "n0000.png", 1: "n0001.png"},
    }.items():
        state.follow_newest = True
        for space in spaces:
            space.image = None
        for frame, name in files.items():
            viewer.frame_landed(job, job, picture(folder / name), frame, None)
            viewer.refresh(lambda *_: False)
        newest, first = first_file(spaces[0]), min(files)
        why_not = viewer.show(job, job, here, frame=first)
        found[job] = [
            newest,
            why_not,
            first_file(spaces[0]),
            list(viewer.frames_here(job)),
            viewer.can_be_scrubbed(job),
        ]
    return found


def first_file(space: Any) -> list[str]:
    """Return how an editor's image is read, and from where."""
    return [space.image.source, Path(space.image.filepath).name]


def moved_away(viewer: Any, folder: Path) -> dict[str, Any]:
    """Ask for frames of which one, and then all are gone."""
    here = SimpleNamespace(window=bpy.context.window, space_data=None)
    for frame in (1, 2):
        viewer.frame_landed("gone", "gone", picture(folder / f"g_{frame:04d}.png"), frame, None)
    (folder / "g_0002.png").unlink()
    found = {"one": viewer.show("gone", "gone", here), "shown": viewer._found("gone").filepath.endswith("g_0001.png")}
    bpy.data.images.remove(viewer._found("gone"))
    (folder / "g_0001.png").unlink()
    return {**found, "all": viewer.show("gone", "gone", here)}


def two_jobs_in_a_folder(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let frames of two jobs land in one folder, some beside it, and ask for those of the first that were lost."""
    here, spaces = SimpleNamespace(window=bpy.context.window, space_data=None), editors()
    (folder / "t").mkdir()
    (folder / "t (old)").mkdir()
    (folder / "t (new)").mkdir()
    bpy.context.window_manager.cloud_farm.follow_newest = True
    for space in spaces:
        space.image = None

    def land(job: str, below: str, frame: int) -> None:
        viewer.frame_landed(job, job, picture(folder / below / f"t_{frame:04d}.png"), frame, None)
        viewer.refresh(lambda *_: False)

    land("old", "t", 1)
    land("old", "t", 2)
    found: dict[str, Any] = {"before": [viewer.can_be_scrubbed("old"), place(viewer._found("old"))]}
    land("new", "t", 1)
    found["one is taken"] = [viewer.can_be_scrubbed("old"), viewer.is_scattered("old"), place(viewer._found("old"))]
    found["asked"] = [viewer.has_frames("old", "", frame) for frame in (1, 2)]
    land("new", "t (new)", 2)
    land("old", "t (old)", 3)
    found["beside"] = {job: [place_of(path) for path in viewer.frames_here(job).values()] for job in ("old", "new")}
    found["clicked"] = [
        [viewer.show(job, job, here, frame=frame), place(viewer._found(job))]
        for job, frame in (("new", 2), ("old", 2), ("new", 1), ("old", 3), ("old", 1))
    ]
    bpy.context.window_manager.cloud_farm.follow_newest = True
    return {**found, "all are taken": all_are_taken(viewer, land, spaces)}


def all_are_taken(viewer: Any, land: Any, spaces: list[Any]) -> list[Any]:
    """Render once more into the folder: the editors go over to the new job's frames, and the old ones are with the worker."""
    for space in spaces:
        space.image = None
    land("past", "t", 7)
    shown = names(spaces)[0]
    land("present", "t", 7)
    return [shown, sorted(set(names(spaces))), viewer.has_frames("past"), viewer.has_frames("present")]


def place(image: Any) -> list[str]:
    """Return how an image is read, and from which folder."""
    return [image.source, place_of(Path(image.filepath))]


def place_of(path: Path) -> str:
    """Return a file with its folder."""
    return f"{path.parent.name}/{path.name}"


def rubbish(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let frames land that are no pictures, one of them the job's first, between those of another job."""
    here, spaces = SimpleNamespace(window=bpy.context.window, space_data=None), editors()
    for space in spaces:
        space.image = None
    for frame in (2, 1, 3):
        path = picture(folder / f"r_{frame:04d}.png")
        if frame != 1:
            path.write_bytes(b"rubbish")
        viewer.frame_landed("rubbish", "rubbish", path, frame, None)
        viewer.frame_landed("good", "good", picture(folder / f"b_{frame:04d}.png"), frame, None)
        viewer.refresh(lambda *_: False)
    found: dict[str, Any] = {"shown": sorted(set(names(spaces)))}
    found["told"] = [text.replace(str(folder), "") for text in viewer.problems_of("rubbish")]
    found["others"] = [viewer.problems_of("good"), followed(spaces, "good")]
    found["viewed"] = [viewer.show("rubbish", "rubbish", here), followed(spaces, "rubbish")]
    found["clicked"] = viewer.show("rubbish", "rubbish", here, frame=2).replace(str(folder), "")
    bpy.context.window_manager.cloud_farm.follow_newest = True
    viewer.frame_landed("rubbish", "rubbish", picture(folder / "r_0003.png"), 3, None)
    viewer.refresh(lambda *_: False)
    return {**found, "mended": viewer.problems_of("rubbish")}


def followed(spaces: list[Any], job: str) -> list[int]:
    """Return which frames the editors of a job's image show."""
    theirs = [space for space in spaces if space.image.get(part("image_viewer").JOB_MARK) == job]
    return sorted({space.image_user.frame_offset + 1 for space in theirs})


def too_long_a_path(viewer: Any, folder: Path) -> dict[str, Any]:
    """Let a frame land where Blender itself can't read: it knows paths of 1,023 letters."""
    deep = folder.joinpath(*["d" * 190] * 4)
    deep.mkdir(parents=True)
    file = picture(folder / "p_0001.png").rename(deep / f"{'p' * 240}_0001.png")
    viewer.frame_landed("deep", "deep", file, 1, None)
    viewer.refresh(lambda *_: False)
    return {"told": [text[:27] for text in viewer.problems_of("deep")]}


def noise(count: int) -> list[float]:
    """Return numbers that no file format makes small."""
    dice = random.Random(5)
    return [dice.random() for _ in range(count)]


def strips(viewer: Any, folder: Path) -> dict[str, Any]:
    """Put the frames into the sequencer, twice."""
    sequencer, scene = part("sequencer"), bpy.context.scene
    sequencer.put_strips(scene, JOB, "shot", viewer.frames_here(JOB))
    found: dict[str, Any] = {"strip": strip_of(sequencer, scene)}
    sequencer._strips_of(scene)[0].channel = 5
    viewer.frame_landed(JOB, "shot", picture(folder / "f_0003.png"), 3, None)
    sequencer.put_strips(scene, JOB, "shot", viewer.frames_here(JOB))
    found["strip again"] = strip_of(sequencer, scene)
    sequencer.put_strips(scene, LONG, "long", {frame: folder / f"f_{frame:05d}.png" for frame in range(1, 4502)})
    found["long"] = [[len(strip.elements), sequencer.start_of(strip)] for strip in sequencer._strips_of(scene)][1:]
    return found


def strip_of(sequencer: Any, scene: Any) -> list[Any]:
    """Return what the only strip has."""
    (strip,) = sequencer._strips_of(scene)
    return [strip.channel, sequencer.start_of(strip), [element.filename for element in strip.elements]]


def logs(_viewer: Any, _folder: Path) -> dict[str, Any]:
    """Show a log in an editor of texts, and a longer one in its place."""
    editor = bpy.context.window.screen.areas[0]
    editor.ui_type = "TEXT_EDITOR"
    viewer = part("text_viewer")
    viewer.show("a.log", [f"line {n}" for n in range(100)])
    found: dict[str, Any] = {"first": [editor.spaces.active.text.name, editor.spaces.active.top]}
    viewer.show("a.log", viewer.log_lines([f"line {n}" for n in range(2000)], count=12345, path="/logs/a.log"))
    text = editor.spaces.active.text
    return {**found, "lines": len(text.lines), "head": text.lines[0].body, "texts": len(bpy.data.texts)}


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Do all of it."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    viewer = part("image_viewer")
    acts = (
        landing,
        large_frames,
        by_the_worker,
        two_cameras,
        earlier_job,
        other_digits,
        moved_away,
        two_jobs_in_a_folder,
        rubbish,
        too_long_a_path,
        strips,
        logs,
    )
    return {act.__name__: act(viewer, folder) for act in acts}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
