"""The pages: decks, import with its preview, own cards, export."""

import time
import uuid
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from quiz.anki import exports, importing
from quiz.anki.collection import read_notes
from quiz.anki.importing import import_confirm, import_prepare
from quiz.anki.package import unpack_collection
from quiz.anki.selection import Selection, chosen_questions
from quiz.models import Attempt, Card, DayTally, DeckImport, OwnCard, ReviewEvent
from quiz.review.services import card_grade, study_settings
from quiz.sittings.options import QuizOptions
from quiz.sittings.selection import questions_matching
from tests.builders import make_question

pytestmark = pytest.mark.django_db

TABLE = "front,back,deck,tags\nWhat is \\(r\\)?,rank,D::E,a b\nsecond,<b>,D::E,\n"


def body(response, status: int = 200) -> str:
    assert response.status_code == status
    return response.content.decode()


def send(client: Client, content: str | bytes = TABLE, name: str = "mine.csv", **values: str):
    raw = content.encode() if isinstance(content, str) else content
    form = {"token": str(uuid.uuid4()), "file": SimpleUploadedFile(name, raw), **values}
    return client.post("/decks/import/", form)


def bring(client: Client, content: str = TABLE) -> DeckImport:
    """Import and confirm."""
    page = send(client, content).url
    client.post(f"{page}confirm/")
    return DeckImport.objects.get()


@pytest.fixture
def own_card(alice) -> OwnCard:
    return OwnCard.objects.create(owner=alice, guid="g", deck="D", front="<b>f</b>", back="b", tags=["t"])


# --- import -----------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_before_it_is_confirmed(as_alice, alice):
    html = body(as_alice.get(send(as_alice).url))
    assert "What is" in html
    assert "D::E" in html
    assert not OwnCard.objects.exists()


def test_confirmed_cards_come_into_review(as_alice, alice):
    Card.objects.create(owner=alice, question=make_question(), position=5)
    page = send(as_alice).url
    response = as_alice.post(f"{page}confirm/")
    assert response.url == page
    first, second = OwnCard.objects.all()
    assert (first.owner, first.deck, first.tags) == (alice, "D::E", ["a", "b"])
    assert first.front == r'What is <span class="arithmatex">\(r\)</span>?'
    assert second.back == "&lt;b&gt;"
    places = Card.objects.filter(question=None).order_by("pk").values_list("own_card", "owner", "position", "state")
    assert list(places) == [(first.pk, alice.pk, 0, Card.NEW), (second.pk, alice.pk, 1, Card.NEW)]
    assert "Imported" in body(as_alice.get(page))


def test_confirming_twice_keeps_once(as_alice):
    page = send(as_alice).url
    for _ in range(2):
        as_alice.post(f"{page}confirm/")
    assert (OwnCard.objects.count(), Card.objects.count()) == (2, 2)
    assert DeckImport.objects.get().report["new"] == 2


def test_the_same_form_sent_twice_is_one_import(as_alice):
    token = str(uuid.uuid4())
    assert send(as_alice, token=token).url == send(as_alice, token=token).url
    assert DeckImport.objects.count() == 1


def test_a_token_of_somebody_elses_is_refused(as_alice, as_bob):
    token = str(uuid.uuid4())
    send(as_alice, token=token)
    assert "Load the page again" in body(send(as_bob, token=token), 422)


def test_importing_again_adds_nothing_and_changes_what_changed(as_alice):
    bring(as_alice)
    kept = list(OwnCard.objects.values_list("pk", flat=True))
    page = send(as_alice, TABLE.replace(",rank,", ",the rank,")).url
    report = DeckImport.objects.first().report
    assert (report["new"], report["changed"], report["same"]) == (0, 1, 1)
    as_alice.post(f"{page}confirm/")
    assert list(OwnCard.objects.values_list("pk", flat=True)) == kept
    assert OwnCard.objects.get(pk=kept[0]).back == "the rank"
    assert Card.objects.count() == 2


def test_an_unchanged_file_leaves_nothing_to_confirm(as_alice):
    bring(as_alice)
    html = body(as_alice.get(send(as_alice).url))
    assert "Import these cards" not in html


