"""Log lines: as text, or as JSON (one object a line) with the request or the run that they belong to.

The formatters take passwords and keys out of whatever is logged, tracebacks included: a library that puts a URL into
its error must not put our password into a log file.
"""

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from urllib.parse import quote

from celery import current_task
from django.http import HttpRequest, HttpResponse

# Extra fields that log calls pass on purpose (`extra={"run": 7}`).
EXTRA_FIELDS = ("run", "lab", "user", "method", "path", "status", "milliseconds")
# Shorter ones are found in innocent words; nobody should use them anyway.
SHORTEST_SECRET = 4
# What a proxy may call a request; anything else could forge log lines.
GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
# Asked by machines every few seconds.
PROBES = ("/healthz", "/readyz", "/metrics")

logger = logging.getLogger("config.requests")
request_id: ContextVar[str] = ContextVar("request_id", default="")


class Redactor:
    """Replaces every secret, also where it stands in a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        known |= {quote(secret, safe="") for secret in known}
        longest_first = sorted(known, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if known else None

    def __call__(self, text: str) -> str:
        return self.pattern.sub("[secret]", text) if self.pattern else text


class TextFormatter(logging.Formatter):
    def __init__(self, format: str, *, secrets: Iterable[str] = ()) -> None:
        super().__init__(format)
        self.redact = Redactor(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self.redact(super().format(record))


class JsonFormatter(logging.Formatter):
    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.redact = Redactor(secrets)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": self.redact(record.getMessage()),
        }
        line |= surroundings()
        line |= {name: getattr(record, name) for name in EXTRA_FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def surroundings() -> dict[str, object]:
    """The request that is answered, or the task that is executed, and its run."""
    if identifier := request_id.get():
        return {"request": identifier}
    if not current_task:
        return {}
    task = current_task.request
    run = {"run": task.args[0]} if task.args else {}  # our tasks carry the id of a run, and nothing else
    return {"task": task.id, **run}


class RequestLog:
    """Gives each request an id, or keeps the proxy's, and writes one line about it, without the query."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        identifier = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identifier)
        began = time.perf_counter()
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = identifier
            self._write(request, response, time.perf_counter() - began)
        finally:
            request_id.reset(token)
        return response

    def _write(self, request: HttpRequest, response: HttpResponse, seconds: float) -> None:
        level = logging.DEBUG if request.path in PROBES else logging.INFO
        fields = {
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "milliseconds": round(1000 * seconds, 1),
        }
        logger.log(level, "%(method)s %(path)s %(status)s", fields, extra=fields)
