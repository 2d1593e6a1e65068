"""The Celery worker: `celery -A worker.app worker -Q cpu`."""

import os
from functools import partial
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from celery.signals import (  # noqa: E402 (after setup)
    celeryd_init,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from django.conf import settings  # noqa: E402

from labs.broker import app  # noqa: E402
from labs.models import Run  # noqa: E402
from quiz.review.rescheduling import reschedulings_ring_waiting  # noqa: E402
from quiz.statistics.optimising import optimisations_ring_waiting  # noqa: E402
from worker import machine, stopping, tasks  # noqa: E402, F401 (tasks: registers them)
from worker.minder import Minder, is_idle  # noqa: E402

__all__ = ["app"]

minders: list[Minder] = []


@celeryd_init.connect
def set_pool_size(conf: Any, options: dict[str, Any], **kwargs: object) -> None:
    """As many pool processes as runs may go side by side, unless `-c` says how many."""
    queues = options.get("queues") or []
    queues = queues.split(",") if isinstance(queues, str) else list(queues)
    conf.worker_concurrency = machine.pool_size(queues, machine.gpus() if Run.GPU in queues else [])


@worker_init.connect
def begin(**kwargs: object) -> None:
    """A worker's process has one connection; the sockets and threads of a pool would not survive its forks."""
    settings.DATABASES["default"].get("OPTIONS", {}).pop("pool", None)
    stopping.withdraw_stop()


@worker_ready.connect
def look_after_runs(sender: Any, **kwargs: object) -> None:
    """From now on, and first of all for what was left while no worker ran."""
    room = partial(is_idle, sender.controller.concurrency)
    minder = Minder(sender.hostname, app.amqp.queues.consume_from, room)
    minders.append(minder)
    minder.start()
    optimisations_ring_waiting()
    reschedulings_ring_waiting()


@worker_shutting_down.connect
def give_runs_back(**kwargs: object) -> None:
    """The pool processes see it within a second, stop their runs and give them back to the queue."""
    stopping.announce_stop()


@worker_shutdown.connect
def end(**kwargs: object) -> None:
    for minder in minders:
        minder.end()
    stopping.withdraw_stop()
