"""Which Blender is taken (contract §5), what is said of those that can't be, and what is remembered of one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloud_farm.blender
import pytest
from cloud_farm.blender import Launcher, find_blender, probe, run_script
from cloud_farm.cli import run
from cloud_farm.errors import BlenderError, BlenderTooOldError, Cancelled, NoBlenderError
from cloud_farm.events import CancelToken
from cloud_farm.platform import user_folders

from .fake_blender import binary, calls, program, wheel

BACKEND = Path(cloud_farm.blender.__file__).parents[1]
HANGS = '#!/bin/sh\n/bin/sh -c "echo \\$\\$ > \\"$0.pid\\"; exec /bin/sleep 60"\n'
NOT_FOUND = "Name one with --blender or CLOUD_FARM_BLENDER, or install Blender's Python module: uv sync --group bpy45"


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide this computer's own Blenders; returns the only folder of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setitem(sys.modules, "bpy", None)
    return folder


@pytest.fixture
def bpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bpy wheel, for us and for what we start."""
    folder = wheel(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "bpy")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr("cloud_farm.system_libraries.missing_libraries", lambda: ())
    return folder


def as_binary(path: Path) -> Launcher:
    return Launcher((str(path),), "binary")


# -- the order ------------------------------------------------------------------------------------------------------------


def test_the_order(tmp_path: Path, on_path: Path, bpy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, named, explicit = (binary(folder / "blender") for folder in (on_path, tmp_path / "env", tmp_path / "option"))
    monkeypatch.setenv("CLOUD_FARM_BLENDER", str(named))
    assert find_blender(str(explicit)) == as_binary(explicit)
    assert find_blender() == as_binary(named)
    monkeypatch.setenv("CLOUD_FARM_BLENDER", "")
    assert find_blender("") == as_binary(found)
    found.unlink()
    launcher = find_blender()
    assert (launcher.kind, launcher.argv[0], Path(launcher.argv[1]).name) == (
        "wheel",
        sys.executable,
        "bpy_launcher.py",
    )
    assert probe(launcher).version == "4.5.9"


def test_the_given_environment_counts_not_ours(tmp_path: Path, on_path: Path) -> None:
    binary(on_path / "blender")
    other = binary(tmp_path / "other" / "blender", "5.0.0")
    for explicit in (None, "blender"):
        assert find_blender(explicit, environ={"PATH": str(other.parent)}) == as_binary(other)


@pytest.mark.parametrize(("version", "taken"), [("4.2.0", True), ("4.10.1", True), ("5.2.0", True), ("4.1.1", False)])
def test_the_path_counts_from_4_2_on(version: str, taken: bool, on_path: Path, bpy: Path) -> None:
    found = binary(on_path / "blender", version)
    assert find_blender() == as_binary(found) if taken else find_blender().kind == "wheel"


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\necho I am a shell script\n",
        "#!/bin/sh\nprintf 'Blender \\377\\376.\\200'\n",
        "#!/bin/sh\nexit 3\n",
        "#!/bin/sh\nread line && echo Blender 4.5.0\n",
        "#!/nowhere/interpreter\n",
        "not a program at all",
        "",
    ],
)
def test_nonsense_on_the_path_is_passed_over(text: str, on_path: Path, bpy: Path) -> None:
    program(on_path / "blender", text)
    assert find_blender().kind == "wheel"


