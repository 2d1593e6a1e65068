"""`manage.py work --queues cpu`: one worker alone, in place of this process, for systemd or a container."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.supervisor import valkey
from config.supervisor.run import worker_command, worker_environment

QUEUES = ("cpu", "gpu")


class Command(BaseCommand):
    help = "Run one worker alone. Needs REDIS_URL (and DATABASE_URL), or `manage.py up` in the same data folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--queues", default="cpu", help="what this machine has, separated by commas: cpu, gpu")
        parser.add_argument("--name", default="", help="differs among the workers of one machine (its queues)")

    def handle(self, *, queues: str, name: str, **options: Any) -> None:
        if unknown := set(queues.split(",")) - set(QUEUES):
            raise CommandError(f"unknown queue {', '.join(sorted(unknown))!r}; there are: {', '.join(QUEUES)}")
        if not settings.REDIS_URL and not valkey.is_ready(settings.DATA_DIR):
            raise CommandError("there is no broker: set REDIS_URL, or start `manage.py up` first")
        command = worker_command(queues, name or default_name(queues))
        os.chdir(settings.BASE_DIR)
        os.execve(command[0], command, worker_environment())  # noqa: S606 (signals reach the worker itself)


def default_name(queues: str) -> str:
    """First half of the worker's name; the second is its host's."""
    return queues.replace(",", "-")
