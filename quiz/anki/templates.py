"""Anki's card templates: what a note shows on the front and on the back of one of its cards.

https://docs.ankiweb.net/templates/fields.html
"""

import re
from collections.abc import Mapping

from django.utils.html import strip_tags

from quiz.anki.collection import Note, Template
from quiz.anki.limits import MAX_FIELD, MAX_TEMPLATE

TAG = re.compile(r"\{\{([^{}]*)\}\}")
CLOZE = re.compile(r"(\{\{c\d{1,3}::|\}\})")
ANSWER_LINE = re.compile(r"<hr\b[^<>]*\bid\s*=\s*[\"']?answer[\"']?[^<>]*>", re.IGNORECASE)
# Names that every template knows, besides the fields of its note.
SPECIAL = {"Tags", "Type", "Deck", "Subdeck", "Card", "CardFlag", "CardID"}


class TooLong(ValueError):
    """A card longer than a field may be."""


def sides(note: Note, order: int) -> tuple[str, str]:
    """Front and back of the note's card with that number, both without the other. IndexError: it has no such card."""
    templates = note.note_type.templates
    template = templates[0 if note.note_type.is_cloze else order]
    number = order + 1 if note.note_type.is_cloze else 0
    return _side(template, note.fields, number, is_front=True), _side(template, note.fields, number, is_front=False)


def _side(template: Template, fields: Mapping[str, str], number: int, *, is_front: bool) -> str:
    """Put together up to MAX_FIELD characters; a section shows when its field is not empty."""
    source = template.front if is_front else template.back
    if len(source) > MAX_TEMPLATE:
        raise TooLong
    shown: list[str] = []
    length = 0
    sections: list[bool] = []
    for index, part in enumerate(TAG.split(source)):
        mark, name = part[:1], part[1:].strip()
        if index % 2 and mark in "#^" and mark:
            sections.append(bool(_plain(fields.get(name, ""))) == (mark == "#"))
        elif index % 2 and mark == "/":
            sections[-1:] = []
        elif all(sections):
            shown.append(_value(part.strip(), fields, number, is_front=is_front) if index % 2 else part)
            length += len(shown[-1])
        if length > MAX_FIELD:
            raise TooLong
    return ANSWER_LINE.sub("", "".join(shown))


def _value(tag: str, fields: Mapping[str, str], number: int, *, is_front: bool) -> str:
    """A field through its filters: `{{cloze:Text}}`, `{{type:Back}}`, `{{hint:Extra}}`, `{{text:Front}}`."""
    *filters, name = [part.strip() for part in tag.split(":")]
    text = fields.get(name, "")
    if name == "FrontSide" or name in SPECIAL:
        return ""
    if "cloze" in filters:
        return cloze(text, number, is_front=is_front)
    if is_front and {"type", "hint"} & set(filters):
        return ""  # what is behind it is the answer
    return strip_tags(text) if "text" in filters else text


def cloze(text: str, number: int, *, is_front: bool) -> str:
    """`{{c1::rank::hint}}` is `[hint]` on the front of card 1 and **rank** on its back; other gaps are filled."""
    open_gaps: list[tuple[str, list[str]]] = [("", [])]
    for part in CLOZE.split(text):
        if part.startswith("{{c") and part.endswith("::"):
            open_gaps.append((part, []))
        elif part == "}}" and len(open_gaps) > 1:
            opening, content = open_gaps.pop()
            open_gaps[-1][1].append(_gap("".join(content), int(opening[3:-2]) == number, is_front=is_front))
        else:
            open_gaps[-1][1].append(part)
    return "".join(opening + "".join(content) for opening, content in open_gaps)


def _gap(content: str, is_asked: bool, *, is_front: bool) -> str:
    answer, _separator, hint = content.partition("::")
    if not is_asked:
        return answer
    return f"<strong>[{hint or '…'}]</strong>" if is_front else f"<strong>{answer}</strong>"


def _plain(text: str) -> str:
    """Empty for a field that has nothing but tags; a picture counts."""
    return text.strip() if "<img" in text else re.sub(r"<[^<>]*>|&nbsp;|\s", "", text)
