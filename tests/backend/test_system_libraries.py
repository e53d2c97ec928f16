"""The system libraries of the bpy wheel: what is missing is found, installed where we may, else named with one line to type."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from cloud_farm import system_libraries
from cloud_farm.blender import Launcher, find_blender, probe, run_script
from cloud_farm.cli import run
from cloud_farm.errors import BlenderError, NoBlenderError
from cloud_farm.system_libraries import NEEDED, ensure_libraries, missing_libraries

from .fake_blender import binary, calls, program, wheel

INSTALL = "apt-get install -y -qq --no-install-recommends"
TYPED = "apt-get install -y --no-install-recommends"


class Computer:
    """A bare computer: programs are only those of `bin`, one library is missing, and `bpy` is a fake."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.bin = base / "bin"
        self.bin.mkdir()
        self.library = base / "lib" / "libabsent.so.1"
        self.library.parent.mkdir()
        self.wheel = wheel(base / "site")
        self._module = self.wheel / "bpy" / "__init__.py"
        self._plain_module = self._module.read_text()
        self._module.write_text(f"import ctypes\nctypes.CDLL({str(self.library)!r})\n{self._plain_module}")
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("PYTHONPATH", str(self.wheel))
        monkeypatch.syspath_prepend(str(self.wheel))
        monkeypatch.delitem(sys.modules, "bpy", raising=False)
        monkeypatch.setattr(system_libraries, "NEEDED", {"libc.so.6": "libc6", str(self.library): "libabsent1"})
        self.user(1000)

    def user(self, number: int) -> None:
        self._monkeypatch.setattr(os, "geteuid", lambda: number)

    def apt(self, *, update: int = 0, install: int = 0) -> None:
        """A package manager that notes its arguments, and "installs" by putting the library where it is looked for."""
        copy = f'cp "{a_library()}" "{self.library}"'
        text = f'[ "$1" = update ] && exit {update}\n[ {install} = 0 ] && PATH=/usr/bin:/bin {copy}\nexit {install}\n'
        self._program("apt-get", text)

    def sudo(self, *, wants_password: bool = False) -> None:
        refuse = "echo 'sudo: a password is required' >&2; exit 1\n"
        self._program("sudo", refuse if wants_password else 'shift\n[ "$1" = true ] || exec "$@"\n')

    def make_the_wheel_do_without(self) -> None:
        self._module.write_text(self._plain_module)

    def ran(self, name: str) -> list[str]:
        return calls(self.bin / name)

    def _program(self, name: str, text: str) -> None:
        program(self.bin / name, f'#!/bin/sh\necho "$*" >> "$0.calls"\n{text}')


def a_library() -> Path:
    """Return where a library lies that can be loaded twice."""
    ctypes.CDLL("libm.so.6")
    match = re.search(r"/\S*/libm[.-]\S+", Path("/proc/self/maps").read_text())
    assert match is not None
    return Path(match[0])


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer(tmp_path, monkeypatch)


# -- installed where we may -----------------------------------------------------------------------------------------------


def test_root_installs_and_says_so(computer: Computer, capfd: pytest.CaptureFixture[str]) -> None:
    computer.user(0)
    computer.apt()
    assert missing_libraries() == (str(computer.library),)
    assert probe(find_blender()).version == "4.5.9"
    assert computer.ran("apt-get") == ["update -qq", f"{INSTALL.removeprefix('apt-get ')} libabsent1"]
    shown = capfd.readouterr()
    assert shown.out == "", "stdout belongs to --json"
    assert shown.err == (
        "Blender needs system libraries that are missing here; installing them:"
        f" {INSTALL} libabsent1\n"
    )  # fmt: skip
    assert missing_libraries() == ()
    ensure_libraries()
    assert len(computer.ran("apt-get")) == 2, "once is enough"


