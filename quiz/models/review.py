"""Spaced repetition: cards, the log that they follow from, and a learner's settings.

The log is the truth. A card's state is what a replay of its events gives (`quiz.review.states`), kept in the row
because the next card must be found quickly; `manage.py rebuild_cards --check` compares the two.
"""

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from kb.models import Topic
from quiz.models.attempts import Attempt
from quiz.models.own_cards import OwnCard
from quiz.models.questions import Question


class Scheduling(models.Model):
    """One set of scheduler settings. Never changed: events point at the set that they were made under.

    It goes only together with its owner's log (RESTRICT, where PROTECT would keep the account from being deleted).
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="schedulings")
    digest = models.CharField(max_length=64)  # of everything below: the same settings are one row
    parameters = models.JSONField()  # the 21 weights of FSRS-6
    desired_retention = models.FloatField()
    learning_steps = models.JSONField()  # minutes
    relearning_steps = models.JSONField()  # minutes
    maximum_interval = models.PositiveIntegerField()  # days
    fuzz = models.BooleanField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "digest"], name="scheduling_once")]

    def __str__(self) -> str:
        return f"Scheduling {self.pk} ({self.desired_retention:.0%})"


class StudySettings(models.Model):
    """How one learner studies."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="study_settings"
    )
    scheduling = models.ForeignKey(Scheduling, models.RESTRICT, related_name="used_by")
    new_per_day = models.PositiveSmallIntegerField(default=10, validators=[MaxValueValidator(999)])
    reviews_per_day = models.PositiveSmallIntegerField(default=200, validators=[MaxValueValidator(9999)])
    day_starts_at = models.PositiveSmallIntegerField(default=4, validators=[MaxValueValidator(23)])  # hour
    time_zone = models.CharField(max_length=64, default="UTC")
    leech_lapses = models.PositiveSmallIntegerField(default=8, validators=[MinValueValidator(2), MaxValueValidator(99)])
    interview_date = models.DateField(null=True, blank=True)
    # What a day has room for; the plan towards the date stays within it.
    minutes_per_day = models.PositiveSmallIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(720)]
    )
    # What is studied; no topic means all of them.
    topics = models.ManyToManyField(Topic, blank=True, related_name="+")

    def __str__(self) -> str:
        return f"Study settings of {self.owner_id}"


class Card(models.Model):
    """A question (follow-ups and parametric ones too) or an own card, as one learner remembers it."""

    NEW, LEARNING, REVIEW, RELEARNING = 0, 1, 2, 3  # from 1 on the numbers of fsrs.State
    STATES = [(NEW, "new"), (LEARNING, "learning"), (REVIEW, "review"), (RELEARNING, "relearning")]

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="cards")
    question = models.ForeignKey(Question, models.PROTECT, null=True, blank=True, related_name="cards")
    own_card = models.ForeignKey(OwnCard, models.CASCADE, null=True, blank=True, related_name="cards")
    position = models.PositiveIntegerField(default=0)  # in which order new cards are shown

    # What a replay of the events gives:
    state = models.PositiveSmallIntegerField(choices=STATES, default=NEW)
    step = models.PositiveSmallIntegerField(null=True, blank=True)
    stability = models.FloatField(null=True, blank=True)  # days until recall falls to 90 %
    difficulty = models.FloatField(null=True, blank=True)  # 1 to 10
    due = models.DateTimeField(null=True, blank=True)
    last_review = models.DateTimeField(null=True, blank=True)
    reviews = models.PositiveIntegerField(default=0)
    lapses = models.PositiveIntegerField(default=0)
    is_suspended = models.BooleanField(default=False)
    buried_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "question"], name="card_once_per_question"),
            models.UniqueConstraint(fields=["owner", "own_card"], name="card_once_per_own_card"),
            models.CheckConstraint(
                condition=Q(question=None) ^ Q(own_card=None), name="card_is_of_a_question_or_an_own_card"
            ),
        ]
        indexes = [
            # The next card: what is due, oldest first, and the new ones in their order.
            models.Index(fields=["owner", "is_suspended", "state", "due"], name="card_due"),
            models.Index(fields=["owner", "is_suspended", "state", "position"], name="card_new"),
        ]

    def __str__(self) -> str:
        return f"Card {self.pk} ({self.get_state_display()})"


