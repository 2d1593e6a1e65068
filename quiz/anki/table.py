"""Own cards from a table: CSV, TSV, or what Anki exports as "Notes in Plain Text".

https://docs.ankiweb.net/importing/text-files.html
"""

import csv
import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import genanki
from django.utils.translation import gettext as _

from quiz.anki.limits import MAX_NOTES, MAX_TABLE, Refused

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " ", "colon": ":"}
# What a header may call its columns.
NAMES = {
    "front": "front", "question": "front", "正面": "front", "问题": "front",
    "back": "back", "answer": "back", "背面": "back", "答案": "back",
    "front_html": "front_html", "back_html": "back_html",
    "deck": "deck", "牌组": "deck", "tags": "tags", "标签": "tags", "guid": "guid",
}  # fmt: skip
DIRECTIVE = re.compile(r"#([a-z ]+):(.*)")
# Before these a quote keeps a spreadsheet from taking a cell for a formula (quiz.anki.csv_file).
GUARDED = re.compile(r"^'(?='*[=+\-@\t\r])")


@dataclass(frozen=True)
class Row:
    """One line, as HTML."""

    line: int
    guid: str
    deck: str
    front: str
    back: str
    tags: list[str]


@dataclass
class Header:
    """What the lines before the first card say."""

    separator: str = ""
    is_html: bool = False
    deck: str = ""
    tags: list[str] = field(default_factory=list)
    columns: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRow:
    line: int
    reason: str


def read_table(raw: bytes, *, is_tsv: bool = False) -> Iterator[Row | BadRow]:
    """Every line of a table, those that cannot be a card with the reason. Refused when the whole is no such table."""
    if len(raw) > MAX_TABLE:
        values = {"n": len(raw), "most": MAX_TABLE}
        raise Refused(_("The table has %(n)s bytes; allowed: %(most)s.") % values)
    lines = _decoded(raw).splitlines(keepends=True)
    header, start = _directives(lines)
    separator = header.separator or ("\t" if is_tsv else _likeliest_separator(lines[start:]))
    reader = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=separator)
    try:
        yield from _rows(reader, header, start)
    except csv.Error as e:
        message = _("Line %(line)s cannot be read: %(reason)s")
        raise Refused(message % {"line": start + reader.line_num, "reason": e}) from e


def _decoded(raw: bytes) -> str:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise Refused(_("Line %(line)s is not UTF-8. Save the table as “CSV UTF-8”.") % {"line": line}) from e
    if "\0" in text:
        raise Refused(_("The file is no table: it holds binary data."))
    return text


def _directives(lines: list[str]) -> tuple[Header, int]:
    """Anki's `#name:value` lines, and where the table begins."""
    header, start = Header(), 0
    while start < len(lines) and (match := DIRECTIVE.fullmatch(lines[start].rstrip("\r\n"))):
        _direct(header, match[1], match[2])
        start += 1
    return header, start


def _direct(header: Header, name: str, value: str) -> None:
    kind, is_column, _rest = name.partition(" column")
    if name == "separator":
        header.separator = SEPARATORS.get(value.lower(), value[:1])
    elif name == "html":
        header.is_html = value == "true"
    elif name == "deck":
        header.deck = value
    elif name == "tags":
        header.tags = value.split()
    elif is_column and value.isdecimal():
        header.columns[int(value) - 1] = kind if kind in ("guid", "deck", "tags") else "other"


def _likeliest_separator(lines: list[str]) -> str:
    """The one that makes the most columns of the first line that is not blank."""
    first = next((line for line in lines if line.strip()), "")
    return max("\t;,", key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))


def _rows(reader: Iterator[list[str]], header: Header, start: int) -> Iterator[Row | BadRow]:
    columns: dict[int, str] = {}
    count = 0
    for cells in reader:
        line = start + reader.line_num  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            named = {i: NAMES[c.strip().lower()] for i, c in enumerate(cells) if c.strip().lower() in NAMES}
            columns = _columns(named, header, cells, line)
            width = len(cells)
            if named and not header.columns:
                continue
        count += 1
        if count > MAX_NOTES:
            raise Refused(_("The table has more than %(most)s lines, which is what is allowed.") % {"most": MAX_NOTES})
        yield _row(cells, columns, header, line, width)


def _columns(named: dict[int, str], header: Header, cells: list[str], line: int) -> dict[int, str]:
    """What each column is: by Anki's directives, by the header, or the first the front and the second the back."""
    if named and not header.columns:
        kinds = set(named.values())
        if not ({"front", "front_html"} & kinds and {"back", "back_html"} & kinds) and "guid" not in kinds:
            message = _("Line %(line)s names the columns %(found)s; front and back are needed.")
            raise Refused(message % {"line": line, "found": ", ".join(cells)[:200]})
        return named
    free = [index for index in range(len(cells)) if index not in header.columns]
    if len(free) < 2:
        message = _("Line %(line)s has %(n)s columns; two are needed, front and back.")
        raise Refused(message % {"line": line, "n": len(free)})
    suffix = "_html" if header.is_html else ""
    return header.columns | {free[0]: f"front{suffix}"} | dict.fromkeys(free[1:], f"back{suffix}")


def _row(cells: list[str], columns: dict[int, str], header: Header, line: int, width: int) -> Row | BadRow:
    if len(cells) != width:
        return BadRow(line, _("%(n)s columns; the first line has %(width)s") % {"n": len(cells), "width": width})
    values: dict[str, list[str]] = {}
    for index, kind in columns.items():
        values.setdefault(kind, []).append(GUARDED.sub("", cells[index]))
    front = "<br>".join(values.get("front_html", []) + [_as_html(text) for text in values.get("front", [])])
    backs = values.get("back_html", []) + [_as_html(text) for text in values.get("back", [])]
    return Row(
        line=line,
        # Without an identity of its own a card is its front: a changed back is a change, a changed front a new card.
        guid="".join(values.get("guid", [])).strip() or genanki.guid_for("table", front),
        deck="".join(values.get("deck", [])).strip() or header.deck,
        front=front,
        back="<br>".join(text for text in backs if text),
        tags=[*"".join(values.get("tags", [])).split(), *header.tags],
    )


def _as_html(text: str) -> str:
    return html.escape(text, quote=False).replace("\r\n", "\n").replace("\n", "<br>")