def test_a_discarded_import_is_gone(as_alice):
    page = send(as_alice).url
    assert as_alice.post(f"{page}discard/").url == "/decks/"
    assert not DeckImport.objects.exists()


def test_a_new_file_takes_the_place_of_one_that_waits(as_alice):
    send(as_alice)
    send(as_alice)
    assert DeckImport.objects.count() == 1


def test_the_packed_cards_go_when_they_are_kept(as_alice):
    assert bytes(bring(as_alice).packed) == b""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.apkg", b"no zip", "x.apkg: This is not a whole .apkg file"),
        ("x.csv", b"one column", "x.csv: Line 1 has 1 columns"),
        ("x.png", b"picture", "x.png is none of the files"),
        ("x.csv", b"", "empty"),
    ],
)
def test_a_bad_file_is_named_with_what_is_allowed(as_alice, name, content, message):
    assert message in body(send(as_alice, content, name), 422)
    assert not DeckImport.objects.exists()


def test_no_file_is_asked_for(as_alice):
    assert "Choose a file." in body(as_alice.post("/decks/import/", {"token": str(uuid.uuid4())}), 422)


def test_decks_may_be_larger_than_forms_but_not_endless(as_alice, as_charlie, settings):
    settings.FORM_LIMIT, settings.DECK_LIMIT = 1000, 3000
    assert send(as_alice, "a,b\n" + "c,d\n" * 400).status_code == 302
    assert send(as_alice, "a,b\n" * 1000).status_code == 413
    assert send(as_charlie, "a,b\n" + "c,d\n" * 400).status_code == 413


def test_there_is_an_end_to_own_cards(as_alice, monkeypatch):
    monkeypatch.setattr(importing, "MAX_OWN_CARDS", 1)
    assert "allowed: 1" in body(send(as_alice), 422)


def test_the_end_holds_when_it_is_confirmed_too(as_alice, monkeypatch):
    page = send(as_alice).url
    monkeypatch.setattr(importing, "MAX_OWN_CARDS", 1)
    assert "allowed: 1" in body(as_alice.post(f"{page}confirm/", follow=True))
    assert not OwnCard.objects.exists()


@pytest.mark.parametrize("action", ["", "confirm/", "discard/"])
def test_others_imports_do_not_exist(as_alice, as_bob, action):
    address = send(as_alice).url + action
    response = as_bob.post(address) if action else as_bob.get(address)
    assert response.status_code == 404
    assert DeckImport.objects.get().finished_at is None


def test_the_same_guid_is_another_card_for_another_learner(as_alice, as_bob):
    bring(as_alice)
    as_bob.post(f"{send(as_bob).url}confirm/")
    assert OwnCard.objects.count() == 4


def test_a_large_deck_is_kept_with_few_queries(alice, django_assert_max_num_queries):
    lines = "".join(f"front {n},back {n}\n" for n in range(3000))
    file = SimpleUploadedFile("x.csv", lines.encode())
    with django_assert_max_num_queries(100):
        import_confirm(import_prepare(user=alice, file=file, name="x.csv", token=uuid.uuid4()))
    assert Card.objects.count() == 3000


# --- own decks --------------------------------------------------------------------------------------------------------


def test_decks_are_listed_with_what_is_due(as_alice, own_card, as_bob, alice):
    Card.objects.create(owner=alice, own_card=own_card, due=timezone.now() - timedelta(days=1), state=Card.REVIEW)
    html = body(as_alice.get("/decks/"))
    assert '<a href="/decks/own/?deck=D">D</a>' in html
    assert "1 due" in html
    assert "/decks/own/?deck=D" not in body(as_bob.get("/decks/"))


def test_the_list_takes_a_constant_number_of_queries(as_alice, alice, own_card, django_assert_num_queries):
    with CaptureQueriesContext(connection) as before:
        as_alice.get("/decks/")
    for n in range(20):
        OwnCard.objects.create(owner=alice, guid=f"{n}", deck=f"D{n}", front="f")
    with django_assert_num_queries(len(before)):
        as_alice.get("/decks/")


