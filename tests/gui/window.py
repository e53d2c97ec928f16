"""A Blender with a real window: Debian's own, in a folder of its own, on a screen that nobody sees. Real clicks, real pictures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cloud_farm.platform import FileLock

from ..cluster.debian_root import make_blender_root, mounted, run
from ..rigs.go_build import cache_folder, make_once
from ..rigs.processes import RigUnavailable, program

SUITES = {"trixie": "4.3", "sid": "5.2"}
"""Debian's suites, and the Blender that each has."""
_PACKAGES = (
    "blender", "xvfb", "libgl1-mesa-dri", "libegl1", "libegl-mesa0", "x11-apps", "xdotool", "imagemagick", "python3-numpy",
    "python3-requests", "python3-zstandard", "python3-attr", "python3-typing-extensions",
)  # fmt: skip
_CATTRS = "cattrs==25.3.0"  # Debian's 5.2 lacks it, and without it Blender's extension system does not register
_SCREEN_HEIGHT = 1700
_SCREEN = f"1600x{_SCREEN_HEIGHT}x24"
_WINDOW = ("0", "0", "1500", "1600")
WORK = "/artist"
_PATIENCE, _BUILD_SECONDS = 120.0, 1800.0


def blender_root(suite: str) -> Path:
    """Return a root file system with Debian's Blender, a screen and a mouse; made once.

    Raises:
        RigUnavailable: Not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise RigUnavailable("a Blender with a window needs root: it lives in a file system of its own")
    program("debootstrap", package="debootstrap")
    return make_once(cache_folder() / "gui" / suite, lambda: _make(suite), patience=_BUILD_SECONDS)


def _make(suite: str) -> None:
    final = cache_folder() / "gui" / suite
    part = final.with_name(f"{suite}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    make_blender_root(part, suite=suite, packages=_PACKAGES)
    if suite == "sid":
        target = str(part / "usr/lib/python3/dist-packages")
        run("uv", "pip", "install", "-q", "--no-deps", "--target", target, _CATTRS)
    part.rename(final)


class Window:
    """One Blender. `state` is what our spy inside it saw last.

    Args:
        root: Its file system.
        work: A folder of ours that it sees as WORK, where its programs run.
        pictures: Where screenshots go.
    """

    def __init__(self, root: Path, work: Path, pictures: Path, *, version: str) -> None:
        self.work = work
        self.version = version
        self._root = root
        self._pictures = pictures
        self._environment = {
            "PATH": "/usr/bin:/bin:/usr/games", "HOME": WORK, "LANG": "C.UTF-8", "LIBGL_ALWAYS_SOFTWARE": "1",
            "BLENDER_USER_RESOURCES": f"{WORK}/profile", "CLOUD_FARM_HOME": f"{WORK}/home",
        }  # fmt: skip

    def run(self, *words: str, seconds: float = _PATIENCE) -> str:
        """Run a program inside to its end; returns what it printed.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            self._inside(*words), env=self._environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a program inside, as a terminal does: in a process group of its own."""
        return subprocess.Popen(
            self._inside(*words), env=self._environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @contextlib.contextmanager
    def open(self, *words: str) -> Iterator[None]:
        """Open the window with a screen of its own; `words` are Blender's."""
        with self._screen():
            log = (self.work / "blender.log").open("wb")
            command = self._inside("blender", "-noaudio", "--window-geometry", *_WINDOW, *words)
            process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)
            try:
                self.wait_for(lambda state: state.get("drawn"), "the window opens")
                yield
            finally:
                process.kill()
                process.wait()
                log.close()

    @contextlib.contextmanager
    def _screen(self) -> Iterator[None]:
        read, write = os.pipe()
        words = ("Xvfb", "-displayfd", str(write), "-screen", "0", _SCREEN, "+extension", "GLX", "+render", "-noreset")
        server = subprocess.Popen(
            self._inside(*words),
            env=self._environment,
            pass_fds=(write,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        try:
            with os.fdopen(read, encoding="ascii") as stream:
                self._environment["DISPLAY"] = f":{stream.readline().strip()}"
            yield
        finally:
            server.terminate()
            server.wait()

    def _inside(self, *words: str) -> list[str]:
        return [program("chroot", package="coreutils"), str(self._root), "/usr/bin/env", "-C", WORK, *words]

    # -- looking and touching --------------------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Return what is so in Blender, as its spy wrote it down last."""
        try:
            return dict(json.loads((self.work / "state.json").read_text()))
        except (OSError, ValueError):
            return {}

    def wait_for(
        self, condition: Callable[[Mapping[str, Any]], object], what: str, *, seconds: float = _PATIENCE
    ) -> Mapping[str, Any]:
        """Wait until something is so.

        Raises:
            AssertionError: It does not become so; with what Blender printed.
        """
        deadline = time.monotonic() + seconds
        while not condition(state := self.state()):
            if time.monotonic() > deadline:
                self.picture("failed")
                printed = (self.work / "blender.log").read_text(errors="replace")[-3000:]
                raise AssertionError(f"{what}: {state}\n{printed}")
            time.sleep(0.05)
        return state

    def click(self, x: float, y: float) -> None:
        """Click with the left button; x and y count from the screen's upper left corner."""
        for beside in (1, 0):  # Blender lights up what is below a mouse that moves before a click counts
            self._touch("mousemove", str(round(x) + beside), str(round(y)))
            self.settle(times=2)
        below = dict(line.split("=") for line in self.run("xdotool", "getmouselocation", "--shell").split())
        self._touch("windowfocus", below["WINDOW"])  # as a window manager does
        self._touch("click", "1")

    def settle(self, *, times: int = 6) -> None:
        """Wait until the spy has looked so often: between two looks Blender handles what came, and draws it."""
        for _ in range(times):
            before = self._looked_at()
            deadline = time.monotonic() + _PATIENCE
            while self._looked_at() == before:
                if time.monotonic() > deadline:
                    raise AssertionError(f"Blender stands still: {self.state()}")
                time.sleep(0.02)

    def _looked_at(self) -> int:
        return (self.work / "state.json").stat().st_mtime_ns

    def press(self, key: str) -> None:
        """Press a key, by X's name for it."""
        self._touch("key", key)

    def type(self, text: str) -> None:
        """Type text, in the window below the mouse."""
        self._touch("type", text)

    def place(self, title: str, *, x: int, y: int, width: int, height: int) -> None:
        """Put a window of Blender's somewhere, above the others: nobody else manages them here."""
        found = self.run("xdotool", "search", "--sync", "--name", title).split()[-1]
        self._touch("windowsize", "--sync", found, str(width), str(height))
        self._touch("windowmove", "--sync", found, str(x), str(y))
        self._touch("windowraise", found)

    def _touch(self, *words: str) -> None:
        self.run("xdotool", *words)

    def picture(self, name: str) -> Path:
        """Take a picture of the whole screen."""
        target = self._pictures / f"{name}.png"
        raw = self.run("sh", "-c", f"xwd -root -silent | convert xwd:- {WORK}/{name}.png && echo ok")
        assert raw.strip() == "ok"
        shutil.move(self.work / f"{name}.png", target)
        return target


def screen_y(y: float) -> float:
    """Turn Blender's y, which grows upwards from the screen's lower edge, into the screen's, which grows downwards."""
    return _SCREEN_HEIGHT - y


@contextlib.contextmanager
def window(suite: str, work: Path, pictures: Path) -> Iterator[Window]:
    """Prepare a Blender; one at a time of each suite."""
    root = blender_root(suite)
    lock = FileLock(root.with_name(f"{suite}.used"))
    if not lock.acquire(patience=_BUILD_SECONDS):
        raise RuntimeError(f"somebody else uses the Blender of {suite} and does not finish")
    try:
        with mounted(root), _bound(work, root / WORK.lstrip("/")):
            yield Window(root, work, pictures, version=SUITES[suite])
    finally:
        lock.release()


@contextlib.contextmanager
def _bound(source: Path, target: Path) -> Iterator[None]:
    target.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", str(source), str(target))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(target)], check=False, capture_output=True)
