"""`manage.py serve`: the web server alone, in place of this process, for systemd or a container."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.supervisor.run import web_command


class Command(BaseCommand):
    help = "Run the web server alone. Needs a database that `manage.py prepare` made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port to listen on (%(default)s)")

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        command = web_command(host, port)
        os.chdir(settings.BASE_DIR)
        os.execv(command[0], command)  # noqa: S606 (signals reach the server itself)
