"""Who a note is, in every deck that it stands in."""

import hashlib

import genanki

from quiz.models import Question

MAX_GUID = 64  # characters, of OwnCard.guid


def question_guid(slug: str) -> str:
    """Follows from the slug alone, so that a deck exported again updates the notes of the one before."""
    return str(genanki.guid_for("proofdeck", slug))


def bank_guids() -> dict[str, str]:
    """Slugs of all questions and follow-ups by their guid."""
    return {question_guid(slug): slug for slug in Question.objects.values_list("slug", flat=True)}


def card_guid(note_guid: str, order: int) -> str:
    """A note may make several cards; the first one has the note's guid."""
    guid = f"{note_guid}:{order}" if order else note_guid
    return guid if len(guid) <= MAX_GUID else hashlib.sha256(guid.encode()).hexdigest()


def number_for(*names: str) -> int:
    """A stable id for a deck or a note type, in the range that Anki's own have."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return (1 << 40) + int.from_bytes(digest[:4])
