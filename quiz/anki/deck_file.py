"""Writing an `.apkg` with genanki, in memory."""

import io
import itertools
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import genanki
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

from kb.text import LANGUAGES, Language
from quiz.anki.identity import number_for
from quiz.anki.notes import FIELDS, OWN_FIELDS, BankNote

HEADINGS: dict[Language, dict[str, str]] = {
    "en": {"Short": "In 30 seconds", "Answer": "The full answer", "Rubric": "Rubric", "Mistakes": "Common mistakes"},
    "zh": {"Short": "30 秒回答", "Answer": "完整回答", "Rubric": "评分要点", "Mistakes": "常见错误"},
}
NAMES: dict[Language, str] = {"en": "English", "zh": "中文"}
CSS = """
.card { font-family: system-ui, "PingFang SC", "Noto Sans CJK SC", sans-serif; font-size: 18px; line-height: 1.6;
  text-align: left; max-width: 44em; margin: 0 auto; padding: 0.5em; }
.context { opacity: 0.7; border-left: 3px solid; padding-left: 0.6em; margin-bottom: 0.8em; }
h3 { font-size: 1em; margin: 1.2em 0 0.3em; opacity: 0.7; }
pre, code { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.6em; border: 1px solid #8886; border-radius: 6px; }
table { border-collapse: collapse; } th, td { padding: 0.3em 0.6em; border-bottom: 1px solid #8886; text-align: left; }
.align-right { text-align: right; } .align-center { text-align: center; }
.chip { border: 1px solid #8888; border-radius: 1em; padding: 0 0.5em; text-decoration: none; }
details { margin-top: 1em; } summary { cursor: pointer; opacity: 0.7; }
"""


@dataclass(frozen=True)
class Schedule:
    """What the cards table says of one card; by default a new one. Columns as in Anki's `rslib/src/card/`."""

    type: int = 0  # 0 new, 1 learning, 2 review, 3 relearning
    queue: int = 0  # as type, but 1 for relearning too, and -1 for suspended
    due: int = 0  # new: its place; learning: seconds since 1970; review: days since the collection was made
    interval: int = 0  # days
    factor: int = 0  # ease in thousandths
    reviews: int = 0
    lapses: int = 0
    left: int = 0  # learning steps to go
    data: str = ""  # FSRS's memory state, as JSON


class _Card(genanki.Card):
    """genanki writes new cards only."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(0)
        self.schedule = schedule

    def write_to_db(  # noqa: PLR0917 (as genanki calls it)
        self, cursor: Any, timestamp: float, deck_id: int, note_id: int, id_gen: Iterator[int], due: int = 0
    ) -> None:
        s = self.schedule
        row = (next(id_gen), note_id, deck_id, 0, int(timestamp), -1, s.type, s.queue, s.due, s.interval, s.factor)
        rest = (s.reviews, s.lapses, s.left, 0, 0, 0, s.data)
        cursor.execute(f"INSERT INTO cards VALUES({','.join('?' * 18)})", (*row, *rest))


class _Note(genanki.Note):
    def __init__(self, schedule: Schedule, **values: Any) -> None:
        super().__init__(**values)
        self.schedule = schedule

    @property
    def cards(self) -> list[_Card]:
        """One a note, whichever language it has."""
        return [_Card(self.schedule)]

    def _check_invalid_html_tags_in_fields(self) -> None:
        """Fields are sanitised; the check takes longer than all the rest."""


def question_model() -> genanki.Model:
    """One note type for both languages: `First` decides which is shown and which is folded away."""
    templates = [{"name": "Proofdeck", "qfmt": _both(_front), "afmt": _both(_back)}]
    fields = [{"name": name} for name in FIELDS]
    css = CSS + _code_css()
    return genanki.Model(
        number_for("model", "question", "1"),
        "Proofdeck",
        fields,
        templates,
        css,
        sort_field_index=FIELDS.index("Prompt en"),
    )


def own_model() -> genanki.Model:
    templates = [{"name": "Card 1", "qfmt": "{{Front}}", "afmt": "{{FrontSide}}<hr id=answer>{{Back}}"}]
    fields = [{"name": name} for name in OWN_FIELDS]
    return genanki.Model(number_for("model", "own", "1"), "Proofdeck own card", fields, templates, CSS + _code_css())


def _code_css() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".code")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".nightMode .code")
    return f"{light}\n{dark}"


def _front(language: Language) -> str:
    context = f"Context {language}"
    return f'{{{{#{context}}}}}<div class="context">{{{{{context}}}}}</div>{{{{/{context}}}}}{{{{Prompt {language}}}}}'


def _back(language: Language) -> str:
    parts = [_front(language), '<hr id="answer">', f"{{{{Solution {language}}}}}"]
    for part, heading in HEADINGS[language].items():
        name = f"{part} {language}"
        parts.append(f"{{{{#{name}}}}}<h3>{heading}</h3>{{{{{name}}}}}{{{{/{name}}}}}")
    return "".join([*parts, "<p>{{Source}}</p>"])


def _both(side: Any) -> str:
    """The learner's language in full, the other one folded."""
    en, zh = LANGUAGES
    return f"{{{{#First}}}}{_folded(side, en, zh)}{{{{/First}}}}{{{{^First}}}}{_folded(side, zh, en)}{{{{/First}}}}"


def _folded(side: Any, first: Language, other: Language) -> str:
    return f"{side(first)}<details><summary>{NAMES[other]}</summary>{side(other)}</details>"


def package_bytes(notes: list[tuple[BankNote, Schedule]], created: int) -> bytes:
    """The notes, each in its deck, as an `.apkg`. `created`: the second from which due days are counted."""
    models = {True: question_model(), False: own_model()}
    decks: dict[str, genanki.Deck] = {}
    for note, schedule in notes:
        deck = decks.setdefault(note.deck, genanki.Deck(number_for("deck", note.deck), note.deck))
        model = models[note.question_id is not None]
        tags = [tag.replace(" ", "_") for tag in note.tags]
        deck.add_note(_Note(schedule, model=model, fields=list(note.fields.values()), guid=note.guid, tags=tags))
    return _zipped(_collection(list(decks.values()), created))


def _collection(decks: list[genanki.Deck], created: int) -> bytes:
    now = time.time()
    with closing(sqlite3.connect(":memory:")) as database:
        genanki.Package(decks).write_to_db(database.cursor(), now, itertools.count(int(now * 1000)))
        database.execute("UPDATE col SET crt = ?", (created,))
        database.commit()
        return database.serialize()


def _zipped(collection: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("collection.anki2", collection)
        archive.writestr("media", "{}")
    return target.getvalue()
