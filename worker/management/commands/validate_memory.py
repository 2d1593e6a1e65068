"""manage.py validate_memory: simulate published measurements and write docs/memory-validation.md."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

DATA = Path("bench/memory_validation.yaml")
PAGE = Path("docs/memory-validation.md")


class Command(BaseCommand):
    help = "Compare published memory measurements with the simulator, and write the page about it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--print", action="store_true", help="print the page and leave the file alone")

    def handle(self, *args: Any, **options: Any) -> None:
        from worker.memory.simulate import simulate
        from worker.validation import compare, page, read

        validation = read(settings.BASE_DIR / DATA)
        comparisons = []
        for comparison in compare(validation, simulate):
            self.stderr.write(f"{comparison.error:+6.1f} %  {comparison.measurement.setting}")
            comparisons.append(comparison)
        names = ("torch", "transformers", "peft", "bitsandbytes")
        text = page(validation, comparisons, ", ".join(f"{name} {version(name).split('+')[0]}" for name in names))
        if options["print"]:
            self.stdout.write(text)
        else:
            (settings.BASE_DIR / PAGE).write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {PAGE}: {len(comparisons)} measurements")
