"""A real FileBrowser on a port of this machine, with a bot user, that a test can kill and start again."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import tempfile
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from .filebrowser_build import PINNED, filebrowser_program
from .processes import Daemon, free_port

PERMISSIONS = ("admin", "execute", "create", "rename", "modify", "delete", "share", "download")
BOT_PERMISSIONS = frozenset({"create", "rename", "modify", "delete", "download"})


@dataclass(frozen=True)
class User:
    """Somebody who may log in; FileBrowser wants at least 12 characters of password."""

    name: str
    password: str
    permissions: frozenset[str] = BOT_PERMISSIONS
    scope: str = "."
    hide_dotfiles: bool = False

    def __post_init__(self) -> None:
        assert self.permissions <= set(PERMISSIONS), self.permissions


BOT = User("bot", "the bot of the tests")


@dataclass
class FileBrowserServer:
    """A FileBrowser; as a context manager it runs inside the block.

    Attributes:
        root: The folder that it serves; made if absent.
        version: The release to build and run.
        says: The version that it claims to be; empty for the truth.
        base_url: A path prefix such as /files; it answers with and without it.
        token_expiration: How long a login lasts, as Go writes it: 2h, 5s.
        auth: How users prove who they are; with proxy the header `auth_header` holds the user's name.
        host: 127.0.0.1 or ::1.
        users: Who exists; with noauth everybody is the first of them.
    """

    root: Path
    _: KW_ONLY
    version: str = PINNED
    says: str = ""
    base_url: str = ""
    token_expiration: str = "2h"
    auth: Literal["json", "noauth", "proxy"] = "json"
    auth_header: str = "X-Forwarded-User"
    host: str = "127.0.0.1"
    umask: int = 0o002
    file_mode: int = 0o664
    dir_mode: int = 0o775
    chunk_size: int = 10 << 20
    type_detection: bool = False
    users: tuple[User, ...] = (BOT,)
    port: int = 0
    _program: Path = field(init=False, repr=False)
    _private: Path = field(init=False, repr=False)
    _daemon: Daemon = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._program = filebrowser_program(self.version, says=self.says)
        self.root.mkdir(parents=True, exist_ok=True)
        self._private = Path(tempfile.mkdtemp(prefix="cloud-farm-filebrowser-"))
        self._daemon = Daemon(self._private / "log")
        self.port = self.port or free_port(self.host)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients connect, with the prefix and without a slash at the end."""
        return f"http://{self._address}:{self.port}{self.base_url}"

    @property
    def log(self) -> str:
        """What it printed since it was made."""
        return self._daemon.log

    @property
    def pid(self) -> int:
        """Its process, for SIGSTOP and for reading its memory use."""
        return self._daemon.pid

    def start(self) -> None:
        """Start it, also again after `kill` or `stop`: same port, same database; only a new database gets the users.

        Raises:
            RuntimeError: It does not come up.
        """
        if not self._database.exists():
            self._make_database()
        command = [*self._command(), "-a", self._address, "-p", str(self.port), "-r", str(self.root)]
        if not self.type_detection:
            command.append("--disableTypeDetectionByHeader")
        if self.base_url:
            command += ["--baseURL", self.base_url]
        self._daemon.start(command, ready=self._is_healthy, umask=self.umask)

    def stop(self) -> None:
        """End it as Kubernetes would: SIGTERM."""
        self._daemon.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a lost node would: SIGKILL, in the middle of whatever it does."""
        self._daemon.end(signal.SIGKILL)

    def forget_database(self) -> None:
        """Take the database away, as a restarted pod with an emptyDir does: the next start makes one, old logins are void."""
        self._database.unlink()

    def close(self) -> None:
        """Kill it and remove its private files; the served folder stays."""
        self.kill()
        shutil.rmtree(self._private, ignore_errors=True)

    @property
    def _address(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host  # the program joins address and port with a colon

    @property
    def _database(self) -> Path:
        return self._private / "filebrowser.db"

    def _command(self, *words: str) -> list[str]:
        # An own, empty settings file: else it would read one of the user's from the home folder.
        settings = self._private / "settings.json"
        settings.write_text("{}", encoding="utf-8")
        return [str(self._program), *words, "-c", str(settings), "-d", str(self._database)]

    def _make_database(self) -> None:
        self._tool(
            *(
                "config",
                "init",
                f"--root={self.root}",
                f"--auth.method={self.auth}",
                f"--auth.header={self.auth_header}",
            ),
            *(f"--fileMode={self.file_mode:04o}", f"--dirMode={self.dir_mode:04o}"),
            *(f"--tokenExpirationTime={self.token_expiration}", f"--tus.chunkSize={self.chunk_size}"),
            *("--perm.execute=false", "--perm.share=false"),
        )
        for user in self.users:
            granted = [f"--perm.{name}={str(name in user.permissions).lower()}" for name in PERMISSIONS]
            shown = f"--hideDotfiles={str(user.hide_dotfiles).lower()}"
            self._tool("users", "add", user.name, user.password, f"--scope={user.scope}", shown, *granted)

    def _tool(self, *words: str) -> None:
        done = subprocess.run(
            [*self._command(), *words],
            cwd=self.root,  # scopes are checked against the working folder
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"filebrowser {words[0]} {words[1]}: {done.stderr[-1000:] or done.stdout[-1000:]}")

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()
