"""What learners answered."""

import uuid

from django.conf import settings
from django.db import models
from django.urls import reverse

from quiz.models.questions import Question


class Attempt(models.Model):
    """One answer of a learner: typed, then compared with the rubric, then graded.

    `token` comes with the form, so that a form sent twice counts once.
    """

    GRADES = [(1, "again"), (2, "hard"), (3, "good"), (4, "easy")]

    token = models.UUIDField(default=uuid.uuid4, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="attempts")
    question = models.ForeignKey(Question, models.PROTECT, related_name="attempts")
    # The attempt whose follow-up this is; the path through a tree.
    after = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="next_attempts")
    typed = models.TextField(blank=True)
    given = models.JSONField(null=True, blank=True)  # the answer to a graded kind: positions, an order, gaps, a number
    drawn = models.JSONField(default=dict, blank=True)  # the numbers of a parametric question
    grade = models.PositiveSmallIntegerField(choices=GRADES, null=True, blank=True)
    made_points = models.JSONField(default=list)  # positions of the rubric points made
    score = models.FloatField(null=True, blank=True)  # 0 to 1: by the machine, or the share of the rubric's weights
    milliseconds = models.PositiveIntegerField(default=0)  # from seeing the question to sending the answer
    created_at = models.DateTimeField(auto_now_add=True)
    graded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["owner", "question"], name="attempt_owner_question")]

    def __str__(self) -> str:
        return f"Attempt {self.pk} at {self.question_id}"

    def get_absolute_url(self) -> str:
        return reverse("quiz-attempt", args=[self.pk])