def test_a_hanging_one_on_the_path_is_passed_over(on_path: Path, bpy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_farm.blender._VERSION_SECONDS", 0.3)
    program(on_path / "blender", "#!/bin/sh\nexec /bin/sleep 60\n")
    began = time.monotonic()
    assert find_blender().kind == "wheel"
    assert time.monotonic() - began < 20


def test_what_is_no_program_on_the_path_is_passed_over(tmp_path: Path, on_path: Path, bpy: Path) -> None:
    (on_path / "blender").mkdir()
    assert find_blender().kind == "wheel"
    (on_path / "blender").rmdir()
    binary(on_path / "blender").chmod(0o644)
    assert find_blender().kind == "wheel"


def test_a_program_on_the_path_that_is_older_than_the_file_is_passed_over(
    tmp_path: Path, on_path: Path, bpy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary(on_path / "blender", "4.2.3")
    scene = tmp_path / "shot.blend"
    scene.write_bytes(b"BLENDER-v405" + bytes(20))
    assert run(["render", str(scene)]) == 2
    assert "is not whole" in capsys.readouterr().err, "the wheel, 4.5, can read the file"


# -- named ones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two words", "it's", "çà 影", "-dash"])
def test_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = binary(tmp_path / "in a folder" / name)
    assert probe(find_blender(str(path))).version == "4.5.3"
    monkeypatch.chdir(path.parent)
    assert find_blender(f"./{name}") == as_binary(path)


@pytest.mark.parametrize("name", ["blender-4.5", "~/blender-4.5"])
def test_names_of_the_path_and_of_the_home_folder(name: str, on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(on_path))
    path = binary(on_path / "blender-4.5")
    assert find_blender(name) == as_binary(path)
    assert find_blender(environ={**os.environ, "CLOUD_FARM_BLENDER": name}) == as_binary(path)


@pytest.mark.parametrize("source", ["--blender", "CLOUD_FARM_BLENDER"])
@pytest.mark.parametrize("what", ["absent", "folder", "data"])
def test_a_named_one_that_is_no_program_is_refused(
    source: str, what: str, on_path: Path, bpy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    binary(on_path / "blender")
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    if what == "data":
        path.write_text("data")
    monkeypatch.setenv("CLOUD_FARM_BLENDER", str(path))
    words = ["--blender", str(path)] if source == "--blender" else []
    assert run(["render", "shot.blend", *words]) == 2, "what was named is never replaced by another one"
    said = capsys.readouterr().err
    assert said.startswith(f"Error: {source}")
    assert f" names '{path}', which is not a program that can be run." in said


# -- nothing --------------------------------------------------------------------------------------------------------------


def test_nothing_found_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "x.blend").write_bytes(b"BLENDER-v405")
    code = "import sys; sys.modules['bpy'] = None; from cloud_farm.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "render", "x.blend"],
        env={**os.environ, "PATH": "", "PYTHONPATH": str(BACKEND)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: No Blender was found. {NOT_FOUND}\n"
    assert [path.name for path in tmp_path.iterdir() if path.name != "bin"] == ["x.blend"]


@pytest.mark.parametrize(
    ("text", "why"), [("Blender 3.6.5", "is older than 4.2"), ("hello", "does not say its version")]
)
def test_what_was_passed_over_is_named(text: str, why: str, on_path: Path) -> None:
    path = program(on_path / "blender", f"#!/bin/sh\necho {text}\n")
    with pytest.raises(NoBlenderError) as caught:
        find_blender()
    assert str(caught.value) == f"No Blender was found. The one on the PATH ({path}) {why}. {NOT_FOUND}"


# -- the probe ------------------------------------------------------------------------------------------------------------


def test_a_blender_says_what_it_is(tmp_path: Path) -> None:
    info = probe(as_binary(binary(tmp_path / "blender", "5.0.1")))
    assert (info.version, info.numbers, info.build_hash) == ("5.0.1", (5, 0, 1), "0123456789ab")
    assert [(device.type, device.name) for device in info.devices] == [("CPU", "a chip")]


@pytest.mark.parametrize("version", ["3.6.5", "4.1.1"])
def test_one_that_is_too_old_is_refused_each_time(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = binary(tmp_path / "blender", version)
    for _ in range(2):
        assert run(["render", "shot.blend", "--blender", str(path)]) == 2
        assert f"{path} is Blender {version}; Cloud Farm needs 4.2 or newer." in capsys.readouterr().err


def test_one_too_old_for_our_scripts_is_told_by_its_version(tmp_path: Path) -> None:
    text = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Blender 2.82 (sub 7)' && exit 0\necho AttributeError; exit 10\n"
    with pytest.raises(BlenderTooOldError, match=r"is Blender 2\.82; Cloud Farm needs 4\.2 or newer"):
        probe(as_binary(program(tmp_path / "blender", text)))


@pytest.mark.parametrize(
    ("ending", "code", "last"),
    [
        ("echo I am no Blender", 0, "I am no Blender"),
        ("echo first; echo the reason >&2; exit 7", 7, "the reason"),
        ("printf '\\377\\376 bytes'", 0, "bytes"),
        ("true", 0, "It said nothing."),
        ("kill -SEGV $$", -11, "It said nothing."),
    ],
)
def test_one_without_an_answer_is_refused_with_its_last_words(
    ending: str, code: int, last: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = program(tmp_path / "blender", f"#!/bin/sh\n{ending}\n")
    with pytest.raises(BlenderError) as caught:
        probe(as_binary(path))
    assert str(caught.value).startswith(f"Blender ({path}) failed in probe.py with exit code {code}: ")
    assert str(caught.value).endswith(last)
    assert run(["render", "shot.blend", "--blender", str(path)]) == 2
    assert capfd.readouterr().err.startswith("Error: Blender (")


@pytest.mark.parametrize("text", ["not a program at all", "#!/nowhere/interpreter\n"])
def test_one_that_can_not_be_started_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(NoBlenderError, match="can't be started: .* Name a Blender with --blender"):
        probe(as_binary(program(tmp_path / "blender", text)))


def test_one_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_farm.blender._PROBE_SECONDS", 0.3)
    monkeypatch.setattr("cloud_farm.blender._VERSION_SECONDS", 0.3)
    path = program(tmp_path / "blender", HANGS)
    began = time.monotonic()
    with pytest.raises(BlenderError, match=r"did not answer within 0\.3 s"):
        probe(as_binary(path))
    assert time.monotonic() - began < 20
    assert_gone(path)


def test_one_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    path, cancel = program(tmp_path / "blender", HANGS), CancelToken()
    pid = path.with_name("blender.pid")

    def stop_once_it_runs() -> None:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.01)
        cancel.cancel()

    waiting = threading.Thread(target=stop_once_it_runs)
    waiting.start()
    with pytest.raises(Cancelled):
        run_script(as_binary(path), "pack_scene.py", [], timeout=50, cancel=cancel)
    waiting.join()
    assert_gone(path)


def assert_gone(path: Path) -> None:
    """What a program that hangs had started runs no more."""
    started = int(path.with_name("blender.pid").read_text())
    left = Path(f"/proc/{started}/cmdline")  # empty for one that is dead but not yet collected
    deadline = time.monotonic() + 10  # it was killed; a busy machine may not have come to it yet
    while left.exists() and left.read_bytes():
        assert time.monotonic() < deadline, "what the wrapper had started still runs"
        time.sleep(0.01)


# -- what is remembered ---------------------------------------------------------------------------------------------------


def test_it_is_asked_once(tmp_path: Path) -> None:
    path = binary(tmp_path / "blender")
    assert probe(as_binary(path)) == probe(as_binary(path))
    assert len(calls(path)) == 1


def test_a_changed_program_is_asked_again(tmp_path: Path) -> None:
    path = binary(tmp_path / "blender", "4.5.3")
    probe(as_binary(path))
    binary(path, "4.5.4")
    os.utime(path, ns=(0, 0))
    assert probe(as_binary(path)).version == "4.5.4"
    assert len(calls(path)) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "7", '{"version": "4.5.3"}'])
def test_a_damaged_memory_is_renewed(damage: str, tmp_path: Path) -> None:
    path = binary(tmp_path / "blender")
    good = probe(as_binary(path))
    (memory,) = (user_folders().cache / "probes").iterdir()
    memory.write_text(damage)
    assert probe(as_binary(path)) == good
    assert probe(as_binary(path)) == good
    assert len(calls(path)) == 2


def test_without_a_place_to_remember_it_works_too(tmp_path: Path) -> None:
    path = binary(tmp_path / "blender")
    cache = user_folders().cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert probe(as_binary(path)).version == probe(as_binary(path)).version == "4.5.3"
    assert len(calls(path)) == 2


def test_the_wheel_is_remembered_until_its_module_changes(bpy: Path) -> None:
    launcher = find_blender()
    assert probe(launcher) == probe(launcher)
    assert len(calls(bpy)) == 1
    module = bpy / "bpy" / "__init__.py"
    module.write_text(module.read_text().replace("(4, 5, 9)", "(4, 5, 10)"))
    assert probe(launcher).version == "4.5.10"
    assert len(calls(bpy)) == 2
