"""The Celery worker: `celery -A worker.app worker -Q cpu`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from celery.signals import worker_ready  # noqa: E402 (Django has to be set up first)

from labs.broker import app  # noqa: E402
from labs.services import runs_ring_waiting  # noqa: E402
from worker import tasks  # noqa: E402, F401 (registers them)

__all__ = ["app"]


@worker_ready.connect
def ring_for_waiting_runs(**kwargs: object) -> None:
    """Runs that were submitted while the broker was down, or whose worker died, have no message of their own."""
    runs_ring_waiting()
