"""`check_adapters SLUG …`: run labs, load the adapters that they kept in a fresh process, and compare the losses."""

import json
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labs.catalog import UnknownLab
from labs.parameters import ParameterErrors
from labs.records import EvidenceError, RunRecord, read_record
from labs.services import run_request
from worker.management.commands.run_lab import PRESETS, json_of, seeds_of
from worker.rechecking import TOLERANCE, Recheck, recheck
from worker.recording import RunFailed, record_run

LABS = ("rank-sweep", "qlora-train", "dora-directions")


class Command(BaseCommand):
    help = "Run labs, load the adapters that they kept with plain PEFT in a fresh process, and compare the losses."
    requires_system_checks: list[str] = []  # they would ask the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", default=LABS, metavar="slug", help=f"default: {' '.join(LABS)}")
        parser.add_argument("--params", default="{}", metavar="JSON", help="parameters, laid over the preset's")
        parser.add_argument("--preset", choices=PRESETS, default="quick")
        parser.add_argument("--seeds", metavar="0,1,2", help="instead of the preset's")
        parser.add_argument("--record", type=Path, help="instead of a run: the record of one")
        parser.add_argument("--files", type=Path, help="with --record: where that run's files were kept (--keep)")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = [check for record, files in self._runs(options) for check in recheck(record, files)]
        except (UnknownLab, ParameterErrors, RunFailed, EvidenceError, OSError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            document = {"tolerance": TOLERANCE, "adapters": [check.as_json() for check in found]}
            self.stdout.write(json.dumps(document, indent=1))
        else:
            self.stdout.writelines(_line(check) for check in found)
        if not found:
            raise CommandError("No adapter was kept: it is of another seed than the first, or too large.")
        if not all(check.agrees for check in found):
            raise CommandError(f"An adapter's loss differs by more than {TOLERANCE} from the recorded one.")

    def _runs(self, options: dict[str, Any]) -> Iterator[tuple[RunRecord, Path]]:
        """Records with their files, which are there until the next one is asked for."""
        if options["record"]:
            yield read_record(options["record"]), options["files"] or options["record"].parent
            return
        params, seeds = json_of(options["params"]), seeds_of(options["seeds"])
        for slug in options["slugs"]:
            request = run_request(lab_slug=slug, params=params, preset=options["preset"], seeds=seeds)
            with tempfile.TemporaryDirectory(prefix="proofdeck-") as files:
                yield record_run(request, self.stderr.write, keep=Path(files)), Path(files)


def _line(check: Recheck) -> str:
    verdict = "agrees" if check.agrees else "DIFFERS"
    return f"{check.lab}  {check.point} (seed {check.seed})  {check.recorded:.6f}  {check.loaded:.6f}  {verdict}\n"