class AppendOnly(TypeError):
    """Somebody tried to change the log."""


class EventQuerySet(models.QuerySet["ReviewEvent"]):
    def update(self, **_values: Any) -> NoReturn:
        raise AppendOnly("Review events are never changed; append an event instead")

    def delete(self) -> NoReturn:
        raise AppendOnly("Review events are never deleted; append an undo instead")


class ReviewEvent(models.Model):
    """One action on one card. Only ever appended; goes only when its owner's account goes."""

    GRADE, BURY, UNBURY, SUSPEND, UNSUSPEND = "grade", "bury", "unbury", "suspend", "unsuspend"
    SET_DUE, RESET, RESCHEDULE, UNDO = "set_due", "reset", "reschedule", "undo"
    ACTIONS = [(a, a) for a in (GRADE, BURY, UNBURY, SUSPEND, UNSUSPEND, SET_DUE, RESET, RESCHEDULE, UNDO)]
    AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="review_events")
    card = models.ForeignKey(Card, models.CASCADE, related_name="events")
    token = models.UUIDField(default=uuid.uuid4, unique=True)  # comes with the form: sent twice, counted once
    action = models.CharField(max_length=10, choices=ACTIONS)
    at = models.DateTimeField()
    day = models.DateField()  # the learner's day, by the settings of that moment
    rating = models.PositiveSmallIntegerField(null=True, blank=True)  # of a grade: 1 again … 4 easy
    milliseconds = models.PositiveIntegerField(default=0)  # spent on a grade
    until = models.DateTimeField(null=True, blank=True)  # of set_due and bury
    scheduling = models.ForeignKey(Scheduling, models.RESTRICT, null=True, blank=True, related_name="events")
    undoes = models.OneToOneField("self", models.CASCADE, null=True, blank=True, related_name="undone_by")
    attempt = models.ForeignKey(Attempt, models.SET_NULL, null=True, blank=True, related_name="review_events")
    # The card just before, for statistics:
    state_before = models.PositiveSmallIntegerField(default=Card.NEW)
    stability_before = models.FloatField(null=True, blank=True)
    days_before = models.FloatField(null=True, blank=True)  # since the last review

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["owner", "day"], name="event_owner_day"),
            models.Index(fields=["owner", "-id"], name="event_owner_newest"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(action="grade", rating__range=(1, 4)) | (~Q(action="grade") & Q(rating=None)),
                name="event_rating_of_a_grade",
            ),
            models.CheckConstraint(
                condition=Q(action="undo", undoes__isnull=False) | (~Q(action="undo") & Q(undoes=None)),
                name="event_undo_undoes",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} of card {self.card_id} at {self.at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk:
            raise AppendOnly("Review events are never changed; append an event instead")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise AppendOnly("Review events are never deleted; append an undo instead")


class DayTally(models.Model):
    """The grades of one learner's day, so that a year of statistics is a few hundred rows. Follows from the log."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="day_tallies")
    day = models.DateField()
    again = models.PositiveIntegerField(default=0)
    hard = models.PositiveIntegerField(default=0)
    good = models.PositiveIntegerField(default=0)
    easy = models.PositiveIntegerField(default=0)
    new = models.PositiveIntegerField(default=0)  # cards seen for the first time
    # Grades of cards in review, by what their stability was: young below 21 days, mature from there on.
    young = models.PositiveIntegerField(default=0)
    young_passed = models.PositiveIntegerField(default=0)
    mature = models.PositiveIntegerField(default=0)
    mature_passed = models.PositiveIntegerField(default=0)
    milliseconds = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["day"]
        constraints = [models.UniqueConstraint(fields=["owner", "day"], name="tally_once_a_day")]

    def __str__(self) -> str:
        return f"Tally of {self.owner_id} on {self.day}"
