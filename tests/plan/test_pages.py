"""The plan's page: the date, what it advises, and what its buttons change."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from quiz.models import Card, DayTally, PlanDay, ReviewEvent
from quiz.plan.services import habits_of, plan_today, plan_wish
from quiz.review.services import card_grade, settings_change, study_settings
from tests.builders import make_question, make_topic
from tests.plan.conftest import NOON, TODAY, in_days

PLAN = reverse("plan")


def wish(client, **values):
    return client.post(reverse("plan-wish"), {"interview_date": in_days(20), "minutes": 30, **values})


def questions(count: int, topic: str = "math") -> None:
    for _ in range(count):
        make_question(topic=make_topic(topic))


@pytest.fixture
def planned(alice) -> PlanDay:
    """Alice has twelve questions, three weeks and plenty of time."""
    questions(12)
    plan_wish(alice, interview_date=in_days(20), minutes=60, topics=[])
    return plan_today(alice)


@pytest.fixture
def crowded(alice) -> PlanDay:
    """Four topics, three days, ten minutes a day."""
    for position in range(4):
        make_topic(f"topic-{position}", position=position)
        questions(15, f"topic-{position}")
    plan_wish(alice, interview_date=in_days(3), minutes=10, topics=[])
    return plan_today(alice)


def test_it_asks_for_a_date_first(as_alice):
    response = as_alice.get(PLAN)
    assert response.status_code == 200
    assert "Set the date" in response.text
    assert not PlanDay.objects.exists()


def test_it_plans_for_the_date_and_the_topics(as_alice, alice):
    questions(3, "math")
    questions(2, "other")
    topic = make_topic("other")
    assert wish(as_alice, topics=[topic.pk]).status_code == 302
    s = study_settings(alice)
    assert (s.interview_date, s.minutes_per_day, list(s.topics.all())) == (in_days(20), 30, [topic])
    text = as_alice.get(PLAN).text
    assert "20 days until 2026-03-22" in text
    assert PlanDay.objects.get(owner=alice).plan["cards"] == 2


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_it_refuses_a_date_that_cannot_be_planned_for(as_alice, alice, days):
    response = wish(as_alice, interview_date=in_days(days), minutes=45)
    assert response.status_code == 422
    assert f"{in_days(days)} cannot be planned for; allowed: from 2026-03-03 (tomorrow) to 2027-03-02." in response.text
    assert 'value="45"' in response.text
    assert study_settings(alice).interview_date is None


@pytest.mark.parametrize("minutes", ["0", "721", "many", ""])
def test_it_refuses_minutes_that_no_day_has(as_alice, alice, minutes):
    assert wish(as_alice, minutes=minutes).status_code == 422
    assert study_settings(alice).interview_date is None


def test_a_date_that_has_come_is_said_so(as_alice, alice, planned):
    settings_change(alice, interview_date=TODAY)
    response = as_alice.get(PLAN)
    assert response.status_code == 200
    assert "The date 2026-03-02 has come" in response.text
    assert "Policies compared" not in response.text


def test_it_is_computed_once_a_day(alice, planned, monkeypatch):
    same = plan_today(alice)
    assert (same.pk, same.digest, same.created_at) == (planned.pk, planned.digest, planned.created_at)
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(days=1))
    later = plan_today(alice)
    assert later.day == in_days(1)
    assert later.plan["days"] == 19
    assert PlanDay.objects.filter(owner=alice).count() == 2


def test_it_is_computed_again_when_the_settings_change(alice, planned):
    settings_change(alice, minutes_per_day=5)
    again = plan_today(alice)
    assert again.digest != planned.digest
    assert PlanDay.objects.filter(owner=alice, day=TODAY).count() == 1


def use(client, row: PlanDay, **values):
    return client.post(reverse("plan-use"), {"digest": row.digest, "choice": 0, **values})


def test_using_it_sets_the_limits_and_the_retention(as_alice, alice, planned):
    wanted = planned.plan["choices"][-1]
    assert use(as_alice, planned, choice=len(planned.plan["choices"]) - 1).status_code == 302
    s = study_settings(alice)
    assert (s.new_per_day, s.scheduling.desired_retention) == (wanted["new_per_day"], wanted["retention"])


def test_using_it_reschedules_the_cards(as_alice, alice, planned):
    card = card_grade(card=Card.objects.first(), rating=4, token=uuid4())
    use(as_alice, planned, choice=len(planned.plan["choices"]) - 1)
    due = Card.objects.get(pk=card.pk).due
    assert due < card.due
    assert ReviewEvent.objects.filter(action=ReviewEvent.RESCHEDULE, card=card).exists()


def test_using_an_old_plan_is_refused(as_alice, alice, planned):
    settings_change(alice, new_per_day=3)
    plan_today(alice)
    response = use(as_alice, planned)
    assert response.status_code == 409
    assert "The plan has changed" in response.text
    assert study_settings(alice).new_per_day == 3


@pytest.mark.parametrize("choice", ["-1", "99", "x", ""])
def test_a_policy_that_is_not_there_is_refused(as_alice, alice, planned, choice):
    assert use(as_alice, planned, choice=choice).status_code == 422
    assert study_settings(alice).new_per_day == 10


def test_somebody_elses_plan_cannot_be_used(as_bob, bob, planned):
    assert use(as_bob, planned).status_code == 409
    assert study_settings(bob).new_per_day == 10


def test_too_little_time_names_what_to_cut_and_cuts_it(as_alice, alice, crowded):
    text = as_alice.get(PLAN).text
    assert "This is more than the days have room for" in text
    cut = {found["topic"] for found in crowded.plan["cuts"]}
    assert 0 < len(cut) < 4
    assert as_alice.post(reverse("plan-cut"), {"digest": crowded.digest}).status_code == 302
    left = {topic.pk for topic in study_settings(alice).topics.all()}
    assert len(left) == 4 - len(cut)
    assert not left & cut
    assert plan_today(alice).plan["is_feasible"]


def test_the_date_can_be_removed(as_alice, alice, planned):
    assert as_alice.post(reverse("plan-forget")).status_code == 302
    assert study_settings(alice).interview_date is None


def test_the_pace_is_the_learners_own_where_there_are_enough_answers(alice):
    s = study_settings(alice)
    assert habits_of(s).seconds == 30
    DayTally.objects.create(owner=alice, day=TODAY, again=10, hard=20, good=60, easy=10, milliseconds=100 * 12_000)
    measured = habits_of(s)
    assert (measured.seconds, measured.recalled) == (12, (20, 60, 10))


def test_the_number_of_queries_does_not_grow(as_alice, alice, planned, django_assert_num_queries):
    with CaptureQueriesContext(connection) as captured:
        as_alice.get(PLAN)
    questions(20, "another")
    plan_wish(alice, interview_date=in_days(19), minutes=60, topics=[])
    plan_today(alice)
    with django_assert_num_queries(len(captured)):
        as_alice.get(PLAN)


@pytest.mark.parametrize("name", ["plan", "plan-wish", "plan-use", "plan-cut", "plan-forget"])
def test_it_needs_a_login_and_the_right_method(as_charlie, as_alice, name):
    method = as_charlie.get if name == "plan" else as_charlie.post
    assert method(reverse(name)).status_code == 302
    wrong = as_alice.post if name == "plan" else as_alice.get
    assert wrong(reverse(name)).status_code == 405


def test_suspended_cards_are_left_out(alice, planned):
    Card.objects.filter(owner=alice).update(is_suspended=True)
    settings_change(alice, minutes_per_day=5)
    assert plan_today(alice) is None
