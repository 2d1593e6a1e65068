from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kb.content.files import read_tree
from kb.content.writer import canonical_files, write_files


class Command(BaseCommand):
    help = "Write the content files in canonical form. Needs no database; refuses a tree that cannot be read."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, default=settings.CONTENT_DIR)

    def handle(self, *args: Any, **options: Any) -> None:
        tree = read_tree(options["folder"])
        if unreadable := [p for p in tree.errors() if p.code in ("yaml", "schema", "unreadable", "too-large")]:
            raise CommandError("Nothing was written:\n" + "\n".join(map(str, unreadable)))
        for name in write_files(options["folder"], canonical_files(tree)):
            self.stdout.write(name)
