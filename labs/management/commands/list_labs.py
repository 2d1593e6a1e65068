import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from labs.api import lab_documents
from labs.catalog import all_labs


class Command(BaseCommand):
    help = "List the labs: what each asks, its presets with their expected durations, its parameters and metrics."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        documents = lab_documents(all_labs().values())
        if options["json"]:
            self.stdout.write(json.dumps(documents, ensure_ascii=False, indent=1))
            return
        for document in documents:
            presets = ", ".join(
                f"{name} {preset['expected_seconds']} s" for name, preset in document["presets"].items()
            )
            self.stdout.write(f"{document['slug']}: {document['question']['en']} ({presets})")
