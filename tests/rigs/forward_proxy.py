"""A real tinyproxy: the way out that some companies leave their people, named by HTTP_PROXY and HTTPS_PROXY."""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from .processes import Daemon, answers, free_port, program

_CONFIG = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 50
LogLevel Info
{tunnels}
{login}
"""


@dataclass
class Tinyproxy:
    """A forward proxy; as a context manager it runs inside the block.

    Attributes:
        tunnel_port: The only port to which CONNECT is allowed; 0 allows all.
        login: user:password that it asks for; empty for none.
    """

    _: KW_ONLY
    tunnel_port: int = 0
    login: str = ""
    port: int = field(init=False)
    _folder: Path = field(init=False, repr=False)
    _daemon: Daemon = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._program = program("tinyproxy", package="tinyproxy-bin")
        self._folder = Path(tempfile.mkdtemp(prefix="cloud-farm-tinyproxy-"))
        self._daemon = Daemon(self._folder / "log")
        self.port = free_port()

    def __enter__(self) -> Self:
        config = self._folder / "tinyproxy.conf"
        config.write_text(
            _CONFIG.format(
                port=self.port,
                tunnels=f"ConnectPort {self.tunnel_port}" * bool(self.tunnel_port),
                login=f"BasicAuth {self.login.replace(':', ' ')}" * bool(self.login),
            )
        )
        try:
            self._daemon.start([self._program, "-d", "-c", str(config)], ready=lambda: answers("127.0.0.1", self.port))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._daemon.end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """What HTTP_PROXY and HTTPS_PROXY name."""
        return f"http://{self.login}{'@' * bool(self.login)}127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[str]:
        """The requests that it was asked for, as its log has them."""
        return [line.split("): ", 1)[1] for line in self._daemon.log.splitlines() if "Request (" in line]