def test_sudo_without_a_password_installs_and_says_so(computer: Computer, capfd: pytest.CaptureFixture[str]) -> None:
    computer.apt()
    computer.sudo()
    ensure_libraries()
    assert computer.ran("sudo") == ["-n true", "-n apt-get update -qq", f"-n {INSTALL} libabsent1"]
    assert computer.ran("apt-get") == ["update -qq", f"{INSTALL.removeprefix('apt-get ')} libabsent1"]
    assert f"installing them: sudo -n {INSTALL} libabsent1\n" in capfd.readouterr().err
    assert missing_libraries() == ()


def test_a_package_list_that_can_not_be_renewed_is_no_reason_to_give_up(computer: Computer) -> None:
    computer.user(0)
    computer.apt(update=100)
    ensure_libraries()
    assert missing_libraries() == ()


def test_every_script_is_a_reason_to_look(computer: Computer) -> None:
    computer.user(0)
    computer.apt()
    with pytest.raises(BlenderError, match=r"failed in demo_scene\.py"):  # the fake can't build scenes
        run_script(find_blender(), "demo_scene.py", ["--output", "scene.blend"], timeout=60)
    assert missing_libraries() == ()


# -- else the one line to type --------------------------------------------------------------------------------------------


def test_a_sudo_that_wants_a_password_is_left_to_the_user(
    computer: Computer, capsys: pytest.CaptureFixture[str]
) -> None:
    computer.apt()
    computer.sudo(wants_password=True)
    assert run(["render", "shot.blend"]) == 2
    assert capsys.readouterr().err == (
        f"Error: Blender's Python module needs the system libraries {computer.library}. Install them with:\n"
        f"         sudo apt-get update && sudo {TYPED} libabsent1\n"
    )
    assert computer.ran("apt-get") == []
    assert computer.ran("sudo") == ["-n true"]
    assert calls(computer.wheel) == [], "Blender is not started in vain"


def test_a_library_that_only_eevee_needs_is_no_reason_to_refuse(computer: Computer) -> None:
    computer.make_the_wheel_do_without()
    ensure_libraries()
    assert probe(find_blender()).version == "4.5.9"


def test_the_line_does_what_it_says(computer: Computer) -> None:
    computer.apt()
    computer.sudo(wants_password=True)
    with pytest.raises(NoBlenderError) as caught:
        ensure_libraries()
    computer.sudo()
    line = str(caught.value).splitlines()[-1].replace("sudo ", "sudo -n ")  # the fake sudo is not one for people
    subprocess.run(["/bin/sh", "-c", line], check=True)
    assert missing_libraries() == ()
    ensure_libraries()


def test_without_sudo_it_is_a_line_for_root(computer: Computer) -> None:
    computer.apt()
    with pytest.raises(NoBlenderError) as caught:
        ensure_libraries()
    first, line = str(caught.value).splitlines()
    assert first.endswith("Install them as root with:")
    assert line == f"  apt-get update && {TYPED} libabsent1"
    assert computer.ran("apt-get") == []


@pytest.mark.parametrize("number", [0, 1000])
def test_elsewhere_than_on_debian_the_libraries_are_named(number: int, computer: Computer) -> None:
    computer.user(number)
    computer.sudo()
    with pytest.raises(NoBlenderError) as caught:
        ensure_libraries()
    assert str(caught.value) == (
        f"Blender's Python module needs the system libraries {computer.library}."
        " Install them with your package manager."
    )


def test_an_installation_that_fails_is_told_with_the_line(computer: Computer) -> None:
    computer.user(0)
    computer.apt(install=100)
    with pytest.raises(NoBlenderError) as caught:
        ensure_libraries()
    assert str(caught.value).startswith("Installing them failed (exit code 100). Blender's Python module needs")
    assert str(caught.value).endswith(f"  apt-get update && {TYPED} libabsent1")


# -- whom it does not concern ---------------------------------------------------------------------------------------------


def test_a_blender_of_its_own_brings_its_libraries(computer: Computer, tmp_path: Path) -> None:
    computer.apt()
    assert probe(Launcher((str(binary(tmp_path / "blender")),), "binary")).version == "4.5.3"
    assert computer.ran("apt-get") == []


