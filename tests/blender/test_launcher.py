"""The launcher: the bpy wheel answers to Blender's command line, and always ends as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .stub_farm import INSIDE, LAUNCHER

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
DRIVER = """
import bpy, sys
driver = bpy.context.scene.objects[0].driver_add("location", 0).driver
driver.expression = "__import__('os').getpid()"
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""


def blender(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCHER, *arguments], capture_output=True, text=True, timeout=120, env={**os.environ, **env}
    )


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "a script.py"
    path.write_text(text)
    return str(path)


def test_a_script_sees_what_it_would_see_in_blender(tmp_path: Path) -> None:
    path = script(tmp_path, "import sys; print(__name__, __file__ == sys.argv[4]); print(sys.argv[5:], sys.path)")
    done = blender("-b", "--factory-startup", "--python", path, "--", "--frames=1-3", "-5", "ä b")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0] == "__main__ True"
    assert lines[1].startswith("['--', '--frames=1-3', '-5', 'ä b']")
    assert (
        str(INSIDE) not in lines[1] and str(tmp_path) not in lines[1]
    )  # as with the binary: scripts see to it themselves


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [("pass", 0, ""), ("import sys; sys.exit(7)", 7, ""), ("import sys; sys.exit()", 0, ""), ("import sys; sys.exit('no')", 1, "no"),
     ("raise ValueError('a fault')", 10, "ValueError: a fault"), ("1 +", 10, "SyntaxError"), ("raise KeyboardInterrupt", 10, "")],
)  # fmt: skip
def test_how_a_script_ends_is_the_exit_code(tmp_path: Path, text: str, code: int, said: str) -> None:
    done = blender("-b", "--python", script(tmp_path, text))
    assert done.returncode == code and said in done.stderr


def test_the_exit_code_of_a_fault_can_be_chosen(tmp_path: Path) -> None:
    path = script(tmp_path, "raise ValueError")
    assert blender("-b", "--python-exit-code", "33", "--python", path).returncode == 33
    done = blender("-b", "--python-exit-code", "0", "--python", path, "--python-expr", "print('went on')")
    assert done.returncode == 0 and "went on" in done.stdout


def test_handlers_and_classes_that_stay_registered_do_not_hang_or_crash_it() -> None:
    text = (
        "import bpy\nclass X(bpy.types.Operator):\n bl_idname = 'a.b'\n bl_label = 'x'\n"
        "bpy.utils.register_class(X); bpy.app.handlers.render_stats.append(print); print('end')"
    )
    done = blender("-b", "--python-expr", text)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "end")


def test_nothing_is_lost_and_nothing_left_behind(tmp_path: Path) -> None:
    text = "import bpy, ctypes; ctypes.CDLL(None).puts(b'from C'); print(bpy.app.tempdir)"
    done = blender("-b", "--python-expr", text, TMPDIR=str(tmp_path))
    assert "from C" in done.stdout and str(tmp_path) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_opened_and_a_wrong_one_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a file.blend")
    save = "import bpy, sys; bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])"
    assert blender("-b", "--python-expr", save, "--", path).returncode == 0
    done = blender("-b", path, "--python-expr", "import bpy; print('open', bpy.data.filepath)")
    assert f"open {path}" in done.stdout
    (tmp_path / "bad.blend").write_text("no")
    for name in ("bad.blend", "absent.blend"):
        done = blender("-b", str(tmp_path / name), "--python-expr", "print('went on')")
        assert done.returncode == 1 and name in done.stderr and "went on" not in done.stdout


def test_scripts_in_a_file_run_only_where_they_are_allowed(tmp_path: Path) -> None:
    path = str(tmp_path / "driver.blend")
    assert blender("-b", "--python-expr", DRIVER, "--", path).returncode == 0
    tell = "import bpy; print('blocked', bpy.app.autoexec_fail)"
    assert "blocked True" in blender("-b", "--disable-autoexec", path, "--python-expr", tell).stdout
    assert "blocked True" in blender("-b", path, "--python-expr", tell).stdout
    assert "blocked False" in blender("-b", "--enable-autoexec", path, "--python-expr", tell).stdout


@pytest.mark.parametrize(("switch", "online"), [("--online-mode", True), ("--offline-mode", False)])
def test_online_access_is_what_the_switch_says(switch: str, online: bool) -> None:
    done = blender("-b", switch, "--python-expr", "import bpy; print(bpy.app.online_access)")
    assert done.stdout.splitlines()[-1] == str(online)


def test_it_tells_its_version() -> None:
    done = blender("--version")
    assert done.returncode == 0 and done.stdout.startswith("Blender ") and "build hash: " in done.stdout


@pytest.mark.parametrize("arguments", [("-b", "--nonsense"), ("-b", "--python"), ("-b", "--python", "/nowhere.py")])
def test_a_wrong_command_line_is_an_error(arguments: tuple[str, ...]) -> None:
    assert blender(*arguments).returncode in (1, 10)


def test_a_missing_system_library_or_module_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "bpy.py").write_text(
        "raise ImportError('libX11.so.6: cannot open shared object file: No such file or directory', name='bpy')"
    )
    done = blender("-b", PYTHONPATH=str(tmp_path))
    assert done.returncode == 10
    assert done.stderr.count("\n") == 1 and "system library libX11.so.6 is missing" in done.stderr
    launcher = LAUNCHER[1]
    bare = subprocess.run([sys.executable, "-S", launcher, "-b"], capture_output=True, text=True, timeout=60)
    assert bare.returncode == 10 and "no Blender module" in bare.stderr
