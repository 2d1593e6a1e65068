"""The way to the worker: tasks are sent by name, because the web process must not import what runs them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, group
from celery.exceptions import OperationalError
from kombu.connection import Connection
from kombu.exceptions import OperationalError as BrokerError

app = Celery("proofdeck")
app.config_from_object("django.conf:settings", namespace="CELERY")

RUN_LAB = "worker.run_lab"
RUN_PART = "worker.run_part"
RETRY = {"retry": True, "retry_policy": {"max_retries": 2}}


class BrokerDown(RuntimeError):
    """The message could not be handed to the broker."""


def ring(run_id: int, *, queue: str = "cpu") -> None:
    """Tell the workers of a queue that a run is waiting. The row is the truth; this is only the doorbell."""
    try:
        app.send_task(RUN_LAB, args=[run_id], queue=queue, **RETRY)
    except (OperationalError, BrokerError) as e:
        raise BrokerDown(str(e)) from e


def ring_parts(part_ids: Iterable[int], *, queue: str) -> None:
    """Tell the workers of a queue that parts of a run are waiting: one group of tasks, one task a part."""
    try:
        bells = [app.signature(RUN_PART, args=[part_id], queue=queue, ignore_result=True) for part_id in part_ids]
        group(bells).apply_async(**RETRY)
    except (OperationalError, BrokerError) as e:
        raise BrokerDown(str(e)) from e


@contextmanager
def _connection() -> Iterator[Connection]:
    """A connection of one's own that gives up within seconds, where Celery's would try again for minutes."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=2)
            yield connection
    except Exception as e:  # redis and kombu raise different families; the caller only needs "down, because"
        raise BrokerDown(f"{type(e).__name__}: {e}") from e


def check_broker() -> None:
    """Raise BrokerDown unless the broker answers."""
    with _connection() as connection:
        channel: Any = connection.default_channel
        channel.client.ping()


def live_workers(*, timeout: float = 1.0) -> list[str]:
    """Names of the workers that answer within `timeout` seconds; one answer is enough. BrokerDown without a broker."""
    with _connection() as connection:
        replies = app.control.ping(timeout=timeout, limit=1, connection=connection) or []
    return [name for reply in replies for name in reply]


def restore_unacked() -> int:
    """Queue again what workers took and did not acknowledge; only while no worker runs on this broker."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        tags = channel.client.hkeys(channel.unacked_key)
        for tag in tags:
            channel.qos.restore_by_tag(tag)
    return len(tags)
