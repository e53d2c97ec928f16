"""A bad network between a client and a server: slow, far, torn, silent; tests turn it worse and better while it runs.

It forwards bytes of any protocol. What speaks of requests and answers (`answer_once`, `drop_responses`, `requests`) understands
plain HTTP/1.1 without pipelining; with TLS put this behind the proxy that ends it.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .fault_lane import Answer, Lane, Link, Outcome, RequestReader, close_with_reset, prepared

ALWAYS = math.inf


class FaultProxy:
    """Runs in a thread of its own, inside a `with` block. Attributes may be set at any moment.

    Attributes:
        latency_s: Added in each direction, without a limit on what is under way; a new connection costs a round trip more.
        bytes_per_second: Of the whole line, in each direction; 0 for no limit.
        reset_every: Each connection is reset once it has carried so many bytes to the server; 0 for never.
        drop_responses: So many answers are still thrown away, and the connection is closed instead; ALWAYS for all.
        drop_matching: Text that the request line must hold for that, such as "PATCH /api/tus/".
        stall_at_request: The next request whose line holds this text stalls the line before the server sees it; then cleared.
        stall_at_answer: The answer to the next such request stalls the line before the client sees it; then cleared.
        connections: How many were accepted.
        bytes_up: Bytes handed to the server.
        bytes_down: Bytes handed to the client.
        requests: The request lines, in the order of their arrival.
    """

    def __init__(self, backend: str, *, host: str = "127.0.0.1") -> None:
        parts = urlsplit(backend)
        self._backend = (parts.hostname or "127.0.0.1", parts.port or {"https": 443}.get(parts.scheme, 80))
        self._host = host
        # Bound but never listening: nobody else gets the port while we refuse connections.
        self._reserved = _bound(host, 0)
        self.port = int(self._reserved.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{parts.scheme}://{shown}:{self.port}{parts.path}"
        self.latency_s = 0.0
        self.bytes_per_second = 0.0
        self.reset_every = 0
        self.drop_responses: float = 0
        self.drop_matching = ""
        self.stall_at_request = ""
        self.stall_at_answer = ""
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.requests: list[str] = []
        self._answers: deque[Answer] = deque()
        self._listener: socket.socket | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    def __enter__(self) -> Self:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._up = Link(self._line_rate)
        self._down = Link(self._line_rate)
        self._thread.start()
        self._on_loop(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._on_loop(self._refuse)
        asyncio.run_coroutine_threadsafe(self._end_connections(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    @property
    def refuse(self) -> bool:
        """Whether new connections are refused; those that are open go on."""
        return self._listener is None

    @refuse.setter
    def refuse(self, wanted: bool) -> None:
        if wanted != self.refuse:
            self._on_loop(self._refuse if wanted else self._listen)

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._open)

    @property
    def is_stalled(self) -> bool:
        """Whether nothing is forwarded now."""
        return not self._flowing.is_set()

    def stall(self) -> None:
        """Read and forward nothing any more, with all connections open: a cable pulled out."""
        self._on_loop(self._flowing.clear)

    def resume(self) -> None:
        """Go on where `stall` stopped; no byte is lost."""
        self._on_loop(self._flowing.set)

    def reset_connections(self) -> None:
        """Reset all open connections now, both ends."""
        asyncio.run_coroutine_threadsafe(self._end_connections(), self._loop).result()

    def answer_once(
        self, status: int, body: str = "", headers: Mapping[str, str] | None = None, *, matching: str = ""
    ) -> None:
        """Answer one request to come without asking the server; several calls answer several requests, in their order.

        The request's body is read and thrown away, as by nginx; the connection is closed after it.

        Args:
            status: The answer's status.
            body: Its text; HTML unless `headers` says otherwise.
            headers: Replace or add to the usual ones.
            matching: Text that the request line must hold, such as "PATCH "; others pass meanwhile.
        """
        self._answers.append(prepared(status, body, headers or {}, matching))

    # Below: in the loop's thread.

    def _on_loop(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    def _line_rate(self) -> float:
        return self.bytes_per_second

    def _listen(self) -> None:
        self._listener = _bound(self._host, self.port)
        self._listener.listen(256)
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        """Take one client that waits; without an await, in which a client could get lost when we refuse or end."""
        try:
            client, _address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # it is gone again
        self.connections += 1
        task = self._loop.create_task(self._serve(client))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(lambda _task: close_with_reset(client))  # one that is cancelled at once never begins

    async def _end_connections(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_INET6 if ":" in self._backend[0] else socket.AF_INET)
        try:
            _prepare(client)
            _prepare(server)
            await self._loop.sock_connect(server, self._backend)
            outcome = await self._forward(client, server)
            server.close()
            if outcome is not None and outcome.answer:
                await self._answer(client, outcome.answer)
            client.close()
        except OSError:
            pass  # one end is gone or was reset: below the other one learns it
        finally:
            close_with_reset(client)
            close_with_reset(server)

    async def _forward(self, client: socket.socket, server: socket.socket) -> Outcome | None:
        """Carry bytes until both ends have closed, or something else is to come of the connection."""
        reader = RequestReader(self._seen_request, self._seen_answer)
        up = Lane(client, server, self._up, self._flowing, lambda: self.latency_s)
        down = Lane(server, client, self._down, self._flowing, lambda: self.latency_s)
        up.on_data, down.on_data = reader.from_client, reader.from_server
        up.on_sent, down.on_sent = self._sent_up, self._sent_down
        up.reset_after = lambda: self.reset_every
        # A client can send its first byte a round trip after it asked to connect; the kernel accepts at once.
        up.not_before = self._loop.time() + 2 * self.latency_s
        tasks = [self._loop.create_task(work) for lane in (up, down) for work in (lane.read(), lane.write())]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        except Outcome as outcome:
            return outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def _answer(self, client: socket.socket, answer: bytes) -> None:
        await asyncio.sleep(2 * self.latency_s)
        await self._loop.sock_sendall(client, answer)
        client.shutdown(socket.SHUT_WR)
        while await self._loop.sock_recv(client, 1 << 18):
            pass  # else unread bytes would turn our close into a reset, and the client would miss the answer

    def _seen_request(self, line: str) -> None:
        self.requests.append(line)
        if self.stall_at_request and self.stall_at_request in line:
            self.stall_at_request = ""
            self._flowing.clear()
        for answer in self._answers:
            if answer.matching in line:
                self._answers.remove(answer)
                raise Outcome(answer.to(line))

    def _seen_answer(self, line: str) -> None:
        if self.stall_at_answer and self.stall_at_answer in line:
            self.stall_at_answer = ""
            self._flowing.clear()
        if self.drop_responses > 0 and self.drop_matching in line:
            self.drop_responses -= 1
            raise Outcome()

    def _sent_up(self, count: int) -> None:
        self.bytes_up += count

    def _sent_down(self, count: int) -> None:
        self.bytes_down += count


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(
        socket.SOL_SOCKET, socket.SO_REUSEPORT, 1
    )  # the reserved socket and the listening one share the port
    made.setblocking(False)
    made.bind((host, port))
    return made


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A small buffer: on a slow line the client shall not believe that megabytes are sent already.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
