"""Fitting parameters: what is read from the log, how it is scored, who may ask and apply."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import fsrs
import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from fsrs.scheduler import DEFAULT_PARAMETERS

from labs.broker import app
from quiz.models import Card, Optimisation, ReviewEvent, StudySettings
from quiz.review.services import card_grade, card_reset, cards_sync, study_settings, undo
from quiz.statistics.histories import Answer, History, before, bin_of, histories_of, later_days, score
from quiz.statistics.optimising import (
    LEAST_REVIEWS,
    TIME_LIMIT,
    optimisation_start,
    optimisations_ring_waiting,
    reason_text,
)
from tests.builders import make_question
from worker import optimise

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAGE = reverse("statistics-parameters")
# A learner who forgets faster than the defaults expect.
FORGETFUL = [0.1, 0.4, 0.8, 3.0, *DEFAULT_PARAMETERS[4:8], 1.1, *DEFAULT_PARAMETERS[9:20], 0.35]


@pytest.fixture(autouse=True)
def sent(monkeypatch) -> list[tuple[str, list[int]]]:
    """Messages to the worker, instead of a broker."""
    messages: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **_options: messages.append((name, args)))
    return messages


def history(*answers: tuple[float, int]) -> History:
    return [Answer(NOON + timedelta(days=days), rating) for days, rating in answers]


def synthetic(cards: int, days: int, parameters=FORGETFUL, seed: int = 0) -> list[History]:
    """A learner whose memory has these parameters, scheduled by the defaults."""
    chance, truth, default = random.Random(seed), fsrs.Scheduler(parameters), fsrs.Scheduler(enable_fuzzing=False)
    found = []
    for _number in range(cards):
        real, planned = fsrs.Card(card_id=0), fsrs.Card(card_id=0)
        at, made = NOON + timedelta(days=chance.randrange(20)), []
        while at < NOON + timedelta(days=days):
            recall = truth.get_card_retrievability(real, at) if made else 0.7
            rating = 1 if chance.random() > recall else chance.choice([2, 3, 3, 3, 4])
            made.append(Answer(at, rating))
            real, _ = truth.review_card(real, fsrs.Rating(rating), at)
            planned, _ = default.review_card(planned, fsrs.Rating(rating), at)
            at = planned.due
        found.append(made)
    return found


# Reading the log ------------------------------------------------------------------------------------------------------


@pytest.fixture
def card(alice) -> Card:
    make_question()
    cards_sync(alice)
    return Card.objects.get(owner=alice)


def grade(card: Card, days: float, rating: int = 3) -> Card:
    return card_grade(card=card, rating=rating, token=uuid4(), at=NOON + timedelta(days=days))


def test_a_history_is_the_grades_that_count(alice, bob, card):
    grade(card, 0)
    grade(card, 1)
    grade(card, 5, rating=1)
    undo(alice, uuid4())
    assert histories_of(alice) == [history((0, 3), (1, 3))]
    assert histories_of(bob) == []


def test_a_reset_begins_a_new_history(alice, card):
    grade(card, 0)
    card_reset(card)
    grade(card, 3, rating=4)
    assert histories_of(alice) == [history((0, 3)), history((3, 4))]


def test_only_answers_on_later_days_count():
    assert later_days(history((0, 3), (0.5, 3), (1.4, 3), (2.4, 3))) == 1  # 24 hours, as in the library
    assert before([history((0, 3), (2, 3)), history((2, 3))], NOON + timedelta(days=1)) == [history((0, 3))]


# Scores ---------------------------------------------------------------------------------------------------------------


def test_the_log_loss_is_that_of_the_librarys_predictions():
    scheduler, card = fsrs.Scheduler(enable_fuzzing=False), fsrs.Card(card_id=0)
    card, _ = scheduler.review_card(card, fsrs.Rating.Good, NOON)
    chance = scheduler.get_card_retrievability(card, NOON + timedelta(days=3))
    found = score(DEFAULT_PARAMETERS, [history((0, 3), (3, 1))])
    assert (found.log_loss, found.reviews) == (pytest.approx(-math.log(1 - chance)), 1)
    assert found.rmse == pytest.approx(chance)


def test_the_log_loss_is_the_librarys_own():
    """Over many cards, as `Optimizer` computes it."""
    histories = synthetic(cards=12, days=60)
    logs = [
        fsrs.ReviewLog(card_id=n, rating=fsrs.Rating(a.rating), review_datetime=a.at, review_duration=None)
        for n, one in enumerate(histories)
        for a in one
    ]
    expected = fsrs.Optimizer(logs)._compute_batch_loss(parameters=FORGETFUL)
    assert score(FORGETFUL, histories).log_loss == pytest.approx(expected, rel=1e-6)


def test_only_answers_since_a_moment_are_scored_but_all_are_remembered():
    one = history((0, 3), (3, 3), (10, 3))
    late = score(DEFAULT_PARAMETERS, [one], since=NOON + timedelta(days=5))
    assert late.reviews == 1
    assert late.log_loss != score(DEFAULT_PARAMETERS, [history((0, 3), (10, 3))]).log_loss


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="No answer to score"):
        score(DEFAULT_PARAMETERS, [history((0, 3))])


def test_bins_grow_with_the_gap():
    assert bin_of(1, 1, 0) == (2.48, 1.99, 0.0)
    assert bin_of(3, 1, 0) == bin_of(1, 1, 0)
    assert bin_of(4, 2, 1) == (8.98, 3.76, 1.65)


# Asking and applying --------------------------------------------------------------------------------------------------


def test_asking_queues_one_fit_and_sends_its_id(as_alice, alice, sent):
    as_alice.post(reverse("statistics-optimise"))
    as_alice.post(reverse("statistics-optimise"))
    found = Optimisation.objects.get(owner=alice)
    assert sent == [("worker.optimise", [found.pk])]
    assert "Waiting for a worker" in as_alice.get(PAGE).text
    assert "Waiting for a worker" in as_alice.get(reverse("statistics-parameters-live")).text


def test_a_broker_that_is_down_loses_nothing(alice, monkeypatch, sent):
    from kombu.exceptions import OperationalError

    def down(*args, **options):
        raise OperationalError("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", down)
        found = optimisation_start(alice)
    assert found.status == Optimisation.QUEUED
    optimisations_ring_waiting()
    assert sent == [("worker.optimise", [found.pk])]


def test_a_fit_whose_worker_died_is_rung_for_again_and_a_living_one_is_not(alice, bob, sent):
    lost, _alive = optimisation_start(alice), optimisation_start(bob)
    Optimisation.objects.update(status=Optimisation.RUNNING)
    Optimisation.objects.filter(pk=lost.pk).update(created_at=timezone.now() - timedelta(seconds=2 * TIME_LIMIT + 1))
    sent.clear()
    optimisations_ring_waiting()
    assert sent == [("worker.optimise", [lost.pk])]


def test_too_few_reviews_say_how_many_are_needed(as_alice, alice, card):
    grade(card, 0)
    grade(card, 1)
    found = optimisation_start(alice)
    optimise.execute(found.pk)
    found.refresh_from_db()
    assert found.status == Optimisation.FAILED
    assert json.loads(found.reason) == {"code": "few", "reviews": 1, "needed": LEAST_REVIEWS}
    assert f"{LEAST_REVIEWS - 1} more" in as_alice.get(PAGE).text


def test_a_crash_is_kept_as_a_reason(alice, monkeypatch):
    monkeypatch.setattr(optimise, "histories_of", lambda _user: 1 / 0)
    found = optimisation_start(alice)
    optimise.execute(found.pk)
    found.refresh_from_db()
    assert (found.status, json.loads(found.reason)) == (Optimisation.FAILED, {"code": "crash"})
    assert "worker's log" in reason_text(found)


def finished(owner: User, *, before: float = 0.4, after: float = 0.3) -> Optimisation:
    scores = [{"log_loss": loss, "rmse": 0.1, "reviews": 600, "is_held_out": True} for loss in (before, after)]
    values = {"status": Optimisation.SUCCEEDED, "parameters": FORGETFUL, "before": scores[0], "after": scores[1]}
    return Optimisation.objects.create(owner=owner, **values)


def test_a_finished_fit_is_not_done_again(alice):
    found = finished(alice)
    optimise.execute(found.pk)
    found.refresh_from_db()
    assert found.status == Optimisation.SUCCEEDED


def test_applying_makes_a_new_scheduling_and_leaves_the_old(as_alice, alice):
    found, old = finished(alice), study_settings(alice).scheduling
    assert "0.3000" in as_alice.get(PAGE).text
    assert as_alice.post(reverse("statistics-apply", args=[found.pk])).status_code == 302
    new = StudySettings.objects.get(owner=alice).scheduling
    old.refresh_from_db()
    assert new.parameters == FORGETFUL
    assert old.parameters == list(DEFAULT_PARAMETERS)
    found.refresh_from_db()
    assert found.applied_as == new
    assert "Applied." in as_alice.get(PAGE).text


@pytest.mark.parametrize("wanted", [True, False])
def test_cards_are_rescheduled_only_where_it_was_asked_for(as_alice, alice, card, wanted):
    grade(card, 0, rating=4)
    data = {"reschedule": "on"} if wanted else {}
    as_alice.post(reverse("statistics-apply", args=[finished(alice).pk]), data)
    assert ReviewEvent.objects.filter(action=ReviewEvent.RESCHEDULE).exists() == wanted


def test_a_fit_that_is_not_better_cannot_be_applied(as_alice, alice):
    found = finished(alice, before=0.3, after=0.31)
    response = as_alice.post(reverse("statistics-apply", args=[found.pk]))
    assert response.status_code == 409
    assert "nothing to apply" in response.text
    assert study_settings(alice).scheduling.parameters == list(DEFAULT_PARAMETERS)


def test_others_fits_do_not_exist(as_bob, alice):
    found = finished(alice)
    assert as_bob.post(reverse("statistics-apply", args=[found.pk])).status_code == 404
    assert "0.3000" not in as_bob.get(PAGE).text


# The fit itself -------------------------------------------------------------------------------------------------------


def test_the_last_answers_are_held_out_where_the_rest_is_enough():
    few, many = synthetic(cards=5, days=30), synthetic(cards=90, days=120)
    assert optimise.split_at(few) is None
    since = optimise.split_at(many)
    assert sum(map(later_days, before(many, since))) >= LEAST_REVIEWS


def test_the_newest_cards_are_taken_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(optimise, "MAX_ANSWERS", 4)
    old, middle, new = history((0, 3), (1, 3)), history((0, 3), (5, 3)), history((2, 3), (9, 3))
    assert optimise.newest([old, middle, new]) == [middle, new]


@pytest.mark.slow
def test_a_fit_of_a_known_learner_predicts_no_worse_than_the_defaults(alice, monkeypatch):
    """End to end but for the queue: the fit is held to answers that it has not seen."""
    histories = optimise.newest(synthetic(cards=70, days=150))
    monkeypatch.setattr(optimise, "histories_of", lambda _user: histories)
    found = optimisation_start(alice)
    optimise.execute(found.pk)
    found.refresh_from_db()
    assert found.status == Optimisation.SUCCEEDED, found.reason
    assert found.after["is_held_out"]
    assert found.after["log_loss"] <= found.before["log_loss"]
    truth = score(FORGETFUL, histories, since=optimise.split_at(histories))
    assert found.after["log_loss"] <= truth.log_loss * 1.1
    assert found.parameters == optimise.fit(before(histories, optimise.split_at(histories)))
