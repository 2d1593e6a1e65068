from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.backup import BackupError, backup


class Command(BaseCommand):
    help = "Copy the database, the files of the runs and kept secrets to a new folder, while the site runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="where the backup's own folder is made")

    def handle(self, *, folder: Path, **options: Any) -> None:
        try:
            self.stdout.write(str(backup(folder)))
        except (BackupError, OSError) as e:
            raise CommandError(str(e)) from e