def test_a_deck_shows_its_cards_by_pages(as_alice, alice):
    for n in range(60):
        OwnCard.objects.create(owner=alice, guid=f"{n}", deck="D & E", front=f"front {n}.")
    assert "front 49." in body(as_alice.get("/decks/own/?deck=D+%26+E"))
    assert "front 59." in body(as_alice.get("/decks/own/?deck=D+%26+E&page=2"))


def test_a_card_is_changed_and_sanitised(as_alice, own_card):
    address = f"/decks/cards/{own_card.pk}/"
    form = {"front": r"<script>x</script>\(a\)", "back": "<b>new</b>", "deck": "E", "tags": "x y"}
    assert as_alice.post(address, form).url == address
    own_card.refresh_from_db()
    assert own_card.front == r'<span class="arithmatex">\(a\)</span>'
    assert (own_card.back, own_card.deck, own_card.tags) == ("<b>new</b>", "E", ["x", "y"])
    assert r">\(a\)</textarea>" in body(as_alice.get(address)).replace("\n", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [("front", ""), ("front", "<script>x</script>"), ("front", "x" * 64_001), ("deck", ""), ("tags", "x" * 200)],
)
def test_a_bad_change_is_shown_again(as_alice, own_card, field, value):
    form = {"front": "typed before", "back": "kept", "deck": "D", "tags": "", field: value}
    assert "kept" in body(as_alice.post(f"/decks/cards/{own_card.pk}/", form), 422)
    own_card.refresh_from_db()
    assert own_card.back == "b"


def test_a_deck_is_renamed(as_alice, own_card):
    assert as_alice.post("/decks/own/rename/", {"deck": "D", "name": "E F"}).url == "/decks/own/?deck=E+F"
    own_card.refresh_from_db()
    assert own_card.deck == "E F"


def test_a_deck_needs_a_name(as_alice, own_card):
    body(as_alice.post("/decks/own/rename/", {"deck": "D", "name": ""}), 422)


def reviewed(card: OwnCard) -> Card:
    found = Card.objects.create(owner=card.owner, own_card=card)
    card_grade(card=found, rating=3, token=uuid.uuid4())
    return found


@pytest.mark.parametrize("address", ["/decks/cards/{}/delete/", "/decks/own/delete/?deck=D"])
def test_deleting_asks_and_says_what_goes(as_alice, own_card, address):
    reviewed(own_card)
    address = address.format(own_card.pk)
    html = body(as_alice.get(address))
    assert "1 card goes" in html
    assert "1 review in your log" in html
    assert OwnCard.objects.exists()
    assert as_alice.post(address.split("?")[0], {"deck": "D"}).url == "/decks/"
    assert not OwnCard.objects.exists()
    assert not Card.objects.exists()
    assert not ReviewEvent.objects.exists()


def test_deleting_takes_the_grades_out_of_the_days_sums(as_alice, alice, own_card):
    reviewed(own_card)
    other = Card.objects.create(owner=alice, question=make_question())
    card_grade(card=other, rating=1, token=uuid.uuid4())
    as_alice.post(f"/decks/cards/{own_card.pk}/delete/")
    tally = DayTally.objects.get()
    assert (tally.good, tally.again, tally.new) == (0, 1, 1)


@pytest.mark.parametrize("address", ["", "delete/"])
def test_others_cards_do_not_exist(as_bob, own_card, address):
    address = f"/decks/cards/{own_card.pk}/{address}"
    form = {"front": "x", "deck": "x"}
    assert (as_bob.get(address).status_code, as_bob.post(address, form).status_code) == (404, 404)
    own_card.refresh_from_db()
    assert own_card.front == "<b>f</b>"


@pytest.mark.parametrize("address", ["/decks/own/?deck=D", "/decks/own/delete/?deck=D", "/decks/own/?deck=none"])
def test_others_decks_do_not_exist(as_bob, own_card, address):
    assert as_bob.get(address).status_code == 404


