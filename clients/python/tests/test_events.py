"""How `events` reconnects, with a server whose responses are scripted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

from orch_client import Orch


class EventsServer(ThreadingHTTPServer):
    """Sends one of the texts per connection, then closes it."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.texts = iter(texts)
        # The header of each request; None if it is absent.
        self.last_ids: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: EventsServer

    def do_GET(self) -> None:
        self.server.last_ids.append(self.headers.get("Last-Event-ID"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(next(self.server.texts).encode())

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@contextmanager
def scripted(*texts: str) -> Iterator[tuple[Orch, EventsServer]]:
    with EventsServer(list(texts)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with Orch(f"http://127.0.0.1:{server.server_port}", token="t") as client:
                yield client, server
        finally:
            server.shutdown()


def received(client: Orch, count: int) -> list[str]:
    """The first events: their names, with the state where there is one."""
    with closing(client.events()) as events:
        return [" ".join([event.name, *event.data.values()]) for event in islice(events, count)]


def test_a_broken_connection_continues_after_the_last_event() -> None:
    with scripted(
        'id: f.1\n\nevent: run\ndata: {"state": "queued"}\n\nid: f.2\nevent: run\ndata: {"state": "running"}\n\n',
        'retry: 2000\n\nid: f.3\nevent: run\ndata: {"state": "success"}\n\n',
        "retry: 2000\n\nid: g.1\nevent: missed\ndata: {}\n\n",
        "retry: 2000\n\n",
    ) as (client, server):
        assert received(client, 5) == ["missed", "run queued", "run running", "run success", "missed"]
    assert server.last_ids == [None, "f.2", "f.3"]


def test_the_id_of_an_incomplete_event_does_not_count() -> None:
    with scripted(
        "retry: 2000\n\nid: f.1\n\nid: f.2\nevent: run\n",
        'retry: 2000\n\nid: f.2\nevent: run\ndata: {"state": "success"}\n\n',
    ) as (client, server):
        assert received(client, 2) == ["missed", "run success"]
    assert server.last_ids == [None, "f.1"]


def test_without_ids_each_connection_may_have_missed_changes() -> None:
    without_ids = 'retry: 2000\n\nevent: run\ndata: {"state": "success"}\n\n'
    with scripted(without_ids, without_ids) as (client, server):
        assert received(client, 4) == ["missed", "run success", "missed", "run success"]
    assert server.last_ids == [None, None]
