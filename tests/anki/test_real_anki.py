"""The exported deck in the real Anki library, and Anki's own packages here."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from quiz.anki.collection import read_notes
from quiz.anki.deck_file import question_model
from quiz.anki.exports import Deck
from quiz.anki.incoming import read_file
from quiz.anki.notes import FIELDS
from quiz.anki.package import unpack_collection
from quiz.anki.selection import Selection
from quiz.models import Card, OwnCard, Question
from quiz.review.days import day_of, today
from quiz.review.services import card_grade, study_settings
from tests.anki.collections import add_note, anki_export, anki_import, notes_of

pytestmark = pytest.mark.django_db


def deck(user=None, language="en", **values) -> Deck:
    return Deck(Selection(**values.pop("selection", {})), user, language, **values)


def fields_and_tags(notes) -> dict[str, tuple[list[str], list[str]]]:
    return {note.guid: (list(note.fields), list(note.tags)) for note in notes}


def written(notes) -> dict[str, tuple[list[str], list[str]]]:
    return {note.guid: (list(note.fields.values()), note.tags) for note in notes}


def read_package(path: Path, folder: Path) -> list:
    with path.open("rb") as file:
        unpack_collection(file, folder / "unpacked")
    return list(read_notes(folder / "unpacked"))


def test_count_fields_tags_and_decks_arrive(bank, collection, tmp_path):
    log = anki_import(collection, deck().content(), tmp_path)
    notes = notes_of(collection)
    assert (len(log.new), collection.note_count(), collection.card_count()) == (len(bank),) * 3
    assert fields_and_tags(notes) == written(deck().notes())
    names = {collection.decks.name(card.current_deck_id()) for note in notes for card in note.cards()}
    assert names == {"Proofdeck::LoRA", "Proofdeck::Math"}
    assert {note.note_type()["name"] for note in notes} == {"Proofdeck"}
    assert [f["name"] for f in notes[0].note_type()["flds"]] == FIELDS
    assert ["difficulty::3", "kind::open", "point::low-rank", "topic::lora"] in [note.tags for note in notes]


def test_decks_are_named_in_the_learners_language(bank, collection, tmp_path):
    anki_import(collection, deck(language="zh").content(), tmp_path)
    assert collection.decks.by_name("Proofdeck::低秩适配")
    assert collection.decks.by_name("Proofdeck::LoRA") is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_cards_show_one_language_and_fold_the_other(bank, collection, tmp_path, language):
    first, folded = ("Why is", "为什么") if language == "en" else ("为什么", "Why is")
    anki_import(collection, deck(language=language).content(), tmp_path)
    card = collection.get_card(collection.find_cards("Slug:why-low-rank")[0])
    shown, hidden = card.question().split("<details>")
    assert first in shown
    assert folded in hidden
    assert r"\(\Delta W = BA\)" in shown
    assert "(reproduced)" in card.answer()


def test_a_second_import_adds_nothing(bank, collection, tmp_path):
    anki_import(collection, deck().content(), tmp_path)
    log = anki_import(collection, deck().content(), tmp_path)
    assert (len(log.new), collection.note_count()) == (0, len(bank))


def test_a_changed_question_updates_its_note(bank, collection, tmp_path):
    anki_import(collection, deck().content(), tmp_path)
    note = collection.get_note(collection.find_notes("Slug:when-not")[0])
    collection.db.execute("update notes set mod = mod - 100")  # as if it had been imported earlier
    Question.objects.filter(slug="when-not").update(prompt_en="When does it fail?")
    log = anki_import(collection, deck().content(), tmp_path)
    note.load()
    assert "When does it fail?" in note["Prompt en"]
    assert len(log.new) == 0
    assert collection.note_count() == len(bank)


# --- scheduling -------------------------------------------------------------------------------------------------------


@pytest.fixture
def reviewed(bank, alice) -> Card:
    """Twice good ten days ago, so due on a known day."""
    card = Card.objects.create(owner=alice, question=bank[0], position=3)
    for days in (30, 20):
        card = card_grade(card=card, rating=4, token=uuid.uuid4(), at=timezone.now() - timedelta(days=days))
    return card


def test_the_schedule_arrives(reviewed, alice, collection, tmp_path):
    Card.objects.create(owner=alice, question=Question.objects.get(slug="when-not"), position=7, is_suspended=True)
    anki_import(collection, deck(alice, with_scheduling=True).content(), tmp_path, with_scheduling=True)
    card = collection.get_card(collection.find_cards("Slug:why-low-rank")[0])
    settings, due = study_settings(alice), card.due - collection.sched.today
    assert (card.type, card.queue, card.reps, card.lapses) == (2, 2, 2, 0)
    assert due == (day_of(reviewed.due, settings) - today(settings)).days
    assert card.ivl == (reviewed.due.date() - reviewed.last_review.date()).days
    assert 1300 <= card.factor <= 3000
    assert card.memory_state.stability == pytest.approx(reviewed.stability, abs=1e-3)
    assert card.memory_state.difficulty == pytest.approx(reviewed.difficulty, abs=1e-2)
    assert card.desired_retention == pytest.approx(settings.scheduling.desired_retention)
    assert card.last_review_time == int(reviewed.last_review.timestamp())
    suspended = collection.get_card(collection.find_cards("Slug:when-not")[0])
    assert (suspended.type, suspended.queue) == (0, -1)


@pytest.mark.parametrize("ratings", [[1], [4, 1]])
def test_cards_in_learning_arrive_as_such(bank, alice, collection, tmp_path, ratings):
    card = Card.objects.create(owner=alice, question=bank[0])
    for at, rating in zip((timezone.now() - timedelta(days=20), timezone.now()), ratings, strict=False):
        card = card_grade(card=card, rating=rating, token=uuid.uuid4(), at=at)
    anki_import(collection, deck(alice, with_scheduling=True).content(), tmp_path, with_scheduling=True)
    there = collection.get_card(collection.find_cards("Slug:why-low-rank")[0])
    assert card.state in (Card.LEARNING, Card.RELEARNING)
    assert (there.type, there.queue, there.due) == (card.state, 1, int(card.due.timestamp()))


def test_without_it_every_card_is_new(reviewed, alice, collection, tmp_path):
    anki_import(collection, deck(alice).content(), tmp_path, with_scheduling=True)
    assert collection.find_cards("is:new") == collection.find_cards("")


# --- and back ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_legacy", [True, False])
def test_what_anki_exports_again_has_lost_nothing(bank, collection, tmp_path, is_legacy):
    anki_import(collection, deck().content(), tmp_path)
    path = anki_export(collection, tmp_path, is_legacy=is_legacy)
    assert written(read_package(path, tmp_path)) == written(deck().notes())
    with path.open("rb") as file:
        reading = read_file(file, "out.apkg")
    assert (reading.in_bank, reading.cards, reading.left_out_count) == (len(bank), [], 0)


def test_our_own_file_is_recognised(bank, tmp_path):
    path = tmp_path / "ours.apkg"
    path.write_bytes(deck().content())
    assert written(read_package(path, tmp_path)) == written(deck().notes())
    with path.open("rb") as file:
        assert read_file(file, "ours.apkg").in_bank == len(bank)


def test_own_cards_survive_the_way_through_anki(alice, collection, tmp_path):
    front = r'<p>What is <span class="arithmatex">\(a &lt; b\)</span>?</p>'
    here = {"deck": "Mine::A", "front": front, "back": "<b>x</b>", "tags": ["t::u"]}
    OwnCard.objects.create(owner=alice, guid="abc", **here)
    anki_import(collection, deck(alice, selection={"scope": "own"}).content(), tmp_path)
    path = anki_export(collection, tmp_path)
    with path.open("rb") as file:
        (card,) = read_file(file, "out.apkg").cards
    assert card.guid == "abc"
    assert {name: getattr(card, name) for name in here} == here


@pytest.mark.parametrize("is_legacy", [True, False])
def test_ankis_own_note_types_become_cards(db, collection, tmp_path, is_legacy):
    add_note(collection, "Basic", [r"What is \(r\)?", "<b>rank</b>"], tags="one two::three")
    add_note(collection, "Basic (and reversed card)", ["alpha", "α"], deck="Other")
    add_note(collection, "Cloze", ["{{c1::LoRA::method}} trains {{c2::A and B}}", "extra"])
    with anki_export(collection, tmp_path, is_legacy=is_legacy).open("rb") as file:
        reading = read_file(file, "mine.apkg")
    assert {(card.deck, card.front, card.back) for card in reading.cards} == {
        ("Own::Deck", r'What is <span class="arithmatex">\(r\)</span>?', "<b>rank</b>"),
        ("Other", "alpha", "α"),
        ("Other", "α", "alpha"),
        ("Own::Deck", "<strong>[method]</strong> trains A and B", "<strong>LoRA</strong> trains A and B<br>\nextra"),
        ("Own::Deck", "LoRA trains <strong>[…]</strong>", "LoRA trains <strong>A and B</strong><br>\nextra"),
    }
    assert reading.cards[0].tags == ["one", "two::three"]
    assert len({card.guid for card in reading.cards}) == 5


def test_the_note_type_is_the_same_in_every_export():
    assert question_model().model_id == 1102982436168
