"""What every observer keeps, and what this one posts."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from crystallize_webhook import Webhook

from crystallize.testing import ObserverConformance, run_sample

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(HTTPServer):
    """Keeps the messages that are posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/progress"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.tokens.add(self.headers["Authorization"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestConformance(ObserverConformance):
    @pytest.fixture
    def plugin(self, server: Server) -> Webhook:
        return Webhook(server.url, every=0)


def test_each_message_says_how_far_the_run_is(server: Server) -> None:
    run_sample(("webhook", {"url": server.url, "every": 0, "token": "secret"}))
    states = [message["state"] for message in server.messages]
    assert states == ["started", *["running"] * 9, "ended"]
    assert [message["done"] for message in server.messages] == [0, *range(1, 10), 9]
    assert server.messages[-1]["failed"] == 3
    assert server.tokens == {"Bearer secret"}


def test_between_two_messages_is_the_time_that_was_asked_for(server: Server) -> None:
    run_sample(("webhook", {"url": server.url, "every": 3600}))
    assert [message["state"] for message in server.messages] == ["started", "ended"]


def test_a_server_that_cannot_be_reached_costs_one_recorded_error() -> None:
    result = run_sample(("webhook", {"url": "http://127.0.0.1:9/nobody", "every": 0}))
    assert [failure.hook for failure in result.plugin_errors] == ["before_run"]
    assert list(result.metrics.baseline.metrics["total"]) == [6.0, 10.0, 14.0]


def test_the_token_is_written_down_nowhere(server: Server) -> None:
    result = run_sample(("webhook", {"url": server.url, "token": "secret"}))
    assert "secret" not in json.dumps(result.provenance["plugins"])
