import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kb.services import ContentConflict, ContentRefused, content_import


class Command(BaseCommand):
    help = (
        "Import topics, points, questions, claims and reference evidence from the content folder, in one transaction."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, default=settings.CONTENT_DIR)
        parser.add_argument("--dry-run", action="store_true", help="do everything, then take it back")
        parser.add_argument("--force", action="store_true", help="import even when no file changed")
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--theirs", action="store_const", const="theirs", dest="decision", default="")
        whose.add_argument("--ours", action="store_const", const="ours", dest="decision")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = content_import(
                folder=options["folder"],
                dry_run=options["dry_run"],
                force=options["force"],
                decision=options["decision"],
            )
        except (ContentRefused, ContentConflict) as e:
            raise CommandError(f"Nothing was imported:\n{e}") from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        elif not report.changed:
            self.stdout.write("Content is unchanged since the last import.")
        else:
            listed = ", ".join(f"{count} {name}" for name, count in report.counts.items())
            self.stdout.write(f"{'Would import' if options['dry_run'] else 'Imported'} {listed}.")
