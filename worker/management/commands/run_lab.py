"""`run_lab SLUG`: run a lab here and now, without broker and database."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labs.catalog import UnknownLab
from labs.parameters import ParameterErrors
from labs.records import RunRecord, to_json
from labs.services import run_request
from worker.recording import RunFailed, record_run

PRESETS = ("quick", "standard", "gpu")


class Command(BaseCommand):
    help = "Run a lab and print its metrics."
    requires_system_checks: list[str] = []  # they would ask the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the lab, as list_labs names it")
        parser.add_argument("--params", default="{}", metavar="JSON", help="parameters, laid over the preset's")
        parser.add_argument("--preset", choices=PRESETS, default="quick")
        parser.add_argument("--seeds", metavar="0,1,2", help="instead of the preset's")
        parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to put the files that the run keeps")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            request = run_request(
                lab_slug=options["slug"],
                params=json_of(options["params"]),
                preset=options["preset"],
                seeds=seeds_of(options["seeds"]),
            )
            record = record_run(request, self.stderr.write, keep=options["keep"])
        except (UnknownLab, ParameterErrors) as error:
            raise CommandError(str(error)) from error
        except RunFailed as error:
            raise CommandError(f"{error.outcome.log}\n{error.outcome.traceback}\n{error}".strip()) from error
        except KeyboardInterrupt:
            self.stderr.write("Cancelled.")
            sys.exit(130)  # what shells expect after Ctrl-C
        self.stdout.write(to_json(record) if options["json"] else as_table(record), ending="")


def json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"--params is not JSON: {error}") from error


def seeds_of(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise CommandError(f"--seeds {text!r}: whole numbers joined by commas are allowed") from error


def as_table(record: RunRecord) -> str:
    """Means with their 95 % intervals, one line a result."""
    rows = [("metric", "point", "mean", "95 % interval", "n", "unit")]
    for row in record.summary:
        interval = "" if row.low is None else f"{row.low:.4g} … {row.high:.4g}"
        rows.append((row.name, row.point, f"{row.mean:.6g}", interval, str(row.n), row.unit))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "\n" for row in rows)
