"""`manage.py up`: prepare, then run broker, worker and web server in the foreground."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from config import accounts
from config.supervisor.lock import DataFolderInUseError, lock_data_folder, write_holder
from config.supervisor.output import Printer
from config.supervisor.run import StartFailedError, Supervisor, free_port


class Command(BaseCommand):
    help = "Run everything in the foreground: broker, worker and web server. Ctrl-C stops it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="address to listen on (%(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="the next free one is taken if it is busy")

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        try:
            self.run(host, port)
        except (DataFolderInUseError, StartFailedError) as e:
            raise CommandError(str(e)) from e
        except KeyboardInterrupt:  # while preparing; later the supervisor notes the signal and stops everything
            raise CommandError("stopped") from None

    def run(self, host: str, wanted: int) -> None:
        lock = lock_data_folder(settings.DATA_DIR)
        call_command("prepare", stdout=self.stdout)
        connections.close_all()
        port = free_port(host, wanted)
        printer = Printer()
        if port != wanted:
            printer.line("up", f"port {wanted} is busy, taking {port}")
        supervisor = Supervisor(host=host, port=port, lock=lock, printer=printer)
        write_holder(lock, supervisor.url)
        supervisor.run(lambda: self.announce(supervisor.url, printer))

    def announce(self, url: str, printer: Printer) -> None:
        lines = ["", f"Proofdeck {settings.VERSION} is ready: {url}"]
        if accounts.are_made():
            password = accounts.admin_password_file().read_text().strip()
            lines.append(f"  learner  {accounts.DEMO_NAME} / {accounts.DEMO_PASSWORD}")
            lines.append(f"  admin    {accounts.ADMIN_NAME} / {password}   at {url}admin/")
        lines += [f"  data     {os.path.relpath(settings.DATA_DIR)}", "  Ctrl-C stops everything", ""]
        for line in lines:
            printer.line("up", line)
