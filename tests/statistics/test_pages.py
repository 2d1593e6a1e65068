"""The statistics page: what it shows of a learner's cards and days, and of nobody else's."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from quiz.models import Card, DayTally, OwnCard
from quiz.plan.memory import Memory
from quiz.review.scheduling import retrievability
from quiz.review.services import card_grade, study_settings
from quiz.statistics import queries
from quiz.statistics.arrays import NO_TOPIC, card_arrays, day_number
from quiz.statistics.figures import recall_now
from tests.builders import make_question, make_topic
from tests.plan.conftest import NOON, TODAY

PAGE = reverse("statistics")


def review_card(owner, *, stability=10.0, ago=5.0, due_in=5.0, **values) -> Card:
    if "own_card" not in values and "question" not in values:
        values["question"] = make_question(topic=make_topic())
    return Card.objects.create(
        owner=owner,
        state=Card.REVIEW,
        stability=stability,
        difficulty=5.0,
        last_review=NOON - timedelta(days=ago),
        due=NOON + timedelta(days=due_in),
        **values,
    )


def tally(owner, ago: int = 0, **values) -> DayTally:
    values = {"again": 1, "good": 9, "young": 10, "young_passed": 9, "milliseconds": 120_000, **values}
    return DayTally.objects.create(owner=owner, day=TODAY - timedelta(days=ago), **values)


def test_it_shows_a_beginner_an_empty_page(as_alice):
    response = as_alice.get(PAGE)
    assert response.status_code == 200
    assert "No cards yet" in response.text
    assert "0 reviews so far" in response.text


def test_it_sums_the_day_and_counts_the_cards(as_alice, alice):
    review_card(alice)
    Card.objects.create(owner=alice, question=make_question())
    review_card(alice, is_suspended=True)
    tally(alice)
    context = as_alice.get(PAGE).context
    assert context["page"].summary[:3] == [("10", "answers today"), ("2", "minutes today"), ("1 / 2", "cards seen")]
    assert context["page"].summary[3][0] == "1"
    assert context["page"].calendar.rows[2] == ["March", "1", "10"]


def test_it_shows_nothing_of_others(as_bob, alice):
    review_card(alice)
    tally(alice)
    page = as_bob.get(PAGE).context["page"]
    assert page.topics == []
    assert page.summary[0][0] == "0"


def test_the_forecast_has_a_row_a_day(as_alice, alice):
    review_card(alice, due_in=-3)
    review_card(alice, due_in=1)
    review_card(alice, due_in=60, stability=60)
    page = as_alice.get(PAGE, {"ahead": 90}).context["page"]
    rows = {day: (int(a), int(b)) for day, a, b in page.forecast.rows}
    assert len(rows) == 90
    assert rows["2026-03-02"] == (1, 0)
    assert rows["2026-03-03"] == (1, 0)
    assert rows["2026-05-01"] == (0, 1)
    assert "1 card is due today. 1 of them was due before." in page.forecast.text


def test_a_calendar_of_another_year(as_alice, alice):
    tally(alice, ago=90)
    page = as_alice.get(PAGE, {"year": 2025}).context["page"]
    assert page.calendar.rows[11] == ["December", "1", "10"]
    assert page.years == [2026, 2025]


@pytest.mark.parametrize("query", [{"year": "x"}, {"ahead": "7"}, {"period": "-1"}, {"year": "99999999"}])
def test_an_address_that_makes_no_sense_shows_the_default(as_alice, query):
    response = as_alice.get(PAGE, query)
    assert response.status_code == 200
    assert (response.context["wish"].year, response.context["wish"].ahead) == (2026, 30)


def test_the_arrays_give_what_the_library_gives_for_each_card(alice):
    s = study_settings(alice)
    made = [review_card(alice, stability=n, ago=n * 1.7) for n in (0.3, 2.0, 40.0)]
    own = OwnCard.objects.create(owner=alice, guid="1", deck="d", front="f", back="b")
    made.append(review_card(alice, own_card=own))
    arrays = card_arrays(Card.objects.order_by("pk"))
    found = recall_now(arrays, day_number(NOON), Memory(s.scheduling.parameters))
    assert found == pytest.approx([retrievability(card, NOON, s.scheduling) for card in made])
    assert arrays.topic.tolist() == [make_topic().pk] * 3 + [NO_TOPIC]


def test_the_number_of_queries_does_not_grow(as_alice, alice, django_assert_num_queries):
    review_card(alice)
    tally(alice)
    as_alice.get(PAGE)
    with CaptureQueriesContext(connection) as captured:
        as_alice.get(PAGE)
    for number in range(5):
        review_card(alice, question=make_question(topic=make_topic(f"topic-{number}")))
        tally(alice, ago=1 + number)
    with django_assert_num_queries(len(captured)):
        as_alice.get(PAGE)


def test_every_chart_has_its_table(as_alice, alice):
    review_card(alice)
    tally(alice)
    text = as_alice.get(PAGE).text
    assert text.count('role="img"') == text.count("As a table") == 9


def test_it_needs_a_login_and_only_reads(as_charlie, as_alice):
    assert as_charlie.get(PAGE).status_code == 302
    assert as_alice.post(PAGE).status_code == 405


def test_a_large_deck_is_read_once_until_something_happens_to_it(
    as_alice, alice, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(queries, "LARGE", 1)
    card = review_card(alice)
    study_settings(alice)
    with CaptureQueriesContext(connection) as first:
        as_alice.get(PAGE)
    with django_assert_num_queries(len(first) - 3):
        as_alice.get(PAGE)
    card_grade(card=card, rating=4, token=uuid4())
    text = as_alice.get(PAGE).context["page"].forecast.text
    assert "0 cards are due today" in text
    review_card(alice, due_in=0)
    assert as_alice.get(PAGE).context["page"].summary[2][0] == "2 / 2"
