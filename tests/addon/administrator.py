"""Runs in a Blender of its own: who sets a farm up in the preferences, by the operators behind the buttons.

python -I administrator.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import certifi

MODULE = "bl_ext.user_default.cloud_farm"
SECRET = "correct horse battery staple"
_PATIENCE_SECONDS = 60.0


def wait_for(session: Any, condition: Callable[[], object], what: str) -> None:
    """Let the add-on's timer run, as a window would."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        session.tick()
        assert time.monotonic() < deadline, f"{what}: {vars(session.farms)}"
        time.sleep(0.02)


def shown(session: Any, farm: str) -> dict[str, Any]:
    """Look at a farm as the preferences do; returns its values."""
    session.farms.watch(farm)
    wait_for(session, lambda: farm in session.farms.profiles, "its profile comes")
    return {key: found["value"] for key, found in session.farms.profiles[farm]["values"].items()}


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Make a farm, change it, try it out, hand it on, remove it, take it in again."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    session = importlib.import_module(f"{MODULE}.session").SESSION
    preferences = bpy.context.preferences.addons[MODULE].preferences
    bpy.context.preferences.system.use_online_access = True
    os.environ["CLOUD_FARM_STUDIO_PROFILES"] = str(folder / "house")
    ops: Any = bpy.ops.cloud_farm
    found: dict[str, Any] = {}
    (folder / "authority.pem").write_text(Path(certifi.where()).read_text(encoding="utf-8"), encoding="utf-8")
    ops.add_farm(
        farm="studio", kind="coreweave-tutorial", url="http://127.0.0.1:9", user="ada", password=SECRET, namespace="render",
        images="4.5=blender:4.5, 5.0=blender:5.0", parallelism=20, ca_file=str(folder / "authority.pem"),
    )  # fmt: skip
    wait_for(session, lambda: preferences.farm == "studio", "the farm is chosen once it is saved")
    values = shown(session, "studio")
    found["made"] = [
        values[key] for key in ("filebrowser.url", "kubernetes.namespace", "images", "limits.parallelism", "gpu.device")
    ]
    found["password is kept in"] = values["filebrowser.password"]
    found["edit"] = sorted(ops.edit_farm(**fields_of(values), parallelism=5))
    wait_for(session, lambda: "studio" not in session.farms.profiles, "the change is taken")
    after = shown(session, "studio")
    found["changed"] = {
        key: [values.get(key), after.get(key)] for key in values | after if values.get(key) != after.get(key)
    }
    found["written"] = Path(os.environ["CLOUD_FARM_HOME"], "farms", "studio.yaml").read_text()
    ops.test_farm()
    wait_for(session, lambda: not session.farms.is_testing, "it is tried out")
    found["lights"] = [[light["name"], light["level"]] for light in session.farms.lights["studio"]]
    ops.export_farm(filepath=str(folder / "handed on"))
    wait_for(session, lambda: (folder / "handed on.yaml").exists(), "it is handed on")
    ops.remove_farm()
    wait_for(session, lambda: session.farms.names == ("local",), "it is removed")
    found["chosen after its removal"] = preferences.farm
    ops.import_farm(filepath=str(folder / "handed on.yaml"))
    wait_for(session, lambda: preferences.farm == "studio", "it is chosen once it is taken in")
    found["taken in"] = {key: str(value)[:27] for key, value in shown(session, "studio").items() if ".ca" in key}
    found["still to give"] = session.farms.profiles["studio"]["to_give"]
    ops.edit_farm(**fields_of(shown(session, "studio")), parallelism=20, password=SECRET)
    wait_for(session, lambda: "studio" not in session.farms.profiles, "the password is taken")
    shown(session, "studio")
    found["to give after Edit"] = session.farms.profiles["studio"]["to_give"]
    take_in_with_its_password(session, folder, found)
    remove_the_studios(session, folder, found)
    refuse_nonsense(session, folder, found)
    preferences.farm = "studio"
    bpy.ops.wm.save_userpref()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "scene.blend"), compress=False)
    places = (folder, Path(os.environ["BLENDER_USER_RESOURCES"]), Path(os.environ["CLOUD_FARM_HOME"]))
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    found["secret lies in"] = sorted(path.name for path in files if SECRET.encode() in path.read_bytes())
    found["mode"] = [oct(path.stat().st_mode & 0o777) for path in files if path.name in found["secret lies in"]]
    found["saved"] = [path.name for path in files if path.name in ("userpref.blend", "scene.blend")]
    return found


def take_in_with_its_password(session: Any, folder: Path, found: dict[str, Any]) -> None:
    """Remove the farm, and take it in again with what only its artist knows."""
    ops: Any = bpy.ops.cloud_farm
    ops.remove_farm()
    wait_for(session, lambda: session.farms.names == ("local",), "it is removed once more")
    for path in Path(os.environ["CLOUD_FARM_HOME"], "secrets").iterdir():
        path.unlink()
    ops.import_farm(filepath=str(folder / "handed on.yaml"), password=SECRET, token="no cluster asks for it")
    wait_for(
        session,
        lambda: bpy.context.preferences.addons[MODULE].preferences.farm == "studio",
        "it is taken in with its password",
    )
    shown(session, "studio")
    found["to give after Import with the password"] = session.farms.profiles["studio"]["to_give"]
    found["kept"] = sorted(path.name for path in Path(os.environ["CLOUD_FARM_HOME"], "secrets").iterdir())


def remove_the_studios(session: Any, folder: Path, found: dict[str, Any]) -> None:
    """Remove a farm whose profile is the studio's, and one of which the user has a file beside the studio's."""
    preferences, ops = bpy.context.preferences.addons[MODULE].preferences, bpy.ops.cloud_farm
    (folder / "house").mkdir()
    for name in ("house", "both"):
        (folder / "house" / f"{name}.yaml").write_text("volume: {mount_path: /x}\n")
    preferences.farm = "house"
    ops.remove_farm()
    wait_for(session, lambda: session.farms.problem, "it is refused")
    found["the studio's"] = [preferences.farm, session.farms.problem_of("house")]
    preferences.farm = "both"
    shown(session, "both")
    ops.edit_farm(url="http://127.0.0.1:9", user="ada")
    own = Path(os.environ["CLOUD_FARM_HOME"], "farms", "both.yaml")
    wait_for(session, lambda: own.exists() and not session.client.busy, "it is changed")
    ops.remove_farm()
    wait_for(session, lambda: not own.exists() and not session.client.busy, "the user's own is removed")
    found["both"] = [preferences.farm, session.farms.problem_of("both")]


def refuse_nonsense(session: Any, folder: Path, found: dict[str, Any]) -> None:
    """Ask for what can't be, and read the log."""
    ops: Any = bpy.ops.cloud_farm
    ops.import_farm(filepath=str(folder / "nothing.yaml"))
    wait_for(session, lambda: session.farms.problem, "what is not there is told")
    found["problem"] = session.farms.problem
    for _ in range(2):
        ops.open_log()
    found["logs"] = {text.name: text.as_string().splitlines()[-1] for text in bpy.data.texts}
    try:
        ops.add_farm(farm="other", images="nonsense")
    except RuntimeError as error:
        found["nonsense"] = str(error).strip()


def fields_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return what the dialog shows of a profile: invoked by a button it fills itself."""
    table = importlib.import_module(f"{MODULE}.farm_dialog").TEXTS
    texts = {field: str(values.get(key) or "") for field, key in table.items()}
    images = ", ".join(f"{version}={image}" for version, image in values["images"].items())
    return {**texts, "kind": values["preset"], "models": ", ".join(values["gpu.models"]), "images": images}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))