def test_without_the_wheel_nothing_is_installed(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.user(0)
    computer.apt()
    monkeypatch.setitem(sys.modules, "bpy", None)
    ensure_libraries()
    assert computer.ran("apt-get") == []


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_lack_nothing(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_libraries, "NEEDED", {"libnowhere.so.1": "libnowhere1"})
    monkeypatch.setattr(sys, "platform", system)
    assert missing_libraries() == ()


# -- what the loader says -------------------------------------------------------------------------------------------------


def test_a_library_that_is_there_and_can_not_be_loaded_is_missing(computer: Computer) -> None:
    computer.library.write_text("no library at all")
    assert missing_libraries() == (str(computer.library),)


def test_a_library_that_we_do_not_know_is_named_by_the_loader(computer: Computer, tmp_path: Path) -> None:
    computer.library.write_bytes(a_library().read_bytes())
    shutil.rmtree(computer.wheel / "bpy")
    needs_an_absent_library(tmp_path, computer.wheel)
    with pytest.raises(BlenderError) as caught:
        probe(find_blender())
    assert "the system library libunheard.so.7 is missing. Install it, then try again." in str(caught.value)
    assert "Traceback" not in caught.value.log_tail


def needs_an_absent_library(tmp_path: Path, site: Path) -> None:
    """Make a module `bpy` that needs libunheard.so.7: a real one where there is a compiler, else one with the same words."""
    compiler = shutil.which("cc", path=os.defpath)
    if compiler is None:
        words = "libunheard.so.7: cannot open shared object file: No such file or directory"
        (site / "bpy.py").write_text(f"raise ImportError({words!r})\n")
        return
    source, library = tmp_path / "unheard.c", tmp_path / "libunheard.so.7"
    source.write_text("int unheard(void) { return 7; } void *PyInit_bpy(void) { return unheard() ? 0 : 0; }\n")
    build = [compiler, "-shared", "-fPIC", str(source)]
    env = {**os.environ, "PATH": os.defpath}
    subprocess.run([*build, "-Wl,-soname,libunheard.so.7", "-o", str(library)], env=env, check=True)
    subprocess.run([*build, "-Wl,--no-as-needed", str(library), "-o", str(site / "bpy.so")], env=env, check=True)
    library.unlink()
    with pytest.raises(OSError, match=r"libunheard\.so\.7"):
        ctypes.CDLL(str(site / "bpy.so"))


# -- the real wheel -------------------------------------------------------------------------------------------------------

_OF_EVERY_LINUX = {
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "ld-linux-x86-64.so.2",
    "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1",
}  # fmt: skip
"""What even the smallest Debian image with Python has."""


@pytest.mark.blender
@pytest.mark.skipif(sys.platform != "linux", reason="ELF files")
def test_the_table_has_every_library_that_this_wheel_loads() -> None:
    spec = find_spec("bpy")
    assert spec is not None
    assert spec.origin is not None
    main = Path(spec.origin).with_name("__init__.so")
    own = {path.name: path for path in (main.parent / "lib").iterdir()}
    outside, waiting, seen = set(), [main], {main}
    while waiting:
        for name in needed_by(waiting.pop()):
            if name not in own:
                outside.add(name)
            elif own[name] not in seen:
                seen.add(own[name])
                waiting.append(own[name])
    assert len(seen) > 10, "the wheel's own libraries were followed"
    assert outside - _OF_EVERY_LINUX <= NEEDED.keys()


def needed_by(library: Path) -> Iterator[str]:
    """Read the DT_NEEDED names of a 64-bit ELF file."""
    data = library.read_bytes()
    at, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    heads = [struct.unpack_from("<IIQQQQQQ", data, at + index * size) for index in range(count)]
    _, _, start, _, _, length, _, _ = next(head for head in heads if head[0] == 2)
    entries = list(struct.iter_unpack("<QQ", data[start : start + length]))
    table = next(value for tag, value in entries if tag == 5)
    strings = next(table - head[3] + head[2] for head in heads if head[0] == 1 and head[3] <= table < head[3] + head[5])
    for tag, value in entries[: entries.index((0, 0))]:
        if tag == 1:
            yield data[strings + value : data.index(b"\0", strings + value)].decode()
