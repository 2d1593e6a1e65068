from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.backup import BackupError, restore
from config.supervisor.lock import DataFolderInUseError, lock_data_folder


class Command(BaseCommand):
    help = "Put a backup in the place of all that is here. Stop web and workers first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="one that `manage.py backup` made")
        parser.add_argument("--replace", action="store_true", help="what is here now is lost")

    def handle(self, *, folder: Path, replace: bool, **options: Any) -> None:
        if not replace:
            raise CommandError("this replaces the database and the files of all runs; say --replace")
        try:
            with lock_data_folder(settings.DATA_DIR):
                restore(folder)
        except (BackupError, DataFolderInUseError, OSError) as e:
            raise CommandError(str(e)) from e
        self.stdout.write(f"restored {folder}; now run `manage.py prepare`")
