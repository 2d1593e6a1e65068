from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from kb.services import content_export


class Command(BaseCommand):
    help = "Write the database back to content files. After an import without edits not a byte changes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, default=settings.CONTENT_DIR)

    def handle(self, *args: Any, **options: Any) -> None:
        changed = content_export(folder=options["folder"])
        for name in changed:
            self.stdout.write(name)
        self.stderr.write(f"{len(changed)} files changed")
