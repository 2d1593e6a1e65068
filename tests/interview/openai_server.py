"""A small OpenAI-compatible server on a free port of this machine, which answers as a test tells it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Grader(ThreadingHTTPServer):
    """`reply` is the content of a completion, and without one every rubric point is found not to be made.

    The other fields are ways to go wrong.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.reply: Any = None
        self.status = 200
        self.raw: bytes | None = None  # instead of a completion
        self.location = ""
        self.released = threading.Event()  # an answer waits for it where `is_slow`
        self.is_slow = False
        self.is_endless = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def body(self, request: dict[str, Any]) -> bytes:
        if self.raw is not None:
            return self.raw
        reply = self.reply or strict_reply(request)
        content = reply if isinstance(reply, str) else json.dumps(reply)
        return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}).encode()


def strict_reply(request: dict[str, Any]) -> dict[str, Any]:
    rubric = json.loads(request["messages"][1]["content"])["rubric"]
    points = [{"position": point["position"], "made": False, "reason": "Not in the text."} for point in rubric]
    return {"points": points, "comment": "Say more."}


class Handler(BaseHTTPRequestHandler):
    server: Grader

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        self.server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
        if self.server.is_slow:
            self.server.released.wait(30)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()
        try:
            self.wfile.write(self.server.body(body))
            while self.server.is_endless:
                self.wfile.write(b" " * 8192)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has had enough, as it should

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest's output is for failures."""


@contextmanager
def running_grader() -> Iterator[Grader]:
    server = Grader()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
