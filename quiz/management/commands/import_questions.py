from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kb.content.registry import type_named
from kb.editing.tables import ItemChange, TableRefused, format_of, table_import, table_read


class Command(BaseCommand):
    help = "Save what a CSV or JSONL file changes in questions (or points); all of it, or nothing if it has errors."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--kind", choices=["questions", "points"], default="questions")
        parser.add_argument("--dry-run", action="store_true", help="show what would change")

    def handle(self, *args: Any, **options: Any) -> None:
        content_type, file = type_named(options["kind"]), options["file"]
        try:
            records = table_read(content_type, file.read_bytes(), format_of(file.name))
            changes = table_import(content_type, records, dry_run=options["dry_run"])
        except OSError as e:
            raise CommandError(str(e)) from e
        except TableRefused as e:
            raise CommandError(f"Nothing was imported:\n{e}") from e
        for change in changes:
            self._show(change)
        verb = "Would change" if options["dry_run"] else "Changed"
        self.stdout.write(f"{verb} {len(changes)} of {len(records)} items.")

    def _show(self, change: ItemChange) -> None:
        self.stdout.write(f"{change.key}{' (new)' if change.is_new else ''}")
        signs = {"gone": "- ", "new": "+ "}
        for field in change.changes:
            for operation, text in field.pieces:
                if operation in signs:
                    self.stdout.write(f"  {field.name}: {signs[operation]}{text}")
