from typing import Any

from django.core.management.base import BaseCommand

from kb.search import rebuild_index


class Command(BaseCommand):
    help = "Make the search index anew."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Indexed {rebuild_index()} documents.")