def test_nobody_deletes_or_renames_anothers_deck(as_bob, own_card):
    as_bob.post("/decks/own/delete/", {"deck": "D"})
    as_bob.post("/decks/own/rename/", {"deck": "D", "name": "E"})
    own_card.refresh_from_db()
    assert own_card.deck == "D"


@pytest.mark.parametrize("address", ["/decks/", "/decks/export/", "/decks/own/?deck=D", "/decks/cards/1/"])
def test_decks_are_for_those_signed_in(as_charlie, address):
    assert as_charlie.get(address).url.startswith("/login/")


# --- export -----------------------------------------------------------------------------------------------------------

QUERY = {"scope": "bank", "format": "apkg", "easiest": "1", "hardest": "5", "follow_ups": "on"}


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path


def exported(client: Client, tmp_path, **query) -> set[str]:
    """The slugs in the deck."""
    response = client.get("/decks/export/", QUERY | query)
    assert response.status_code == 200
    (tmp_path / "got.apkg").write_bytes(b"".join(response.streaming_content))
    with (tmp_path / "got.apkg").open("rb") as file:
        unpack_collection(file, tmp_path / "got")
    return {note.fields.get("Slug") or note.fields["Front"] for note in read_notes(tmp_path / "got")}


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ({}, {"why-low-rank", "when-not", "pick-one", "fill-in", "put-in-order", "fresh"}),
        ({"topics": ["lora"]}, {"why-low-rank", "when-not"}),
        ({"topics": ["lora"], "follow_ups": ""}, {"why-low-rank"}),
        ({"kinds": ["single", "cloze"]}, {"pick-one", "fill-in"}),
        ({"easiest": "4"}, {"when-not"}),
    ],
)
def test_the_chosen_questions_are_exported(as_alice, bank, tmp_path, query, slugs):
    assert exported(as_alice, tmp_path, **query) == slugs


def test_a_search_chooses(as_alice, bank, tmp_path):
    from kb.search import rebuild_index

    rebuild_index()
    assert exported(as_alice, tmp_path, search="when not") == {"when-not"}


def test_my_questions_and_my_mistakes(as_alice, alice, bob, bank, tmp_path):
    Card.objects.create(owner=alice, question=bank[0], reviews=2)
    Card.objects.create(owner=alice, question=bank[3], reviews=4, lapses=1)
    Card.objects.create(owner=bob, question=bank[4], reviews=2, lapses=1)
    Attempt.objects.create(owner=alice, question=bank[1], grade=1)
    Attempt.objects.create(owner=alice, question=bank[2], score=0.2)
    Attempt.objects.create(owner=alice, question=bank[2])  # not judged yet
    Attempt.objects.create(owner=alice, question=bank[4], score=0.2)
    Attempt.objects.create(owner=alice, question=bank[4], score=0.6)  # right since
    Attempt.objects.create(owner=bob, question=bank[5], score=0.2)
    assert exported(as_alice, tmp_path, scope="studied") == {"why-low-rank", "fill-in"}
    assert exported(as_alice, tmp_path, scope="mistakes") == {"when-not", "pick-one"}


def test_decks_and_quizzes_agree_on_mistakes(alice, bob, bank):
    answers = [{"score": 0.59}], [{"score": 0.6}], [{"grade": 1}, {"grade": 3}], [{"score": 0.9, "grade": 1}], [{}]
    for question, given in zip(bank[:5], answers, strict=True):
        for answer in given:
            Attempt.objects.create(owner=alice, question=question, **answer)
    Card.objects.create(owner=alice, question=bank[5], reviews=4, lapses=1)
    found = set(chosen_questions(Selection(scope="mistakes"), alice, "en"))
    assert found == {bank[0], bank[3]}
    assert found == set(questions_matching(alice, QuizOptions(mistakes=True), "en"))
    assert not chosen_questions(Selection(scope="mistakes"), bob, "en")


def test_own_cards_are_exported_and_nobody_elses(as_alice, bob, own_card, tmp_path):
    OwnCard.objects.create(owner=bob, guid="x", deck="D", front="bob's", back="")
    assert exported(as_alice, tmp_path, scope="own") == {"<b>f</b>"}
    assert exported(as_alice, tmp_path, scope="own", deck="D") == {"<b>f</b>"}


