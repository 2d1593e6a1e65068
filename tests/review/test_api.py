"""The review over REST."""

import uuid

import pytest

from quiz.models import OwnCard, ReviewEvent
from quiz.review import services
from tests.builders import make_question

ROOT = "/api/v1/review/"


def grade(client, **values):
    return client.post(f"{ROOT}grade/", values, content_type="application/json")


def test_a_card_is_asked_and_graded_once(as_alice, alice, clock):
    question = make_question()
    assert as_alice.get(f"{ROOT}counts/").json() == {"learning": 0, "review": 0, "new": 1}
    asked = as_alice.get(f"{ROOT}next/").json()
    assert (asked["card"]["question"], asked["front"]["en"]) == (question.slug, question.prompt_en)
    sent = {"card": asked["card"]["id"], "token": asked["token"], "seen": asked["seen"], "rating": 4}
    for _ in range(2):
        assert grade(as_alice, **sent).json()["reviews"] == 1
    assert ReviewEvent.objects.count() == 1
    assert as_alice.get(f"{ROOT}next/").status_code == 204


def test_a_stale_card_is_a_conflict(as_alice, card):
    services.study_settings(card.owner)
    asked = as_alice.get(f"{ROOT}next/").json()
    services.card_grade(card=card, rating=3, token=uuid.uuid4())
    response = grade(as_alice, card=card.pk, token=asked["token"], seen=asked["seen"], rating=3)
    assert response.status_code == 409
    assert "This grade was not counted" in response.json()["detail"]


def test_own_cards_have_texts_too(as_alice, alice):
    services.own_card_add(OwnCard.objects.create(owner=alice, guid="1", deck="Deck", front="F", back="B"))
    assert as_alice.get(f"{ROOT}next/").json()["back"] == {"en": "B", "zh": "B"}


@pytest.mark.parametrize("wrong", [{"rating": 5}, {"rating": None}, {"token": "x"}, {"milliseconds": -1}, {"card": 0}])
def test_a_grade_that_cannot_be_read_is_refused(as_alice, card, wrong):
    sent = {"card": card.pk, "token": str(uuid.uuid4()), "rating": 3} | wrong
    response = grade(as_alice, **sent)
    assert (response.status_code, list(response.json())) == (400, list(wrong))
    assert not ReviewEvent.objects.exists()


def test_others_cards_do_not_exist(as_bob, as_charlie, card):
    sent = {"card": card.pk, "token": str(uuid.uuid4()), "rating": 3}
    assert grade(as_bob, **sent).status_code == 404
    assert grade(as_charlie, **sent).status_code in (401, 403)
    assert as_charlie.get(f"{ROOT}next/").status_code in (401, 403)
