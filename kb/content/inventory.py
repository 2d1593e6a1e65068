"""What the content has to cover: the ids of `content/inventory.yaml`, and which items cover them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kb.content.registry import Item, Problem

FILE = "inventory.yaml"


def inventory_ids(folder: Path) -> list[str]:
    """Every id in the inventory, wherever it stands, in order; none where the folder has no inventory."""
    return ids_in(folder / FILE)


def ids_in(path: Path) -> list[str]:
    """Every `id` in a YAML file, in order; none where there is no such file."""
    if not path.exists():
        return []
    return list(_ids(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)))


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            yield value["id"]
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from _ids(child)


def covered_by(source: Any) -> list[str]:
    """The ids that an item and its follow-ups cover."""
    own = list(getattr(source, "covers", []))
    return own + [i for child in getattr(source, "follow_ups", []) for i in covered_by(child)]


def check_coverage(folder: Path, items: dict[str, list[Item]]) -> Iterator[Problem]:
    """Ids that nothing covers, and covered ids that do not exist."""
    wanted = inventory_ids(folder)
    found: set[str] = set()
    for item in (item for group in items.values() for item in group):
        covered = covered_by(item.source)
        found.update(covered)
        for unknown in [i for i in covered if wanted and i not in wanted]:
            yield Problem(item.file, item.line, "inventory", f"covers: there is no {unknown!r} in {FILE}")
    for missing in [i for i in wanted if i not in found]:
        yield Problem(FILE, 1, "not-covered", f"nothing covers {missing}", level="warning")
