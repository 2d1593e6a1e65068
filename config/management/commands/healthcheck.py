"""`manage.py healthcheck web|worker`: whether the process beside this one answers, for a container's health check."""

import socket
import urllib.request
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from labs.broker import app

PATIENCE = 5.0  # seconds


class Command(BaseCommand):
    help = "Exit 0 when the web server or the worker on this machine answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("part", choices=["web", "worker"])
        parser.add_argument("--name", default="cpu", help="of the worker (%(default)s)")

    def handle(self, *, part: str, name: str, **options: Any) -> None:
        if part == "web":
            ask_web(f"http://127.0.0.1:{settings.PORT}/healthz")
        else:
            ask_worker(f"{name}@{socket.gethostname()}")


def known_host() -> str:
    """A host name that the server accepts."""
    first = settings.ALLOWED_HOSTS[0] if settings.ALLOWED_HOSTS else "localhost"
    return "localhost" if first == "*" else first.removeprefix(".")


def ask_web(url: str) -> None:
    request = urllib.request.Request(url, headers={"Host": known_host()})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=PATIENCE).close()
    except OSError as e:
        raise CommandError(f"{url} does not answer: {e}") from e


def ask_worker(name: str) -> None:
    """Only the process that supervises answers; it does so while a run computes."""
    if not app.control.ping(destination=[name], timeout=PATIENCE):
        raise CommandError(f"worker {name} does not answer within {PATIENCE:g} s")
