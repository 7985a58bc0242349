"""A consumer of events: a web server in a thread that keeps what it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Consumer:
    """`status` is what it answers; `requests` are (headers, body) of those that it took."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.refused = 0
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = consumer.status
                if status == 200:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    consumer.requests.append((headers, body))
                else:
                    consumer.refused += 1
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, address: object) -> None:
                """A relay that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/in"

    def destination(self, **more) -> dict:
        """A section of the configuration that tells it."""
        return {"type": "webhook", "url": self.url, "allow": ["127.0.0.1"], **more}

    def events(self) -> list[dict]:
        return [json.loads(body) for _, body in list(self.requests)]

    def types(self) -> list[str]:
        return [event["eventType"] for event in self.events()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
