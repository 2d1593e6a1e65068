"""What kinds of content there are, and in which order they are imported.

Each app registers its own kinds in AppConfig.ready(), so that kb can walk the whole of `content/` without knowing them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import Model

from kb.schema import Source

if TYPE_CHECKING:
    from kb.content.checks import Finding


@dataclass(frozen=True)
class Item:
    """A validated item, the file (relative to the content folder) and the line where it begins."""

    source: Any
    file: str
    line: int


@dataclass(frozen=True)
class Problem:
    """Something wrong (or doubtful) in a content file."""

    file: str
    line: int
    code: str
    message: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message} [{self.code}]"


@dataclass(frozen=True)
class ContentType:
    """One kind of item.

    `folder` holds one file an item; or `file` holds a list of them under the key `name`. `save` writes validated
    sources to the database, inside the import's transaction; `load` gives them back. `check_one` finds what a schema
    cannot see in an item, `check` what only all of them together show.

    Every row of `model` is edited on its own: `source_of` gives what it holds (a question without its follow-ups),
    `apply` writes that back. `parts` gives the same pieces of an item from a file.
    """

    name: str  # plural: topics, points, questions …
    schema: type[Source]
    save: Callable[[list[Any]], None]
    load: Callable[[], list[Any]]
    remove: Callable[[list[str]], None]  # by key, what the files no longer have
    model: type[Model]
    source_of: Callable[[Any], Any]
    apply: Callable[[Any, Any], None]
    schema_of: Callable[[Any], type[Source]] | None = None  # where rows of one model have several …
    schemas: tuple[type[Source], ...] = ()  # … all of them
    has_tree: bool = False  # rows hang below a parent
    rows: Callable[[], Iterable[Any]] | None = None  # for tables: every row, parents first
    new_row: Callable[[str, dict[str, Any]], Any] | None = None  # for tables: an unsaved row with this key
    parts: Callable[[Any], list[Any]] = lambda source: [source]
    folder: str = ""
    file: str = ""
    sort_key: Callable[[Any], Any] | None = None  # the canonical order in `file`; without it order has a meaning
    key: str = "slug"  # the field that identifies an item
    path: Callable[[Any], str] | None = None  # where an item's file belongs, below the content folder
    check: Callable[[dict[str, list[Item]]], Iterable[Problem]] | None = None
    check_one: Callable[[Any, dict[str, set[str]]], Iterable["Finding"]] | None = None
    prose: frozenset[str] = frozenset()  # the fields whose figures need evidence
    keys: Callable[[Any], list[str]] | None = None  # all the slugs of an item, where it holds more than its own
    order: int = 0  # importing goes by order: what is referred to first

    def keys_of(self, source: Any) -> list[str]:
        """What texts may call an item by: its own slug, and those of what it holds."""
        return self.keys(source) if self.keys else [getattr(source, self.key)]

    @property
    def kind(self) -> str:
        """The singular: what texts, search and reports call one item."""
        return self.name.removesuffix("s")

    def parse(self, row: Model, document: dict[str, Any]) -> Source:
        """The source in a version of the row; ValidationError when schemas have changed since."""
        return (self.schema_of(row) if self.schema_of else self.schema).model_validate(document)

    @property
    def has_order(self) -> bool:
        """Whether the order of the items in their file means something."""
        return bool(self.file) and self.sort_key is None


_types: dict[str, ContentType] = {}


# Checks of what is not an item (the evidence records), called with the content folder.
folder_checks: list[Callable[[Path], Iterable[Problem]]] = []

# What an import depends on besides the files: code whose change makes the same files mean something else.
code_versions: list[Callable[[], str]] = []

# Called at the end of an import, inside its transaction, with the content folder.
after_import: list[Callable[[Path], None]] = []

# Called with a row that was edited: links and verdicts that follow from its texts.
after_edit: list[Callable[[Model], None]] = []


def register(content_type: ContentType) -> None:
    _types[content_type.name] = content_type


def type_of(row: Model | type[Model]) -> ContentType:
    """The content type whose items are rows of this model."""
    model = row if isinstance(row, type) else type(row)
    return next(content_type for content_type in _types.values() if content_type.model is model)


def type_named(name: str) -> ContentType:
    return _types[name]


def content_types() -> list[ContentType]:
    return sorted(_types.values(), key=lambda t: t.order)
