import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from kb.content.files import Tree, read_tree
from kb.content.inventory import inventory_ids
from kb.content.registry import Problem


class Command(BaseCommand):
    help = "Check the content folder: schema, languages, links, claims. Needs no database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, default=settings.CONTENT_DIR)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        tree = read_tree(options["folder"])
        if options["json"]:
            self.stdout.write(json.dumps(_document(tree, options["folder"]), ensure_ascii=False, indent=1))
        else:
            for problem in tree.problems:
                self.stdout.write(f"{problem.level}: {problem}")
            self.stdout.write(f"{len(tree.errors())} errors, {len(tree.warnings())} warnings")
        if tree.errors():
            raise SystemExit(1)


def _document(tree: Tree, folder: Path) -> dict[str, Any]:
    def listed(problems: list[Problem]) -> list[dict[str, Any]]:
        return [{k: v for k, v in asdict(p).items() if k != "level"} for p in problems]

    wanted = inventory_ids(folder)
    missing = [p.message.split()[-1] for p in tree.warnings() if p.code == "not-covered"]
    return {
        "errors": listed(tree.errors()),
        "warnings": listed(tree.warnings()),
        "counts": {name: len(items) for name, items in tree.items.items()},
        "coverage": {"ids": len(wanted), "covered": len(wanted) - len(missing), "missing": missing},
    }
