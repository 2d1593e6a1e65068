"""The learner's plan: computed once a day, and anew when what it follows from was changed."""

import hashlib
import json
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.utils.translation import gettext as _

from kb.models import Status, Topic
from quiz.models import Card, DayTally, PlanDay, StudySettings
from quiz.plan.memory import Memory
from quiz.plan.planning import Plan, Problem, make_plan
from quiz.plan.simulation import Deck, Habits
from quiz.review.days import day_start, today
from quiz.review.rescheduling import reschedule
from quiz.review.services import cards_sync, settings_change, study_settings
from quiz.statistics.arrays import card_arrays, day_number

# A plan looks this far ahead at most.
FARTHEST = timedelta(days=365)
# A learner's own pace and buttons count from so many answers on; below it usual values are assumed.
LEAST_ANSWERS = 50
RECENT = timedelta(days=90)
# What an answer may take on average, whatever the log says.
LEAST_SECONDS, MOST_SECONDS = 3.0, 600.0
# Raised when a plan is computed differently, so that those of today are computed again.
VERSION = 2


class StalePlan(RuntimeError):
    """The plan that the form showed is not the plan of now."""


def check_date(wanted: date, s: StudySettings) -> None:
    """ValidationError for a day that cannot be planned for."""
    first, last = today(s) + timedelta(days=1), today(s) + FARTHEST
    if not first <= wanted <= last:
        raise ValidationError(
            _("%(date)s cannot be planned for; allowed: from %(first)s (tomorrow) to %(last)s."),
            params={"date": wanted, "first": first, "last": last},
        )


def plan_wish(user: User, *, interview_date: date, minutes: int, topics: Iterable[Topic]) -> StudySettings:
    """Plan for this day, with so many minutes a day; no topic means all of them."""
    check_date(interview_date, study_settings(user))
    return settings_change(user, interview_date=interview_date, minutes_per_day=minutes, topics=topics)


def plan_forget(user: User) -> StudySettings:
    return settings_change(user, interview_date=None)


def is_planned(s: StudySettings) -> bool:
    """Whether the learner set a day, and it is still to come."""
    return s.interview_date is not None and today(s) < s.interview_date


def plan_today(user: User) -> PlanDay | None:
    """Today's plan; None without a date to come or without a card. Computed when it is not there yet."""
    s = study_settings(user)
    if not is_planned(s):
        return None
    digest = plan_digest(s)
    kept = PlanDay.objects.filter(owner=user, day=today(s), digest=digest).first()
    if kept:
        return kept
    cards_sync(user)
    plan = compute_plan(s)
    if plan is None:
        return None
    values = {"digest": digest, "plan": plan.as_json()}
    return PlanDay.objects.update_or_create(owner=user, day=today(s), defaults=values)[0]


def plan_digest(s: StudySettings) -> str:
    """Of what a plan follows from, but for the cards: they change with every answer, the plan once a day."""
    topics = sorted(s.topics.values_list("pk", flat=True))
    facts = [
        VERSION,
        str(today(s)),
        str(s.interview_date),
        s.minutes_per_day,
        s.new_per_day,
        s.scheduling.digest,
        topics,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def compute_plan(s: StudySettings) -> Plan | None:
    """None without a date or without a card."""
    deck = deck_of(s)
    if not s.interview_date or not len(deck):
        return None
    problem = Problem(
        deck=deck,
        days=(s.interview_date - today(s)).days,
        minutes=s.minutes_per_day,
        memory=Memory(s.scheduling.parameters, s.scheduling.maximum_interval),
        habits=habits_of(s),
        retention=s.scheduling.desired_retention,
        new_per_day=s.new_per_day,
    )
    return make_plan(problem)


def planned_cards(s: StudySettings) -> QuerySet[Card]:
    """What the review asks: published questions of the chosen topics and own cards, without the suspended ones."""
    shown = Q(question__status=Status.PUBLISHED)
    if topics := list(s.topics.values_list("pk", flat=True)):
        shown &= Q(question__topic__in=topics)
    return Card.objects.filter(shown | Q(question=None), owner=s.owner_id, is_suspended=False)


def deck_of(s: StudySettings) -> Deck:
    """The cards on the scale of the learner's days: 0 is today."""
    cards = card_arrays(planned_cards(s).order_by("position", "pk"))
    begin = day_number(day_start(today(s), s))
    last, due = (np.nan_to_num(np.floor(days - begin)) for days in (cards.last_review, cards.due))
    return Deck(cards.stability, cards.difficulty, last, due, cards.topic)


def habits_of(s: StudySettings) -> Habits:
    """Measured in the last months, where there are enough answers."""
    recent = DayTally.objects.filter(owner=s.owner_id, day__gt=today(s) - RECENT)
    sums = recent.aggregate(**{name: Sum(name) for name in ("again", "hard", "good", "easy", "milliseconds")})
    again, hard, good, easy, milliseconds = (value or 0 for value in sums.values())
    values: dict[str, Any] = {
        "learning_steps": len(s.scheduling.learning_steps),
        "relearning_steps": len(s.scheduling.relearning_steps),
    }
    if (answers := again + hard + good + easy) >= LEAST_ANSWERS and milliseconds:
        values["seconds"] = min(max(milliseconds / answers / 1000, LEAST_SECONDS), MOST_SECONDS)
    if hard + good + easy >= LEAST_ANSWERS:
        values["recalled"] = (hard, good, easy)
    return Habits(**values)


def _plan_shown(user: User, digest: str) -> PlanDay:
    """The plan that a form showed. StalePlan when another one has taken its place."""
    shown = PlanDay.objects.filter(owner=user, day=today(study_settings(user)), digest=digest).first()
    if shown is None:
        raise StalePlan(_("The plan has changed since this page was loaded. Look at the new one first."))
    return shown


def plan_use(user: User, *, digest: str, choice: int) -> StudySettings:
    """Study as this choice of the plan says: new cards a day, room for its reviews, cards rescheduled if need be.

    Rescheduling has transactions of its own, and is the worker's where there are many cards; done again, it goes on
    where it was interrupted.
    """
    shown = _plan_shown(user, digest)
    choices = shown.plan["choices"]
    if not 0 <= choice < len(choices):
        raise ValueError(
            _("%(value)s is no policy of this plan; allowed: 0 to %(last)s.")
            % {"value": choice, "last": len(choices) - 1}
        )
    wanted = choices[choice]
    before = study_settings(user)
    scheduling_before = before.scheduling_id
    most = max((row["reviews"] for row in shown.plan["rows"]), default=0)
    after = settings_change(
        user,
        new_per_day=min(wanted["new_per_day"], 999),
        reviews_per_day=min(max(before.reviews_per_day, int(most * 1.5)), 9999),
        desired_retention=wanted["retention"],
    )
    if after.scheduling_id != scheduling_before:
        reschedule(user, after.scheduling)
    return after


@transaction.atomic
def plan_cut(user: User, *, digest: str) -> StudySettings:
    """Study without the topics that the plan advises to leave out."""
    cut = {found["topic"] for found in _plan_shown(user, digest).plan["cuts"]}
    s = study_settings(user)
    chosen = s.topics.all() if s.topics.exists() else Topic.objects.filter(questions__cards__owner=user).distinct()
    return settings_change(user, topics=[topic for topic in chosen if topic.pk not in cut])
