"""The calls to a cluster's API, on a server that plays one: what no real one can be made to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from cloud_farm.engines.argo_access import ClusterAccess
from cloud_farm.engines.argo_api import Cluster
from cloud_farm.errors import EngineUnreachableError


class _Forgetful(BaseHTTPRequestHandler):
    """Lists in two pages; so many times it does not know any more what the first one showed."""

    forgets: ClassVar[float] = 0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        second = "continue=" in self.path
        if second and type(self).forgets > 0:
            type(self).forgets -= 1
            self._answer(410, {"message": "The provided continue parameter is too old"})
        else:
            item = {"metadata": {"name": f"w{int(second)}", "resourceVersion": "1"}}
            self._answer(
                200, {"items": [item], "metadata": {} if second else {"continue": "there", "remainingItemCount": 6}}
            )

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    _Forgetful.forgets = 0
    _Forgetful.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Cluster(lambda: ClusterAccess(server=f"http://127.0.0.1:{server.server_port}", token="artist"), "render")
        server.shutdown()


def test_a_list_that_was_forgotten_between_its_pages_is_read_anew(cluster: Cluster) -> None:
    _Forgetful.forgets = 2
    assert [head.name for head in cluster.heads("job=x").heads] == ["w0", "w1"]
    assert len(_Forgetful.asked) == 6


def test_a_list_that_is_forgotten_again_and_again_is_given_up(cluster: Cluster) -> None:
    _Forgetful.forgets = 100
    with pytest.raises(
        EngineUnreachableError, match="forgets its list of workflows before it is read. Try again"
    ) as failed:
        cluster.heads("job=x")
    assert failed.value.busy
    assert len(_Forgetful.asked) == 6


def test_nodes_come_one_page_of_those_with_the_label_and_the_rest_is_counted(cluster: Cluster) -> None:
    assert len(cluster.nodes("gpu in (A40)")) == 1
    assert cluster.node_count() == 7
    listed, counted = _Forgetful.asked
    assert "labelSelector=gpu+in+%28A40%29" in listed
    assert counted.endswith("/nodes?limit=1")
