"""`record_evidence SLUG`: run a lab and keep its record as reference evidence."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from labs.catalog import UnknownLab
from labs.parameters import ParameterErrors
from labs.records import to_json
from labs.services import run_request
from worker.environment import revision
from worker.management.commands.run_lab import PRESETS
from worker.recording import RunFailed, record_run


class Command(BaseCommand):
    help = "Run a lab at a preset and write content/evidence/<slug>-<preset>.json."
    requires_system_checks: list[str] = []  # they would ask the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the lab, as list_labs names it")
        parser.add_argument("--preset", choices=PRESETS, default="standard")
        parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to put the files that the run keeps")
        parser.add_argument("--json", action="store_true", help="print the document as well")

    def handle(self, *args: Any, **options: Any) -> None:
        if revision()["dirty"] is not False:
            raise CommandError("Evidence names the commit that made it: commit your changes first.")
        try:
            request = run_request(lab_slug=options["slug"], preset=options["preset"])
            record = record_run(request, self.stderr.write, keep=options["keep"])
        except (UnknownLab, ParameterErrors, RunFailed) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("Cancelled.")
            sys.exit(130)
        path = settings.CONTENT_DIR / "evidence" / f"{options['slug']}-{options['preset']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(to_json(record), encoding="utf-8")
        draft.replace(path)
        self.stderr.write(f"Wrote {path.relative_to(settings.BASE_DIR)}")
        if options["json"]:
            self.stdout.write(to_json(record), ending="")
