"""An HTTP server that takes what Broadcast sends, and refuses as often as it is told to."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.simulator import process


class Sink:
    """What arrived, decoded with exact numbers, and the headers it came with."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/traces"
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []

    def spans(self) -> list[dict[str, Any]]:
        """The generations' spans, each with the attributes of its resource as `about`, and its own by name."""
        found = []
        for body in self.bodies:
            for resource in body["resourceSpans"]:
                about = named(resource["resource"]["attributes"])
                for span in resource["scopeSpans"][0]["spans"]:
                    if isinstance(span, dict) and span.get("name") == "LLM Generation":
                        found.append({**span, "about": about, "named": named(span["attributes"])})
        return found


def named(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


@contextlib.contextmanager
def listening() -> Iterator[Sink]:
    """A sink for the length of a with block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                raw = gzip.decompress(raw)
            status = sink.statuses.pop(0) if sink.statuses else 200
            sink.headers.append({name.lower(): value for name, value in self.headers.items()})
            if status == 200:
                sink.bodies.append(process.decoded(raw.decode()))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests look at what arrived."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
