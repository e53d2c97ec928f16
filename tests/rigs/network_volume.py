"""A real network file system with several clients on one machine: MooseFS 3 from Debian, a master and a chunk server.

Two mounts are two machines: the submitter on one, the renderers on the other, each with caches of its own. Needs root, FUSE
and the packages moosefs-master, moosefs-chunkserver, moosefs-client, fuse3; CLOUD_FARM_INSTALL_RIGS=1 installs them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cloud_farm.platform import FileLock

INSTALL = "CLOUD_FARM_INSTALL_RIGS"
PACKAGES = ("moosefs-master", "moosefs-chunkserver", "moosefs-client", "fuse3", "iproute2")
_PREFIX = "cloud-farm-volume-"
_READY_SECONDS = 30.0
_EMPTY_METADATA = Path("/var/lib/mfs/metadata.mfs.empty")
_MAY_INSTALL = bool(os.environ.get(INSTALL))  # read now: tests clean the environment


def why_not() -> str:
    """Say in one sentence why there can be no network volume here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a network volume needs Linux and root"
    if not Path("/dev/fuse").exists():
        return "a network volume needs FUSE (/dev/fuse)"
    if _missing() and _MAY_INSTALL:
        _install()
    if _missing():
        return (
            f"a network volume needs {', '.join(_missing())}: apt-get install {' '.join(PACKAGES)}, or set {INSTALL}=1"
        )
    return ""


class NetworkVolume:
    """A running file system.

    Attributes:
        mounts: One folder a client; the same files in each.
    """

    def __init__(self, folder: Path, address: str, clients: int) -> None:
        self._folder = folder
        self._address = address
        self._lock = FileLock(folder / "lock")
        self.mounts = tuple(folder / f"client{number}" for number in range(1, clients + 1))

    @classmethod
    def up(cls, *, clients: int = 2) -> NetworkVolume:
        """Start it, once everything that a killed earlier run left behind is cleared away.

        Raises:
            RuntimeError: It does not come up; the message has the logs.
        """
        clear_leftovers()
        pid = os.getpid()
        folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{pid}"
        volume = cls(folder, _address_of(pid), clients)
        try:
            volume._start()
        except BaseException:
            volume.down()
            raise
        return volume

    def down(self) -> None:
        """Stop it and remove its files."""
        for mount in self.mounts:
            _quietly("umount", "-l", str(mount))  # whatever it is: one whose client was killed can't even be looked at
        for program in ("mfschunkserver", "mfsmaster"):
            config = self._folder / f"{program}.cfg"
            if config.exists():
                _quietly(program, "-c", str(config), "stop")
        _quietly("ip", "addr", "del", f"{self._address}/32", "dev", "lo")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _start(self) -> None:
        self._lock.acquire()  # who finds it free knows that this run is gone
        for name in ("master", "server", "disk"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        # The chunk server refuses a master on 127.0.0.1, so both get an address of their own on the loopback device.
        _run("ip", "addr", "add", f"{self._address}/32", "dev", "lo")
        self._write_config()
        shutil.copyfile(_EMPTY_METADATA, self._folder / "master" / "metadata.mfs")
        for program in ("mfsmaster", "mfschunkserver"):
            self._run_logged(program, "-c", str(self._folder / f"{program}.cfg"), "start")
        for mount in self.mounts:
            mount.mkdir(exist_ok=True)
            self._run_logged("mfsmount", str(mount), "-H", self._address)
        self._wait_until_writable()

    def _write_config(self) -> None:
        folder, address = self._folder, self._address
        user = "WORKING_USER = root\nWORKING_GROUP = root\n"
        (folder / "mfsmaster.cfg").write_text(
            f"{user}DATA_PATH = {folder / 'master'}\nEXPORTS_FILENAME = {folder / 'exports'}\nTOPOLOGY_FILENAME = /dev/null\n"
            + "".join(f"{name}_LISTEN_HOST = {address}\n" for name in ("MATOML", "MATOCS", "MATOCL"))
        )
        (folder / "mfschunkserver.cfg").write_text(
            f"{user}DATA_PATH = {folder / 'server'}\nHDD_CONF_FILENAME = {folder / 'disks'}\nMASTER_HOST = {address}\n"
            f"BIND_HOST = {address}\nCSSERV_LISTEN_HOST = {address}\nHDD_LEAVE_SPACE_DEFAULT = 256MiB\n"
        )
        (folder / "exports").write_text("* / rw,alldirs,maproot=0\n")
        (folder / "disks").write_text(f"{folder / 'disk'}\n")

    def _run_logged(self, *command: str) -> None:
        """Start a daemon; it must not inherit our pipes, else whoever reads them waits for ever."""
        with open(self._folder / f"{command[0]}.log", "ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{command[0]} does not start: {self._logs()}")

    def _wait_until_writable(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                for mount in self.mounts:
                    probe = mount / ".probe"
                    probe.write_bytes(b"x")
                    probe.unlink()
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the network volume has no space after {_READY_SECONDS:g} s: {self._logs()}")

    def _logs(self) -> str:
        return " ".join(path.read_text(errors="replace")[-300:] for path in sorted(self._folder.glob("*.log")))


def clear_leftovers() -> None:
    """Bring down volumes whose test run is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX)
        if pid.isdigit() and not FileLock(folder / "lock").is_held():
            clients = len(list(folder.glob("client*")))
            NetworkVolume(folder, _address_of(int(pid)), clients).down()


def _address_of(pid: int) -> str:
    return f"10.152.{185 + pid // 250 % 50}.{1 + pid % 250}"


def _missing() -> list[str]:
    programs = {"mfsmaster": "moosefs-master", "mfschunkserver": "moosefs-chunkserver", "mfsmount": "moosefs-client"}
    return [package for program, package in programs.items() if shutil.which(program) is None]


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", *command], env=environment, check=False, stdout=subprocess.DEVNULL)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def _quietly(*command: str) -> None:
    """Run a command whose failure means that there is nothing to clear away."""
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
