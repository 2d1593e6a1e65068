"""Own cards from a file, in two steps: what was read waits to be looked at, then it is kept."""

import json
import zlib
from collections import Counter
from dataclasses import astuple
from typing import Any, BinaryIO
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from quiz.anki.incoming import Incoming, Reading, read_file
from quiz.anki.limits import MAX_OWN_CARDS, Refused
from quiz.models import Card, DeckImport, OwnCard

FIELDS = ("deck", "front", "back", "tags")
BATCH = 500


def import_prepare(*, user: User, file: BinaryIO, name: str, token: UUID) -> DeckImport:
    """Read a file and keep what is in it until it is confirmed. The same token gives the same import.

    Whatever waited before is dropped. Refused for a file that cannot be read.
    """
    if found := DeckImport.objects.filter(token=token).first():
        return _own(found, user)
    reading = read_file(file, name)
    with transaction.atomic():
        DeckImport.objects.filter(owner=user, finished_at=None).delete()
        packed = zlib.compress(json.dumps([astuple(card) for card in reading.cards]).encode(), 3)
        report = _report(user, reading.cards) | _findings(reading)
        values = {"owner": user, "name": name[-200:], "packed": packed, "report": report}
        made, _is_new = DeckImport.objects.get_or_create(token=token, defaults=values)
        return _own(made, user)


def _own(deck_import: DeckImport, user: User) -> DeckImport:
    if deck_import.owner_id != user.pk:
        raise Refused(_("This form was sent before, by somebody else. Load the page again."))
    return deck_import


def import_confirm(deck_import: DeckImport) -> DeckImport:
    """Keep the cards: new ones are added, changed ones changed, the rest left alone. Confirmed twice, kept once."""
    with transaction.atomic():
        deck_import = DeckImport.objects.select_for_update().get(pk=deck_import.pk)
        if deck_import.finished_at:
            return deck_import
        cards = waiting_cards(deck_import)
        user = deck_import.owner
        deck_import.report |= _report(user, cards)
        _keep(user, cards)
        deck_import.packed, deck_import.finished_at = b"", timezone.now()
        deck_import.save(update_fields=["report", "packed", "finished_at"])
    return deck_import


def import_discard(deck_import: DeckImport) -> None:
    DeckImport.objects.filter(pk=deck_import.pk, finished_at=None).delete()


def waiting_cards(deck_import: DeckImport, most: int | None = None) -> list[Incoming]:
    """What would be kept; nothing once it is."""
    if not deck_import.packed:
        return []
    rows: list[list[Any]] = json.loads(zlib.decompress(deck_import.packed))
    return [Incoming(*row) for row in rows[:most]]


def _findings(reading: Reading) -> dict[str, Any]:
    return {
        "in_bank": reading.in_bank,
        "media": reading.media,
        "left_out": reading.left_out,
        "left_out_count": reading.left_out_count,
    }


def _report(user: User, cards: list[Incoming]) -> dict[str, Any]:
    """How many of the cards are new, changed and the same as here; how many each deck gets."""
    here = {card.guid: card for card in OwnCard.objects.filter(owner=user)}
    new = sum(card.guid not in here for card in cards)
    changed = sum(card.guid in here and _differs(card, here[card.guid]) for card in cards)
    if len(here) + new > MAX_OWN_CARDS:
        values = {"n": len(here) + new, "most": MAX_OWN_CARDS}
        raise Refused(_("You would have %(n)s cards of your own; allowed: %(most)s.") % values)
    decks = Counter(card.deck for card in cards)
    return {"new": new, "changed": changed, "same": len(cards) - new - changed, "decks": dict(sorted(decks.items()))}


def _differs(card: Incoming, row: OwnCard) -> bool:
    return any(getattr(card, name) != getattr(row, name) for name in FIELDS)


def _keep(user: User, cards: list[Incoming]) -> None:
    here = {card.guid: card for card in OwnCard.objects.filter(owner=user)}
    changed = [here[card.guid] for card in cards if card.guid in here and _differs(card, here[card.guid])]
    coming = {card.guid: card for card in cards}
    for row in changed:
        for name in FIELDS:
            setattr(row, name, getattr(coming[row.guid], name))
    OwnCard.objects.bulk_update(changed, FIELDS, batch_size=BATCH)
    new = [OwnCard(owner=user, **_columns(card)) for card in cards if card.guid not in here]
    cards_add(user, OwnCard.objects.bulk_create(new, batch_size=BATCH))


def _columns(card: Incoming) -> dict[str, Any]:
    return {"guid": card.guid} | {name: getattr(card, name) for name in FIELDS}


def cards_add(user: User, rows: list[OwnCard]) -> None:
    """Own cards come into review in their order, in turns with the questions of the bank, whose places begin at 0 too.

    What `quiz.review.services.own_card_add` does for one card, for thousands.
    """
    last = Card.objects.filter(owner=user, question=None).aggregate(last=Max("position"))["last"]
    start = 0 if last is None else last + 1
    cards = [Card(owner=user, own_card=row, position=start + n) for n, row in enumerate(rows)]
    Card.objects.bulk_create(cards, batch_size=BATCH)
