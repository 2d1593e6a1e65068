"""The bank's questions as notes: what a deck shows of each, in both languages."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.utils import translation
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from kb.markup import Resolver
from kb.text import LANGUAGES, Language, pick
from labs.numbers import format_quantity
from quiz.anki.fields import source_of, to_anki
from quiz.anki.identity import question_guid
from quiz.asking import Asked, accepted_gaps, ask
from quiz.models import OwnCard, Question
from quiz.sources import rows_in_trees
from quiz.texts import numbered_gaps

DJANGO_LANGUAGE: dict[Language, str] = {"en": "en", "zh": "zh-hans"}
PARTS = ("Context", "Prompt", "Solution", "Short", "Answer", "Rubric", "Mistakes")
# `First` says by a word in it that English comes first; empty, Chinese does.
FIELDS = ["Slug", "First", *(f"{part} {language}" for part in PARTS for language in LANGUAGES), "Source"]
OWN_FIELDS = ["Front", "Back"]


@dataclass(frozen=True)
class BankNote:
    """One note of a deck, ready to be written."""

    guid: str
    deck: str
    fields: dict[str, str]
    tags: list[str]
    question_id: int | None = None
    own_card_id: int | None = None


def question_notes(ids: Iterable[int], language: Language, site: str = "") -> list[BankNote]:
    """Notes of the questions in the order of their trees, each follow-up after what it follows."""
    chosen = set(ids)
    rows = {row.pk: row for row in rows_in_trees()}
    asked = [ask(row, row.slug) for row in rows.values() if row.pk in chosen]
    sides = [_in_language(asked, rows, shown, site) for shown in LANGUAGES]
    return [_note(one, en | zh, language, site) for one, en, zh in zip(asked, *sides, strict=True)]


def _note(asked: Asked, texts: dict[str, str], language: Language, site: str) -> BankNote:
    question = asked.question
    source = f'<a href="{site}{question.get_absolute_url()}">{question.slug}</a>' if site else ""
    named = {"Slug": question.slug, "First": "English" if language == "en" else "", "Source": source} | texts
    return BankNote(
        guid=question_guid(question.slug),
        deck=f"Proofdeck::{_deck_part(pick(question.topic, 'title', language))}",
        fields={name: named[name] for name in FIELDS},
        tags=_tags(question),
        question_id=question.pk,
    )


def _deck_part(title: str) -> str:
    """`::` would make another level."""
    return title.replace("::", ":")


def _tags(question: Question) -> list[str]:
    tags = [f"topic::{question.topic.slug}", f"difficulty::{question.difficulty}", f"kind::{question.kind}"]
    tags += [f"point::{point.slug}" for point in question.points.all()]
    return sorted([*tags, "follow-up"] if question.parent_id else tags)


def own_notes(cards: Iterable[OwnCard]) -> list[BankNote]:
    return [
        BankNote(
            guid=card.guid,
            deck=card.deck,
            fields={"Front": source_of(card.front), "Back": source_of(card.back)},
            tags=card.tags,
            own_card_id=card.pk,
        )
        for card in cards
    ]


# --- texts ------------------------------------------------------------------------------------------------------------


def _in_language(asked: list[Asked], rows: dict[int, Question], language: Language, site: str) -> list[dict[str, str]]:
    """The fields of each question in one language, chips loaded once for all."""
    with translation.override(DJANGO_LANGUAGE[language]):
        resolver = Resolver(language)
        resolver.prepare(source for one in asked for source in _sources(one, language))
        texts = [_Texts(one, rows, resolver) for one in asked]
        return [{f"{part} {language}": to_anki(text.part(part), site) for part in PARTS} for text in texts]


def _sources(asked: Asked, language: Language) -> list[str]:
    question = asked.question
    found = [pick(question, name, language) for name in ("prompt", "short", "answer", "mistakes")]
    found += [pick(point, "text", language) for point in question.rubric.all()]
    return found + [pick(c, name, language) for c in question.choices.all() for name in ("text", "feedback")]


@dataclass(frozen=True)
class _Texts:
    """The parts of one question as HTML, in the language of the resolver."""

    asked: Asked
    rows: dict[int, Question]
    resolver: Resolver

    def part(self, name: str) -> str:
        makers: dict[str, Callable[[], str]] = {
            "Context": self.context,
            "Prompt": self.prompt,
            "Solution": self.solution,
            "Short": lambda: self.markdown("short"),
            "Answer": lambda: self.markdown("answer"),
            "Rubric": self.rubric,
            "Mistakes": lambda: self.markdown("mistakes"),
        }
        return makers[name]()

    def markdown(self, name: str) -> str:
        return self.html(pick(self.asked.question, name, self.resolver.language))

    def html(self, source: str) -> SafeString:
        return self.resolver.html(source) if source else SafeString("")

    def context(self) -> str:
        """What a follow-up follows."""
        parent = self.rows.get(self.asked.question.parent_id or 0)
        return self.html(pick(ask(parent, parent.slug).question, "prompt", self.resolver.language)) if parent else ""

    def prompt(self) -> str:
        """With what has to be chosen, ordered or filled in."""
        question = self.asked.question
        match question.kind:
            case Question.SINGLE | Question.MULTI:
                more = self.list("ol", [pick(c, "text", self.resolver.language) for c in self.asked.choices()])
            case Question.ORDER:
                more = self.list("ul", [text.in_language(self.resolver.language) for _n, text in self.asked.steps()])
            case Question.CLOZE:
                more = self.html(numbered_gaps(self.cloze()))
            case Question.NUMERIC | Question.PARAMETRIC if self.asked.unit():
                more = format_html("<p>{} {}</p>", _("Unit:"), self.asked.unit())
            case _:
                more = ""
        return self.markdown("prompt") + more

    def cloze(self) -> str:
        texts = self.asked.question.spec["cloze"]
        return str(texts.get(self.resolver.language) or texts["en"])

    def solution(self) -> str:
        """What the machine would take for right; nothing for an open question."""
        question = self.asked.question
        match question.kind:
            case Question.SINGLE | Question.MULTI:
                return self.choices()
            case Question.ORDER:
                return self.list(
                    "ol", [text.in_language(self.resolver.language) for text in self.asked.ordered_steps()]
                )
            case Question.CLOZE:
                return format_html("<ol>{}</ol>", _items(gap[0] for gap in accepted_gaps(question)))
            case Question.NUMERIC | Question.PARAMETRIC:
                return format_html("<p><b>{}</b></p>", format_quantity(self.asked.result(), self.asked.unit()))
        return ""

    def choices(self) -> str:
        """In the order of the front, each with its verdict and why."""
        rows = [
            (
                _("right") if choice.is_correct else _("wrong"),
                self.html(pick(choice, "text", self.resolver.language)),
                self.html(pick(choice, "feedback", self.resolver.language)),
            )
            for choice in self.asked.choices()
        ]
        return format_html("<ol>{}</ol>", format_html_join("", "<li><b>{}</b> {}{}</li>", rows))

    def rubric(self) -> str:
        points = self.asked.question.rubric.all()
        return self.list("ul", [pick(point, "text", self.resolver.language) for point in points])

    def list(self, tag: str, sources: list[str]) -> str:
        if not sources:
            return ""
        return format_html("<{0}>{1}</{0}>", mark_safe(tag), _items(self.html(source) for source in sources))  # noqa: S308


def _items(texts: Iterable[str]) -> SafeString:
    return format_html_join("", "<li>{}</li>", ((text,) for text in texts))
