"""Reading content files: YAML in, validated items out, every problem with its file and line."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kb.content.checks import check_items
from kb.content.inventory import check_coverage
from kb.content.registry import ContentType, Item, Problem, content_types, folder_checks
from kb.schema import Source

MAX_FILE_BYTES = 1024 * 1024

# Levels of lists and mappings in a file; the deepest honest tree of follow-ups has about 20.
MAX_DEPTH = 60


@dataclass
class Tree:
    """All of `content/`: the items of each type, and what is wrong with it."""

    items: dict[str, list[Item]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def errors(self) -> list[Problem]:
        return [p for p in self.problems if p.level == "error"]

    def warnings(self) -> list[Problem]:
        return [p for p in self.problems if p.level == "warning"]


def read_tree(folder: Path) -> Tree:
    """Read and check everything below `folder`."""
    tree = Tree()
    for content_type in content_types():
        tree.items[content_type.name] = [
            item for path in _paths(folder, content_type) for item in _read_file(folder, path, content_type, tree)
        ]
        _check_unique(content_type, tree)
    tree.problems += check_items(tree.items)
    for content_type in content_types():
        if content_type.check:
            tree.problems += content_type.check(tree.items)
    tree.problems += check_coverage(folder, tree.items)
    for check in folder_checks:
        tree.problems += check(folder)
    return tree


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _paths(folder: Path, content_type: ContentType) -> list[Path]:
    if content_type.file:
        return [folder / content_type.file]
    return sorted((folder / content_type.folder).rglob("*.yaml"))


def _read_file(folder: Path, path: Path, content_type: ContentType, tree: Tree) -> list[Item]:
    name = path.relative_to(folder).as_posix()
    node = _compose(path, name, tree)
    if node is None:
        return []
    if not content_type.file:
        item = _validate(node, name, content_type.schema, tree)
        return _in_its_place(item, content_type, tree) if item else []
    children = _list_under(node, content_type.name)
    if children is None:
        message = f"expected a list under the key {content_type.name!r} and nothing else"
        tree.problems.append(Problem(name, node.start_mark.line + 1, "schema", message))
        return []
    items = (_validate(child, name, content_type.schema, tree) for child in children)
    return [item for item in items if item]


def _compose(path: Path, name: str, tree: Tree) -> yaml.Node | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            message = f"file of {path.stat().st_size} bytes; allowed: {MAX_FILE_BYTES}"
            tree.problems.append(Problem(name, 1, "too-large", message))
            return None
        text = path.read_text(encoding="utf-8")
        if refusal := yaml_refusal(text):
            line, message = refusal
            tree.problems.append(Problem(name, line, "yaml", message))
            return None
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as e:
        tree.problems.append(Problem(name, 1, "unreadable", str(e)))
        return None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        message = f"not valid YAML: {getattr(e, 'problem', None) or e}"
        tree.problems.append(Problem(name, mark.line + 1 if mark else 1, "yaml", message))
        return None
    if node is None:
        tree.problems.append(Problem(name, 1, "yaml", "the file is empty"))
    return node


def yaml_refusal(text: str) -> tuple[int, str] | None:
    """What must not reach the composer: aliases (they can make a small file huge), a nest that exhausts its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            return line, "aliases (&name, *name) are not allowed"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return line, f"nested deeper than {MAX_DEPTH} levels"
    return None


def _list_under(node: yaml.Node, key: str) -> list[yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        return None
    (name, children) = node.value[0]
    return children.value if name.value == key and isinstance(children, yaml.SequenceNode) else None


def _validate(node: yaml.Node, file: str, schema: type[Source], tree: Tree) -> Item | None:
    if problem := _key_problem(node):
        place, message = problem
        tree.problems.append(Problem(file, place.start_mark.line + 1, "yaml", message))
        return None
    try:
        source = schema.model_validate(_construct(node))
    except ValidationError as e:
        tree.problems += [
            Problem(file, _line_of(node, error["loc"]), "schema", _schema_message(dict(error)))
            for error in e.errors(include_url=False)
        ]
        return None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or node.start_mark
        tree.problems.append(Problem(file, mark.line + 1, "yaml", f"not valid YAML: {e.problem}"))
        return None
    return Item(source, file, node.start_mark.line + 1)


def _construct(node: yaml.Node) -> Any:
    """Plain data; MarkedYAMLError for a value that is not what its tag or its look promises (a 45th of a month)."""
    loader = _Constructor("")
    return loader.construct_document(node)


class _Constructor(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as e:
            raise yaml.constructor.ConstructorError(None, None, str(e), node.start_mark) from e


def _schema_message(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "item"
    value = error.get("input")
    shown = "" if isinstance(value, dict | list) else f" (found {str(value)[:80]!r})"
    return f"{place}: {error['msg']}{shown}"


def _key_problem(node: yaml.Node) -> tuple[yaml.Node, str] | None:
    """The first key that is no plain word, or is repeated (PyYAML silently keeps the last one)."""
    if isinstance(node, yaml.SequenceNode):
        return next((p for child in node.value if (p := _key_problem(child))), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    keys: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            return key, "a key has to be a plain word"
        if key.value in keys:
            return key, f"the key {key.value!r} stands here twice"
        keys.add(key.value)
        if problem := _key_problem(value):
            return problem
    return None


def _line_of(node: yaml.Node, location: tuple[int | str, ...]) -> int:
    """The line of the deepest node on the way to `location`; a missing field gives its parent's line."""
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return node.start_mark.line + 1


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _in_its_place(item: Item, content_type: ContentType, tree: Tree) -> list[Item]:
    expected = content_type.path(item.source) if content_type.path else item.file
    if item.file != expected:
        tree.problems.append(Problem(item.file, 1, "misplaced", f"this item belongs in {expected}"))
    return [item]


def _check_unique(content_type: ContentType, tree: Tree) -> None:
    first: dict[str, Item] = {}
    for item in tree.items[content_type.name]:
        key = getattr(item.source, content_type.key)
        if key in first:
            message = f"{content_type.key} {key!r} is already used in {first[key].file}:{first[key].line}"
            tree.problems.append(Problem(item.file, item.line, "duplicate", message))
        first.setdefault(key, item)
