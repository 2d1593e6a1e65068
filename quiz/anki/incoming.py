"""From a file to cards that could be kept: which are in it, and what has to be left out and why."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.utils.translation import gettext as _

from quiz.anki.collection import Note, read_notes
from quiz.anki.fields import from_anki
from quiz.anki.identity import bank_guids, card_guid
from quiz.anki.limits import MAX_DECK_NAME, MAX_FIELD, MAX_SECONDS, MAX_TABLE, MAX_TAG, MAX_TAGS, Refused
from quiz.anki.package import unpack_collection
from quiz.anki.table import BadRow, Row, read_table
from quiz.anki.templates import TooLong, sides

SHOWN_LEFT_OUT = 50


@dataclass(frozen=True)
class Incoming:
    """One card as it would be kept."""

    guid: str
    deck: str
    front: str
    back: str
    tags: list[str]


@dataclass
class Reading:
    """All that was found in a file."""

    cards: list[Incoming] = field(default_factory=list)
    in_bank: int = 0  # notes that this site exported: their questions are here already
    media: int = 0  # pictures and sounds that are left out
    left_out: list[dict[str, str]] = field(default_factory=list)  # the first few, each with place and reason
    left_out_count: int = 0
    guids: set[str] = field(default_factory=set)

    def leave_out(self, place: str, reason: str) -> None:
        self.left_out_count += 1
        if len(self.left_out) < SHOWN_LEFT_OUT:
            self.left_out.append({"place": place[:100], "reason": reason})

    def add(self, place: str, card: Incoming) -> None:
        """Keep the card after a look at each of its parts."""
        if reason := _fault(card):
            self.leave_out(place, reason)
            return
        front, back = from_anki(card.front), from_anki(card.back)
        if card.guid in self.guids:
            self.leave_out(place, _("the same card stands further up"))
        elif not front.html:
            self.leave_out(place, _("its front is empty"))
        else:
            self.guids.add(card.guid)
            self.media += len(front.media) + len(back.media)
            self.cards.append(Incoming(card.guid, card.deck, front.html, back.html, card.tags))


def _fault(card: Incoming) -> str:
    """What is not allowed in a card, empty when nothing is wrong."""
    for name, text, most in (
        (_("front"), card.front, MAX_FIELD),
        (_("back"), card.back, MAX_FIELD),
        (_("deck"), card.deck, MAX_DECK_NAME),
        (_("tag"), max(card.tags, key=len, default=""), MAX_TAG),
    ):
        if len(text) > most:
            values = {"name": name, "n": len(text), "most": most}
            return _("%(name)s of %(n)s characters; allowed: %(most)s") % values
    if len(card.tags) > MAX_TAGS:
        return _("%(n)s tags; allowed: %(most)s") % {"n": len(card.tags), "most": MAX_TAGS}
    return ""


def read_file(file: BinaryIO, name: str) -> Reading:
    """An `.apkg`, `.csv`, `.tsv` or `.txt`. Refused for anything else, and for what its reader refuses."""
    deck, suffix = _default_deck(name), Path(name).suffix.lower()
    if suffix in (".apkg", ".colpkg"):
        return read_package(file, deck)
    if suffix in (".csv", ".tsv", ".txt"):
        return read_rows(file.read(MAX_TABLE + 1), deck, is_tsv=suffix == ".tsv")
    message = _("%(name)s is none of the files that can be read: .apkg, .colpkg, .csv, .tsv, .txt.")
    raise Refused(message % {"name": name[:100]})


def _default_deck(name: str) -> str:
    return Path(name).stem[:MAX_DECK_NAME].strip() or "deck"


def read_package(file: BinaryIO, deck: str) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collection"
        unpack_collection(file, path)
        return _reading(_package_cards(note, deck) for note in read_notes(path))


def read_rows(raw: bytes, deck: str, *, is_tsv: bool = False) -> Reading:
    return _reading(_table_card(row, deck) for row in read_table(raw, is_tsv=is_tsv))


# A place, the guid of its note, and the cards found there or the reason why there are none.
Found = tuple[str, str, list[Incoming], str]


def _reading(found: Iterator[Found]) -> Reading:
    reading, known = Reading(), bank_guids()
    deadline = time.thread_time() + MAX_SECONDS
    for place, guid, cards, reason in found:
        if time.thread_time() > deadline:
            raise Refused(_("Reading the file takes longer than %(most)s seconds.") % {"most": MAX_SECONDS})
        if guid in known:
            reading.in_bank += 1
            continue
        if reason:
            reading.leave_out(place, reason)
        for card in cards:
            reading.add(place, card)
    return reading


def _package_cards(note: Note, deck: str) -> Found:
    place = _("note %(guid)s") % {"guid": note.guid[:64]}
    if not note.note_type.templates or len(note.fields) != len(note.note_type.fields):
        return place, note.guid, [], _("it does not have the fields of its note type")
    cards: list[Incoming] = []
    for order, home in note.cards:
        try:
            front, back = sides(note, order)
        except (TooLong, IndexError) as e:
            too_long = _("a card of more than %(most)s characters, which is what is allowed") % {"most": MAX_FIELD}
            return place, note.guid, cards, too_long if isinstance(e, TooLong) else _("a card without a template")
        cards.append(Incoming(card_guid(note.guid, order), _plain_deck(home, deck), front, back, note.tags))
    return place, note.guid, cards, "" if cards else _("it has no card")


def _plain_deck(name: str, default: str) -> str:
    """Anki's `Default` says nothing; the file's name does."""
    return default if name in ("", "Default") else name.replace("\x1f", "::")


def _table_card(row: Row | BadRow, deck: str) -> Found:
    place = _("line %(line)s") % {"line": row.line}
    if isinstance(row, BadRow):
        return place, "", [], row.reason
    card = Incoming(card_guid(row.guid, 0), row.deck or deck, row.front, row.back, row.tags)
    return place, row.guid, [card], ""
