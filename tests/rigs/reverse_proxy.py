"""A real nginx in front of a server: the ingress that sits between a client and the farm, with its limits and its manners."""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from .private_ca import PrivateCa
from .processes import Daemon, answers, free_port, program

_CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr notice;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/access.log;
  {temporary}
  {zone}
  map $status $retry_after {{ 429 1; default ""; }}
  server {{
    listen {listen};
    {tls}
    location = {login} {{ default_type text/html; return 200 "<!doctype html><title>Sign in</title>"; }}
    location {prefix} {{
      {sign_on}
      {limit}
      add_header Retry-After $retry_after always;
      client_max_body_size {body_limit};
      proxy_pass {backend};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering {buffering};
      proxy_read_timeout {timeout};
      proxy_send_timeout {timeout};
    }}
  }}
}}
"""


@dataclass
class Nginx:
    """An nginx; as a context manager it runs inside the block. One process, with the rights of whoever runs the tests.

    Attributes:
        backend: What it forwards to, such as http://127.0.0.1:8080.
        prefix: The path below which it forwards, with slashes at both ends.
        strip_prefix: Whether the backend sees paths without it. nginx then decodes and encodes them anew, as out there.
        body_limit: client_max_body_size; 0 is no limit, 1m what nginx does unless told.
        request_buffering: Whether it takes the whole body before the backend sees any of it.
        read_timeout: proxy_read_timeout and proxy_send_timeout, such as 60s.
        tls: Whether it speaks https, with a certificate of a private authority (see `ca`).
        client_certificates: Whether it asks for one; without it a client gets 400 and a page.
        sso_cookie: Name of a cookie without which each request is redirected to a login page; empty for none.
        requests_per_second: Above it clients get 429 with Retry-After: 1; 0 for no limit.
        burst: How many requests may come at once before that.
    """

    backend: str
    _: KW_ONLY
    prefix: str = "/"
    strip_prefix: bool = False
    body_limit: str = "0"
    request_buffering: bool = False
    read_timeout: str = "60s"
    tls: bool = False
    client_certificates: bool = False
    sso_cookie: str = ""
    requests_per_second: int = 0
    burst: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    login_path: str = "/sso/login"
    _program: str = field(init=False, repr=False)
    _folder: Path = field(init=False, repr=False)
    _daemon: Daemon = field(init=False, repr=False)
    _keys: PrivateCa | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self._program = program("nginx", package="nginx")
        self._folder = Path(tempfile.mkdtemp(prefix="cloud-farm-nginx-"))
        self._daemon = Daemon(self._folder / "log")
        self.port = self.port or free_port(self.host)
        if self.tls:
            self._keys = PrivateCa(self._folder / "keys")

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
        """Where clients connect: the prefix without its slash at the end."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self._address}{self.prefix.rstrip('/')}"

    @property
    def ca(self) -> Path:
        """What clients must trust, PEM."""
        return self._made_keys.ca

    @property
    def client(self) -> tuple[Path, Path]:
        """Certificate and key of a client that is let in."""
        return self._made_keys.client

    @property
    def stranger(self) -> tuple[Path, Path]:
        """Certificate and key of a client that is not."""
        return self._made_keys.stranger

    @property
    def log(self) -> str:
        """Its error log."""
        return self._daemon.log

    @property
    def access_log(self) -> list[str]:
        """One line for each finished request."""
        path = self._folder / "access.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def start(self) -> None:
        """Start it, also again after `kill` or `stop`, on the same port.

        Raises:
            RuntimeError: It does not come up.
        """
        config = self._folder / "nginx.conf"
        config.write_text(self._config(), encoding="utf-8")
        command = [self._program, "-p", str(self._folder), "-c", str(config)]
        self._daemon.start(command, ready=lambda: answers(self.host, self.port))

    def stop(self) -> None:
        """End it; requests under way are cut."""
        self._daemon.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._daemon.end(signal.SIGKILL)

    def close(self) -> None:
        """Kill it and remove its files, keys too."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _made_keys(self) -> PrivateCa:
        assert self._keys is not None, "it speaks no TLS"
        return self._keys

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _config(self) -> str:
        bodies = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return _CONFIG.format(
            folder=self._folder,
            temporary=" ".join(f"{name}_temp_path {self._folder}/{name};" for name in bodies),
            zone=self._when_limited("limit_req_zone $binary_remote_addr zone=one:1m rate={rate}r/s;"),
            listen=f"{self._address}{' ssl' if self.tls else ''}",
            tls=self._tls(),
            login=self.login_path,
            prefix=self.prefix,
            sign_on=f'if ($cookie_{self.sso_cookie} = "") {{ return 302 {self.login_path}?rd=$request_uri; }}'
            * bool(self.sso_cookie),
            limit=self._when_limited("limit_req zone=one{burst}; limit_req_status 429;"),
            body_limit=self.body_limit,
            backend=self.backend.rstrip("/") + "/" * self.strip_prefix,
            buffering="on" if self.request_buffering else "off",
            timeout=self.read_timeout,
        )

    def _when_limited(self, text: str) -> str:
        if not self.requests_per_second:
            return ""
        return text.format(rate=self.requests_per_second, burst=f" burst={self.burst} nodelay" * bool(self.burst))

    def _tls(self) -> str:
        if not self.tls:
            return ""
        certificate, key = self._made_keys.server
        lines = [f"ssl_certificate {certificate};", f"ssl_certificate_key {key};"]
        if self.client_certificates:
            lines += [f"ssl_client_certificate {self.ca};", "ssl_verify_client on;"]
        return " ".join(lines)
