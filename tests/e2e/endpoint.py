"""An HTTP endpoint in a thread that takes events, as webhooks and SNS endpoints are told them."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Request = tuple[dict[str, str], bytes]
"""Header fields, and the body."""


class Endpoint:
    """Notes each request, whatever it answers, and in `taken` those that it took. `status` says
    which answer the nth one gets, from 0; it may be replaced at any time."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.status: Callable[[int], int] = lambda number: 200
        endpoint = self

        class Take(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(endpoint.requests)
                endpoint.requests.append((dict(self.headers), body))
                status = endpoint.status(number)
                if 200 <= status < 300:
                    endpoint.taken.append((dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A program that is killed resets its connections."""

        self._server = Server(("127.0.0.1", 0), Take)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
