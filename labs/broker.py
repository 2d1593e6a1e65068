"""The way to the worker: tasks are sent by name, because the web process must not import what runs them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, group
from kombu.connection import Connection

app = Celery("proofdeck")
app.config_from_object("django.conf:settings", namespace="CELERY")

RUN_LAB = "worker.run_lab"
RUN_PART = "worker.run_part"
RETRY = {"retry": True, "retry_policy": {"max_retries": 2}}


class BrokerDown(RuntimeError):
    """The message could not be handed to the broker."""


@contextmanager
def _or_down() -> Iterator[None]:
    try:
        yield
    except Exception as e:  # redis, kombu and celery raise different families; the caller only needs "down, because"
        raise BrokerDown(f"{type(e).__name__}: {e}") from e


def send(task: str, *args: int, **options: Any) -> None:
    """Leave a task to a worker. BrokerDown where that cannot be handed over."""
    with _or_down():
        app.send_task(task, args=list(args), ignore_result=True, **RETRY, **options)


def ring(run_id: int, *, queue: str = "cpu") -> None:
    """Tell the workers of a queue that a run is waiting. The row is the truth; this is only the doorbell."""
    send(RUN_LAB, run_id, queue=queue)


def ring_parts(part_ids: Iterable[int], *, queue: str) -> None:
    """Tell the workers of a queue that parts of a run are waiting: one group of tasks, one task a part."""
    bells = [app.signature(RUN_PART, args=[part_id], queue=queue, ignore_result=True) for part_id in part_ids]
    with _or_down():
        group(bells).apply_async(**RETRY)


@contextmanager
def _connection() -> Iterator[Connection]:
    """A connection of one's own that gives up within seconds, where Celery's would try again for minutes."""
    with _or_down(), app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=2)
        yield connection


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
