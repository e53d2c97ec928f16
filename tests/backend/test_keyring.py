"""Secrets in the system's keyring: a real Secret Service, as desktops have it, with a session bus of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cloud_farm.errors import ProfileError
from cloud_farm.profile_files import keep_secret, secrets_place
from cloud_farm.secrets import resolve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Secret Service is Linux'")

_SECRET = "pass wörd 'with' \"quotes\""
_KEEP = """
import json, sys
from cloud_farm.profile_files import keep_secret, secrets_place
print(json.dumps([keep_secret("studio", "filebrowser.password", sys.argv[1]), secrets_place()]))
"""
_READ = """
from cloud_farm.secrets import resolve
print(resolve({"keyring": "studio.filebrowser.password"}, what="the password"))
"""


class Desktop:
    """Runs programs as in a desktop's session, whose keyring is unlocked with the login."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("home", "data", "run"):
            (folder / name).mkdir(mode=0o700)

    def python(self, code: str, *arguments: str, unlocked: bool = True) -> str:
        """Run a program; returns what it printed."""
        folders = {"HOME": "home", "XDG_DATA_HOME": "data", "XDG_RUNTIME_DIR": "run"}
        environment = {**os.environ, **{name: str(self._folder / part) for name, part in folders.items()}}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        del environment["PYTHON_KEYRING_BACKEND"]
        unlock = "printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null && " if unlocked else ""
        words = [
            "dbus-run-session",
            "--",
            "sh",
            "-c",
            f'{unlock}exec "$@"',
            "sh",
            sys.executable,
            "-c",
            code,
            *arguments,
        ]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    for program, package in (("dbus-run-session", "dbus-daemon"), ("gnome-keyring-daemon", "gnome-keyring")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt install {package}")
    return Desktop(tmp_path)


def test_a_secret_is_kept_in_the_keyring_and_no_file_has_it(desktop: Desktop, tmp_path: Path) -> None:
    before = Path(keep_secret("studio", "filebrowser.password", "an older one")["file"])
    reference, place = json.loads(desktop.python(_KEEP, _SECRET))
    assert reference == {"keyring": "studio.filebrowser.password"}
    assert place == "this system's keyring (SecretService Keyring)"
    assert desktop.python(_READ) == _SECRET
    assert not before.exists(), "the older one is not kept in its file"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and _SECRET.encode() in path.read_bytes()]


def test_where_nobody_can_unlock_the_keyring_it_is_a_file(desktop: Desktop) -> None:
    reference, _ = json.loads(desktop.python(_KEEP, _SECRET, unlocked=False))
    assert "file" in reference and resolve(reference, what="the password") == _SECRET


def test_what_the_keyring_does_not_have_is_told(desktop: Desktop) -> None:
    said = desktop.python(
        "from cloud_farm.errors import ProfileError\n"
        "from cloud_farm.secrets import resolve\n"
        "try: resolve({'keyring': 'nobody'}, what='the token')\n"
        "except ProfileError as error: print(error)"
    )
    assert said == "the token is kept in the keyring as 'cloud-farm' / 'nobody', which is not there."
    with pytest.raises(ProfileError, match="the token is kept in the keyring"):
        resolve({"keyring": "nobody"}, what="the token")
    assert "in files" in secrets_place()
