"""What is computed for a learner: the plan of a day, parameters fitted to the own log, cards under new settings."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from quiz.models.review import Scheduling


class PlanDay(models.Model):
    """The plan towards the interview date, as it was computed on one day."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="plan_days")
    day = models.DateField()
    digest = models.CharField(max_length=64)  # of what it was computed from: date, topics, settings
    plan = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["owner", "day"], name="plan_once_a_day")]

    def __str__(self) -> str:
        return f"Plan of {self.owner_id} for {self.day}"


class Optimisation(models.Model):
    """One fit of the scheduler's parameters to a learner's log, done by the worker."""

    QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"
    STATUSES = [(s, s) for s in (QUEUED, RUNNING, SUCCEEDED, FAILED)]
    LIVE = (QUEUED, RUNNING)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="optimisations")
    status = models.CharField(max_length=10, choices=STATUSES, default=QUEUED)
    reason = models.TextField(blank=True)  # why it failed, and what to do
    reviews = models.PositiveIntegerField(default=0)  # how many grades it was fitted to
    parameters = models.JSONField(default=list)
    before = models.JSONField(default=dict)  # log loss and RMSE with the parameters in use
    after = models.JSONField(default=dict)  # and with the fitted ones
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    applied_as = models.ForeignKey(Scheduling, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner"], condition=Q(status__in=["queued", "running"]), name="one_live_optimisation"
            )
        ]

    def __str__(self) -> str:
        return f"Optimisation {self.pk} ({self.status})"


class Rescheduling(models.Model):
    """A learner's cards on their way to other settings, in the worker's hands. Wished again, it begins anew."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="rescheduling"
    )
    scheduling = models.ForeignKey(Scheduling, models.RESTRICT, related_name="+")
    total = models.PositiveIntegerField()  # cards, when it was asked for
    done = models.PositiveIntegerField(default=0)
    moved = models.PositiveIntegerField(default=0)  # of those, how many got another date
    last_card = models.PositiveBigIntegerField(default=0)  # cards are taken in the order of their ids
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Rescheduling of {self.owner_id}: {self.done} of {self.total}"
