"""Writing content files in their one canonical form, so that import and export leave the tree byte-identical."""

from pathlib import Path
from typing import Any

import yaml

from kb.content.files import Tree
from kb.content.registry import ContentType, Problem, content_types
from kb.schema import Source


class _Dumper(yaml.SafeDumper):
    """Block style throughout; texts of several lines as literal blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def dump(data: Any) -> str:
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"), default_flow_style=False
    )


def canonical(source: Source) -> dict[str, Any]:
    """A source as plain data: keys in the schema's order, defaults left out."""
    return source.model_dump(mode="json", exclude_defaults=True)


def files_of(content_type: ContentType, sources: list[Any]) -> dict[str, str]:
    """The files, by their path below the content folder, that hold these items."""
    if content_type.path is None:
        ordered = sorted(sources, key=content_type.sort_key) if content_type.sort_key else sources
        return {content_type.file: dump({content_type.name: [canonical(source) for source in ordered]})}
    return {content_type.path(source): dump(canonical(source)) for source in sources}


def canonical_files(tree: Tree) -> dict[str, str]:
    """What the files of a tree should read."""
    files: dict[str, str] = {}
    for content_type in content_types():
        files |= files_of(content_type, [item.source for item in tree.items[content_type.name]])
    return files


def check_form(folder: Path, tree: Tree) -> list[Problem]:
    """The files that are valid but not in canonical form."""
    message = "not in canonical form; `manage.py format_content` writes it"
    return [
        Problem(name, 1, "form", message)
        for name, text in canonical_files(tree).items()
        if (folder / name).read_text(encoding="utf-8") != text
    ]


def write_files(folder: Path, files: dict[str, str]) -> list[str]:
    """Write the files that differ from what is there; returns their names."""
    changed = []
    for name, text in sorted(files.items()):
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed
