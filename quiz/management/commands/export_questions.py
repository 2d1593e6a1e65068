from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from kb.content.registry import type_named
from kb.editing.tables import table_export


class Command(BaseCommand):
    help = "Write all questions (or points) to standard output, as CSV for a spreadsheet or as JSONL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
        parser.add_argument("--kind", choices=["questions", "points"], default="questions")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(table_export(type_named(options["kind"]), options["format"]), ending="")