def test_drafts_are_not_exported(as_alice, bank, tmp_path):
    bank[2].status = "draft"
    bank[2].save()
    assert "pick-one" not in exported(as_alice, tmp_path)


def test_a_table_is_a_file_too(as_alice, bank):
    response = as_alice.get("/decks/export/", QUERY | {"format": "csv"})
    assert response["Content-Disposition"].endswith('.csv"')
    assert b"".join(response.streaming_content).startswith(b"guid,")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"scope": "studied"}, "No card fits"),
        ({"easiest": "5", "hardest": "1"}, "Difficulty from 5 to 1"),
        ({"topics": ["nothing"]}, "nothing"),
        ({"scope": "all"}, "all"),
        ({"easiest": "x"}, "x"),
    ],
)
def test_what_cannot_be_exported_is_said(as_alice, bank, query, message):
    assert message in body(as_alice.get("/decks/export/", QUERY | query), 422)


def test_a_finished_file_is_given_again_until_something_changes(as_alice, bank, tmp_path, monkeypatch):
    exported(as_alice, tmp_path)
    monkeypatch.setattr(exports, "package_bytes", None)
    exported(as_alice, tmp_path)
    bank[0].prompt_en = "New words"
    bank[0].save()
    with pytest.raises(TypeError):
        exported(as_alice, tmp_path)


def test_old_files_go(as_alice, bank, tmp_path, monkeypatch):
    exported(as_alice, tmp_path)
    monkeypatch.setattr(exports, "KEPT_SECONDS", -1)
    exported(as_alice, tmp_path, topics=["lora"])
    assert len(list((tmp_path / "decks").iterdir())) == 1


# --- in the background ------------------------------------------------------------------------------------------------


def until_done(client: Client) -> object:
    for _ in range(200):
        response = client.get("/decks/export/", QUERY)
        if response.status_code != 202:
            return response
        assert response["Refresh"] == "2"
        time.sleep(0.05)
    raise AssertionError("the deck was not made")


@pytest.mark.django_db(transaction=True)
def test_a_large_deck_is_made_in_the_background(as_alice, bank, monkeypatch):
    monkeypatch.setattr(exports, "MAX_AT_ONCE", 2)
    assert as_alice.get("/decks/export/", QUERY).status_code == 202
    response = until_done(as_alice)
    assert b"".join(response.streaming_content).startswith(b"PK")


def test_two_requests_start_one_thread(as_alice, bank, monkeypatch):
    started = []
    monkeypatch.setattr(exports, "MAX_AT_ONCE", 2)
    monkeypatch.setattr(exports.threading, "Thread", lambda **values: started.append(values) or FakeThread())
    for _ in range(2):
        assert "asks again" in body(as_alice.get("/decks/export/", QUERY), 202)
    assert len(started) == 1


class FakeThread:
    def start(self) -> None:
        pass


def test_what_was_left_behind_is_started_again(as_alice, bank, monkeypatch):
    started = []
    monkeypatch.setattr(exports, "MAX_AT_ONCE", 2)
    monkeypatch.setattr(exports.threading, "Thread", lambda **values: started.append(values) or FakeThread())
    as_alice.get("/decks/export/", QUERY)
    monkeypatch.setattr(exports, "ABANDONED_SECONDS", -1)
    as_alice.get("/decks/export/", QUERY)
    assert len(started) == 2


@pytest.mark.django_db(transaction=True)
def test_a_deck_that_cannot_be_made_says_so_and_can_be_asked_for_again(as_alice, bank, monkeypatch):
    monkeypatch.setattr(exports, "MAX_AT_ONCE", 2)
    with monkeypatch.context() as broken:
        broken.setattr(exports, "package_bytes", None)
        assert "could not be made" in body(until_done(as_alice), 500)
    assert until_done(as_alice).status_code == 200


def test_the_schedule_of_a_learner_without_reviews_is_new(as_alice, alice, bank, tmp_path):
    study_settings(alice)
    assert len(exported(as_alice, tmp_path, scheduling="on")) == len(bank)
