"""One direction of one connection of the fault proxy, and how it understands what passes."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import responses

_READ = 1 << 18
_BEHIND = 1 << 20  # so many bytes may wait for a receiver that is slower than the line
_UNDER_WAY = 1 << 28
_SLICE_SECONDS = 0.02
_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01](?=\r\n)")


class Outcome(Exception):
    """The connection is to be closed, after an answer of our own if there is one."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True)
class Answer:
    """What one request shall be answered with."""

    matching: str
    head: bytes
    body: bytes

    def to(self, line: str) -> bytes:
        """Return the bytes for that request."""
        return self.head if line.startswith("HEAD ") else self.head + self.body


def prepared(status: int, text: str, headers: Mapping[str, str], matching: str) -> Answer:
    """Make an answer; the connection is closed after it."""
    body = text.encode()
    usual = {"Content-Type": "text/html", "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in {**usual, **headers}.items()]
    first = f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"
    return Answer(matching, "\r\n".join([first, *lines, "", ""]).encode(), body)


class RequestReader:
    """Tells where requests and answers begin: a request is what looks like one before, or after, anything is answered."""

    def __init__(self, seen_request: Callable[[str], None], seen_answer: Callable[[str], None]) -> None:
        self._seen_request = seen_request
        self._seen_answer = seen_answer
        self._line = ""
        self._between = True

    def from_client(self, data: bytes) -> None:
        """Look at what the client sent; may raise Outcome."""
        found = _REQUEST_LINE.match(data) if self._between else None
        if found:
            self._between = False
            self._line = found[0].decode("latin-1")
            self._seen_request(self._line)

    def from_server(self, data: bytes) -> None:
        """Look at what the server sent; may raise Outcome."""
        if data and not self._between:
            self._between = True
            self._seen_answer(self._line)


class Link:
    """The line that all connections share in one direction: bytes leave it one after the other."""

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._free_at = 0.0

    def read_size(self) -> int:
        """Return how much to read at once, so that a slow line flows evenly."""
        rate = self._rate()
        return min(_READ, max(1, int(rate * _SLICE_SECONDS))) if rate else _READ

    async def pass_through(self, count: int) -> None:
        """Wait as long as so many bytes take."""
        rate = self._rate()
        if not rate:
            return
        now = asyncio.get_running_loop().time()
        # Who woke up late may catch up: one slice of credit, else a busy machine would make the line narrower.
        self._free_at = max(self._free_at, now - _SLICE_SECONDS) + count / rate
        await asyncio.sleep(max(0.0, self._free_at - now))


class Lane:
    """Carries bytes from one socket to another; `read` and `write` run side by side.

    Attributes:
        on_data: Called with what was read; empty at the end.
        on_sent: Called with how many bytes were handed on.
        reset_after: How many bytes it may carry in all; 0 for no limit.
        not_before: The loop's time at which the first byte can have left the sender.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        link: Link,
        flowing: asyncio.Event,
        latency: Callable[[], float],
    ) -> None:
        self._source, self._target, self._link, self._flowing, self._latency = source, target, link, flowing, latency
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()  # with the time at which each arrives
        self._bytes_under_way = 0
        self._changed = asyncio.Event()
        self._carried = 0
        self.on_data: Callable[[bytes], None] = _ignore
        self.on_sent: Callable[[int], None] = _ignore
        self.reset_after: Callable[[], int] = int
        self.not_before = 0.0

    async def read(self) -> None:
        """Take bytes from the source until it closes its side."""
        while True:
            await self._room()
            await self._flowing.wait()
            data = await self._loop.sock_recv(self._source, self._link.read_size())
            await self._flowing.wait()
            self.on_data(data)
            await self._link.pass_through(len(data))
            arrival = max(self._loop.time(), self.not_before) + self._latency()
            self._under_way.append((arrival, data))
            self._bytes_under_way += len(data)
            self._changed.set()
            if not data:
                return

    async def write(self) -> None:
        """Hand bytes to the target when they arrive, then the end of the stream."""
        while True:
            while not self._under_way:
                await self._change()
            arrival, data = self._under_way[0]
            await asyncio.sleep(max(0.0, arrival - self._loop.time()))
            await self._flowing.wait()
            if not data:
                self._target.shutdown(socket.SHUT_WR)
                return
            await self._send(data)
            self._under_way.popleft()
            self._bytes_under_way -= len(data)
            self._changed.set()

    async def _send(self, data: bytes) -> None:
        limit = self.reset_after()
        if limit:
            data = data[: max(0, limit - self._carried)]
        await self._loop.sock_sendall(self._target, data)
        self._carried += len(data)
        self.on_sent(len(data))
        if limit and self._carried >= limit:
            raise ConnectionResetError("as the test wanted")

    async def _room(self) -> None:
        """Wait while the receiver is behind: only bytes that really are under way may pile up here."""
        while self._bytes_under_way > _UNDER_WAY or (
            self._bytes_under_way > _BEHIND and self._under_way[0][0] < self._loop.time()
        ):
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def close_with_reset(end: socket.socket) -> None:
    """Close it so that the other end gets a reset; nothing happens if it is closed already."""
    if end.fileno() != -1:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()


def _ignore(_: object) -> None:
    pass
