"""Making deck files: at once when they are small, in a thread of its own when they are not.

A file is named by a digest of everything that it is made from, so that a deck asked for again is there already, and a
page that waits for one needs nothing but its address. Measured: 591 notes take 3.4 s of processor time, their digest
0.1 s.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model, QuerySet
from django.utils import timezone

from kb.models import Point, Topic
from kb.text import Language
from labs.models import Claim
from quiz.anki.csv_file import csv_bytes
from quiz.anki.deck_file import Schedule, package_bytes
from quiz.anki.notes import BankNote, own_notes, question_notes
from quiz.anki.schedules import created, schedules
from quiz.anki.selection import Selection, chosen_own_cards, chosen_questions
from quiz.models import Card, Choice, Question, RubricPoint
from quiz.review.services import study_settings

logger = logging.getLogger(__name__)

Format = Literal["apkg", "csv"]

# Raise when the same content must make another file than before.
DECK_VERSION = 1
# Notes that a request makes itself; 100 take at most a second.
MAX_AT_ONCE = 100
KEPT_SECONDS = 24 * 3600
# A file that has been in the making for longer was left behind by a process that ended.
ABANDONED_SECONDS = 300


class NothingChosen(ValueError):
    """No card fits the selection."""


class NotMade(RuntimeError):
    """Making the file in the background failed; asking again tries again."""


@dataclass(frozen=True)
class Deck:
    """One file to be made, for one learner; without a user nobody's."""

    selection: Selection
    user: User | None
    language: Language
    format: Format = "apkg"
    site: str = ""  # where links lead
    with_scheduling: bool = False
    with_bom: bool = True

    def question_ids(self) -> list[int]:
        return sorted(set(chosen_questions(self.selection, self.user, self.language).values_list("pk", flat=True)))

    def notes(self) -> list[BankNote]:
        own = own_notes(chosen_own_cards(self.selection, self.user))
        ids = self.question_ids()
        return own + (question_notes(ids, self.language, self.site) if ids else [])

    def content(self) -> bytes:
        """The file. NothingChosen when no card fits."""
        notes = self.notes()
        if not notes:
            raise NothingChosen
        if self.format == "csv":
            return csv_bytes(notes, with_bom=self.with_bom)
        return package_bytes(*self._scheduled(notes))

    def _scheduled(self, notes: list[BankNote]) -> tuple[list[tuple[BankNote, Schedule]], int]:
        """Every note with its card's schedule, and the second from which due days count."""
        if not (self.with_scheduling and self.user):
            return [(note, Schedule(due=place)) for place, note in enumerate(notes)], int(time.time())
        here = schedules(self.user, self._cards())
        found = [here.get((note.question_id, note.own_card_id)) for note in notes]
        pairs = [(note, s or Schedule(due=place)) for place, (note, s) in enumerate(zip(notes, found, strict=True))]
        return pairs, created(study_settings(self.user))

    def _cards(self) -> QuerySet[Card]:
        return Card.objects.filter(owner=self.user).order_by("pk")

    def path(self) -> Path:
        """Where the file is, or will be."""
        return settings.DATA_DIR / "decks" / f"{self._digest()}.{self.format}"

    def _digest(self) -> str:
        """Of all rows that the file is made from."""
        ids = self.question_ids()
        digest = hashlib.sha256()
        options = {**asdict(self) | {"user": self.user.pk if self.user else None}, "version": DECK_VERSION}
        digest.update(json.dumps(options, sort_keys=True).encode())
        for rows in self._rows(ids):
            for row in rows:
                digest.update(repr(row).encode())
        return digest.hexdigest()

    def _rows(self, ids: list[int]) -> Iterable[QuerySet[Any, Any]]:
        yield _values(Question, "covers").filter(pk__in=ids)
        yield _values(Question.points.through)
        yield _values(RubricPoint).filter(question__in=ids)
        yield _values(Choice).filter(question__in=ids)
        yield _values(Claim)  # a text shows the verdict of the day
        yield _values(Topic)
        yield _values(Point, "status")
        yield chosen_own_cards(self.selection, self.user).values_list("guid", "deck", "front", "back", "tags")
        if self.with_scheduling and self.user:
            yield self._cards().values_list()


def _values(model: type[Model], *without: str) -> QuerySet[Any, Any]:
    names = [field.name for field in model._meta.concrete_fields if field.name not in without]
    return model._default_manager.order_by("pk").values_list(*names)


def deck_count(deck: Deck) -> int:
    return len(deck.question_ids()) + chosen_own_cards(deck.selection, deck.user).count()


def deck_file(deck: Deck) -> Path | None:
    """The finished file; None while it is being made in the background. NothingChosen when no card fits."""
    path = deck.path()
    if path.exists():
        return path
    failed = path.with_suffix(".failed")
    if failed.exists():
        failed.unlink(missing_ok=True)
        raise NotMade
    count = deck_count(deck)
    if not count:
        raise NothingChosen
    if count <= MAX_AT_ONCE:
        _write(deck, path)
        return path
    _start(deck, path)
    return None


def _start(deck: Deck, path: Path) -> None:
    """One thread a file, even when several processes are asked for it."""
    mark = path.with_suffix(".making")
    path.parent.mkdir(parents=True, exist_ok=True)
    if mark.exists() and time.time() - mark.stat().st_mtime > ABANDONED_SECONDS:
        mark.unlink(missing_ok=True)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    threading.Thread(target=_make, args=(deck, path, mark), name="deck", daemon=True).start()


def _make(deck: Deck, path: Path, mark: Path) -> None:
    try:
        _write(deck, path)
    except Exception:
        logger.exception("A deck could not be made")
        path.with_suffix(".failed").touch()
    finally:
        mark.unlink(missing_ok=True)
        connection.close()


def _write(deck: Deck, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_old(path.parent)
    partial = path.with_suffix(f".{uuid4().hex}")
    partial.write_bytes(deck.content())
    partial.replace(path)


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink(missing_ok=True)


def file_name(deck: Deck) -> str:
    return f"proofdeck-{deck.selection.scope}-{timezone.localdate():%Y-%m-%d}.{deck.format}"
