"""Owns a small server that answers every POST like a chat model and remembers when the first one came."""

from __future__ import annotations

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class FirstRequestServer(ThreadingHTTPServer):
    """Counts requests; `first_at` is the first one's time by `time.perf_counter`, null before it."""

    daemon_threads = True
    request_queue_size = 128  # with the usual 5, ten connections at once would make the kernel drop some for a second

    def __init__(self, port: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.body = body
        self.count = 0
        self.first_at: float | None = None
        self._lock = threading.Lock()

    def note(self) -> None:
        """Count a request that has just come."""
        now = time.perf_counter()
        with self._lock:
            self.count += 1
            self.first_at = self.first_at or now


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: the second of two small ones would wait for an acknowledgement
    server: FirstRequestServer

    def do_POST(self) -> None:
        self.server.note()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
        """Log nothing."""


@contextlib.contextmanager
def first_request_server(port: int, body: bytes) -> Iterator[FirstRequestServer]:
    """Serve on `port` from a thread for the length of the context."""
    with FirstRequestServer(port, body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
