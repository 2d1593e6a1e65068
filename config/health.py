"""Is it alive? `/healthz` asks this process, `/readyz` what it needs: database, broker, a live worker.

Neither needs a login or a session. The answer says which part fails and the kind of error, never an address or a
password; the log has the whole error.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labs.broker import check_broker, live_workers

logger = logging.getLogger(__name__)

# Seconds that a part may take to answer. The parts are asked at the same time.
PATIENCE = 2.0


class NoWorkerError(RuntimeError):
    """The broker answers, but no worker does."""


def check_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # this thread's own; the next check shall not trust an old one


def check_worker() -> None:
    if not live_workers():
        raise NoWorkerError("no worker answers")


PARTS: dict[str, Callable[[], None]] = {"database": check_database, "broker": check_broker, "worker": check_worker}

# A part that hangs keeps its threads until its own time limit. Its pool bounds how many, and spares the other parts.
pools = {name: ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"health-{name}") for name in PARTS}


def _state(name: str, check: Future[None]) -> str:
    if not check.done():
        check.cancel()
        logger.warning("%s does not answer within %g s", name, PATIENCE)
        return f"no answer within {PATIENCE:g} s"
    error = check.exception()
    if error is None:
        return "ok"
    logger.warning("%s is not ready: %s", name, error)
    return type(error).__name__


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers."""
    return JsonResponse({"status": "ok", "version": settings.VERSION})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Everything that a learner's run needs answers; 503 and the names of the failing parts otherwise."""
    checks = {name: pools[name].submit(check) for name, check in PARTS.items()}
    wait_for(checks.values(), timeout=PATIENCE)
    states = {name: _state(name, check) for name, check in checks.items()}
    failing = [name for name, state in states.items() if state != "ok"]
    body = {"status": "unready" if failing else "ok", "failing": failing, "parts": states}
    return JsonResponse(body, status=503 if failing else 200)
