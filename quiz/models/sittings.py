"""Sittings: quizzes and mock interviews, each a list of questions asked one after the other."""

import uuid

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import pgettext_lazy

from quiz.models.attempts import Attempt
from quiz.models.questions import Question


class Sitting(models.Model):
    """A quiz or a mock interview of one learner, from its first question to its report."""

    QUIZ, INTERVIEW = "quiz", "interview"
    KINDS = [(QUIZ, "quiz"), (INTERVIEW, "interview")]

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sittings")
    token = models.UUIDField(default=uuid.uuid4, unique=True)  # comes with the form: sent twice, begun once
    kind = models.CharField(max_length=10, choices=KINDS)
    options = models.JSONField(default=dict)  # as quiz.sittings.options or quiz.interview.options validated them
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["owner", "kind", "-id"], name="sitting_owner_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse(f"quiz-{self.kind}", args=[self.pk])


class Turn(models.Model):
    """One question of a sitting. What is being typed is kept in `draft` until it becomes an attempt."""

    REASONS = [
        (reason, reason) for reason in ("planned", "weak", "unseen", "level", "topic", "missed", "uncertain", "deeper")
    ]
    CERTAINTIES = [
        (1, pgettext_lazy("certainty of an answer", "a guess")),
        (2, pgettext_lazy("certainty of an answer", "fairly sure")),
        (3, pgettext_lazy("certainty of an answer", "certain")),
    ]

    sitting = models.ForeignKey(Sitting, models.CASCADE, related_name="turns")
    position = models.PositiveSmallIntegerField()
    step = models.PositiveSmallIntegerField(default=0)  # 0 for the question, 1, 2 … for the follow-ups after it
    question = models.ForeignKey(Question, models.PROTECT, related_name="turns")
    token = models.UUIDField(default=uuid.uuid4, unique=True)  # of the attempt to come; numbers are drawn by it
    after = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="next_turns")
    reason = models.CharField(max_length=10, choices=REASONS, default="planned")  # why it was asked
    missed = models.PositiveSmallIntegerField(null=True, blank=True)  # position of the rubric point that led here
    seconds = models.PositiveIntegerField(null=True, blank=True)  # allowed, in an interview
    draft = models.JSONField(default=dict, blank=True)  # the form's fields as typed so far
    certainty = models.PositiveSmallIntegerField(choices=CERTAINTIES, null=True, blank=True)
    marks = models.FloatField(null=True, blank=True)  # by certainty: 1, 2, 3 or 0, -2, -6
    attempt = models.OneToOneField(Attempt, models.SET_NULL, null=True, blank=True, related_name="turn")
    advice = models.JSONField(default=dict, blank=True)  # of the operator's grader, with its reasons
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position", "step"]
        constraints = [models.UniqueConstraint(fields=["sitting", "position", "step"], name="turn_once")]

    def __str__(self) -> str:
        return f"Turn {self.position}.{self.step} of sitting {self.sitting_id}"
