"""`manage.py rebuild_cards [--check] [--json]`: every card and every day's tally from the log of reviews."""

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from quiz.review.rebuild import Difference, Rebuilt, rebuild

# Differences shown in full; a broken clock may make a million.
SHOWN = 100


class Command(BaseCommand):
    help = "Replay the log of reviews, compare cards and tallies with it, and mend what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only compare; exit 1 if something differs")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, check: bool, json: bool, **options: Any) -> None:
        result, shown, n = Rebuilt(), [], 0
        for difference in rebuild(is_check=check, result=result):
            n += 1
            shown += [difference] if n <= SHOWN else []
        (_print_json if json else self._print)(result, shown, n, check)
        if check and n:
            sys.exit(1)

    def _print(self, result: Rebuilt, shown: list[Difference], n: int, check: bool) -> None:
        for d in shown:
            self.stdout.write(f"{d.of}: {d.field} is {d.kept}, the log gives {d.replayed}")
        done = "found" if check else "mended"
        self.stdout.write(f"{result.cards} cards, {result.events} events: {n} differences {done}.")


def _print_json(result: Rebuilt, shown: list[Difference], n: int, check: bool) -> None:
    document = {**asdict(result), "mended": not check, "differences": n, "shown": [asdict(d) for d in shown]}
    print(json.dumps(document, default=str))
